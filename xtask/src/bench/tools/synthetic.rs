//! The plugin of the tests that makes synthetic lines, so that only the host is measured.

use std::fs;

use tempfile::TempDir;

use crate::cargo;
use crate::error::{Explain, Result};

/// Its hook.
pub const HOOK: &str = "synthetic_lines";

const PACKAGE: &str = "fixture-synthetic";
const LIBRARY: &str = "synthetic";

/// Builds it into a directory of plugins.
pub fn plugins() -> Result<TempDir> {
    let artifacts = cargo::build(&["--release", "--package", PACKAGE])?;
    let library = artifacts.iter().find(|artifact| artifact.kind == "cdylib" && artifact.name == LIBRARY);
    let library = library.ok_or_else(|| format!("{PACKAGE} is no plugin"))?;
    let directory = tempfile::tempdir()?;
    fs::copy(&library.file, directory.path().join(format!("{LIBRARY}.so")))
        .explain(|| "cannot copy a plugin")?;
    Ok(directory)
}
