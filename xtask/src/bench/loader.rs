//! The least that finds out what plugins are, each in a process of its own: nothing but to load it.

use std::env;
use std::fs;
use std::process::Command;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use nix::libc;
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{ForkResult, fork};

use crate::dist;
use crate::error::{Explain, Result};

/// The word that makes this program do that, with all plugins that were laid out.
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
            // SAFETY: these are the plugins that were built here, and nothing of this process is used any more.
            let loaded = unsafe { Library::open(Some(&plugin), RTLD_NOW | RTLD_LOCAL) };
            // SAFETY: it ends this child at once, whose exit handlers are those of its parent.
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
