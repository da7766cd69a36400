//! The directory for trace files and session records, private to its owner.

use std::fs::{self, DirBuilder, Metadata};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, geteuid};

use crate::environment;
use crate::error::{Error, Result};

const NAME: &str = "trace-hooks";

/// What a session's trace file is called, after its name.
pub const TRACE: &str = "trace";
/// What a session's unread is called, after its name, until it is complete.
pub const UNREAD: &str = "unread";
/// What a session's record is called, after its name, until it is locked.
pub const NEW: &str = "new";
/// What a session's record is called, after its name.
pub const SESSION: &str = "session";

/// The directory for trace files and session records.
#[derive(Debug, Clone)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// The directory, made where it is missing.
    ///
    /// # Errors
    ///
    /// It cannot be made, or somebody else could change what is in it.
    pub fn open() -> Result<Self> {
        let path = chosen()?;
        check_way(&path, MOST_LINKS)?;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(Error::io("make the run directory", &path))?;
        Self::checked(path)
    }

    /// The directory, if it is there.
    ///
    /// # Errors
    ///
    /// Somebody else could change what is in it.
    pub fn find() -> Result<Option<Self>> {
        let path = chosen()?;
        match path.symlink_metadata() {
            Ok(_) => Self::checked(path).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn checked(path: PathBuf) -> Result<Self> {
        check_way(&path, MOST_LINKS)?;
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

/// The caller splits what we print at blanks and line ends, so the path must have none.
fn chosen() -> Result<PathBuf> {
    let path = environment::variable(environment::RUN).unwrap_or_else(usual);
    let path = std::path::absolute(&path).map_err(Error::io("find", &path))?;
    // Without a slash at its end, which would make a link pass for the directory that it leads to.
    let path: PathBuf = path.components().collect();
    match path.to_str() {
        Some(text) if !text.contains(|c: char| c.is_whitespace() || c.is_control()) => Ok(path),
        _ => Err(Error::Variable {
            variable: environment::RUN,
            problem: "holds blanks or is not UTF-8; give another directory for the trace files".to_owned(),
            value: path,
        }),
    }
}

fn usual() -> PathBuf {
    let user = geteuid();
    match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if user.is_root() => Path::new("/run").join(NAME),
        Some(directory) if !directory.is_empty() => PathBuf::from(directory).join(NAME),
        _ => std::env::temp_dir().join(format!("{NAME}-{user}")),
    }
}

/// How many links may lead to the run directory, so that those that lead to each other come to an end. As many as the
/// kernel follows (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// Checks every directory above this one, links included: whoever can write to one decides where the path leads to.
/// What is not there yet is made by us, in what was checked.
fn check_way(path: &Path, links: u32) -> Result<()> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    for directory in above {
        let Ok(metadata) = directory.symlink_metadata() else { return Ok(()) };
        check_owner(directory, &metadata)?;
        if metadata.is_symlink() && links > 0 {
            let target = directory.read_link().map_err(Error::io("follow", directory))?;
            let target = directory.parent().unwrap_or(directory).join(target);
            // As if something were in it: then it is looked at itself.
            check_way(&target.join("."), links - 1)?;
        }
        // Where the sticky bit is set, others cannot rename or remove what is ours (unlink(2)).
        let is_shared = metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0;
        if is_shared && !metadata.is_symlink() {
            return Err(refused(directory, "can be written to by others, and the run directory is in it"));
        }
    }
    Ok(())
}

/// In a directory that somebody else can write to, a name may lead anywhere.
fn check_private(path: &Path) -> Result<()> {
    let metadata = path.symlink_metadata().map_err(Error::io("look at the run directory", path))?;
    if !metadata.is_dir() {
        return Err(refused(path, "is no directory, but it is where the trace files are to be"));
    }
    if Uid::from_raw(metadata.uid()) != geteuid() {
        let problem = format!("belongs to user {}, and is to be the run directory", metadata.uid());
        return Err(refused(path, &problem));
    }
    match metadata.mode() & 0o022 {
        0 => Ok(()),
        _ => Err(refused(path, "can be written to by others")),
    }
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<()> {
    let owner = Uid::from_raw(metadata.uid());
    match owner.is_root() || owner == geteuid() {
        true => Ok(()),
        false => Err(refused(path, &format!("belongs to user {owner}, and the run directory is in it"))),
    }
}

fn refused(path: &Path, problem: &str) -> Error {
    let advice = format!("set {} to a directory that only you can change", environment::RUN);
    Error::Directory { path: path.to_owned(), problem: format!("{problem}; {advice}") }
}
