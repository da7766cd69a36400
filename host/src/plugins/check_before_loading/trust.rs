//! Opens plugins that other users cannot change.
//!
//! `manager` runs as root and loads code, so a user who can change that code, or an element of its path, gains root
//! privileges. The path is resolved element by element. Each element is opened without following links, checked by its
//! descriptor, and used to look up the next one, so no element can be replaced between check and use.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open as open_path, openat, readlinkat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::unistd::{Uid, geteuid};

/// Which users may be able to change a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Only root and the user of this process.
    Required,
    /// Any user (`--allow-untrusted`).
    Waived,
}

/// The kernel's own limit (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Opens the regular file at this path, if the file and all elements of the path are trusted.
///
/// # Errors
///
/// The problem, as text that follows the path in a message.
pub fn open(path: &Path, trust: Trust) -> Result<File, String> {
    let path = std::path::absolute(path).map_err(|error| format!("cannot be found: {error}"))?;
    let mut resolution = Resolution {
        trust,
        user: geteuid(),
        directory: None,
        path: PathBuf::new(),
        remaining: Vec::new(),
        links: 0,
    };
    resolution.prepend(&path);
    resolution.open_file()
}

/// The resolution of a path.
struct Resolution {
    trust: Trust,
    user: Uid,
    /// The directory reached so far; `None` before the first element.
    directory: Option<OwnedFd>,
    /// The path of that directory, without links.
    path: PathBuf,
    /// The names that are not resolved yet, the next one last.
    remaining: Vec<OsString>,
    links: usize,
}

impl Resolution {
    /// Puts this path before the remaining names.
    fn prepend(&mut self, path: &Path) {
        if path.is_absolute() {
            self.directory = None;
        }
        self.remaining.extend(path.components().rev().filter_map(|component| match component {
            Component::CurDir | Component::Prefix(_) => None,
            component => Some(component.as_os_str().to_owned()),
        }));
    }

    fn open_file(mut self) -> Result<File, String> {
        while let Some(name) = self.remaining.pop() {
            if name == ".." {
                self.go_up();
                continue;
            }
            let path = self.path.join(&name);
            let element = self.look_up(&name).map_err(|errno| format!("cannot be read: {}", errno.desc()))?;
            let status = fstat(&element).map_err(|errno| format!("cannot be read: {}", errno.desc()))?;
            match status.st_mode & libc::S_IFMT {
                libc::S_IFLNK => {
                    self.check(&path, &status)?;
                    self.follow(&element)?;
                }
                libc::S_IFDIR => {
                    self.check(&path, &status)?;
                    (self.directory, self.path) = (Some(element), path);
                }
                libc::S_IFREG if self.remaining.is_empty() => {
                    self.check(&path, &status)?;
                    return reopen(&element);
                }
                _ if self.remaining.is_empty() => break,
                _ => return Err(format!("cannot be read: {} is not a directory", path.display())),
            }
        }
        Err("is not a regular file".to_owned())
    }

    /// Opens the element itself, even if it is a link. O_PATH, because opening a device can have side effects.
    fn look_up(&self, name: &OsStr) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match &self.directory {
            Some(directory) => openat(directory, name, flags, Mode::empty()),
            None => open_path(name, flags, Mode::empty()),
        }
    }

    /// Resolves the path without its last element from the beginning: the directory may have been moved, which changes
    /// `..`.
    fn go_up(&mut self) {
        let mut path = std::mem::take(&mut self.path);
        path.pop();
        self.prepend(&path);
    }

    fn follow(&mut self, link: &OwnedFd) -> Result<(), String> {
        self.links += 1;
        let target = match readlinkat(link, "") {
            _ if self.links > MOST_LINKS => Err(Errno::ELOOP),
            target => target,
        };
        self.prepend(Path::new(&target.map_err(|errno| format!("cannot be read: {}", errno.desc()))?));
        Ok(())
    }

    fn check(&self, path: &Path, status: &FileStat) -> Result<(), String> {
        let owner = Uid::from_raw(status.st_uid);
        let is = |kind| status.st_mode & libc::S_IFMT == kind;
        // In a sticky directory, only the owner of an entry can rename or remove it. The entry is checked next.
        let is_shared = is(libc::S_IFDIR) && status.st_mode & libc::S_ISVTX != 0;
        // The mode of a link has no meaning.
        let is_writable = status.st_mode & 0o022 != 0 && !is(libc::S_IFLNK);
        let (problem, remedy) = if self.trust == Trust::Waived {
            return Ok(());
        } else if !owner.is_root() && owner != self.user {
            let what = if is(libc::S_IFLNK) { "the link " } else { "" };
            (format!("{what}{} belongs to user {owner}", path.display()), "chown -h root")
        } else if is_writable && !is_shared {
            let writers = if status.st_mode & 0o002 != 0 { "all users" } else { "its group" };
            let mode = status.st_mode & 0o7777;
            (format!("{} can be written to by {writers} (mode {mode:04o})", path.display()), "chmod go-w")
        } else {
            return Ok(());
        };
        let shown = path.to_string_lossy();
        let quoted = shlex::try_quote(&shown).unwrap_or_else(|_| shown.clone());
        Err(format!(
            "is not trusted: {problem}; change that ({remedy} {quoted}), or give --allow-untrusted for development"
        ))
    }
}

/// Reopens for reading a file that is open with O_PATH.
fn reopen(element: &OwnedFd) -> Result<File, String> {
    let path = format!("/proc/self/fd/{}", element.as_raw_fd());
    // With O_NONBLOCK, because opening would otherwise wait for another process's lease on the file.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    opened.map_err(|error| format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    /// A directory that contains `x.so`, both owned by this user.
    fn directory() -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.so");
        fs::write(&file, "code").unwrap();
        set_mode(&file, 0o644);
        directory
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn content(path: &Path) -> String {
        let mut text = String::new();
        open(path, Trust::Required).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn refusal(path: &Path) -> String {
        open(path, Trust::Required).unwrap_err()
    }

    #[test]
    fn every_path_to_a_trusted_file_is_resolved() {
        let directory = directory();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        set_mode(&at("sub"), 0o755);
        symlink("../x.so", at("sub/up")).unwrap();
        symlink(at("sub"), at("absolute")).unwrap();
        for way in ["x.so", "./x.so", "sub/../x.so", "sub/up", "absolute/up", "absolute/../x.so"] {
            assert_eq!(content(&at(way)), "code", "{way}");
        }
    }

    #[test]
    fn paths_without_a_regular_file_are_refused() {
        let directory = directory();
        let at = |name: &str| directory.path().join(name);
        symlink("round", at("round")).unwrap();
        assert!(refusal(&at("round")).contains("symbolic links"));
        assert!(refusal(&at("nothing")).contains("No such file"));
        assert!(refusal(&at("x.so/more")).contains("not a directory"));
        for other in [directory.path(), Path::new("/"), Path::new("/dev/null")] {
            assert_eq!(refusal(other), "is not a regular file");
        }
    }

    #[test]
    fn elements_writable_by_others_are_refused_and_named() {
        let directory = directory();
        let file = directory.path().join("x.so");
        for (mode, writers) in [(0o664, "its group (mode 0664)"), (0o646, "all users (mode 0646)")] {
            set_mode(&file, mode);
            assert!(refusal(&file).contains(writers), "{}", refusal(&file));
            assert!(refusal(&file).contains(&format!("chmod go-w {}", file.display())));
            assert!(open(&file, Trust::Waived).is_ok());
        }
        set_mode(&file, 0o644);
        set_mode(directory.path(), 0o777);
        assert!(refusal(&file).contains(&format!("{} can be written", directory.path().display())));
        set_mode(directory.path(), 0o1777);
        assert_eq!(content(&file), "code");
    }
}
