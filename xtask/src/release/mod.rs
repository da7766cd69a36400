//! `cargo xtask release`: what users install, for each architecture: a tarball, a `.deb`, and their checksums.
//!
//! The same commit gives the same bytes: the tools are pinned, times are those of the commit, and no file contains a path
//! of this machine.

mod architecture;
mod binaries;
mod contents;
mod installed_help;
mod packages;
mod tools;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

pub use architecture::Architecture;
use tools::Tools;

use crate::error::{Explain, Result};
use crate::{cargo, dist};

/// The directory, in the workspace, with the files of a release.
const RELEASE: &str = "dist/release";
/// The option to install what was built, and use it, in root file systems of other distributions.
const TEST: &str = "--test";
/// The oldest version of glibc that the binaries run with: Debian 10, RHEL 8.
const GLIBC: &str = "2.28";
/// A plugin of the tests, which panics when it is asked to.
const PANICKING_PLUGIN: &str = "failing";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Builds a release for these architectures, or for all of them. With [`TEST`] it is tested as well.
pub fn release(words: &[&str]) -> Result<()> {
    let is_tested = words.contains(&TEST);
    let named = words.iter().filter(|word| **word != TEST).map(|word| Architecture::called(word));
    let named = named.collect::<Result<Vec<_>>>()?;
    let architectures = if named.is_empty() { Architecture::ALL.to_vec() } else { named };

    if !is_tested {
        return build(&architectures, &fresh_directory()?, &Tools::install()?);
    }
    build_and_test(&architectures, &fresh_directory()?, &Tools::install()?)
}

fn build_and_test(architectures: &[Architecture], directory: &Path, tools: &Tools) -> Result<()> {
    // Other systems are mostly downloads, which need no CPU.
    let systems = thread::scope(|scope| {
        let systems = scope.spawn(trial::systems);
        build(architectures, directory, tools)?;
        systems.join().expect("it does not panic")
    })?;
    trial::test(&systems, directory, &binaries::build_fixture(PANICKING_PLUGIN, tools)?)
}

fn build(architectures: &[Architecture], directory: &Path, tools: &Tools) -> Result<()> {
    let help = installed_help::generate()?;
    for &architecture in architectures {
        let binaries = binaries::build(architecture, tools)?;
        binaries.check()?;
        contents::lay_out(&binaries, &help)?;
        packages::tarball(architecture, directory)?;
        packages::deb(architecture, directory)?;
    }
    packages::checksums(directory)?;
    println!("{} has the files of the release.", directory.display());
    Ok(())
}

/// Builds the manager and all plugins for this architecture, as in a release, and installs them below this directory; returns
/// where the manager is.
pub fn lay_out_in(directory: &Path, architecture: Architecture) -> Result<PathBuf> {
    let binaries = binaries::build(architecture, &Tools::install()?)?;
    dist::lay_out_in(directory, &binaries.artifacts)
}

fn fresh_directory() -> Result<PathBuf> {
    let directory = cargo::root().join(RELEASE);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).explain(|| format!("cannot create {}", directory.display()))?;
    Ok(directory)
}
