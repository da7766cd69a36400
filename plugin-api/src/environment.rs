use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the kernel that is to be traced shows itself.
///
/// A hook must look here, not in `/proc` and `/sys`: in a container those may be another view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Environment {
    /// The mount point of the host's procfs. Process ids are meant as this procfs shows them.
    pub procfs: PathBuf,
    /// The mount point of the host's sysfs.
    pub sysfs: PathBuf,
}

impl Environment {
    /// An environment with these mount points.
    pub fn new(procfs: impl Into<PathBuf>, sysfs: impl Into<PathBuf>) -> Self {
        Self { procfs: procfs.into(), sysfs: sysfs.into() }
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::new("/proc", "/sys")
    }
}
