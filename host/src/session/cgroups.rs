//! Finds the cgroups that the caller names: by path, by container, or by a process in them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use trace_hook_api::Environment;

use crate::error::{Error, Result};

/// Where the cgroup file systems are mounted (cgroups(7)), below the sysfs.
const MOUNTS: &str = "fs/cgroup";
/// The file that each cgroup has.
const MEMBERS: &str = "cgroup.procs";
/// The name of the version 2 hierarchy where version 1 is mounted, too.
const UNIFIED: &str = "unified";
/// The version 1 hierarchy that perf events understand.
const PERF_EVENT: &str = "perf_event";
/// The length of a full container id, in hexadecimal digits.
const CONTAINER_ID: usize = 64;
/// How many container ids an error lists.
const MOST_LISTED: usize = 5;

/// The cgroup file systems of a machine.
pub struct Cgroups<'a> {
    procfs: &'a Path,
    mounts: PathBuf,
    /// The root of each hierarchy: first those that all hooks can select by.
    hierarchies: Vec<PathBuf>,
}

/// A line of `/proc/PID/cgroup`: the place of a process in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Membership {
    /// Empty for version 2.
    controllers: String,
    path: PathBuf,
}

impl<'a> Cgroups<'a> {
    pub fn of(environment: &'a Environment) -> Self {
        let mounts = environment.sysfs.join(MOUNTS);
        let hierarchies = match is_version_2(&mounts) {
            true => vec![mounts.clone()],
            false => version_1_hierarchies(&mounts),
        };
        Self { procfs: &environment.procfs, mounts, hierarchies }
    }

    /// The cgroup at this path: a directory, or a path as `/proc/PID/cgroup` shows it.
    ///
    /// # Errors
    ///
    /// There is no such cgroup.
    pub fn at(&self, path: &Path) -> Result<PathBuf> {
        if path.is_absolute() && path.join(MEMBERS).exists() {
            return Ok(path.to_owned());
        }
        let found = self.hierarchies.iter().find_map(|root| directory_in(root, path));
        found.ok_or_else(|| {
            Error::NoCgroup(format!(
                "{} is neither a directory of a cgroup nor the path of one below {}; /proc/PID/cgroup shows that of a process",
                path.display(),
                self.mounts.display()
            ))
        })
    }

    /// The cgroup of the container with this id, or with an id that begins with it.
    ///
    /// # Errors
    ///
    /// There is no such container, or more than one.
    pub fn of_container(&self, id: &str) -> Result<PathBuf> {
        let mut paths = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for membership in self.all_memberships() {
            if let Some((container, path)) = container_in(&membership.path, id) {
                ids.insert(container);
                paths.insert(path);
            }
        }
        match ids.len() {
            0 => Err(Error::NoCgroup(format!(
                "no running container has the id {id}: it is in no path in {}/*/cgroup; `docker ps`, `crictl ps` and `podman ps` show ids",
                self.procfs.display()
            ))),
            1 => {
                let directory = |root: &PathBuf| paths.iter().find_map(|path| directory_in(root, path));
                self.hierarchies.iter().find_map(directory).ok_or_else(|| {
                    Error::NoCgroup(format!(
                        "the cgroup of container {id} is not below {}; mount the host's there, or set TRACER_SYSFS_PATH",
                        self.mounts.display()
                    ))
                })
            }
            _ => {
                let listed: Vec<String> = ids.into_iter().take(MOST_LISTED).collect();
                Err(Error::NoCgroup(format!("several containers match {id}: {}", listed.join(", "))))
            }
        }
    }

    /// The cgroup of a process. Of several hierarchies, the one in which it is deepest.
    ///
    /// # Errors
    ///
    /// The process is in no cgroup of its own.
    pub fn of_process(&self, process: u32) -> Result<PathBuf> {
        let mut memberships = self.memberships(process);
        memberships.retain(|membership| membership.path.parent().is_some());
        memberships.sort_by_key(Membership::rank);
        let found = memberships.iter().rev().find_map(|membership| {
            let root = self.hierarchy_of(membership);
            directory_in(&root, &membership.path)
        });
        found.ok_or_else(|| {
            Error::NoCgroup(format!("process {process} is in the root cgroup, as most others; use --all"))
        })
    }

    /// The cgroup that has frozen a process, if one has. `process` is its directory in a procfs.
    pub fn that_froze(&self, process: &Path) -> Option<PathBuf> {
        let memberships = read_memberships(process).into_iter();
        let directories = memberships
            .filter_map(|membership| directory_in(&self.hierarchy_of(&membership), &membership.path));
        directories.into_iter().find(|directory| is_frozen(directory))
    }

    fn hierarchy_of(&self, membership: &Membership) -> PathBuf {
        let first = membership.controllers.split(',').next().unwrap_or_default();
        match first.strip_prefix("name=").unwrap_or(first) {
            "" if is_version_2(&self.mounts) => self.mounts.clone(),
            "" => self.mounts.join(UNIFIED),
            name => self.mounts.join(name),
        }
    }

    fn memberships(&self, process: u32) -> Vec<Membership> {
        read_memberships(&self.procfs.join(process.to_string()))
    }

    fn all_memberships(&self) -> impl Iterator<Item = Membership> {
        let entries = fs::read_dir(self.procfs).into_iter().flatten().flatten();
        let is_process = |name: &OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        let processes = entries.filter(move |entry| is_process(&entry.file_name()));
        processes.flat_map(|process| read_memberships(&process.path()))
    }
}

impl Membership {
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some(Self { controllers: controllers.to_owned(), path: path.into() })
    }

    /// Higher for the hierarchy that separates the process more from others. On hybrid systems a container may be in a
    /// cgroup of its own only in version 1.
    fn rank(&self) -> (bool, usize, bool) {
        let names_container = self.path.iter().any(is_container);
        (names_container, self.path.components().count(), self.controllers.is_empty())
    }
}

/// The process may have ended, or be in a cgroup that was removed.
fn read_memberships(directory: &Path) -> Vec<Membership> {
    let text = fs::read_to_string(directory.join("cgroup")).unwrap_or_default();
    text.lines().filter(|line| !line.ends_with(" (deleted)")).filter_map(Membership::parse).collect()
}

/// Whether a cgroup, or one above it, is frozen: "Core Interface Files" in Documentation/admin-guide/cgroup-v2.rst, and
/// Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst.
fn is_frozen(directory: &Path) -> bool {
    let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();
    read("cgroup.events").lines().any(|line| line == "frozen 1")
        || matches!(read("freezer.state").trim(), "FROZEN" | "FREEZING")
}

fn is_version_2(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

fn version_1_hierarchies(mounts: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(mounts).into_iter().flatten().flatten();
    // Links lead to the same hierarchies.
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut roots: Vec<PathBuf> = directories.map(|entry| entry.path()).collect();
    roots.sort_by_key(|root| match root.file_name().and_then(OsStr::to_str) {
        Some(UNIFIED) => (0, root.clone()),
        Some(PERF_EVENT) => (1, root.clone()),
        _ => (2, root.clone()),
    });
    roots
}

/// The directory of a path in a hierarchy.
///
/// In a cgroup namespace, paths outside of it begin with `..` (cgroup_namespaces(7)): then only the rest of the path is known.
fn directory_in(root: &Path, path: &Path) -> Option<PathBuf> {
    let rest: PathBuf = path.iter().filter(|component| *component != "/" && *component != "..").collect();
    let is_whole = path.iter().all(|component| component != "..");
    let directory = root.join(&rest);
    if directory.join(MEMBERS).exists() {
        return Some(directory);
    }
    if is_whole || rest.as_os_str().is_empty() {
        return None;
    }
    ending_in(root, &rest)
}

fn ending_in(directory: &Path, rest: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.map(|entry| entry.path()).find_map(|path| match path.ends_with(rest) {
        true => Some(path),
        false => ending_in(&path, rest),
    })
}

/// The id of the container in this path that the given id means, and the path up to its cgroup.
///
/// Docker, containerd, CRI-O and Podman name a cgroup after the id, with their own name in front if systemd manages it:
/// `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`.
fn container_in(path: &Path, id: &str) -> Option<(String, PathBuf)> {
    let mut up_to = PathBuf::new();
    for component in path.iter() {
        up_to.push(component);
        let name = container_name(component);
        let is_meant = name == id || (is_container_id(name) && name.starts_with(id));
        if is_meant && !id.is_empty() {
            return Some((name.to_owned(), up_to));
        }
    }
    None
}

fn is_container(component: &OsStr) -> bool {
    is_container_id(container_name(component))
}

fn is_container_id(name: &str) -> bool {
    name.len() == CONTAINER_ID && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn container_name(component: &OsStr) -> &str {
    let name = component.to_str().unwrap_or_default();
    let Some(unit) = name.strip_suffix(".scope") else { return name };
    match unit.rsplit_once('-') {
        // The process that watches a container is in a cgroup of its own.
        Some((runtime, _)) if runtime.ends_with("conmon") => name,
        Some((_, id)) => id,
        None => unit,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "3f29d0a4c1b2e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e";

    /// A machine whose process 7 has these memberships, and cgroups in these directories of `fs/cgroup`.
    fn machine(memberships: &str, directories: &[&str]) -> (tempfile::TempDir, Environment) {
        let root = tempfile::tempdir().unwrap();
        let (procfs, sysfs) = (root.path().join("proc"), root.path().join("sys"));
        fs::create_dir_all(procfs.join("7")).unwrap();
        fs::write(procfs.join("7/cgroup"), memberships).unwrap();
        for directory in directories {
            let directory = sysfs.join(MOUNTS).join(directory);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(MEMBERS), "").unwrap();
        }
        let environment = Environment::new(&procfs, &sysfs);
        (root, environment)
    }

    #[test]
    fn containers_of_all_runtimes_are_found() {
        for component in [
            ID.to_owned(),
            format!("docker-{ID}.scope"),
            format!("cri-containerd-{ID}.scope"),
            format!("crio-{ID}.scope"),
            format!("libpod-{ID}.scope"),
        ] {
            let path = format!("kubepods.slice/{component}");
            let deeper = format!("4:memory:/{path}/init\n0::/system.slice\n");
            let (_root, environment) =
                machine(&deeper, &[&format!("memory/{path}/init"), &format!("memory/{path}")]);
            let cgroups = Cgroups::of(&environment);
            for given in [ID, &ID[..12], "3"] {
                let found = cgroups.of_container(given).unwrap();
                assert!(found.ends_with(format!("memory/{path}")), "{found:?}");
            }
            assert!(
                cgroups
                    .of_container("4")
                    .unwrap_err()
                    .to_string()
                    .contains("no running container has the id 4")
            );
            assert!(cgroups.of_container("").is_err());
        }
    }

    #[test]
    fn names_of_containers_match_as_a_whole() {
        let (_root, environment) =
            machine("0::/pods/web\n0::/pods/web-1\n", &["unified/pods/web", "unified/pods/web-1"]);
        let cgroups = Cgroups::of(&environment);
        assert!(cgroups.of_container("web").unwrap().ends_with("pods/web"));
        assert!(cgroups.of_container("we").is_err());
    }

    #[test]
    fn ambiguous_ids_are_listed() {
        let other = format!("{}0", &ID[..63]);
        let (_root, environment) = machine(&format!("0::/{ID}\n0::/{other}\n"), &[]);
        let error = Cgroups::of(&environment).of_container(&ID[..8]).unwrap_err().to_string();
        assert!(
            error.contains("several containers match") && error.contains(ID) && error.contains(&other),
            "{error}"
        );
    }

    #[test]
    fn monitors_of_containers_are_no_containers() {
        let (_root, environment) = machine(
            &format!("0::/libpod-conmon-{ID}.scope\n"),
            &[&format!("unified/libpod-conmon-{ID}.scope")],
        );
        assert!(Cgroups::of(&environment).of_container(ID).is_err());
    }

    #[test]
    fn a_path_is_a_directory_or_one_of_proc() {
        let (_root, environment) = machine("", &["memory/a/b", "unified/a/b", "perf_event/c"]);
        let cgroups = Cgroups::of(&environment);
        let below = |path: &str| environment.sysfs.join(MOUNTS).join(path);
        assert_eq!(cgroups.at(Path::new("/a/b")).unwrap(), below("unified/a/b"));
        assert_eq!(cgroups.at(Path::new("c")).unwrap(), below("perf_event/c"));
        assert_eq!(cgroups.at(&below("memory/a/b")).unwrap(), below("memory/a/b"));
        assert!(cgroups.at(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn paths_outside_of_the_cgroup_namespace_are_searched() {
        let (_root, environment) = machine(
            &format!("0::/../../burstable/pod1/{ID}\n"),
            &[&format!("unified/kubepods/burstable/pod1/{ID}")],
        );
        let cgroups = Cgroups::of(&environment);
        let expected = format!("unified/kubepods/burstable/pod1/{ID}");
        assert!(cgroups.of_container(ID).unwrap().ends_with(&expected));
        assert!(cgroups.of_process(7).unwrap().ends_with(&expected));
    }

    #[test]
    fn the_cgroup_of_a_process_is_its_narrowest() {
        let memberships =
            format!("5:pids:/docker/{ID}\n4:memory:/a\n0::/system.slice/containerd.service/deep\n");
        let directories =
            [&format!("pids/docker/{ID}"), "memory/a", "unified/system.slice/containerd.service/deep"];
        let (_root, environment) = machine(&memberships, &directories);
        assert!(Cgroups::of(&environment).of_process(7).unwrap().ends_with(format!("pids/docker/{ID}")));
        let (_root, environment) = machine("4:memory:/\n0::/\n", &["memory", "unified"]);
        let error = Cgroups::of(&environment).of_process(7).unwrap_err().to_string();
        assert!(error.contains("root cgroup") && error.contains("--all"), "{error}");
    }

    proptest! {
        #[test]
        fn arbitrary_lines_do_not_panic(line in ".{0,80}", id in ".{0,10}") {
            if let Some(membership) = Membership::parse(&line) {
                let _ = (membership.rank(), container_in(&membership.path, &id));
            }
        }
    }
}
