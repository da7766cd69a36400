//! The directory for trace files and session records, private to its owner.
//!
//! Where the configured directory is shared, as Kubernetes makes an `emptyDir` (mode 0777), it is a directory inside.

use std::fs::{self, DirBuilder, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::{Uid, geteuid};

use crate::environment;
use crate::error::{Error, Result};

const NAME: &str = "trace-hooks";

/// The extension of a session's trace file.
pub const TRACE: &str = "trace";
/// The extension of a session's file with unread output, until it is complete.
pub const UNREAD: &str = "unread";
/// The extension of the summary of a session whose events were not all delivered.
pub const SUMMARY: &str = "summary";
/// The extension of a session's record, until it is locked.
pub const NEW: &str = "new";
/// The extension of a session's record.
pub const SESSION: &str = "session";

/// The directory for trace files and session records.
#[derive(Debug, Clone)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Opens the directory. Creates it if it is missing.
    ///
    /// # Errors
    ///
    /// It cannot be created, or other users can change its contents.
    pub fn open() -> Result<Self> {
        let path = configured_path()?;
        check_ancestors(&path, MOST_LINKS)?;
        create(&path)?;
        if !is_shared(&path) {
            return Self::checked(path);
        }
        protect(&path)?;
        let own = own_directory_in(&path);
        check_ancestors(&own, MOST_LINKS)?;
        create(&own)?;
        Self::checked(own)
    }

    /// Opens the directory, if it exists.
    ///
    /// # Errors
    ///
    /// Other users can change its contents.
    pub fn find() -> Result<Option<Self>> {
        let configured = configured_path()?;
        let is_shared = is_shared(&configured);
        let path = if is_shared { own_directory_in(&configured) } else { configured.clone() };
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        if is_shared {
            protect(&configured)?;
        }
        Self::checked(path).map(Some)
    }

    fn checked(path: PathBuf) -> Result<Self> {
        check_ancestors(&path, MOST_LINKS)?;
        check_private(&path)?;
        Ok(Self { path })
    }

    /// A session's file of this kind.
    pub fn file(&self, session: &str, kind: &str) -> PathBuf {
        self.path.join(format!("{session}.{kind}"))
    }

    /// The names of all sessions that have a file of this kind.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn sessions(&self, kind: &str) -> Result<Vec<String>> {
        let cannot_read = || Error::io("read the run directory", &self.path);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(cannot_read())? {
            let path = entry.map_err(cannot_read())?.path();
            if path.extension().is_some_and(|extension| extension == kind) {
                names.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
            }
        }
        names.sort();
        Ok(names)
    }
}

/// The directory to use. Its path must not contain blanks, because callers split the printed path at blanks and
/// newlines.
fn configured_path() -> Result<PathBuf> {
    let path = environment::variable(environment::RUN).unwrap_or_else(default_path);
    let path = std::path::absolute(&path).map_err(Error::io("find", &path))?;
    // Without a trailing slash, because of which a link would be resolved.
    let path: PathBuf = path.components().collect();
    match path.to_str() {
        Some(text) if !text.contains(|c: char| c.is_whitespace() || c.is_control()) => Ok(path),
        _ => Err(Error::Variable {
            variable: environment::RUN,
            problem: "contains blanks or is not UTF-8; give another directory for the trace files".to_owned(),
            value: path,
        }),
    }
}

fn default_path() -> PathBuf {
    let user = geteuid();
    match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if user.is_root() => Path::new("/run").join(NAME),
        Some(directory) if !directory.is_empty() => PathBuf::from(directory).join(NAME),
        _ => std::env::temp_dir().join(format!("{NAME}-{user}")),
    }
}

/// The directory of this user in one that other users can write to.
fn own_directory_in(shared: &Path) -> PathBuf {
    shared.join(format!("{NAME}-{}", geteuid()))
}

fn create(path: &Path) -> Result<()> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(cannot_write("create the run directory", path))
}

/// An error on writing to the run directory, which may be on a read-only root file system.
pub fn cannot_write(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            let advice = format!("set {} to a directory that can be written to", environment::RUN);
            Error::Directory { problem: format!("cannot {action}: {source}; {advice}"), path }
        }
        _ => Error::Path { action, path, source },
    }
}

/// Returns whether other users can write to this directory.
fn is_shared(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.mode() & 0o022 != 0)
}

/// Sets the sticky bit of a shared directory of ours, so that other users cannot rename or remove what we create there
/// (unlink(2)). [`check_ancestors`] decides whether that was enough.
fn protect(shared: &Path) -> Result<()> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(shared);
    let directory = opened.map_err(Error::io("open the run directory", shared))?;
    let metadata = directory.metadata().map_err(Error::io("inspect the run directory", shared))?;
    check_owner(shared, &metadata)?;
    let is_ours = Uid::from_raw(metadata.uid()) == geteuid();
    if is_ours && !is_sticky(&metadata) {
        log::info!("setting the sticky bit of {}, to which other users can write", shared.display());
        let sticky = Permissions::from_mode(metadata.mode() & 0o7777 | STICKY);
        directory.set_permissions(sticky).map_err(cannot_write("set the sticky bit", shared))?;
    }
    Ok(())
}

/// With this bit, only the owners of a directory and of what is in it can rename or remove that.
const STICKY: u32 = 0o1000;

fn is_sticky(metadata: &Metadata) -> bool {
    metadata.mode() & STICKY != 0
}

/// How many links are followed to the run directory, in case they form a loop. The kernel's own limit
/// (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// Checks every directory above this one, including the targets of links: a user who can write to one of them can
/// redirect the path. Missing directories are created later, in checked ones.
fn check_ancestors(path: &Path, links: u32) -> Result<()> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    for directory in above {
        let Ok(metadata) = directory.symlink_metadata() else { return Ok(()) };
        check_owner(directory, &metadata)?;
        if metadata.is_symlink() && links > 0 {
            let target = directory.read_link().map_err(Error::io("follow", directory))?;
            let target = directory.parent().unwrap_or(directory).join(target);
            // With another element, so that the target itself is checked too.
            check_ancestors(&target.join("."), links - 1)?;
        }
        if is_shared(directory) && !is_sticky(&metadata) {
            return Err(refused(
                directory,
                "can be written to by other users, has no sticky bit, and contains the run directory",
            ));
        }
    }
    Ok(())
}

/// Checks the run directory itself. In a directory that other users can write to, they can replace every file.
fn check_private(path: &Path) -> Result<()> {
    let metadata = path.symlink_metadata().map_err(Error::io("inspect the run directory", path))?;
    if !metadata.is_dir() {
        return Err(refused(path, "is not a directory, but is configured as the run directory"));
    }
    if Uid::from_raw(metadata.uid()) != geteuid() {
        let problem = format!("belongs to user {}, but is configured as the run directory", metadata.uid());
        return Err(refused(path, &problem));
    }
    match metadata.mode() & 0o022 {
        0 => Ok(()),
        _ => Err(refused(path, "can be written to by other users")),
    }
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<()> {
    let owner = Uid::from_raw(metadata.uid());
    match owner.is_root() || owner == geteuid() {
        true => Ok(()),
        false => Err(refused(path, &format!("belongs to user {owner}, and contains the run directory"))),
    }
}

fn refused(path: &Path, problem: &str) -> Error {
    let advice = format!("set {} to a directory that only you can change", environment::RUN);
    Error::Directory { path: path.to_owned(), problem: format!("{problem}; {advice}") }
}
