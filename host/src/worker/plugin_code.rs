use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// The code of a plugin, as a worker loads it.
#[derive(Debug, Clone)]
pub struct PluginCode<'a> {
    /// The name of the plugin.
    pub name: &'a str,
    /// The file that the code was read from.
    pub path: &'a Path,
    /// The code itself: that file, or a private copy of it.
    pub file: BorrowedFd<'a>,
    /// The libraries that it brings along, each after those that it needs itself.
    pub libraries: Vec<LibraryCode<'a>>,
}

/// The code of a library that a plugin brings along.
#[derive(Debug, Clone, Copy)]
pub struct LibraryCode<'a> {
    /// The file that the code was read from.
    pub path: &'a Path,
    /// The code itself: that file, or a private copy of it.
    pub file: BorrowedFd<'a>,
    /// Whether the dynamic loader opens it itself, by its path.
    pub is_loaded_by_path: bool,
}

impl<'a> PluginCode<'a> {
    /// The plugin's file, and those of its libraries.
    pub fn files(&self) -> impl Iterator<Item = BorrowedFd<'a>> {
        self.libraries.iter().map(|library| library.file).chain([self.file])
    }
}

/// A path that leads to this file in this process and in the ones it forks.
pub fn path_in_process(file: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
