//! The plugin directories.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::environment;
use crate::error::{Error, Result};

const DIRECTORY: &str = "plugins";

/// The directories to search: those of the command line, or else of the environment variable, or else the one next to
/// the executable.
pub fn directories(from_command_line: &[PathBuf]) -> Vec<PathBuf> {
    if !from_command_line.is_empty() {
        return from_command_line.to_vec();
    }
    let list = environment::variable(environment::PLUGINS).unwrap_or_default();
    let listed: Vec<PathBuf> = env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
    if listed.is_empty() { vec![next_to_executable()] } else { listed }
}

/// `plugins/` next to the path by which `manager` was called, or else next to the executable itself.
///
/// Symbolic links are not resolved at first, so one executable that is linked into several directories can use the
/// plugins of each of them.
fn next_to_executable() -> PathBuf {
    let called = env::args_os().next().map(PathBuf::from);
    let called = called.and_then(|path| path.parent().map(Path::to_owned));
    // If the executable was found through PATH, the name has no directory.
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
/// The directory cannot be read, or contains no plugin.
pub fn plugin_paths(directory: &Path) -> Result<Vec<PathBuf>> {
    let cannot_read = || Error::io("read the plugins directory", directory);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(cannot_read())? {
        names.push(entry.map_err(cannot_read())?.file_name().into_vec());
    }
    // Skips hidden files, such as backup copies of editors.
    names.retain(|name| name.ends_with(b".so") && !name.starts_with(b"."));
    names.sort();
    if names.is_empty() {
        let problem = "contains no plugin (no file that ends in .so)".to_owned();
        return Err(Error::Directory { path: directory.to_owned(), problem });
    }
    Ok(names.iter().map(|name| directory.join(OsStr::from_bytes(name))).collect())
}
