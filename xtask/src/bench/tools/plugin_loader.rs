//! Only loads each plugin in its own process: the floor for discovery.

use std::env;
use std::fs;
use std::process::Command;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use nix::libc;
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{ForkResult, fork};

use crate::dist;
use crate::error::{Explain, Result};

/// The argument that makes this program load all plugins in `dist/`.
pub const LOADER: &str = "load-plugins";

pub fn command() -> Result<Command> {
    let mut command = Command::new(env::current_exe().explain(|| "cannot find this program")?);
    command.arg(LOADER);
    Ok(command)
}

pub fn load_all() -> Result<()> {
    for plugin in fs::read_dir(dist::plugins())? {
        let plugin = plugin?.path();
        // SAFETY: this process has one thread, so the child finds no lock held by a lost one.
        if let ForkResult::Child = unsafe { fork() }? {
            // SAFETY: these are the plugins that were built here, and nothing of this process is used afterwards.
            let loaded = unsafe { Library::open(Some(&plugin), RTLD_NOW | RTLD_LOCAL) };
            // SAFETY: it ends this child at once, without the exit handlers, which are the parent's.
            unsafe { libc::_exit(i32::from(loaded.is_err())) }
        }
    }
    while let Ok(ended) = wait() {
        if !matches!(ended, WaitStatus::Exited(_, 0)) {
            return Err(format!("a plugin could not be loaded: {ended:?}").into());
        }
    }
    Ok(())
}
