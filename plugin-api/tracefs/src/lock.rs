//! Which instances belong to a living session: those whose directory is locked.
//!
//! The lock is `flock` on the directory of the instance. It works across processes and containers
//! and dies with its holder, so an unlocked instance of ours is the orphan of a dead session.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;

use crate::dir::{Dir, uninterrupted};
use crate::error::{Error, Result};

/// An instance's directory, locked until dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) dir: Arc<Dir>,
    // Kept apart from `dir`, so that a duplicate of that descriptor cannot prolong the lock.
    _lock: File,
}

/// Locks an instance, waiting for another holder. `None` if the directory is gone, or is another
/// one than the one that was locked.
pub(crate) fn claim(path: &Path) -> Result<Option<Claim>> {
    let Some(file) = open(path)? else { return Ok(None) };
    uninterrupted(|| file.lock().map_err(errno)).map_err(|errno| Error::io("lock", path, errno))?;
    claimed(path, file)
}

/// Locks an instance that nobody else holds. `None` if somebody does, or the directory is gone.
pub(crate) fn try_claim(path: &Path) -> Result<Option<Claim>> {
    let Some(file) = open(path)? else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => claimed(path, file),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path, error)),
    }
}

/// Between opening and locking, a sweeper may have removed the directory, and somebody may have made
/// a new one of that name: a lock on the old one protects nothing.
fn claimed(path: &Path, lock: File) -> Result<Option<Claim>> {
    if !is_still_at(path, &lock).map_err(|error| Error::io("look at", path, error))? {
        return Ok(None);
    }
    match Dir::open(path) {
        Ok(dir) => Ok(Some(Claim { dir: Arc::new(dir), _lock: lock })),
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_still_at(path: &Path, opened: &File) -> io::Result<bool> {
    let ours = opened.metadata()?;
    match path.metadata() {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("open", path, error)),
    }
}

fn errno(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO))
}
