use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

/// Opens a regular file, if it is as expected. See [`reopen_regular_file`].
///
/// # Errors
///
/// As [`reopen_regular_file`].
pub fn open_regular_file(
    path: &Path,
    procfs: &Path,
    is_expected: impl FnOnce(&Metadata) -> bool,
) -> io::Result<(File, Metadata)> {
    let file = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    reopen_regular_file(file, procfs, is_expected)
}

/// How the path of a file is followed from a root directory, which it never leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Following {
    /// Symbolic links and mounts are followed.
    All,
    /// Only symbolic links.
    Links,
    /// Only mounts.
    Mounts,
}

/// Opens a regular file at a path that begins in this root directory.
///
/// # Errors
///
/// As [`reopen_regular_file`].
pub fn open_regular_file_in(
    root: &Path,
    path: &Path,
    following: Following,
    procfs: &Path,
    is_expected: impl FnOnce(&Metadata) -> bool,
) -> io::Result<(File, Metadata)> {
    let root = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlag::RESOLVE_IN_ROOT
        | match following {
            Following::All => ResolveFlag::RESOLVE_NO_MAGICLINKS,
            Following::Links => ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV,
            Following::Mounts => ResolveFlag::RESOLVE_NO_SYMLINKS,
        };
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(resolve);
    reopen_regular_file(openat2(&root, path, how)?, procfs, is_expected)
}

/// Opens a regular file that is open with O_PATH only, if it is as expected. Anything else that a program has put there, such as
/// a device or a FIFO, is not opened. It is opened without waiting for a process that has a lease on it.
///
/// This can block. Use [`BlockingCalls`](crate::BlockingCalls), and leave out [FUSE file systems](crate::FuseFileSystems).
///
/// # Errors
///
/// The file is not as expected, or cannot be opened.
pub fn reopen_regular_file(
    file: OwnedFd,
    procfs: &Path,
    is_expected: impl FnOnce(&Metadata) -> bool,
) -> io::Result<(File, Metadata)> {
    let file = File::from(file);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if !is_expected(&metadata) {
        return Err(io::Error::other("the file was replaced"));
    }
    let link = procfs.join(format!("self/fd/{}", file.as_raw_fd()));
    let opened = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(link);
    let file = opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EWOULDBLOCK) => io::Error::other("a process has a lease on it (F_SETLEASE)"),
        _ => error,
    })?;
    Ok((file, metadata))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use nix::libc;
    use nix::sys::signal::{SigHandler, Signal, signal};

    use super::*;

    fn open(path: &Path) -> io::Result<File> {
        open_regular_file(path, Path::new("/proc"), |_| true).map(|(file, _)| file)
    }

    #[test]
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "x").unwrap();
        symlink("file", path("link")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        let inode = |name| open(&path(name)).unwrap().metadata().unwrap().ino();
        assert_eq!(inode("link"), inode("file"));
        assert!(["fifo", "none", "."].iter().all(|name| open(&path(name)).is_err()));
        assert!(open_regular_file(&path("file"), Path::new("/proc"), |_| false).is_err());
    }

    #[test]
    fn links_do_not_leave_the_root_directory() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("file"), "x").unwrap();
        symlink("/file", root.path().join("link")).unwrap();
        symlink(std::env::current_exe().unwrap(), root.path().join("outside")).unwrap();
        let is_open = |root: &Path, path: &str, following| {
            open_regular_file_in(root, Path::new(path), following, Path::new("/proc"), |_| true).is_ok()
        };
        let (directory, own) = (root.path(), Path::new("/"));
        assert!(
            is_open(directory, "/link", Following::Links) && is_open(directory, "../file", Following::Mounts)
        );
        assert!(
            !is_open(directory, "/outside", Following::All)
                && !is_open(directory, "/link", Following::Mounts)
        );
        let maps = format!("/proc/{}/maps", std::process::id());
        assert!(is_open(own, &maps, Following::All) && is_open(own, &maps, Following::Mounts));
        assert!(!is_open(own, &maps, Following::Links));
    }

    #[test]
    fn a_file_with_a_write_lease_is_refused_at_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // The kernel asks the holder of the lease for it.
        // SAFETY: no handler is installed.
        unsafe { signal(Signal::SIGIO, SigHandler::SigIgn) }.unwrap();
        // SAFETY: the argument is a plain number.
        let leased = unsafe { libc::fcntl(file.as_file().as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) };
        assert_eq!(leased, 0);
        let began = std::time::Instant::now();
        let error = open(file.path()).unwrap_err();
        assert!(error.to_string().contains("lease"), "{error}");
        assert!(began.elapsed().as_secs() < 10);
    }
}
