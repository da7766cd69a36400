//! The files in one open directory of tracefs.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::error::{Error, Result};

/// In bytes. Most files are shorter. Their length is not known before they are read, and small reads cost as much as large ones.
const USUAL_LENGTH: usize = 4096;

/// An open directory of tracefs. Unlike an open file, it does not prevent the removal of its instance. It stays usable if tracefs
/// is unmounted lazily (`umount -l`).
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    pub(crate) fn open(path: &Path) -> Result<Dir> {
        Self::try_open(path).map_err(|errno| Error::io("open", path, errno))
    }

    pub(crate) fn try_open(path: &Path) -> nix::Result<Dir> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Dir { fd: nix::fcntl::open(path, flags, Mode::empty())?, path: path.to_path_buf() })
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
        let bytes = self.contents(name).map_err(|error| self.error("read", name, error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The whole content of a file.
    pub(crate) fn contents(&self, name: impl AsRef<Path>) -> std::io::Result<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.fd, name.as_ref(), flags, Mode::empty())?);
        let mut bytes = Vec::with_capacity(USUAL_LENGTH);
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The beginning of the text of a file, up to this many bytes, so that no file that is mounted over it is read without end.
    pub(crate) fn read_at_most(&self, name: impl AsRef<Path>, most: u64) -> Result<String> {
        let name = name.as_ref();
        let mut bytes = Vec::new();
        let file = self.open_file(name, OFlag::O_RDONLY)?;
        file.take(most).read_to_end(&mut bytes).map_err(|error| self.error("read", name, error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Removes a directory that is empty, or an instance.
    pub(crate) fn remove_directory(&self, name: impl AsRef<Path>) -> nix::Result<()> {
        unlinkat(&self.fd, name.as_ref(), UnlinkatFlags::RemoveDir)
    }

    pub(crate) fn has(&self, name: impl AsRef<Path>) -> bool {
        fstatat(&self.fd, name.as_ref(), AtFlags::empty()).is_ok()
    }

    /// The names of the directories in `name`, sorted.
    pub(crate) fn directories_in(&self, name: impl AsRef<Path>) -> Result<Vec<String>> {
        let name = name.as_ref();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let failed = |errno| self.error("list", name, errno);
        let mut directory = nix::dir::Dir::openat(&self.fd, name, flags, Mode::empty()).map_err(failed)?;
        let mut names = Vec::new();
        for entry in directory.iter() {
            let entry = entry.map_err(failed)?;
            if entry.file_type() == Some(nix::dir::Type::Directory)
                && let Ok(name) = entry.file_name().to_str()
                && is_plain_name(name)
            {
                names.push(name.to_owned());
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
