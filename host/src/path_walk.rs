//! Resolves a path element by element, so that each element can be checked before it is used.
//!
//! An element is opened without following links, checked by its descriptor, and used to look up the next one, so no
//! element can be replaced between check and use.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fstat, mkdirat};
use nix::unistd::Uid;

use crate::fuse;

/// The kernel's own limit (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The resolution of a path.
pub struct PathWalk {
    /// The directory reached so far; `None` before the first element.
    directory: Option<OwnedFd>,
    /// The path of that directory, without links.
    path: PathBuf,
    /// The names that are not resolved yet, the next one last.
    remaining: Vec<OsString>,
    links: usize,
    /// That of the directory reached so far.
    device: Option<u64>,
}

/// An element of a path, opened with `O_PATH`. A link is not followed.
pub struct Element {
    pub path: PathBuf,
    pub file: OwnedFd,
    /// The type of the file system that begins here, if any user may have mounted it: see [`fuse`].
    pub fuse: Option<String>,
    status: FileStat,
}

/// What an element of a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Directory,
    Link,
    RegularFile,
    Other,
}

impl PathWalk {
    /// Begins at the root directory, or at the current one if the path is relative.
    ///
    /// # Errors
    ///
    /// There is no current directory.
    pub fn along(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let mut walk =
            Self { directory: None, path: PathBuf::new(), remaining: Vec::new(), links: 0, device: None };
        walk.prepend(&path);
        Ok(walk)
    }

    /// Opens the next element. It is the next one again until it is [entered](Self::enter). `None` at the end of the path.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn next(&mut self) -> nix::Result<Option<Element>> {
        while self.remaining.last().is_some_and(|name| name == "..") {
            self.go_up();
        }
        let Some(name) = self.remaining.last() else { return Ok(None) };
        let file = self.look_up(name)?;
        let status = fstat(&file)?;
        // What serves the root directory serves this program, too.
        let is_mounted = self.device.is_some_and(|device| device != status.st_dev);
        let fuse = if is_mounted { fuse::type_of(&file) } else { None };
        Ok(Some(Element { path: self.path.join(name), file, fuse, status }))
    }

    /// The path of the next element.
    pub fn next_path(&self) -> PathBuf {
        self.remaining.last().map_or_else(|| self.path.clone(), |name| self.path.join(name))
    }

    /// Whether the next element is the last one.
    pub fn is_at_last(&self) -> bool {
        self.remaining.len() == 1
    }

    /// Continues in this directory, or with the target of this link.
    ///
    /// # Errors
    ///
    /// It is neither, or there are too many links.
    pub fn enter(&mut self, element: Element) -> nix::Result<()> {
        self.remaining.pop();
        match element.kind() {
            Kind::Directory => {
                self.device = Some(element.status.st_dev);
                (self.directory, self.path) = (Some(element.file), element.path);
            }
            Kind::Link => self.follow(&element.file)?,
            Kind::RegularFile | Kind::Other => return Err(Errno::ENOTDIR),
        }
        Ok(())
    }

    /// Makes the next element as a directory with this mode.
    ///
    /// # Errors
    ///
    /// It exists, or cannot be made.
    pub fn make_directory(&self, mode: Mode) -> nix::Result<()> {
        let (Some(directory), Some(name)) = (&self.directory, self.remaining.last()) else {
            return Err(Errno::EEXIST);
        };
        mkdirat(directory, name.as_os_str(), mode)
    }

    /// Puts this path before the remaining names.
    fn prepend(&mut self, path: &Path) {
        if path.is_absolute() {
            (self.directory, self.device, self.path) = (None, None, PathBuf::new());
        }
        self.remaining.extend(path.components().rev().filter_map(|component| match component {
            Component::CurDir | Component::Prefix(_) => None,
            component => Some(component.as_os_str().to_owned()),
        }));
    }

    /// O_PATH, because opening a device can have side effects.
    fn look_up(&self, name: &OsStr) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match &self.directory {
            Some(directory) => openat(directory, name, flags, Mode::empty()),
            None => open(name, flags, Mode::empty()),
        }
    }

    /// Resolves the path without its last element from the beginning: the directory may have been moved, which changes
    /// `..`.
    fn go_up(&mut self) {
        self.remaining.pop();
        let mut path = std::mem::take(&mut self.path);
        path.pop();
        self.prepend(&path);
    }

    fn follow(&mut self, link: &OwnedFd) -> nix::Result<()> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::ELOOP);
        }
        let target = readlinkat(link, "")?;
        self.prepend(Path::new(&target));
        Ok(())
    }
}

impl Element {
    pub fn kind(&self) -> Kind {
        match self.status.st_mode & libc::S_IFMT {
            libc::S_IFDIR => Kind::Directory,
            libc::S_IFLNK => Kind::Link,
            libc::S_IFREG => Kind::RegularFile,
            _ => Kind::Other,
        }
    }

    pub fn owner(&self) -> Uid {
        Uid::from_raw(self.status.st_uid)
    }

    pub fn group(&self) -> u32 {
        self.status.st_gid
    }

    /// The permissions, with the bits for set-user-ID, set-group-ID and sticky.
    pub fn mode(&self) -> u32 {
        self.status.st_mode & 0o7777
    }

    /// Whether its group or all users can write to it. The mode of a link has no meaning.
    pub fn is_writable_by_others(&self) -> bool {
        self.mode() & 0o022 != 0 && self.kind() != Kind::Link
    }

    /// Sets the mode of this directory.
    ///
    /// # Errors
    ///
    /// It is not a directory, or belongs to another user.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        // A descriptor with O_PATH cannot be used for that.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = File::from(openat(&self.file, ".", flags, Mode::empty())?);
        directory.set_permissions(Permissions::from_mode(mode))
    }

    /// Whether only the owners of this directory and of what is in it can rename or remove that.
    pub fn is_sticky(&self) -> bool {
        self.mode() & libc::S_ISVTX != 0
    }
}
