//! Which of the given processes are there.

use std::fs;
use std::path::Path;

use trace_hook_api::TaskSelection;

use crate::error::{Error, Result};

/// Leaves the processes out that are gone. The others go by their own ids, whichever of their threads' was given.
///
/// # Errors
///
/// None is left.
pub fn living(tasks: &TaskSelection, procfs: &Path) -> Result<TaskSelection> {
    let alive =
        |pids: &[u32]| -> Vec<u32> { pids.iter().filter_map(|pid| living_process(*pid, procfs)).collect() };
    let living = TaskSelection::of(alive(&tasks.pids)).parents(alive(&tasks.parents)).exact(tasks.exact);
    if living.pids.is_empty() && living.parents.is_empty() {
        let given: Vec<String> = tasks.pids.iter().chain(&tasks.parents).map(u32::to_string).collect();
        return Err(Error::NoTaskLeft(match given.as_slice() {
            [pid] => format!("{pid} is not there (any more)"),
            _ => format!("none of {} is there (any more)", given.join(", ")),
        }));
    }
    Ok(living)
}

/// The process of this thread. It lives as long as one of its threads does; the first may have ended before the others.
fn living_process(thread: u32, procfs: &Path) -> Option<u32> {
    let directory = procfs.join(thread.to_string());
    let mut threads = fs::read_dir(directory.join("task")).ok()?.flatten().peekable();
    // The kernel lists first the one that has the id of its process.
    let is_first = threads.peek()?.file_name() == *thread.to_string();
    threads.any(|thread| thread_is_alive(&thread.path())).then_some(())?;
    if is_first { Some(thread) } else { process_in(&fs::read(directory.join("status")).ok()?) }
}

/// The process in a `/proc/PID/status`.
fn process_in(status: &[u8]) -> Option<u32> {
    let process = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Tgid:"))?;
    str::from_utf8(process).ok()?.trim().parse().ok()
}

/// A zombie has ended; only its parent has not looked yet.
fn thread_is_alive(directory: &Path) -> bool {
    let stat = fs::read(directory.join("stat")).unwrap_or_default();
    !matches!(state(&stat), Some(b'Z' | b'X' | b'x') | None)
}

/// The state in a `/proc/PID/stat` line. It follows the name, which may hold anything, parentheses too.
fn state(stat: &[u8]) -> Option<u8> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(name_end + 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_hide_the_state() {
        assert_eq!(state(b"1 (a) S) Z 0"), Some(b'Z'));
        assert_eq!(state(b"1 (a) S 0"), Some(b'S'));
        assert_eq!(state(b"1 (a)"), None);
    }

    #[test]
    fn a_process_goes_by_its_own_id() {
        // A test runs in a thread of its own.
        let thread = nix::unistd::gettid().as_raw().cast_unsigned();
        assert_ne!(thread, std::process::id());
        let living = living(&TaskSelection::of([thread]), Path::new("/proc")).unwrap();
        assert_eq!(living.pids, [std::process::id()]);
        assert_eq!(process_in(b"Name:\tTgid:\nUmask:\t0022\nTgid:\t7\nPid:\t9\n"), Some(7));
        assert_eq!(process_in(b"garbage"), None);
    }

    #[test]
    fn this_process_is_there_and_a_wrong_one_is_not() {
        let procfs = Path::new("/proc");
        let us = std::process::id();
        assert_eq!(living(&TaskSelection::of([us, 1 << 22]), procfs).unwrap().pids, [us]);
        assert!(living(&TaskSelection::of([1 << 22]), procfs).unwrap_err().to_string().contains("4194304"));
    }
}
