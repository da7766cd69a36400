use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc::c_void;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use perf_event_open_sys::bindings::perf_event_mmap_page;

use super::attributes::Attributes;
use super::event::{Event, Subject};

/// The ring buffer of a CPU, into which the events of all tasks are written.
///
/// It belongs to an event of our own that records nothing: the ring of a traced task's event would poll as closed once that
/// task has ended.
#[derive(Debug)]
pub struct Ring {
    pub cpu: u32,
    owner: Event,
    /// A page with the positions of the kernel's writing and our reading, and after it the records.
    map: NonNull<c_void>,
    page: usize,
    /// The length of the records, a power of two.
    size: usize,
}

// SAFETY: only this value and the kernel access the memory, from whatever thread.
unsafe impl Send for Ring {}

impl Ring {
    /// A ring for this CPU, of at least this many bytes. Its event lives as long as the calling thread.
    ///
    /// # Errors
    ///
    /// The CPU is not online (`ENODEV`), or there is not enough memory, for all (`ENOMEM`) or for this user (`EPERM`).
    pub fn new(cpu: u32, bytes: usize) -> io::Result<Self> {
        let page = page_size();
        let size = bytes.max(page).checked_next_power_of_two().ok_or(io::ErrorKind::OutOfMemory)?;
        let wakeup = u32::try_from(size / 4).unwrap_or(u32::MAX);
        let owner = Event::open(&Attributes::ring_owner(wakeup), Subject::Thread(0), Some(cpu))?;
        let length = size.checked_add(page).and_then(NonZeroUsize::new).ok_or(io::ErrorKind::OutOfMemory)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps no other memory.
        let map = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, &owner, 0) }?;
        Ok(Self { cpu, owner, map, page, size })
    }

    /// Moves all records to the end of `out`.
    pub fn drain_into(&mut self, out: &mut Vec<u8>) {
        let (head, tail) = (self.head(), self.tail());
        // All records up to `written` are complete: the kernel's half of the barrier is in perf_output_put_handle.
        let written = head.load(Ordering::Acquire);
        let read = tail.load(Ordering::Relaxed);
        let length = usize::try_from(written.wrapping_sub(read)).unwrap_or(0).min(self.size);
        let begin = (read % self.size as u64) as usize;
        let before_the_end = length.min(self.size - begin);
        for (offset, length) in [(begin, before_the_end), (0, length - before_the_end)] {
            // SAFETY: the range is within the records, and the kernel does not write there before the tail has moved on.
            let part = unsafe {
                let records = self.map.as_ptr().cast::<u8>().add(self.page);
                std::slice::from_raw_parts(records.add(offset), length)
            };
            out.extend_from_slice(part);
        }
        tail.store(written, Ordering::Release);
    }

    fn head(&self) -> &AtomicU64 {
        // SAFETY: the first page is a perf_event_mmap_page as long as it is mapped, which is as long as `self`. The kernel
        // writes this aligned u64 atomically.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.header()).data_head) }
    }

    fn tail(&self) -> &AtomicU64 {
        // SAFETY: as in `head`; only this value writes the field.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.header()).data_tail) }
    }

    fn header(&self) -> *mut perf_event_mmap_page {
        self.map.as_ptr().cast()
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.owner.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is as long as `new` has made it, and nothing borrows from it any more.
        let unmapped = unsafe { munmap(self.map, self.page + self.size) };
        if let Err(error) = unmapped {
            trace_hook_api::log::warn!("cannot unmap a ring buffer: {error}");
        }
    }
}

fn page_size() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    size.ok().flatten().and_then(|size| usize::try_from(size).ok()).unwrap_or(4096)
}
