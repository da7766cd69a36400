//! Opens plugins that nobody else can change.
//!
//! `manager` runs as root and loads code, so whoever can change that code, or what its path leads to, is root. A path is
//! walked element by element, each opened without following a link and checked by its descriptor. The next element is
//! looked up in that very directory. So nothing can be swapped between the check and the use.

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

/// Who may be able to change a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Nobody but root and the user that this runs as.
    Required,
    /// Anybody: so the user said.
    Waived,
}

/// As many as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Opens the regular file at this path, if it can be trusted, and everything on the way to it.
///
/// # Errors
///
/// What is wrong with the file, to be said after its path.
pub fn open(path: &Path, trust: Trust) -> Result<File, String> {
    let path = std::path::absolute(path).map_err(|error| format!("cannot be found: {error}"))?;
    let mut walk =
        Walk { trust, us: geteuid(), place: None, path: PathBuf::new(), ahead: Vec::new(), links: 0 };
    walk.plan(&path);
    walk.arrive()
}

struct Walk {
    trust: Trust,
    us: Uid,
    /// The directory that the walk has come to; none before the first step.
    place: Option<OwnedFd>,
    /// The path of that directory, without links.
    path: PathBuf,
    /// The names to go through, the next one last.
    ahead: Vec<OsString>,
    links: usize,
}

impl Walk {
    /// Puts this path before what is still ahead.
    fn plan(&mut self, path: &Path) {
        if path.is_absolute() {
            self.place = None;
        }
        self.ahead.extend(path.components().rev().filter_map(|component| match component {
            Component::CurDir | Component::Prefix(_) => None,
            component => Some(component.as_os_str().to_owned()),
        }));
    }

    fn arrive(mut self) -> Result<File, String> {
        while let Some(name) = self.ahead.pop() {
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
                    (self.place, self.path) = (Some(element), path);
                }
                libc::S_IFREG if self.ahead.is_empty() => {
                    self.check(&path, &status)?;
                    return reopen(&element);
                }
                _ if self.ahead.is_empty() => break,
                _ => return Err(format!("cannot be read: {} is no directory", path.display())),
            }
        }
        Err("is not a regular file".to_owned())
    }

    /// The element itself, even if it is a link. Nothing of it is touched: opening a device can do things.
    fn look_up(&self, name: &OsStr) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match &self.place {
            Some(directory) => openat(directory, name, flags, Mode::empty()),
            None => open_path(name, flags, Mode::empty()),
        }
    }

    /// What `..` leads to may change while we are here. So the way is walked anew from its beginning, but for its end.
    fn go_up(&mut self) {
        let mut path = std::mem::take(&mut self.path);
        path.pop();
        self.plan(&path);
    }

    fn follow(&mut self, link: &OwnedFd) -> Result<(), String> {
        self.links += 1;
        let target = match readlinkat(link, "") {
            _ if self.links > MOST_LINKS => Err(Errno::ELOOP),
            target => target,
        };
        self.plan(Path::new(&target.map_err(|errno| format!("cannot be read: {}", errno.desc()))?));
        Ok(())
    }

    fn check(&self, path: &Path, status: &FileStat) -> Result<(), String> {
        let owner = Uid::from_raw(status.st_uid);
        let is = |kind| status.st_mode & libc::S_IFMT == kind;
        // Of what lies in a sticky directory, only its owner can rename or remove it, and that is checked next.
        let is_shared = is(libc::S_IFDIR) && status.st_mode & libc::S_ISVTX != 0;
        // A link's own mode says nothing.
        let is_writable = status.st_mode & 0o022 != 0 && !is(libc::S_IFLNK);
        let (problem, remedy) = if self.trust == Trust::Waived {
            return Ok(());
        } else if !owner.is_root() && owner != self.us {
            let what = if is(libc::S_IFLNK) { "the link " } else { "" };
            (format!("{what}{} belongs to user {owner}", path.display()), "chown -h root")
        } else if is_writable && !is_shared {
            let whom = if status.st_mode & 0o002 != 0 { "everybody" } else { "its group" };
            let mode = status.st_mode & 0o7777;
            (format!("{} can be written to by {whom} (mode {mode:04o})", path.display()), "chmod go-w")
        } else {
            return Ok(());
        };
        let shown = path.to_string_lossy();
        let quoted = shlex::try_quote(&shown).unwrap_or_else(|_| shown.clone());
        Err(format!(
            "is not trusted: {problem}; for development give --allow-untrusted, else change that ({remedy} {quoted})"
        ))
    }
}

/// Opens for reading what is open as a place in the file system only.
fn reopen(element: &OwnedFd) -> Result<File, String> {
    let path = format!("/proc/self/fd/{}", element.as_raw_fd());
    // Somebody's lease on the file would be waited for without O_NONBLOCK.
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

    /// A directory of ours with `x.so` in it.
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
    fn every_way_to_a_file_of_ours_leads_there() {
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
    fn what_is_no_file_is_told() {
        let directory = directory();
        let at = |name: &str| directory.path().join(name);
        symlink("round", at("round")).unwrap();
        assert!(refusal(&at("round")).contains("symbolic links"));
        assert!(refusal(&at("nothing")).contains("No such file"));
        assert!(refusal(&at("x.so/more")).contains("no directory"));
        for other in [directory.path(), Path::new("/"), Path::new("/dev/null")] {
            assert_eq!(refusal(other), "is not a regular file");
        }
    }

    #[test]
    fn what_others_can_write_to_is_refused_and_named() {
        let directory = directory();
        let file = directory.path().join("x.so");
        for (mode, whom) in [(0o664, "its group (mode 0664)"), (0o646, "everybody (mode 0646)")] {
            set_mode(&file, mode);
            assert!(refusal(&file).contains(whom), "{}", refusal(&file));
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
