//! The lock that marks the instance of a living session.
//!
//! It is an `flock` on the directory of the instance. It works across containers and is released when its process ends, so
//! an instance without it belongs to a dead session.

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
    // Separate from `dir`, so that a duplicate of that descriptor cannot prolong the lock.
    _lock: File,
}

/// Locks an instance, and waits while it is locked elsewhere. `None` if the directory was removed or replaced.
pub(crate) fn claim(path: &Path) -> Result<Option<Claim>> {
    let Some(file) = open(path)? else { return Ok(None) };
    uninterrupted(|| file.lock().map_err(errno)).map_err(|errno| Error::io("lock", path, errno))?;
    claimed(path, file)
}

/// Locks an instance that is not locked. `None` if it is locked elsewhere, or removed.
pub(crate) fn try_claim(path: &Path) -> Result<Option<Claim>> {
    let Some(file) = open(path)? else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => claimed(path, file),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path, error)),
    }
}

/// Between opening and locking, the directory may have been removed and created again. A lock on the old directory has no
/// effect.
fn claimed(path: &Path, lock: File) -> Result<Option<Claim>> {
    if !is_still_at(path, &lock).map_err(|error| Error::io("examine", path, error))? {
        return Ok(None);
    }
    match Dir::open(path) {
        Ok(dir) => Ok(Some(Claim { dir: Arc::new(dir), _lock: lock })),
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_still_at(path: &Path, opened: &File) -> io::Result<bool> {
    let locked = opened.metadata()?;
    match path.metadata() {
        Ok(found) => Ok((found.dev(), found.ino()) == (locked.dev(), locked.ino())),
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
