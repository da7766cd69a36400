//! The man page and the shell completions.

use std::process::Command;

use super::tools::output;
use crate::cargo;
use crate::dist;
use crate::error::Result;

pub struct InstalledHelp {
    pub man_page: String,
    /// Each with its shell.
    pub completions: [(&'static str, String); 3],
}

/// Lets a manager for this machine print them. They are the same for every architecture.
pub fn generate() -> Result<InstalledHelp> {
    // The plugins are not needed, but with them the manager has the same features as for other tasks, and is not built again.
    let artifacts = cargo::artifacts(cargo::cargo(&["build"]).args(dist::packages()?))?;
    let manager = artifacts.iter().find(|artifact| artifact.kind == "bin");
    let manager = &manager.ok_or("cargo has not built the manager")?.file;
    let generate = |what| output(Command::new(manager).args(["--generate", what]));
    let completions = |shell| generate(shell).map(|text| (shell, text));
    Ok(InstalledHelp {
        man_page: generate("man")?,
        completions: [completions("bash")?, completions("fish")?, completions("zsh")?],
    })
}
