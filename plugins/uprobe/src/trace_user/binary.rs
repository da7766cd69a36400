//! Programs and libraries of the traced processes.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use trace_symbols::{ElfError, ElfFile, MemoryBudget};

/// What the symbols of a file may take while they are read, in bytes. Those of the largest programs take much less.
const SYMBOL_MEMORY: u64 = 512 << 20;

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

impl Binary {
    /// Opens the file of a link in procfs.
    ///
    /// # Errors
    ///
    /// The link does not exist any more, or the file is not a regular file that can be read.
    pub fn at_link(link: &Path, path: &Path, procfs: &Path) -> io::Result<Self> {
        let file = open(link, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        Self::of(file, path, procfs)
    }

    /// Opens the file at this path in the root directory of a process. Symbolic links are followed there.
    ///
    /// # Errors
    ///
    /// The file does not exist, or is not a regular file that can be read.
    pub fn in_root_of(process: u32, path: &Path, procfs: &Path) -> io::Result<Self> {
        let root = procfs.join(process.to_string()).join("root");
        let root = open(&root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        Self::of(openat2(root.as_fd(), path, how)?, path, procfs)
    }

    /// `file` is open with O_PATH only, so that neither a device nor a FIFO was opened.
    fn of(file: OwnedFd, path: &Path, procfs: &Path) -> io::Result<Self> {
        let link = |file: &dyn AsRawFd| procfs.join(format!("self/fd/{}", file.as_raw_fd()));
        let metadata = link(&file).metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let file = File::open(link(&file))?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Self {
            path: path.to_owned(),
            identity,
            link: link(&file),
            fingerprint: Fingerprint::of(&metadata),
            file,
        })
    }

    /// Its symbols.
    ///
    /// # Errors
    ///
    /// It is not a program or library of this machine.
    pub fn elf(&self) -> Result<ElfFile<'_>, ElfError> {
        ElfFile::parse_native(&self.file, &MemoryBudget::new(SYMBOL_MEMORY))
    }

    /// Whether both can be the same file, in different file systems.
    pub fn may_be_same_file(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
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
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "x").unwrap();
        symlink("file", path("link")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        let file = here(&path("file")).unwrap();
        assert_eq!(here(&path("link")).unwrap().identity, file.identity);
        assert!(
            here(&path("fifo")).is_err() && here(directory.path()).is_err() && here(&path("none")).is_err()
        );
    }

    #[test]
    fn a_deleted_file_can_be_opened() {
        let file = tempfile::tempfile().unwrap();
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let binary = Binary::at_link(Path::new(&link), Path::new("/deleted"), Path::new("/proc")).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(binary.identity, (metadata.dev(), metadata.ino()));
    }
}
