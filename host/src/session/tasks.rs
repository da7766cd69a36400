//! Checks which of the given processes are alive.

use std::fs;
use std::path::Path;

use trace_hook_api::TaskSelection;

use crate::error::{Error, Result};
use crate::process_stat;

/// Removes processes that have ended. An id of a thread is replaced by that of its process.
///
/// # Errors
///
/// None is alive.
pub fn alive(tasks: &TaskSelection, procfs: &Path) -> Result<TaskSelection> {
    let processes =
        |pids: &[u32]| -> Vec<u32> { pids.iter().filter_map(|pid| live_process(*pid, procfs)).collect() };
    let alive =
        TaskSelection::of(processes(&tasks.pids)).parents(processes(&tasks.parents)).exact(tasks.exact);
    if alive.pids.is_empty() && alive.parents.is_empty() {
        let given: Vec<String> = tasks.pids.iter().chain(&tasks.parents).map(u32::to_string).collect();
        return Err(Error::NoTaskLeft(match given.as_slice() {
            [pid] => format!("{pid} does not exist or has ended"),
            _ => format!("{} do not exist or have ended", given.join(", ")),
        }));
    }
    Ok(alive)
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

    #[test]
    fn a_thread_id_is_replaced_by_its_process_id() {
        // A test runs in a thread of its own.
        let thread = nix::unistd::gettid().as_raw().cast_unsigned();
        assert_ne!(thread, std::process::id());
        let selected = alive(&TaskSelection::of([thread]), Path::new("/proc")).unwrap();
        assert_eq!(selected.pids, [std::process::id()]);
        assert_eq!(process_in(b"Name:\tTgid:\nUmask:\t0022\nTgid:\t7\nPid:\t9\n"), Some(7));
        assert_eq!(process_in(b"garbage"), None);
    }

    #[test]
    fn only_existing_processes_are_alive() {
        let procfs = Path::new("/proc");
        let us = std::process::id();
        assert_eq!(alive(&TaskSelection::of([us, 1 << 22]), procfs).unwrap().pids, [us]);
        assert!(alive(&TaskSelection::of([1 << 22]), procfs).unwrap_err().to_string().contains("4194304"));
    }
}
