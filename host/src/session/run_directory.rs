//! The directory for trace files and session records, private to its owner.
//!
//! Where the configured directory is shared, as Kubernetes makes an `emptyDir` (mode 0777), it is a directory inside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use crate::environment;
use crate::error::{Error, Result};
use crate::path_walk::{Element, Kind, PathWalk};

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
        let configured = configured_path()?;
        let directory = reach(&configured, Missing::Make)?;
        if !is_shared(&directory) {
            return Self::checked(configured, &directory);
        }
        protect(&directory)?;
        let own = own_directory_in(&configured);
        let directory = reach(&own, Missing::Make)?;
        Self::checked(own, &directory)
    }

    /// Opens the directory, if it exists.
    ///
    /// # Errors
    ///
    /// Other users can change its contents.
    pub fn find() -> Result<Option<Self>> {
        let configured = configured_path()?;
        if !exists(&configured) {
            return Ok(None);
        }
        let directory = reach(&configured, Missing::Leave)?;
        if !is_shared(&directory) {
            return Self::checked(configured, &directory).map(Some);
        }
        let own = own_directory_in(&configured);
        if !exists(&own) {
            return Ok(None);
        }
        protect(&directory)?;
        let directory = reach(&own, Missing::Leave)?;
        Self::checked(own, &directory).map(Some)
    }

    fn checked(path: PathBuf, directory: &Element) -> Result<Self> {
        check_private(directory)?;
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

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// What to do with a directory that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Leave,
}

/// Opens what is at this path, without following it if it is a link. Every directory above is checked before it is used to
/// look up or make the next one, so no other user can redirect the path meanwhile.
fn reach(path: &Path, missing: Missing) -> Result<Element> {
    let mut walk = PathWalk::along(path).map_err(Error::io("find", path))?;
    loop {
        let element = match walk.next() {
            Err(Errno::ENOENT) if missing == Missing::Make => make_next(&mut walk)?,
            found => found.map_err(Error::path("open", &walk.next_path()))?,
        };
        let element = element.ok_or_else(|| refused(path, "is not a directory"))?;
        if walk.is_at_last() {
            return Ok(element);
        }
        check_above(&element)?;
        let place = element.path.clone();
        walk.enter(element).map_err(Error::path("follow", &place))?;
    }
}

fn make_next(walk: &mut PathWalk) -> Result<Option<Element>> {
    let path = walk.next_path();
    match walk.make_directory(Mode::S_IRWXU) {
        // Another call may have made it meanwhile. It is checked like all others.
        Ok(()) | Err(Errno::EEXIST) => walk.next().map_err(Error::path("open", &path)),
        Err(errno) => Err(cannot_write("create the run directory", &path)(errno.into())),
    }
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

/// Whether other users can write to this directory.
fn is_shared(element: &Element) -> bool {
    element.kind() == Kind::Directory && element.is_writable_by_others()
}

/// Sets the sticky bit of a shared directory of ours, so that other users cannot rename or remove what we create there
/// (unlink(2)). [`check_above`] decides whether that was enough.
fn protect(shared: &Element) -> Result<()> {
    check_owner(shared)?;
    if shared.owner() != geteuid() || shared.is_sticky() {
        return Ok(());
    }
    let path = &shared.path;
    log::info!("setting the sticky bit of {}, to which other users can write", path.display());
    let sticky = shared.set_mode(shared.mode() | libc::S_ISVTX);
    sticky.map_err(cannot_write("set the sticky bit", path))
}

/// Checks a directory or link above the run directory: a user who can change it can redirect the path.
fn check_above(element: &Element) -> Result<()> {
    check_owner(element)?;
    if is_shared(element) && !element.is_sticky() {
        return Err(refused(
            &element.path,
            "can be written to by other users, has no sticky bit, and contains the run directory",
        ));
    }
    Ok(())
}

/// Checks the run directory itself. In a directory that other users can write to, they can replace every file.
fn check_private(element: &Element) -> Result<()> {
    let path = &element.path;
    if element.kind() != Kind::Directory {
        return Err(refused(path, "is not a directory, but is configured as the run directory"));
    }
    if element.owner() != geteuid() {
        let owner = element.owner();
        let problem = format!(
            "belongs to user {owner}, but is configured as the run directory; let that user or root remove it"
        );
        return Err(refused_with(path, &problem, ", or set"));
    }
    check_file_system(element)?;
    match is_shared(element) {
        false => Ok(()),
        true => Err(refused(path, "can be written to by other users")),
    }
}

fn check_owner(element: &Element) -> Result<()> {
    let owner = element.owner();
    match owner.is_root() || owner == geteuid() {
        true => check_file_system(element),
        false => {
            Err(refused(&element.path, &format!("belongs to user {owner}, and contains the run directory")))
        }
    }
}

fn check_file_system(element: &Element) -> Result<()> {
    match &element.fuse {
        None => Ok(()),
        Some(kind) => Err(refused(
            &element.path,
            &format!("is on a file system of type {kind}, whose server can change files and owners at will"),
        )),
    }
}

fn refused(path: &Path, problem: &str) -> Error {
    refused_with(path, problem, "; set")
}

fn refused_with(path: &Path, problem: &str, set: &str) -> Error {
    let variable = environment::RUN;
    let advice =
        format!("{set} {variable} to a directory that only you can change, such as one made by `mktemp -d`");
    Error::Directory { path: path.to_owned(), problem: format!("{problem}{advice}") }
}
