//! `cargo xtask dist`: what a user gets, laid out ready to be copied next to container-tracer.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{self, Artifact};
use crate::error::{Explain, Result};

/// The directory, in the workspace, that is ready to be copied.
const DIST: &str = "dist";
const KERNEL: &str = "trace-hooks/kernel";
const MANAGER: &str = "manager";
/// The one name that container-tracer finds. It takes any `manager.*`, so there must be no second one.
const LINK: &str = "manager.bin";
const PLUGINS: &str = "plugins";
/// What makes the manager load plugins that somebody else than its caller could have changed.
pub const ALLOW_UNTRUSTED: &str = "--allow-untrusted";
/// Everybody may run it, nobody else may change it.
const MODE: u32 = 0o755;

/// Lays out `dist/`, and says where.
pub fn dist() -> Result<()> {
    lay_out()?;
    println!(
        "{} is ready to be copied next to container-tracer.",
        Path::new(DIST).join("trace-hooks").display()
    );
    Ok(())
}

/// The manager, where [`lay_out`] puts it.
pub fn manager() -> PathBuf {
    cargo::root().join(DIST).join(KERNEL).join(MANAGER)
}

/// The directory with the plugins, beside that manager.
pub fn plugins() -> PathBuf {
    cargo::root().join(DIST).join(KERNEL).join(PLUGINS)
}

/// What calls of that manager begin with.
///
/// The checkout belongs to whoever builds in it, and these chores are run by root. He trusts what he finds there: the
/// manager itself lies beside its plugins.
pub fn call() -> Command {
    let mut call = Command::new(manager());
    call.arg(ALLOW_UNTRUSTED);
    call
}

/// Builds the manager and all plugins, and lays them out. What is running already is not disturbed.
pub fn lay_out() -> Result<()> {
    let artifacts = build()?;
    let kernel = directory()?;
    for file in &artifacts {
        install(&file.file, &kernel.join(place(file)))?;
    }
    link(MANAGER, &kernel.join(LINK))?;

    let plugins: Vec<_> = artifacts.iter().map(place).collect();
    keep_only(&kernel.join(PLUGINS), |name| plugins.contains(&Path::new(PLUGINS).join(name)))?;
    keep_only(&kernel, |name| [MANAGER, LINK, PLUGINS].iter().any(|known| name == *known))
}

fn build() -> Result<Vec<Artifact>> {
    let plugins = cargo::plugin_packages()?;
    let mut words = vec!["--release", "--package", "trace-hook-manager"];
    words.extend(plugins.iter().flat_map(|plugin| ["--package", plugin]));
    let mut artifacts = cargo::build(&words)?;
    artifacts
        .retain(|artifact| artifact.kind == "cdylib" || (artifact.kind == "bin" && artifact.name == MANAGER));
    Ok(artifacts)
}

/// Where a file goes, below the sub-system's directory. A plugin goes by its own name: `ftrace.so`.
fn place(artifact: &Artifact) -> PathBuf {
    match artifact.kind.as_str() {
        "cdylib" => Path::new(PLUGINS).join(format!("{}.so", artifact.name)),
        _ => MANAGER.into(),
    }
}

fn directory() -> Result<PathBuf> {
    let mut directory = cargo::root().to_owned();
    for part in Path::new(DIST).join(KERNEL).join(PLUGINS).iter() {
        directory.push(part);
        fs::create_dir_all(&directory).explain(|| format!("cannot make {}", directory.display()))?;
        fs::set_permissions(&directory, Permissions::from_mode(MODE))?;
    }
    directory.pop();
    Ok(directory)
}

/// Puts a copy of `from` in the place of `to`, at once and as another file: a process that runs the old one keeps it.
fn install(from: &Path, to: &Path) -> Result<()> {
    let new = beside(to);
    fs::copy(from, &new)
        .and_then(|_| fs::set_permissions(&new, Permissions::from_mode(MODE)))
        .and_then(|()| fs::rename(&new, to))
        .explain(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn link(target: &str, link: &Path) -> Result<()> {
    let new = beside(link);
    let _ = fs::remove_file(&new);
    symlink(target, &new)
        .and_then(|()| fs::rename(&new, link))
        .explain(|| format!("cannot make the link {}", link.display()))
}

/// A name that neither a manager nor container-tracer takes for anything.
fn beside(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.new"))
}

/// Removes what an earlier build left.
fn keep_only(directory: &Path, wanted: impl Fn(&OsStr) -> bool) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !wanted(&entry.file_name()) {
            let stale = entry.path();
            let removed = if entry.file_type()?.is_dir() {
                fs::remove_dir_all(&stale)
            } else {
                fs::remove_file(&stale)
            };
            removed.explain(|| format!("cannot remove {}", stale.display()))?;
        }
    }
    Ok(())
}
