use std::path::{Path, PathBuf};

/// The path of a file from the build: the executable `manager`, or a plugin such as `libftrace.so`.
///
/// # Panics
///
/// If the file does not exist: a test does not build it.
pub fn built(name: impl AsRef<Path>) -> PathBuf {
    let path = build_directory().join(&name);
    assert!(path.exists(), "{} is missing: run `cargo xtask test`", path.display());
    path
}

/// The directory `target/PROFILE`. Test executables are in its `deps`.
pub(crate) fn build_directory() -> PathBuf {
    let executable = std::env::current_exe().expect("this executable has a path");
    let directory = executable.parent().expect("an executable is in a directory");
    match directory.file_name() {
        Some(name) if name == "deps" => directory.parent().expect("deps is in a directory").to_owned(),
        _ => directory.to_owned(),
    }
}
