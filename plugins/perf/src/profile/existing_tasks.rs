//! The tasks that existed before the recording started: their names and mappings from procfs, as the kernel's records have
//! them.

use std::fs::{self, File};
use std::path::Path;

use trace_tasks::{ListLength, MappedRange, visit_code};

use super::observer::OwnedMapping;
use crate::perf_event::{Body, Record};

/// A record with the name of a thread. Empty, if the thread has ended.
pub fn comm(procfs: &Path, process: u32, thread: u32) -> Vec<u8> {
    let Ok(name) = fs::read(procfs.join(format!("{process}/task/{thread}/comm"))) else { return Vec::new() };
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    record(process, thread, Body::Comm { name, is_exec: false })
}

/// The code that a process has mapped, as far as its list is read, and whether this is all of it. None, if the process has ended.
/// This can block.
pub fn mappings(procfs: &Path, process: u32, length: ListLength) -> (Vec<OwnedMapping>, bool) {
    let mut mappings = Vec::new();
    let maps = File::open(procfs.join(format!("{process}/maps")));
    let visited = maps.and_then(|maps| visit_code(maps, length, |range| mappings.push(mapping(range))));
    (mappings, visited.unwrap_or(true))
}

fn mapping(range: &MappedRange<'_>) -> OwnedMapping {
    OwnedMapping {
        address: range.addresses.start,
        length: range.addresses.end - range.addresses.start,
        offset: range.offset,
        device: range.device,
        inode: range.inode,
        generation: 0,
        path: if range.path.is_empty() { b"//anon".to_vec() } else { range.path.to_vec() },
    }
}

/// The bytes of a record that is older than all others.
pub fn record(process: u32, thread: u32, body: Body<'_>) -> Vec<u8> {
    Record { time: 0, cpu: 0, process, thread, id: 0, body }.to_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trace_tasks::mapped_ranges;

    use super::*;
    use crate::perf_event::Records;

    #[test]
    fn only_code_has_a_record() {
        let procfs = tempfile::tempdir().unwrap();
        std::fs::create_dir(procfs.path().join("7")).unwrap();
        let maps = "55e0d000-55e0f000 r-xp 00002000 fd:01 1234     /tmp/a b (deleted)\n\
                    55e0f000-55e10000 rw-p 00004000 fd:01 1234     /tmp/a b (deleted)\n\
                    7000-8000 rwxp 00000000 00:00 0 \ngarbage\n\
                    9000-a000 r-xp 00000000 fd:01 7     /tmp/a\\012b\n";
        std::fs::write(procfs.path().join("7/maps"), maps).unwrap();
        let first = OwnedMapping {
            address: 0x55e0_d000,
            length: 0x2000,
            offset: 0x2000,
            device: (0xfd, 1),
            inode: 1234,
            generation: 0,
            path: b"/tmp/a b (deleted)".to_vec(),
        };
        let anonymous = OwnedMapping {
            address: 0x7000,
            length: 0x1000,
            offset: 0,
            device: (0, 0),
            inode: 0,
            path: b"//anon".to_vec(),
            ..first
        };
        let path = b"/tmp/a\nb".to_vec();
        let last = OwnedMapping { address: 0x9000, inode: 7, device: (0xfd, 1), path, ..anonymous };
        assert_eq!(mappings(procfs.path(), 7, ListLength::Usual), (vec![first, anonymous, last], true));
        assert_eq!(mappings(procfs.path(), 8, ListLength::Usual), (Vec::new(), true));
    }

    #[test]
    fn tasks_that_have_ended_have_no_record() {
        assert!(comm(Path::new("/nowhere"), 1, 1).is_empty());
        let own = std::process::id();
        let bytes = comm(Path::new("/proc"), own, own);
        let named = Records(&bytes)
            .any(|(_, record)| matches!(record.body, Body::Comm { name, .. } if !name.is_empty()));
        assert!(named);
    }

    proptest! {
        #[test]
        fn any_mapping_has_a_record(begin: u64, length: u64, offset: u64, path in "/[^\\\\\n]{0,300}") {
            let end = begin.saturating_add(length);
            let line = format!("{begin:x}-{end:x} r-xp {offset:08x} 00:2e 7 {path}");
            let range = mapped_ranges(line.as_bytes()).next().unwrap();
            let found = mapping(&range);
            prop_assert_eq!((found.address, found.length, found.offset), (begin, end - begin, offset));
            prop_assert_eq!(&found.path, path.as_bytes());
            let bytes = record(1, 1, Body::Mmap(found.borrowed()));
            prop_assert_eq!(Records(&bytes).count(), 1);
        }
    }
}
