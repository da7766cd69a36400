use std::path::{Path, PathBuf};

/// A file that the build has made: the executable `manager`, or a plugin such as `libftrace.so`.
///
/// # Panics
///
/// If it is not there: a test cannot build what it needs.
pub fn built(name: impl AsRef<Path>) -> PathBuf {
    let path = build_directory().join(&name);
    assert!(path.exists(), "{} is missing: run `cargo xtask test`", path.display());
    path
}

/// The directory `target/PROFILE`; tests lie in its `deps`, other executables in itself.
pub(crate) fn build_directory() -> PathBuf {
    let me = std::env::current_exe().expect("this executable has a path");
    let directory = me.parent().expect("an executable lies in a directory");
    match directory.file_name() {
        Some(name) if name == "deps" => directory.parent().expect("deps lies in a directory").to_owned(),
        _ => directory.to_owned(),
    }
}
