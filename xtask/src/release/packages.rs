//! The packages of a release, and their checksums.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::VERSION;
use super::architecture::Architecture;
use super::contents::{self, TOP};
use super::tools::{self, output, run};
use crate::cargo;
use crate::error::{Explain, Result};

/// What builds use as the current time (reproducible-builds.org).
const TIME: &str = "SOURCE_DATE_EPOCH";
const CHECKSUMS: &str = "SHA256SUMS";

pub fn tarball_path(architecture: Architecture, directory: &Path) -> PathBuf {
    directory.join(format!("trace-hooks-{VERSION}-{}.tar.gz", architecture.name()))
}

pub fn deb_path(architecture: Architecture, directory: &Path) -> PathBuf {
    directory.join(format!("trace-hooks_{VERSION}_{}.deb", architecture.debian_name()))
}

/// Makes the tarball. Order, owners, times and modes are fixed; so is the header of gzip (`-n`).
pub fn tarball(architecture: Architecture, directory: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--format=ustar", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.args(["--mode=u=rwX,go=rX", &format!("--mtime=@{}", time()?), "--use-compress-program=gzip -n -9"]);
    tar.arg("--directory").arg(contents::directory());
    run(tar.arg("--file").arg(tarball_path(architecture, directory)).arg(TOP))
}

/// Makes the `.deb`. What it contains is in `[package.metadata.deb]` of the manager.
pub fn deb(architecture: Architecture, directory: &Path) -> Result<()> {
    let mut deb = tools::deb()?;
    deb.args(["--package", "trace-hook-manager", "--no-build", "--no-strip", "--locked", "--quiet"]);
    deb.args(["--target", &architecture.target(), "--deb-revision", ""]).env(TIME, time()?);
    run(deb.arg("--output").arg(deb_path(architecture, directory)))
}

/// Writes the checksums of all files in the directory, for `sha256sum --check`.
pub fn checksums(directory: &Path) -> Result<()> {
    let entries = fs::read_dir(directory)?.collect::<std::io::Result<Vec<_>>>()?;
    let mut files: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
    files.sort();
    let mut lines = String::new();
    for file in files {
        for byte in Sha256::digest(fs::read(&file)?) {
            write!(lines, "{byte:02x}")?;
        }
        writeln!(lines, "  {}", file.file_name().unwrap_or_default().to_string_lossy())?;
    }
    fs::write(directory.join(CHECKSUMS), lines).explain(|| format!("cannot write {CHECKSUMS}"))
}

/// The time of the last commit, unless it is given.
fn time() -> Result<String> {
    match env::var(TIME) {
        Ok(time) => Ok(time),
        Err(_) => {
            let mut git = Command::new("git");
            Ok(output(git.args(["log", "-1", "--format=%ct"]).current_dir(cargo::root()))?.trim().to_owned())
        }
    }
}
