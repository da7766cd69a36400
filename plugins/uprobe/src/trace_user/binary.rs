//! Programs and libraries, as the traced processes see them.

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

/// A file that is open, so that it stays the same whatever becomes of its name.
pub struct Binary {
    /// The path by which its processes know it, to be shown.
    pub path: PathBuf,
    /// Tells it from all other files.
    pub identity: (u64, u64),
    /// By this the kernel reaches the same file: a path without blanks, good for this process only.
    pub link: PathBuf,
    looks: Looks,
    file: File,
}

/// What is the same of a file wherever it is seen: its size, and when it and its inode were changed.
#[derive(PartialEq, Eq)]
struct Looks(u64, [i64; 2], [i64; 2]);

impl Binary {
    /// Opens the file that one of the kernel's links leads to.
    ///
    /// # Errors
    ///
    /// It is gone, or not to be read.
    pub fn at_link(link: &Path, path: &Path, procfs: &Path) -> io::Result<Self> {
        let file = open(link, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        Self::of(file, path, procfs)
    }

    /// Opens the file that a process sees at this path. Links lead to where they lead for that process.
    ///
    /// # Errors
    ///
    /// There is none, or it is not to be read.
    pub fn in_root_of(process: i32, path: &Path, procfs: &Path) -> io::Result<Self> {
        let root = procfs.join(process.to_string()).join("root");
        let root = open(&root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        Self::of(openat2(root.as_fd(), path, how)?, path, procfs)
    }

    /// With O_PATH nothing was opened yet that might be a device, or hang.
    fn of(file: OwnedFd, path: &Path, procfs: &Path) -> io::Result<Self> {
        let link = |file: &dyn AsRawFd| procfs.join(format!("self/fd/{}", file.as_raw_fd()));
        let metadata = link(&file).metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no ordinary file"));
        }
        let file = File::open(link(&file))?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Self { path: path.to_owned(), identity, link: link(&file), looks: Looks::of(&metadata), file })
    }

    /// Its functions.
    ///
    /// # Errors
    ///
    /// It is no program that can be traced.
    pub fn elf(&self) -> Result<ElfFile<'_>, ElfError> {
        ElfFile::parse_native(&self.file, &MemoryBudget::new(SYMBOL_MEMORY))
    }

    /// Whether it may be the other one, seen through another file system.
    pub fn looks_like(&self, other: &Self) -> bool {
        self.looks == other.looks
    }
}

impl Looks {
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
        Binary::in_root_of(std::process::id().cast_signed(), path, Path::new("/proc"))
    }

    #[test]
    fn only_ordinary_files_are_opened() {
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
    fn a_file_without_a_name_is_still_reached() {
        let file = tempfile::tempfile().unwrap();
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let binary = Binary::at_link(Path::new(&link), Path::new("/gone"), Path::new("/proc")).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(binary.identity, (metadata.dev(), metadata.ino()));
    }
}
