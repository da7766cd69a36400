//! `cargo xtask dist`: creates the directory that users copy next to container-tracer.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{self, Artifact};
use crate::error::{Explain, Result};

/// The directory, in the workspace, that is ready to be copied.
const DIST: &str = "dist";
/// The directory of the sub-system, in `dist/` and in the tarball of a release.
pub const KERNEL: &str = "trace-hooks/kernel";
const MANAGER: &str = "manager";
/// The name that container-tracer looks for. It takes any `manager.*`, so there must be only one.
const LINK: &str = "manager.bin";
const PLUGINS: &str = "plugins";
/// The names for people, in a directory that can be in `PATH`. Beside `kernel/`, container-tracer would take it for a sub-system.
const BIN: &str = "bin";
const COMMANDS: [&str; 2] = ["trace-hooks", "th"];
/// The option to load plugins that another user than the caller could have changed.
pub const ALLOW_UNTRUSTED: &str = "--allow-untrusted";
/// Everyone may run it, only the owner may change it.
const MODE: u32 = 0o755;

/// Creates `dist/`, and prints its path.
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

/// A command that runs that manager.
///
/// These tasks run as root, and the checkout may belong to another user. The manager there has to be trusted anyway, so its
/// plugins are as well.
pub fn call() -> Command {
    let mut call = Command::new(manager());
    call.arg(ALLOW_UNTRUSTED);
    call
}

/// Builds the manager and all plugins, and installs them in `dist/`. Running processes are not disturbed.
pub fn lay_out() -> Result<()> {
    let dist = cargo::root().join(DIST);
    lay_out_in(&dist, &build(&mut cargo::cargo(&["build"]))?)?;
    link_command(&dist, KERNEL)
}

/// Links the names for people to the manager in this directory, a path from `directory`.
pub fn link_command(directory: &Path, kernel: &str) -> Result<()> {
    let bin = directory.join(BIN);
    fs::create_dir_all(&bin).explain(|| format!("cannot create {}", bin.display()))?;
    COMMANDS.iter().try_for_each(|command| link(&format!("../{kernel}/{MANAGER}"), &bin.join(command)))
}

/// Installs these files below this directory; returns where the manager is.
pub fn lay_out_in(directory: &Path, artifacts: &[Artifact]) -> Result<PathBuf> {
    let kernel = create(directory)?;
    for file in artifacts {
        install(&file.file, &kernel.join(place(file)))?;
    }
    link(MANAGER, &kernel.join(LINK))?;

    let plugins: Vec<_> = artifacts.iter().map(place).collect();
    keep_only(&kernel.join(PLUGINS), |name| plugins.contains(&Path::new(PLUGINS).join(name)))?;
    keep_only(&kernel, |name| [MANAGER, LINK, PLUGINS].iter().any(|known| name == *known))?;
    Ok(kernel)
}

/// Builds the manager and all plugins in release mode, with this command.
pub fn build(cargo: &mut Command) -> Result<Vec<Artifact>> {
    let mut artifacts = cargo::artifacts(cargo.arg("--release").args(packages()?))?;
    artifacts
        .retain(|artifact| artifact.kind == "cdylib" || (artifact.kind == "bin" && artifact.name == MANAGER));
    Ok(artifacts)
}

/// The arguments of cargo that choose the manager and all plugins.
pub fn packages() -> Result<Vec<String>> {
    let packages = ["trace-hook-manager".to_owned()].into_iter().chain(cargo::plugin_packages()?);
    Ok(packages.flat_map(|package| ["--package".to_owned(), package]).collect())
}

/// The place of a file in the directory of the sub-system. A plugin has its own name: `ftrace.so`.
fn place(artifact: &Artifact) -> PathBuf {
    match artifact.kind.as_str() {
        "cdylib" => Path::new(PLUGINS).join(format!("{}.so", artifact.name)),
        _ => MANAGER.into(),
    }
}

/// Creates the directory of the sub-system below this one, and that of its plugins.
fn create(directory: &Path) -> Result<PathBuf> {
    let mut path = directory.to_owned();
    for part in Path::new(KERNEL).join(PLUGINS).iter() {
        path.push(part);
        fs::create_dir_all(&path).explain(|| format!("cannot create {}", path.display()))?;
        fs::set_permissions(&path, Permissions::from_mode(MODE))?;
    }
    path.pop();
    Ok(path)
}

/// Replaces `to` atomically by a copy of `from`. A process that runs the old file keeps it.
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
        .explain(|| format!("cannot create the link {}", link.display()))
}

/// A temporary name that the manager and container-tracer ignore.
fn beside(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.new"))
}

/// Removes the files of an earlier build.
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
