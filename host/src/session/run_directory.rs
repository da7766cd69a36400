//! The directory for trace files and session records, private to its owner.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, geteuid};

use crate::environment;
use crate::error::{Error, Result};

const NAME: &str = "trace-hooks";

/// What a session's trace file is called, after its name.
pub const TRACE: &str = "trace";
/// What a session's leftover is called, after its name, until it is complete.
pub const LEFTOVER: &str = "leftover";
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
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(Error::io("make the run directory", &path))?;
        check_private(&path)?;
        Ok(Self { path })
    }

    /// The directory, if it is there.
    ///
    /// # Errors
    ///
    /// Somebody else could change what is in it.
    pub fn find() -> Result<Option<Self>> {
        let path = chosen()?;
        match path.symlink_metadata() {
            Ok(_) => check_private(&path).map(|()| Some(Self { path })),
            Err(_) => Ok(None),
        }
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

/// In a directory that somebody else can write to, a name may lead anywhere.
fn check_private(path: &Path) -> Result<()> {
    let metadata = path.symlink_metadata().map_err(Error::io("look at the run directory", path))?;
    let problem = if !metadata.is_dir() {
        "is no directory, but it is where the trace files are to be".to_owned()
    } else if Uid::from_raw(metadata.uid()) != geteuid() {
        format!(
            "belongs to user {}; remove it, or set {} to a directory of yours",
            metadata.uid(),
            environment::RUN
        )
    } else if metadata.mode() & 0o022 != 0 {
        "can be written to by others; take that right away (chmod go-w)".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::Directory { path: path.to_owned(), problem })
}
