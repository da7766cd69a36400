use std::fs;
use std::path::Path;

use tempfile::TempDir;
use trace_hook_api::{Environment, Result};

/// A procfs and a sysfs of ordinary files, which are removed when this is dropped.
#[derive(Debug)]
pub struct SyntheticKernel {
    root: TempDir,
}

impl SyntheticKernel {
    /// Creates a kernel with an empty procfs and an empty sysfs.
    ///
    /// # Errors
    ///
    /// No temporary directory can be created.
    pub fn new() -> Result<Self> {
        let kernel = Self { root: tempfile::tempdir()? };
        fs::create_dir(kernel.root().join("proc"))?;
        fs::create_dir(kernel.root().join("sys"))?;
        Ok(kernel)
    }

    /// Adds a file, such as `proc/1/stat` or `sys/kernel/tracing/events/enable`.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn with_file(self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> Result<Self> {
        let path = self.root().join(path);
        path.parent().map(fs::create_dir_all).transpose()?;
        fs::write(path, text)?;
        Ok(self)
    }

    /// Returns the directory that contains `proc` and `sys`.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Returns the environment of this kernel.
    pub fn environment(&self) -> Environment {
        Environment::new(self.root().join("proc"), self.root().join("sys"))
    }
}
