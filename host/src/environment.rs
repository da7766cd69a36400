//! The environment variables.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{FsType, PROC_SUPER_MAGIC, SYSFS_MAGIC, statfs};
use trace_hook_api::Environment;

use crate::error::{Error, Result};

const PROCFS: &str = "TRACER_PROCFS_PATH";
const SYSFS: &str = "TRACER_SYSFS_PATH";
/// A colon-separated list of directories to find plugins in.
pub const PLUGINS: &str = "TRACER_PLUGINS_PATH";
/// The directory for trace files and session records.
pub const RUN: &str = "TRACER_RUN_PATH";
/// What all unread output may take together, in MiB.
pub const LEFTOVER: &str = "TRACER_LEFTOVER_MIB";

/// The value of a variable; `None` if it is unset or empty.
pub fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The environment with the mount points that the variables give. They are not checked.
pub fn from_variables() -> Environment {
    Environment::new(
        variable(PROCFS).unwrap_or_else(|| "/proc".into()),
        variable(SYSFS).unwrap_or_else(|| "/sys".into()),
    )
}

/// Checks that the mount points are a procfs and a sysfs, for the calls that need them.
///
/// # Errors
///
/// A variable has an invalid value.
pub fn check(environment: &Environment) -> Result<()> {
    check_mount(PROCFS, &environment.procfs, PROC_SUPER_MAGIC, "a procfs", "self")?;
    check_mount(SYSFS, &environment.sysfs, SYSFS_MAGIC, "a sysfs", "kernel")
}

/// Checks that this process finds itself in `/proc`, through which it opens and loads what it has checked.
///
/// # Errors
///
/// It does not.
pub fn check_own_procfs() -> Result<()> {
    match fs::read_link("/proc/self") {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::OwnProcfs(error)),
    }
}

fn check_mount(variable: &'static str, path: &Path, magic: FsType, what: &str, entry: &str) -> Result<()> {
    let problem = match statfs(path) {
        // Paths are passed to plugins as text.
        Ok(_) if path.to_str().is_none() => "is not UTF-8".to_owned(),
        // A directory below the mount point has the same type, but lacks this entry.
        Ok(filesystem) if filesystem.filesystem_type() == magic && path.join(entry).exists() => return Ok(()),
        Ok(_) => format!("is not {what}; give the mount point of one"),
        Err(errno) => format!("is not {what}: {}", errno.desc()),
    };
    Err(Error::Variable { variable, value: path.to_owned(), problem })
}
