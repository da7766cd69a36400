//! Programs and libraries of the traced processes.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use trace_linkage::Linkage;
use trace_symbols::{ElfError, ElfFile, MemoryBudget};
use trace_tasks::{Following, Pid, open_regular_file_in, reopen_regular_file};

use super::debug_file::DebugFileSearch;

/// What the symbols of a file may take while they are read, in bytes. Only MiniDebugInfo is in memory as a whole.
const SYMBOL_MEMORY: u64 = 32 << 20;

/// How much of a script the kernel reads (`BINPRM_BUF_SIZE` in include/uapi/linux/binfmts.h).
const LONGEST_INTERPRETER_LINE: usize = 256;

/// An open program or library. It stays the same file even if it is renamed or deleted.
pub struct Binary {
    /// The path that its processes see. It is for messages and lines only.
    pub path: PathBuf,
    /// Device and inode.
    pub identity: (u64, u64),
    /// A path to the same file without blanks. The kernel resolves it while a probe is defined, in this process.
    pub link: PathBuf,
    fingerprint: Fingerprint,
    file: File,
}

/// What is the same for a file in every file system that shows it: its size, and the times of its last change (of the
/// content, of the inode).
#[derive(PartialEq, Eq)]
struct Fingerprint(u64, [i64; 2], [i64; 2]);

/// The file that a link in procfs leads to, open with O_PATH only. This can block.
///
/// # Errors
///
/// The link does not exist any more.
pub fn follow(link: &Path) -> io::Result<OwnedFd> {
    Ok(open(link, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)
}

impl Binary {
    /// Opens the file at this path in the root directory of a process. Symbolic links are followed there. This can
    /// block.
    ///
    /// # Errors
    ///
    /// The file does not exist, or is not a regular file that can be read.
    pub fn in_root_of(process: Pid, path: &Path, procfs: &Path) -> io::Result<Self> {
        let root = procfs.join(process.to_string()).join("root");
        let opened = open_regular_file_in(&root, path, Following::All, procfs, |_| true)?;
        Ok(Self::opened(opened, path, procfs))
    }

    /// Opens a file that is open with O_PATH only. This can block.
    ///
    /// # Errors
    ///
    /// It is not a regular file that can be read.
    pub fn of(file: OwnedFd, path: &Path, procfs: &Path) -> io::Result<Self> {
        Ok(Self::opened(reopen_regular_file(file, procfs, |_| true)?, path, procfs))
    }

    fn opened((file, metadata): (File, Metadata), path: &Path, procfs: &Path) -> Self {
        Self {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
            link: procfs.join(format!("self/fd/{}", file.as_raw_fd())),
            fingerprint: Fingerprint::of(&metadata),
            file,
        }
    }

    /// Its symbols.
    ///
    /// # Errors
    ///
    /// It is not a program or library of this machine.
    pub fn elf(&self) -> Result<ElfFile<'_>, ElfError> {
        symbols(&self.file)
    }

    /// The file with the symbols that were stripped from it.
    pub fn debug_file(&self, search: &DebugFileSearch) -> Option<File> {
        search.find(&self.file, &MemoryBudget::new(SYMBOL_MEMORY))
    }

    /// What it says about the libraries that it needs. `None` if it is no 64-bit ELF file.
    pub fn linkage(&self) -> Option<Linkage> {
        Linkage::of(&self.file).ok()
    }

    /// The program that the kernel runs for this file if it is a script (execve(2)).
    pub fn interpreter(&self) -> Option<PathBuf> {
        let mut beginning = [0; LONGEST_INTERPRETER_LINE];
        let length = self.file.read_at(&mut beginning, 0).ok()?;
        let line = beginning[..length].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
        let path = line.trim_ascii_start().split(u8::is_ascii_whitespace).next()?;
        (!path.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(path)))
    }

    /// Whether both can be the same file, in different file systems.
    pub fn may_be_same_file(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

/// The symbols of a file.
///
/// # Errors
///
/// It is not a program or library of this machine.
pub fn symbols(file: &File) -> Result<ElfFile<'_>, ElfError> {
    ElfFile::parse_native(file, &MemoryBudget::new(SYMBOL_MEMORY))
}

impl Fingerprint {
    fn of(metadata: &Metadata) -> Self {
        let modified = [metadata.mtime(), metadata.mtime_nsec()];
        Self(metadata.size(), modified, [metadata.ctime(), metadata.ctime_nsec()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn here(path: &Path) -> io::Result<Binary> {
        Binary::in_root_of(std::process::id(), path, Path::new("/proc"))
    }

    #[test]
    fn a_file_is_opened_by_its_path_in_a_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "x").unwrap();
        symlink("file", path("link")).unwrap();
        let file = here(&path("file")).unwrap();
        assert_eq!(here(&path("link")).unwrap().identity, file.identity);
        assert!(here(directory.path()).is_err() && here(&path("none")).is_err());
    }

    #[test]
    fn a_deleted_file_can_be_opened() {
        let file = tempfile::tempfile().unwrap();
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let binary =
            Binary::of(follow(Path::new(&link)).unwrap(), Path::new("/deleted"), Path::new("/proc")).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(binary.identity, (metadata.dev(), metadata.ino()));
    }
}
