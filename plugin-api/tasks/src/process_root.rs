//! The files of processes, at paths as these have them.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};

use crate::{Following, FuseFileSystems, Pid, open_regular_file_in};

/// Opens files in the root directories of processes.
#[derive(Debug)]
pub struct ProcessRoots {
    procfs: PathBuf,
    fuse: FuseFileSystems,
}

impl ProcessRoots {
    /// Those of the processes in this procfs.
    pub fn new(procfs: &Path, sysfs: &Path) -> Self {
        Self { procfs: procfs.to_owned(), fuse: FuseFileSystems::new(procfs, sysfs) }
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
    pub fn open(&self, process: Pid, path: &Path, is_expected: impl Fn(&Metadata) -> bool) -> Option<File> {
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
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn opens(mounts: &str, path: &str) -> bool {
        let directory = tempfile::tempdir().unwrap();
        let procfs = directory.path().join("proc");
        let root = procfs.join("7/root");
        fs::create_dir_all(root.join("tmp/a")).unwrap();
        fs::write(procfs.join("7/mountinfo"), mounts).unwrap();
        fs::write(root.join("tmp/a/file"), "").unwrap();
        symlink("a/file", root.join("tmp/link")).unwrap();
        // To open a file again takes the real one.
        symlink("/proc/self", procfs.join("self")).unwrap();
        let roots = ProcessRoots::new(&procfs, &directory.path().join("sys"));
        roots.open(7, Path::new(path), |_| true).is_some()
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
