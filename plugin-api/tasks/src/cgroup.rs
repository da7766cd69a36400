//! Cgroups (cgroups(7)), of either version.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::Pid;
use crate::error::{Error, Result};

/// A cgroup, with all cgroups below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    directory: PathBuf,
    id: u64,
    hierarchy: u32,
    path: Option<PathBuf>,
}

impl Cgroup {
    /// The cgroup of a directory of the cgroup file system.
    ///
    /// # Errors
    ///
    /// [`Error::Cgroup`]: it has been removed, or this is no directory of a cgroup file system.
    pub fn open(directory: &Path, procfs: &Path) -> Result<Self> {
        let failed = |source| Error::Cgroup { directory: directory.to_owned(), source };
        fs::metadata(directory.join("cgroup.procs")).map_err(failed)?;
        let id = fs::metadata(directory).map_err(failed)?.ino();
        let kind = statfs(directory).map_err(|errno| failed(errno.into()))?.filesystem_type();
        let hierarchy = match kind {
            CGROUP2_SUPER_MAGIC => 0,
            _ => hierarchy_of(directory, procfs).map_err(failed)?,
        };
        let path = path_in_hierarchy(directory);
        Ok(Self { directory: directory.to_owned(), id, hierarchy, path })
    }

    /// Its directory in the cgroup file system.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The kernel's id of the cgroup, which no other cgroup of the hierarchy has: the inode number of the directory.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The kernel's id of its hierarchy; 0 for version 2 (`/proc/cgroups`).
    pub fn hierarchy(&self) -> u32 {
        self.hierarchy
    }

    /// Its path in its hierarchy, as `/proc/PID/cgroup` shows it to this process. `None` if it is not known.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The ids of this cgroup and of those that exist below it.
    pub fn ids(&self) -> BTreeSet<u64> {
        let mut ids = BTreeSet::from([self.id]);
        if self.exists() {
            visit_below(&self.directory, &mut |directory| {
                ids.extend(fs::metadata(directory).map(|metadata| metadata.ino()));
            });
        }
        ids
    }

    /// Whether it has not been removed. A new cgroup at the same path is another one.
    pub fn exists(&self) -> bool {
        fs::metadata(&self.directory).is_ok_and(|metadata| metadata.ino() == self.id)
    }

    /// The processes that are in this cgroup or one below it.
    pub fn processes(&self) -> BTreeSet<Pid> {
        let mut processes = BTreeSet::new();
        if self.exists() {
            add_processes(&self.directory, &mut processes);
            visit_below(&self.directory, &mut |directory| add_processes(directory, &mut processes));
        }
        processes
    }
}

/// Whether this process is in the initial cgroup namespace, in which the paths of cgroups are those that the kernel uses in its
/// trace events.
pub fn in_initial_cgroup_namespace(procfs: &Path) -> bool {
    fs::read_link(procfs.join("self/ns/cgroup")).is_ok_and(|link| link == Path::new(INITIAL_NAMESPACE))
}

/// The number is fixed in the kernel (`PROC_CGROUP_INIT_INO` in include/linux/proc_ns.h).
const INITIAL_NAMESPACE: &str = "cgroup:[4026531835]";

fn visit_below(directory: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            visit(&entry.path());
            visit_below(&entry.path(), visit);
        }
    }
}

fn add_processes(directory: &Path, processes: &mut BTreeSet<Pid>) {
    // The members of a threaded cgroup cannot be read here. Their processes are listed by the cgroup at the root of the threads.
    let listed = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    // 0 stands for a process of a pid namespace that is not visible here.
    processes.extend(listed.lines().filter_map(|line| line.parse::<Pid>().ok()).filter(|pid| *pid != 0));
}

/// The path of the mounted directory in its file system, and the part below it.
fn path_in_hierarchy(directory: &Path) -> Option<PathBuf> {
    let directory = fs::canonicalize(directory).ok()?;
    let device = device_of(&directory).ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let [_, _, of_mount, root, mount_point] = line.splitn(6, ' ').take(5).collect::<Vec<_>>()[..] else {
            return None;
        };
        let below = directory.strip_prefix(mount_point).ok().filter(|_| of_mount == device)?;
        // A directory above the root of this process's cgroup namespace has no path in it.
        (!root.starts_with("/..")).then(|| Path::new(root).join(below))
    })
}

/// The device of a file, as in `/proc/self/mountinfo`.
fn device_of(file: &Path) -> io::Result<String> {
    let device = fs::metadata(file)?.dev();
    Ok(format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device)))
}

/// The id of a version 1 hierarchy. The first column of `/proc/cgroups` and of `/proc/self/cgroup` has it beside the
/// controllers, which the options of the mount name (`/proc/self/mountinfo`).
fn hierarchy_of(directory: &Path, procfs: &Path) -> io::Result<u32> {
    let device = device_of(directory)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let options = mounts.lines().find_map(|line| {
        let is_this = line.split(' ').nth(2) == Some(device.as_str());
        line.rsplit(' ').next().filter(|_| is_this)
    });
    let options: BTreeSet<&str> = options.unwrap_or_default().split(',').collect();
    let hierarchies = fs::read_to_string(procfs.join("self/cgroup"))?;
    let found = hierarchies.lines().find_map(|line| {
        let (id, rest) = line.split_once(':')?;
        let (controllers, _) = rest.split_once(':')?;
        let is_this = !controllers.is_empty() && controllers.split(',').all(|name| options.contains(name));
        is_this.then(|| id.parse().ok()).flatten()
    });
    found.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is in no known cgroup hierarchy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_directory_is_no_cgroup() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let error = Cgroup::open(directory.path(), Path::new("/proc")).unwrap_err();
        assert!(error.to_string().contains("is no cgroup"), "{error}");
    }

    #[test]
    fn processes_of_nested_cgroups_are_included() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let nested = directory.path().join("a/b");
        fs::create_dir_all(&nested).expect("directories");
        for (place, text) in
            [(directory.path(), "7\n0\n"), (&directory.path().join("a"), ""), (&nested, "9\n8\n")]
        {
            fs::write(place.join("cgroup.procs"), text).expect("a file");
        }
        let id = fs::metadata(directory.path()).expect("it exists").ino();
        let cgroup = Cgroup { directory: directory.path().to_owned(), id, hierarchy: 0, path: None };
        assert_eq!(cgroup.processes(), BTreeSet::from([7, 8, 9]));
        assert_eq!(cgroup.ids().len(), 3);
        let other = Cgroup { id: id + 1, ..cgroup };
        assert!(!other.exists() && other.processes().is_empty());
    }
}
