//! What a plugin may read while hooks are listed: libraries, and what the kernel reports in procfs, sysfs and tracefs.
//!
//! Devices, FIFOs and users' files are not among that: reading from a terminal or a FIFO takes away what others should read.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::environment;

/// Where systems have their libraries, and data that packages bring along.
const LIBRARIES: [&str; 4] = ["/usr", "/lib", "/lib64", CACHE];
/// The paths of all libraries of the system (ldconfig(8)).
const CACHE: &str = "/etc/ld.so.cache";
/// In `kernel/` of a sysfs: reading there can have side effects.
const DEBUGGING: [&str; 2] = ["debug", "tracing"];
/// What can be read in a tracefs without taking events from other readers.
const OF_TRACEFS: [&str; 9] = [
    "README",
    "available_events",
    "available_filter_functions",
    "available_tracers",
    "current_tracer",
    "events",
    "kprobe_events",
    "trace_clock",
    "uprobe_events",
];

/// What can be read.
#[derive(Debug, Default)]
pub struct Readable {
    /// Files, and directories in which all files can be read.
    pub places: Vec<PathBuf>,
    /// Directories that can only be listed, with all below them.
    pub listings: Vec<PathBuf>,
}

/// Finds what can be read on this machine. Some of it may not exist.
pub fn find() -> Readable {
    let mut places: Vec<PathBuf> = LIBRARIES.map(PathBuf::from).to_vec();
    places.extend(library_directories());
    let mount_points = mount_points();
    for (procfs, sysfs) in &mount_points {
        places.push(procfs.clone());
        places.extend(directories_in(sysfs, &["kernel"]));
        places.extend(directories_in(&sysfs.join("kernel"), &DEBUGGING));
    }
    let tracefs = tracing_directory(&mount_points);
    places.extend(tracefs.iter().flat_map(|tracefs| OF_TRACEFS.map(|name| tracefs.join(name))));
    Readable { places, listings: tracefs.into_iter().collect() }
}

/// Those of the host that is traced, and of this process.
fn mount_points() -> BTreeSet<(PathBuf, PathBuf)> {
    let configured = environment::from_variables();
    let valid = environment::check(&configured).is_ok().then_some((configured.procfs, configured.sysfs));
    valid.into_iter().chain([("/proc".into(), "/sys".into())]).collect()
}

fn directories_in(directory: &Path, except: &[&str]) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let others = directories.filter(|entry| !except.iter().any(|name| entry.file_name() == *name));
    others.map(|entry| entry.path())
}

/// The directories of the libraries that the dynamic loader finds outside of the usual places.
fn library_directories() -> BTreeSet<PathBuf> {
    let given = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let given = given.as_bytes().split(|byte| b":;".contains(byte)).map(OsStr::from_bytes);
    let given = given.filter_map(|path| std::path::absolute(path).ok());
    let cache = fs::read(CACHE).unwrap_or_default();
    directories_named_in(&cache).chain(given).collect()
}

/// Those of the libraries outside of the usual places. The cache has numbers as well, which can look like a path.
fn directories_named_in(cache: &[u8]) -> impl Iterator<Item = PathBuf> {
    let texts = cache.split(|byte| *byte == 0).filter(|text| text.starts_with(b"/") && !is_usual(text));
    let libraries = texts.filter(|text| text.windows(3).any(|part| part == b".so"));
    let directories =
        libraries.filter_map(|library| Some(Path::new(OsStr::from_bytes(library)).parent()?.to_owned()));
    directories.filter(|directory| directory.parent().is_some())
}

fn is_usual(library: &[u8]) -> bool {
    LIBRARIES
        .iter()
        .any(|usual| library.strip_prefix(usual.as_bytes()).is_some_and(|rest| rest.starts_with(b"/")))
}

/// Where tracefs is mounted. It is the same one everywhere.
fn tracing_directory(mount_points: &BTreeSet<(PathBuf, PathBuf)>) -> Option<PathBuf> {
    let usual = ["kernel/tracing", "kernel/debug/tracing"];
    let mut usual = mount_points.iter().flat_map(|(_, sysfs)| usual.map(|place| sysfs.join(place)));
    let elsewhere = || mount_points.iter().find_map(|(procfs, _)| mounted_for_process_1(procfs));
    usual.find(|place| is_tracefs(place)).or_else(elsewhere)
}

fn is_tracefs(directory: &Path) -> bool {
    use nix::sys::statfs::{TRACEFS_MAGIC, statfs};
    statfs(directory).is_ok_and(|found| found.filesystem_type() == TRACEFS_MAGIC)
}

/// In the mount table of process 1 (proc_pid_mountinfo(5)), whose paths may be those of another root directory.
fn mounted_for_process_1(procfs: &Path) -> Option<PathBuf> {
    let table = fs::read_to_string(procfs.join("1/mountinfo")).ok()?;
    let points = table.lines().filter_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let point = head.split(' ').nth(4)?.trim_start_matches('/');
        match tail.split(' ').next()? {
            "tracefs" => Some(PathBuf::from(point)),
            "debugfs" => Some(Path::new(point).join("tracing")),
            _ => None,
        }
    });
    let mut places =
        points.flat_map(|point| [procfs.join("1/root").join(&point), Path::new("/").join(point)]);
    places.find(|place| is_tracefs(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_libraries_of_the_cache_have_directories() {
        let cache = b"glibc-ld.so.cache1.1\0/\x05\0/usr/lib/a.so.1\0/opt/x/lib/libx.so.2\0libx.so.2\0/libroot.so\0/opt/y\0";
        let found: Vec<PathBuf> = directories_named_in(cache).collect();
        assert_eq!(found, [PathBuf::from("/opt/x/lib")]);
    }

    #[test]
    fn the_root_directory_cannot_be_read_as_a_whole() {
        let Readable { places, listings } = find();
        for forbidden in ["/", "/dev", "/run", "/tmp", "/sys", "/sys/kernel", "/sys/kernel/tracing"] {
            assert!(!places.contains(&forbidden.into()), "{places:?}");
        }
        assert!(listings.iter().all(|directory| is_tracefs(directory)), "{listings:?}");
    }
}
