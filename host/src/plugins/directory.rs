//! Where plugins are found.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::environment;
use crate::error::{Error, Result};

const DIRECTORY: &str = "plugins";

/// The directories to look in: those of the call, else those of the environment, else the one beside the executable.
pub fn directories(from_call: &[PathBuf]) -> Vec<PathBuf> {
    if !from_call.is_empty() {
        return from_call.to_vec();
    }
    let list = environment::variable(environment::PLUGINS).unwrap_or_default();
    let listed: Vec<PathBuf> = env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
    if listed.is_empty() { vec![beside_executable()] } else { listed }
}

/// `plugins/` where `manager` was called, else where it really lies.
///
/// Links are not followed at first: so one executable, linked into several directories, serves each with its own
/// plugins.
fn beside_executable() -> PathBuf {
    let called = env::args_os().next().map(PathBuf::from);
    let called = called.and_then(|path| path.parent().map(Path::to_owned));
    // A call through PATH tells no directory.
    let called = called.filter(|directory| !directory.as_os_str().is_empty());
    let called = called.map(|directory| directory.join(DIRECTORY)).filter(|directory| directory.is_dir());
    called.unwrap_or_else(|| {
        let real = env::current_exe().unwrap_or_default();
        real.parent().unwrap_or(Path::new("")).join(DIRECTORY)
    })
}

/// The plugin files of a directory, sorted by name.
///
/// # Errors
///
/// The directory cannot be read, or it holds none.
pub fn plugin_paths(directory: &Path) -> Result<Vec<PathBuf>> {
    let cannot_read = || Error::io("read the plugins directory", directory);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(cannot_read())? {
        names.push(entry.map_err(cannot_read())?.file_name().into_vec());
    }
    // What is hidden, such as an editor's copy, is not meant to be found.
    names.retain(|name| name.ends_with(b".so") && !name.starts_with(b"."));
    names.sort();
    if names.is_empty() {
        let problem = "holds no plugin (no file that ends in .so)".to_owned();
        return Err(Error::Directory { path: directory.to_owned(), problem });
    }
    Ok(names.iter().map(|name| directory.join(OsStr::from_bytes(name))).collect())
}
