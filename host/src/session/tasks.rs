//! Which of the given processes are there.

use std::fs;
use std::path::Path;

use trace_hook_api::Tasks;

use crate::error::{Error, Result};

/// Leaves the processes out that are gone.
///
/// # Errors
///
/// None is left.
pub fn living(tasks: &Tasks, procfs: &Path) -> Result<Tasks> {
    let alive =
        |pids: &[u32]| -> Vec<u32> { pids.iter().copied().filter(|pid| is_alive(*pid, procfs)).collect() };
    let living = Tasks::of(alive(&tasks.pids)).parents(alive(&tasks.parents)).exact(tasks.exact);
    if living.pids.is_empty() && living.parents.is_empty() {
        let given: Vec<String> = tasks.pids.iter().chain(&tasks.parents).map(u32::to_string).collect();
        return Err(Error::NoTaskLeft(match given.as_slice() {
            [pid] => format!("{pid} is not there (any more)"),
            _ => format!("none of {} is there (any more)", given.join(", ")),
        }));
    }
    Ok(living)
}

/// A process lives as long as one of its threads does; the first may have ended before the others.
fn is_alive(pid: u32, procfs: &Path) -> bool {
    let threads = fs::read_dir(procfs.join(format!("{pid}/task")));
    threads.into_iter().flatten().flatten().any(|thread| thread_is_alive(&thread.path()))
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
    fn this_process_is_there_and_a_wrong_one_is_not() {
        let procfs = Path::new("/proc");
        let us = std::process::id();
        assert_eq!(living(&Tasks::of([us, 1 << 22]), procfs).unwrap().pids, [us]);
        assert!(living(&Tasks::of([1 << 22]), procfs).unwrap_err().to_string().contains("4194304"));
    }
}
