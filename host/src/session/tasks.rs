//! Finds the tasks that the caller names: which of the processes are alive, and where the cgroups are.

use std::fs;
use std::path::{Path, PathBuf};

use trace_hook_api::{Environment, TaskSelection};

use super::cgroups::Cgroups;
use crate::arguments::GivenTasks;
use crate::error::{Error, Result};
use crate::process_stat;

/// Removes processes that have ended, and finds the directories of cgroups. An id of a thread is replaced by that of its
/// process.
///
/// # Errors
///
/// No process is alive, and no cgroup is given; or a cgroup cannot be found.
pub fn find(given: &GivenTasks, environment: &Environment) -> Result<TaskSelection> {
    let mut gone = Vec::new();
    let mut alive = |pids: &[u32]| -> Vec<u32> {
        let live = |pid: &u32| {
            let process = live_process(*pid, &environment.procfs);
            gone.extend(process.is_none().then(|| pid.to_string()));
            process
        };
        pids.iter().filter_map(live).collect()
    };
    let (pids, parents) = (alive(&given.pids), alive(&given.parents));
    let cgroups = cgroups(given, &pids, environment)?;
    if pids.is_empty() && parents.is_empty() && cgroups.is_empty() && !given.all {
        let hides = hides_processes(&environment.procfs);
        return Err(Error::NoTaskLeft(match gone.as_slice() {
            _ if hides => format!(
                "{} cannot be seen in {}, which is mounted with hidepid; that takes CAP_SYS_PTRACE, or the group of its option gid",
                gone.join(", "),
                environment.procfs.display()
            ),
            [pid] => format!("{pid} does not exist or has ended"),
            _ => format!("{} do not exist or have ended", gone.join(", ")),
        }));
    }
    if !gone.is_empty() {
        log::warn!("not traced, because it does not exist or has ended: {}", gone.join(", "));
    }
    Ok(TaskSelection::of(pids).parents(parents).exact(given.exact).cgroups(cgroups).all(given.all))
}

/// The directory of each cgroup once.
fn cgroups(given: &GivenTasks, pids: &[u32], environment: &Environment) -> Result<Vec<PathBuf>> {
    let cgroups = Cgroups::of(environment);
    let of_processes = pids.iter().filter(|_| given.whole_cgroups).map(|pid| cgroups.of_process(*pid));
    let at_paths = given.cgroups.iter().map(|path| cgroups.at(path));
    let of_containers = given.containers.iter().map(|id| cgroups.of_container(id));
    let mut directories = at_paths.chain(of_containers).chain(of_processes).collect::<Result<Vec<_>>>()?;
    directories.sort();
    directories.dedup();
    Ok(directories)
}

/// Whether other users' processes cannot be seen (`hidepid` in proc(5)). The first process of a namespace always exists.
fn hides_processes(procfs: &Path) -> bool {
    fs::read_dir(procfs.join("1/task")).is_err()
}

/// The process of this thread, if one of its threads is alive. The main thread may have ended before the others.
fn live_process(thread: u32, procfs: &Path) -> Option<u32> {
    let directory = procfs.join(thread.to_string());
    let mut threads = fs::read_dir(directory.join("task")).ok()?.flatten().peekable();
    // The kernel lists the main thread first.
    let is_first = threads.peek()?.file_name() == *thread.to_string();
    threads.any(|thread| thread_is_alive(&thread.path())).then_some(())?;
    if is_first { Some(thread) } else { process_in(&fs::read(directory.join("status")).ok()?) }
}

/// The id of the process in a `/proc/PID/status`.
fn process_in(status: &[u8]) -> Option<u32> {
    let process = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Tgid:"))?;
    str::from_utf8(process).ok()?.trim().parse().ok()
}

/// A zombie has ended, and waits to be reaped.
fn thread_is_alive(directory: &Path) -> bool {
    let stat = fs::read(directory.join("stat")).unwrap_or_default();
    !matches!(process_stat::state(&stat), Some(b'Z' | b'X' | b'x') | None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processes(pids: impl Into<Vec<u32>>) -> GivenTasks {
        GivenTasks { pids: pids.into(), ..GivenTasks::default() }
    }

    #[test]
    fn a_thread_id_is_replaced_by_its_process_id() {
        // A test runs in a thread of its own.
        let thread = nix::unistd::gettid().as_raw().cast_unsigned();
        assert_ne!(thread, std::process::id());
        let selected = find(&processes([thread]), &Environment::default()).unwrap();
        assert_eq!(selected.pids, [std::process::id()]);
        assert_eq!(process_in(b"Name:\tTgid:\nUmask:\t0022\nTgid:\t7\nPid:\t9\n"), Some(7));
        assert_eq!(process_in(b"garbage"), None);
    }

    #[test]
    fn only_existing_processes_are_alive() {
        let environment = Environment::default();
        let us = std::process::id();
        assert_eq!(find(&processes([us, 1 << 22]), &environment).unwrap().pids, [us]);
        let error = find(&processes([1 << 22]), &environment).unwrap_err().to_string();
        assert!(error.contains("4194304"), "{error}");
    }
}
