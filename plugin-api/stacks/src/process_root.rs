//! The files of processes, at paths as these have them.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};

use trace_hook_api::Environment;
use trace_tasks::{Following, FuseFileSystems, open_regular_file_in};

/// Opens files in the root directories of processes.
#[derive(Debug)]
pub struct ProcessRoots {
    procfs: PathBuf,
    fuse: FuseFileSystems,
}

impl ProcessRoots {
    /// Those of this environment.
    pub fn new(environment: &Environment) -> Self {
        let procfs = environment.procfs.as_path();
        Self { procfs: procfs.to_owned(), fuse: FuseFileSystems::new(procfs, &environment.sysfs) }
    }

    /// Where they are found.
    pub fn procfs(&self) -> &Path {
        &self.procfs
    }

    /// The FUSE file systems, whose files are not used.
    pub fn fuse(&self) -> &FuseFileSystems {
        &self.fuse
    }

    /// Opens a regular file at a path that a process has, if it is as expected. This can block.
    pub fn open(&self, process: u32, path: &Path, is_expected: impl Fn(&Metadata) -> bool) -> Option<File> {
        let root = self.procfs.join(format!("{process}/root"));
        let open = |following| {
            let opened = open_regular_file_in(&root, path, following, &self.procfs, &is_expected);
            opened.ok().map(|(file, _)| file)
        };
        let fuse = self.fuse.mount_points_of(process);
        let is_on_fuse = |path: &Path| fuse.iter().any(|mount| path.starts_with(mount));
        if fuse.is_empty() {
            return open(Following::All);
        }
        // A link can lead to a FUSE file system.
        let on_root_mount = if is_on_fuse(Path::new("/")) { None } else { open(Following::Links) };
        on_root_mount.or_else(|| if is_on_fuse(path) { None } else { open(Following::Mounts) })
    }
}

#[cfg(test)]
mod tests {
    use trace_hook_testkit::SyntheticKernel;

    use super::*;

    fn opens(mounts: &str, path: &str) -> bool {
        let kernel = SyntheticKernel::new().unwrap().with_file("proc/7/mountinfo", mounts).unwrap();
        let kernel = kernel.with_file("proc/7/root/tmp/a/file", "").unwrap();
        let root = kernel.environment().procfs.join("7/root");
        std::os::unix::fs::symlink("a/file", root.join("tmp/link")).unwrap();
        // To open a file again takes the real one.
        let fd = kernel.environment().procfs.join("self");
        std::os::unix::fs::symlink("/proc/self", fd).unwrap();
        ProcessRoots::new(&kernel.environment()).open(7, Path::new(path), |_| true).is_some()
    }

    #[test]
    fn fuse_file_systems_are_not_entered() {
        let at = |point: &str| format!("1 1 0:40 / {point} rw - fuse x rw\n");
        assert!(opens("", "/tmp/a/file") && opens("", "/tmp/link"));
        assert!(opens(&at("/mnt"), "/tmp/a/file") && opens(&at("/mnt"), "/tmp/link"));
        assert!(!opens("", "/tmp/none"));
        assert!(!opens(&at("/"), "/tmp/a/file"));
    }
}
