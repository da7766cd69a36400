//! What programs keep for single tasks: `TASK_MAP` in `bpf/older.h`.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use aya::maps::{Map, MapData, MapError};
use nix::libc;
use trace_tasks::Pid;

const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
/// The descriptor is that of a thread (linux/pidfd.h, since Linux 6.9).
const PIDFD_THREAD: libc::c_uint = libc::O_EXCL as libc::c_uint;

/// The values of tasks. The programs write them at the same time.
pub struct TaskValues {
    map: MapData,
    /// Whether the key is the id of the thread, as in the older build; otherwise it is a descriptor of the thread.
    is_by_id: bool,
    value_size: usize,
}

/// The attributes of a lookup (`union bpf_attr` in linux/bpf.h).
#[repr(C)]
struct Lookup {
    map: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl TryFrom<Map> for TaskValues {
    type Error = MapError;

    fn try_from(map: Map) -> Result<Self, MapError> {
        let (map, is_by_id) = match map {
            // The library does not know task storage.
            Map::Unsupported(map) => (map, false),
            Map::HashMap(map) => (map, true),
            // The object has another map of this name.
            _ => return Err(MapError::InvalidMapType { map_type: 0 }),
        };
        let value_size = map.info()?.value_size() as usize;
        Ok(Self { map, is_by_id, value_size })
    }
}

impl TaskValues {
    /// The value of a thread, if it has one. Before Linux 6.9, the current build finds only those of the first threads of
    /// processes.
    pub fn get(&self, thread: Pid) -> Option<Vec<u8>> {
        if self.is_by_id {
            return self.look_up(thread);
        }
        let descriptor = open(thread, PIDFD_THREAD).or_else(|| open(thread, 0))?;
        self.look_up(descriptor.as_raw_fd().cast_unsigned())
    }

    fn look_up(&self, key: u32) -> Option<Vec<u8>> {
        let mut value = vec![0u8; self.value_size.next_multiple_of(8)];
        let lookup = Lookup {
            map: self.map.fd().as_fd().as_raw_fd().cast_unsigned(),
            unused: 0,
            key: (&raw const key).addr() as u64,
            value: value.as_mut_ptr().expose_provenance() as u64,
            flags: 0,
        };
        // SAFETY: the kernel reads the attributes and the key, and writes a value of the map's size, which `value` has.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_ELEM, &raw const lookup, size_of::<Lookup>())
        };
        (result == 0).then_some(value)
    }
}

/// A descriptor of a task; `None` if it has exited, or is not of this kind.
fn open(thread: Pid, flags: libc::c_uint) -> Option<OwnedFd> {
    // SAFETY: the call takes plain numbers.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, thread, flags) };
    let descriptor = RawFd::try_from(descriptor).ok().filter(|descriptor| *descriptor >= 0)?;
    // SAFETY: the kernel has just returned it, and nothing else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
