//! Code that processes have mapped, and its list in procfs.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use trace_tasks::{ListLength, MappedRange, visit_code};

/// Code that a process has mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// Where it begins.
    pub address: u64,
    /// In bytes.
    pub length: u64,
    /// Where in the file the mapping begins.
    pub offset: u64,
    /// Major and minor number of the file's device.
    pub device: (u32, u32),
    /// The file's inode.
    pub inode: u64,
    /// The inode's generation, which differs for each file that the inode is used for; 0 where it is not known.
    pub generation: u64,
    /// The path as the process sees it, or `[vdso]`, `//anon` and the like.
    pub path: &'a [u8],
}

/// The same, with its own copy of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedMapping {
    /// Where it begins.
    pub address: u64,
    /// In bytes.
    pub length: u64,
    /// Where in the file the mapping begins.
    pub offset: u64,
    /// Major and minor number of the file's device.
    pub device: (u32, u32),
    /// The file's inode.
    pub inode: u64,
    /// The inode's generation, or 0.
    pub generation: u64,
    /// As the process sees it.
    pub path: Vec<u8>,
}

impl OwnedMapping {
    /// The mapping.
    pub fn borrowed(&self) -> Mapping<'_> {
        let Self { address, length, offset, device, inode, generation, ref path } = *self;
        Mapping { address, length, offset, device, inode, generation, path }
    }
}

impl From<&Mapping<'_>> for OwnedMapping {
    fn from(mapping: &Mapping<'_>) -> Self {
        let Mapping { address, length, offset, device, inode, generation, path } = *mapping;
        Self { address, length, offset, device, inode, generation, path: path.to_owned() }
    }
}

/// The code that a process has mapped, as far as its list is read, and whether this is all of it. None, if the process has ended.
/// This can block.
pub fn mappings(procfs: &Path, process: u32, length: ListLength) -> (Vec<OwnedMapping>, bool) {
    let mut mappings = Vec::new();
    let maps = File::open(procfs.join(format!("{process}/maps")));
    let visited = maps.and_then(|maps| {
        visit_code(maps, length, |range| {
            mappings.push(mapping(range));
            ControlFlow::Continue(())
        })
    });
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trace_tasks::mapped_ranges;

    use super::*;

    #[test]
    fn only_code_is_listed() {
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

    proptest! {
        #[test]
        fn any_mapping_is_as_listed(begin: u64, length: u64, offset: u64, path in "/[^\\\\\n]{0,300}") {
            let end = begin.saturating_add(length);
            let line = format!("{begin:x}-{end:x} r-xp {offset:08x} 00:2e 7 {path}");
            let range = mapped_ranges(line.as_bytes()).next().unwrap();
            let found = mapping(&range);
            prop_assert_eq!((found.address, found.length, found.offset), (begin, end - begin, offset));
            prop_assert_eq!(&found.path, path.as_bytes());
        }
    }
}
