//! The files in one open directory of tracefs.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};

use crate::error::{Error, Result};

/// An open directory of tracefs. Unlike an open file, it does not prevent the removal of its instance.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    pub(crate) fn open(path: &Path) -> Result<Dir> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd =
            nix::fcntl::open(path, flags, Mode::empty()).map_err(|errno| Error::io("open", path, errno))?;
        Ok(Dir { fd, path: path.to_path_buf() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file, close-on-exec.
    pub(crate) fn open_file(&self, name: impl AsRef<Path>, flags: OFlag) -> Result<File> {
        let name = name.as_ref();
        openat(&self.fd, name, flags | OFlag::O_CLOEXEC, Mode::empty())
            .map(File::from)
            .map_err(|errno| self.error("open", name, errno))
    }

    /// Writes `text` in one write. If the file is a list, this appends to it.
    pub(crate) fn write(&self, name: impl AsRef<Path>, text: &str) -> Result<()> {
        let file = self.open_file(&name, OFlag::O_WRONLY)?;
        self.write_to(file, name.as_ref(), text)
    }

    /// Writes `text` in one write to an open file. The name is for the error message.
    pub(crate) fn write_to(&self, mut file: File, name: &Path, text: &str) -> Result<()> {
        file.write_all(text.as_bytes())
            .map_err(|error| self.error(&format!("write {} to", quoted(text)), name, error))
    }

    /// Empties a file by opening it with O_TRUNC, as the shell's `>` does.
    pub(crate) fn empty(&self, name: &str) -> Result<()> {
        self.open_file(name, OFlag::O_WRONLY | OFlag::O_TRUNC).map(drop)
    }

    /// The whole text of a file. Invalid UTF-8 is replaced.
    pub(crate) fn read(&self, name: impl AsRef<Path>) -> Result<String> {
        let name = name.as_ref();
        let mut bytes = Vec::new();
        self.open_file(name, OFlag::O_RDONLY)?
            .read_to_end(&mut bytes)
            .map_err(|error| self.error("read", name, error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(crate) fn has(&self, name: impl AsRef<Path>) -> bool {
        fstatat(&self.fd, name.as_ref(), AtFlags::empty()).is_ok()
    }

    /// The names of the directories in `name`, sorted.
    pub(crate) fn directories_in(&self, name: &str) -> Result<Vec<String>> {
        let path = self.path.join(name);
        let failed = |error| Error::io("list", &path, error);
        let mut names = Vec::new();
        for entry in path.read_dir().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir())
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    pub(crate) fn error(&self, action: &str, name: &Path, source: impl Into<std::io::Error>) -> Error {
        Error::io(action, &self.path.join(name), source)
    }
}

/// Whether `name` is a single path component, and not `.` or `..`.
pub(crate) fn is_plain_name(name: &str) -> bool {
    Path::new(name).file_name() == Some(OsStr::new(name)) && !name.contains('\0')
}

/// Repeats a system call while it is interrupted by signals.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => continue,
            result => return result,
        }
    }
}

fn quoted(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.trim_end().char_indices().nth(SHOWN) {
        Some((end, _)) => format!("'{}…'", &text[..end]),
        None => format!("'{}'", text.trim_end()),
    }
}
