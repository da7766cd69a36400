//! Opens plugins that other users cannot change.
//!
//! `manager` runs as root and loads code, so a user who can change that code, or an element of its path, gains root
//! privileges.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Uid, getegid, geteuid, getgroups};

use crate::path_walk::{Element, Kind, PathWalk};

/// Which users may be able to change a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Only root and the user of this process.
    Required,
    /// Any user (`--allow-untrusted`).
    Waived,
}

/// Opens the regular file at this path, if the file and all elements of the path are trusted.
///
/// # Errors
///
/// The problem, as text that follows the path in a message.
pub fn open(path: &Path, trust: Trust) -> Result<File, String> {
    let mut walk = PathWalk::along(path).map_err(|error| format!("cannot be found: {error}"))?;
    let judge = Judge::new(trust);
    while let Some(element) = walk.next().map_err(cannot_read)? {
        match element.kind() {
            Kind::Directory | Kind::Link => {
                judge.check(&element)?;
                walk.enter(element).map_err(cannot_read)?;
            }
            Kind::RegularFile if walk.is_at_last() => {
                judge.check(&element)?;
                judge.check_readable(&element)?;
                return reopen(&element.file);
            }
            _ if walk.is_at_last() => break,
            _ => return Err(format!("cannot be read: {} is not a directory", element.path.display())),
        }
    }
    Err("is not a regular file".to_owned())
}

/// Checks this directory, and all elements of the path to it, as those of a plugin: also that no other user can make what is missing
/// in it. One that does not exist is trusted, unless another user can make it.
///
/// # Errors
///
/// The problem, as text that follows the path in a message.
pub fn check_directory(path: &Path, trust: Trust) -> Result<(), String> {
    let mut walk = PathWalk::along(path).map_err(|error| format!("cannot be found: {error}"))?;
    let judge = Judge::new(trust);
    // What is wrong with the directory reached so far if something is missing in it.
    let mut is_open = None;
    loop {
        match walk.next() {
            Ok(Some(element)) => {
                judge.check(&element)?;
                if element.kind() == Kind::Directory {
                    is_open = element.is_writable_by_others().then(|| writers(&element));
                }
                walk.enter(element).map_err(cannot_read)?;
            }
            Ok(None) => return is_open.map_or(Ok(()), |writers| judge.refuse_shared(&writers)),
            Err(Errno::ENOENT) => {
                let missing =
                    |writers| format!("{} does not exist, and {writers}", walk.next_path().display());
                return is_open.map(missing).map_or(Ok(()), |problem| judge.refuse_shared(&problem));
            }
            Err(errno) => return Err(cannot_read(errno)),
        }
    }
}

/// Who can write to this element.
fn writers(element: &Element) -> String {
    let writers = if element.mode() & 0o002 != 0 { "all users" } else { "its group" };
    format!("{} can be written to by {writers} (mode {:04o})", element.path.display(), element.mode())
}

fn cannot_read(errno: Errno) -> String {
    format!("cannot be read: {}", errno.desc())
}

/// Decides about the elements of a path.
struct Judge {
    trust: Trust,
    user: Uid,
}

impl Judge {
    fn new(trust: Trust) -> Self {
        Self { trust, user: geteuid() }
    }

    fn check(&self, element: &Element) -> Result<(), String> {
        let path = element.path.display();
        // In a sticky directory, only the owner of an entry can rename or remove it. The entry is checked next.
        let is_shared = element.kind() == Kind::Directory && element.is_sticky();
        let (problem, remedy) = if self.trust == Trust::Waived {
            return Ok(());
        } else if let Some(kind) = &element.fuse {
            (
                format!(
                    "{path} is on a file system of type {kind}, whose server can change files and owners at will"
                ),
                "copy the plugin to another one".to_owned(),
            )
        } else if !element.owner().is_root() && element.owner() != self.user {
            let what = if element.kind() == Kind::Link { "the link " } else { "" };
            (format!("{what}{path} belongs to user {}", element.owner()), change("chown -h root", element))
        } else if element.is_writable_by_others() && !is_shared {
            (writers(element), change("chmod go-w", element))
        } else {
            return Ok(());
        };
        Err(not_trusted(&problem, &remedy))
    }

    /// The error for a directory with the sticky bit in which another user could make what is missing.
    fn refuse_shared(&self, problem: &str) -> Result<(), String> {
        match self.trust {
            Trust::Required => Err(not_trusted(problem, "link the plugin with another directory")),
            Trust::Waived => Ok(()),
        }
    }

    /// Checks that the file can be read without any privilege, as it is when hooks are listed.
    fn check_readable(&self, element: &Element) -> Result<(), String> {
        let is_in = |group| {
            getegid().as_raw() == group
                || getgroups().is_ok_and(|groups| groups.iter().any(|one| one.as_raw() == group))
        };
        let needed = match element.group() {
            _ if element.owner() == self.user => 0o400,
            group if is_in(group) => 0o040,
            _ => 0o004,
        };
        if element.mode() & needed != 0 {
            return Ok(());
        }
        Err(format!(
            "cannot be read without privileges, as it is when hooks are listed: its mode is {:04o}; {}",
            element.mode(),
            change("chmod a+r", element)
        ))
    }
}

fn not_trusted(problem: &str, remedy: &str) -> String {
    format!("is not trusted: {problem}; {remedy}, or give --allow-untrusted for development")
}

fn change(command: &str, element: &Element) -> String {
    let shown = element.path.to_string_lossy();
    let quoted = shlex::try_quote(&shown).unwrap_or_else(|_| shown.clone());
    format!("change that ({command} {quoted})")
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
