//! Files with the symbols that were stripped from others (the GDB manual, "Separate Debug Files").

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trace_tasks::{Pid, ProcessRoots};

use crate::elf::{DebugLink, ElfFile};
use crate::memory_budget::MemoryBudget;

/// Where distributions install them.
const DIRECTORY: &str = "/usr/lib/debug";

/// The largest file of which the checksum is computed, in bytes: a moment. Larger ones need a build id.
const MAX_CHECKED: u64 = 64 << 20;
/// What is read at a time, in bytes.
const STEP: usize = 64 << 10;

/// How a stripped file names its debug file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebugFileReference {
    build_id: Option<Vec<u8>>,
    link: Option<DebugLink>,
    /// The device and inode of the stripped file itself, which can have the name of its debug file.
    itself: (u64, u64),
}

impl DebugFileReference {
    /// That of a file. `None`, if it names none, or has all its symbols itself.
    pub fn of(file: &File, budget: &Arc<MemoryBudget>) -> Option<Self> {
        let elf = ElfFile::parse(file, budget).ok().filter(|elf| !elf.has_full_symbol_table())?;
        let (build_id, link) = (elf.build_id(), elf.debug_link());
        let metadata = file.metadata().ok()?;
        let itself = (metadata.dev(), metadata.ino());
        (build_id.is_some() || link.is_some()).then_some(Self { build_id, link, itself })
    }

    /// Opens the files that can be the debug file of a file at this path in the root directories of these processes, and by the build id in that
    /// of this process as well. This can block.
    pub fn candidates(
        &self,
        path: &Path,
        processes: &[Pid],
        roots: &ProcessRoots,
        budget: &Arc<MemoryBudget>,
    ) -> Vec<File> {
        let open = |root: Pid, path: &Path| {
            roots.open(root, path, |_| true).filter(|candidate| self.may_be(candidate, budget))
        };
        // The build id says which file it is, wherever it is found.
        if let Some(path) = self.path_of_build_id() {
            let all = processes.iter().copied().chain([std::process::id()]);
            if let Some(found) = all.map(|root| open(root, &path)).find_map(|found| found) {
                return vec![found];
            }
        }
        let first = |path: &PathBuf| processes.iter().find_map(|root| open(*root, path));
        self.paths_of_link(path).iter().filter_map(first).collect()
    }

    /// The path of a debug file by its build id.
    fn path_of_build_id(&self) -> Option<PathBuf> {
        let digits: String = self.build_id.as_ref()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let (first, others) = digits.split_at_checked(2)?;
        Some(Path::new(DIRECTORY).join(".build-id").join(first).join(format!("{others}.debug")))
    }

    /// The paths that a debug file of this name can have, if the stripped file has this path.
    fn paths_of_link(&self, stripped: &Path) -> Vec<PathBuf> {
        let (Some(link), Some(directory)) = (&self.link, stripped.parent()) else { return Vec::new() };
        let name = OsStr::from_bytes(&link.name);
        let Ok(below_root) = directory.strip_prefix("/") else { return Vec::new() };
        let central = Path::new(DIRECTORY).join(below_root);
        [directory.to_owned(), directory.join(".debug"), central].map(|directory| directory.join(name)).into()
    }

    /// Whether this can be the debug file: it has the build id, if there is one to compare.
    fn may_be(&self, candidate: &File, budget: &Arc<MemoryBudget>) -> bool {
        let is_itself = candidate.metadata().is_ok_and(|found| (found.dev(), found.ino()) == self.itself);
        !is_itself
            && ElfFile::parse(candidate, budget).is_ok_and(|elf| {
                elf.has_full_symbol_table() && (self.build_id.is_none() || elf.build_id() == self.build_id)
            })
    }

    /// Whether this is the debug file, if it can be: where there is no build id, it has the checksum. That reads all of the file.
    pub fn is(&self, candidate: &File) -> bool {
        let has_checksum = |link: &DebugLink| checksum(candidate) == Some(link.checksum);
        self.build_id.is_some() || self.link.as_ref().is_some_and(has_checksum)
    }
}

/// The checksum of a file, as in `.gnu_debuglink`. `None`, if it is too large or cannot be read.
fn checksum(file: &File) -> Option<u32> {
    let length = file.metadata().ok()?.len();
    let (mut buffer, mut sum, mut offset) = (vec![0; STEP], !0, 0);
    while offset < length.min(MAX_CHECKED + 1) {
        let count = file.read_at(&mut buffer, offset).ok().filter(|count| *count > 0)?;
        sum =
            buffer[..count].iter().fold(sum, |sum, byte| sum >> 8 ^ CHECKSUMS[usize::from(sum as u8 ^ byte)]);
        offset += count as u64;
    }
    (offset <= MAX_CHECKED).then_some(!sum)
}

/// The checksum of each byte: CRC-32 with the polynomial of IEEE 802.3, its bits reversed.
const CHECKSUMS: [u32; 256] = {
    let mut sums = [0; 256];
    let mut byte = 0;
    while byte < sums.len() {
        let (mut sum, mut bit) = (byte as u32, 0);
        while bit < 8 {
            sum = sum >> 1 ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 };
            bit += 1;
        }
        sums[byte] = sum;
        byte += 1;
    }
    sums
};

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::elf::synthetic::{CODE, SyntheticElf};

    const ID: [u8; 4] = [0xab, 1, 2, 0xff];

    fn note(id: &[u8]) -> (&'static str, Vec<u8>) {
        let numbers = [4, id.len() as u32, 3].map(u32::to_le_bytes).concat();
        (".note.gnu.build-id", [&numbers[..], b"GNU\0", id].concat())
    }

    fn link(name: &str, checksum: u32) -> (&'static str, Vec<u8>) {
        let mut section = name.as_bytes().to_vec();
        section.resize(section.len() / 4 * 4 + 4, 0);
        (".gnu_debuglink", [&section[..], &checksum.to_le_bytes()].concat())
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn stripped(others: Vec<(&'static str, Vec<u8>)>) -> File {
        file(
            &SyntheticElf { dynsym: &[("public", 2, true, CODE.1)], others, ..SyntheticElf::default() }
                .bytes(),
        )
    }

    fn full(others: Vec<(&'static str, Vec<u8>)>) -> Vec<u8> {
        SyntheticElf { symtab: &[("main", 2, true, CODE.1)], others, ..SyntheticElf::default() }.bytes()
    }

    fn reference(file: &File) -> Option<DebugFileReference> {
        DebugFileReference::of(file, &plenty())
    }

    fn plenty() -> Arc<MemoryBudget> {
        MemoryBudget::new(64 << 20)
    }

    #[test]
    fn debug_files_have_the_paths_that_gdb_knows() {
        let found = reference(&stripped(vec![note(&ID), link("a.debug", 7)])).unwrap();
        let paths = found.paths_of_link(Path::new("/opt/bin/a"));
        let expected = ["/opt/bin/a.debug", "/opt/bin/.debug/a.debug", "/usr/lib/debug/opt/bin/a.debug"]
            .map(PathBuf::from);
        assert_eq!(paths, expected);
        let expected = PathBuf::from("/usr/lib/debug/.build-id/ab/0102ff.debug");
        assert_eq!(found.path_of_build_id(), Some(expected));
        assert!(found.paths_of_link(Path::new("[vdso]")).is_empty());
        assert_eq!(reference(&stripped(vec![])), None);
        assert_eq!(reference(&file(&full(vec![note(&ID)]))), None, "it has all symbols");
        for name in ["", "..", "a/b", "/etc/passwd"] {
            assert_eq!(reference(&stripped(vec![link(name, 7)])), None, "{name}");
        }
    }

    #[test]
    fn a_debug_file_has_the_same_build_id() {
        let itself = stripped(vec![note(&ID), link("a.debug", 7)]);
        let found = reference(&itself).unwrap();
        let other = full(vec![note(&[1, 2, 3, 4])]);
        assert!(!found.may_be(&file(&other), &plenty()) && !found.may_be(&file(&full(vec![])), &plenty()));
        assert!(!found.may_be(&file(b"no ELF file"), &plenty()));
        let same = file(&full(vec![note(&ID)]));
        assert!(found.may_be(&same, &plenty()) && found.is(&same));
        let without_symbols = stripped(vec![note(&ID)]);
        assert!(!found.may_be(&without_symbols, &plenty()) && !found.may_be(&itself, &plenty()));
    }

    #[test]
    fn without_a_build_id_a_debug_file_has_the_checksum() {
        assert_eq!(checksum(&file(b"123456789")), Some(0xcbf4_3926), "the check value of CRC-32");
        let debug = file(&full(vec![]));
        let sum = checksum(&debug).unwrap();
        let itself = stripped(vec![link("a.debug", sum)]);
        let found = reference(&itself).unwrap();
        assert!(found.may_be(&debug, &plenty()) && found.is(&debug));
        assert!(!found.is(&file(&full(vec![note(&ID)]))));
        debug.set_len(MAX_CHECKED + 1).unwrap();
        assert_eq!(checksum(&debug), None);
    }
}
