use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// The code of a plugin, as a worker loads it.
#[derive(Debug, Clone, Copy)]
pub struct PluginCode<'a> {
    /// The name of the plugin.
    pub name: &'a str,
    /// The file that the code was read from.
    pub path: &'a Path,
    /// The code itself: that file, or a private copy of it.
    pub file: BorrowedFd<'a>,
}

impl PluginCode<'_> {
    /// A path that leads to the code in this process and in the ones it forks.
    pub fn path_in_process(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}
