use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::wait::eventually;

/// Where cgroup file systems are mounted.
const MOUNTS: &str = "/sys/fs/cgroup";
/// How long the kernel may take to let a process leave that was killed.
const LEAVING: Duration = Duration::from_secs(5);

/// A version of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hierarchy {
    /// A hierarchy of version 1.
    Version1,
    /// The hierarchy of version 2.
    Version2,
}

/// A cgroup that a test has created. Dropping it moves its processes out and removes it, with all cgroups below it.
#[derive(Debug)]
pub struct Cgroup {
    directory: PathBuf,
}

impl Hierarchy {
    /// The root directory; `None` if this machine has no such hierarchy.
    pub fn root(self) -> Option<PathBuf> {
        let places: &[&str] = match self {
            Self::Version1 => &["pids", "memory", "cpu"],
            Self::Version2 => &["", "unified"],
        };
        let is_version_2 =
            |path: &PathBuf| statfs(path).map(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC);
        let mut roots = places.iter().map(|place| Path::new(MOUNTS).join(place));
        roots.find(|root| {
            root.join("cgroup.procs").exists() && is_version_2(root) == Ok(self == Self::Version2)
        })
    }
}

impl Cgroup {
    /// Creates one with a name of its own in a hierarchy of version 2.
    pub fn create() -> Self {
        Self::of(Hierarchy::Version2)
    }

    /// Creates one with a name of its own.
    pub fn of(hierarchy: Hierarchy) -> Self {
        Self::named(hierarchy, &unique_name())
    }

    /// Creates one with a name of its own that has this file of a controller, in whichever hierarchy there is one.
    pub fn with_file(file: &str) -> Option<Self> {
        let below = fs::read_dir(MOUNTS).into_iter().flatten().flatten().map(|entry| entry.path());
        let roots = [PathBuf::from(MOUNTS)].into_iter().chain(below);
        let created = roots.filter_map(|root| {
            let directory = root.join(unique_name());
            fs::create_dir(&directory).is_ok().then_some(Self { directory })
        });
        created.into_iter().find(|cgroup| cgroup.directory.join(file).exists())
    }

    /// Creates one with this name.
    pub fn named(hierarchy: Hierarchy, name: &str) -> Self {
        let root = hierarchy.root().expect("the kernel has cgroups, and they are mounted");
        let directory = root.join(name);
        fs::create_dir(&directory).expect("the test runs as root");
        Self { directory }
    }

    /// Creates one below it.
    pub fn below(&self, name: &str) -> Self {
        let directory = self.directory.join(name);
        fs::create_dir(&directory).expect("it is created once");
        Self { directory }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.directory.file_name().expect("it is not the root").to_string_lossy().into_owned()
    }

    /// Moves a process into it.
    pub fn takes(&self, process: u32) {
        fs::write(self.directory.join("cgroup.procs"), process.to_string()).expect("it is alive");
    }

    /// Moves a process out of it, into the one above.
    pub fn releases(&self, process: u32) {
        let above = self.directory.parent().expect("it is not the root");
        fs::write(above.join("cgroup.procs"), process.to_string()).expect("it is alive");
    }

    /// Removes it, now.
    pub fn is_removed(self) {}
}

fn unique_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("tracehook-test-{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let removed = || {
            let members = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
            let above = self.directory.parent()?.join("cgroup.procs");
            // A process may have ended since.
            members.lines().for_each(|process| drop(fs::write(&above, process)));
            match fs::remove_dir(&self.directory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => None,
                _ => Some(()),
            }
        };
        eventually("the cgroup is removed", LEAVING, removed);
    }
}
