//! Runs cargo, and finds packages and build artifacts.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::error::{Explain, Result};

/// A file that a build has produced for use outside of cargo.
pub struct Artifact {
    /// `bin`, `cdylib`, …
    pub kind: String,
    /// The name of the target in its `Cargo.toml`.
    pub name: String,
    pub file: PathBuf,
}

/// The workspace's directory.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace")
}

/// A command that runs cargo with these arguments, in the workspace's directory.
pub fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).current_dir(root());
    command
}

/// Runs cargo to its end.
pub fn run(cargo: &mut Command) -> Result<()> {
    let status = cargo.status().explain(|| "cannot start cargo")?;
    if status.success() { Ok(()) } else { Err(failure(cargo).into()) }
}

/// Runs `cargo build` with these arguments; returns the artifacts.
pub fn build(words: &[&str]) -> Result<Vec<Artifact>> {
    artifacts(cargo(&["build"]).args(words))
}

/// Runs a command that builds as `cargo build` does; returns the artifacts.
pub fn artifacts(cargo: &mut Command) -> Result<Vec<Artifact>> {
    cargo.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let mut build = cargo.spawn().explain(|| "cannot start cargo")?;
    let mut artifacts = Vec::new();
    for message in BufReader::new(build.stdout.take().expect("it is a pipe")).lines() {
        artifacts.extend(artifacts_of(&serde_json::from_str(&message?)?));
    }
    if build.wait()?.success() { Ok(artifacts) } else { Err(failure(cargo).into()) }
}

/// The names of the packages below `plugins/`.
pub fn plugin_packages() -> Result<Vec<String>> {
    let plugins = root().join("plugins");
    let metadata = metadata()?;
    let packages = list(&metadata["packages"]);
    Ok(packages
        .filter(|package| Path::new(text(&package["manifest_path"])).starts_with(&plugins))
        .map(|package| text(&package["name"]).to_owned())
        .collect())
}

fn metadata() -> Result<Value> {
    let mut cargo = cargo(&["metadata", "--no-deps", "--format-version=1"]);
    let output = cargo.stderr(Stdio::inherit()).output().explain(|| "cannot start cargo")?;
    if !output.status.success() {
        return Err(failure(&cargo).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn failure(cargo: &Command) -> String {
    let words: Vec<_> = cargo.get_args().map(OsStr::to_string_lossy).collect();
    format!("`cargo {}` failed", words.join(" "))
}

fn artifacts_of(message: &Value) -> Vec<Artifact> {
    if message["reason"] != "compiler-artifact" {
        return Vec::new();
    }
    let target = &message["target"];
    list(&message["filenames"])
        .map(|file| Artifact {
            kind: text(&target["kind"][0]).to_owned(),
            name: text(&target["name"]).to_owned(),
            file: text(file).into(),
        })
        .collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
