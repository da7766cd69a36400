use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::{Pid, Procfs};

/// A task whose state is checked again and again. A check takes one system call, and is not confused by another task that
/// gets the same id.
#[derive(Debug)]
pub struct WatchedTask {
    task: Pid,
    /// That of the thread: that of a process adds up the counts of all its threads.
    stat: File,
}

impl WatchedTask {
    /// Opens the task's file in this procfs. `None` if it does not exist.
    pub fn open(procfs: &Procfs, task: Pid) -> Option<Self> {
        Some(Self { task, stat: File::open(procfs.path_of_thread(task).join("stat")).ok()? })
    }

    /// Its id.
    pub fn id(&self) -> Pid {
        self.task
    }

    /// Whether the task exists and is not a zombie.
    pub fn is_alive(&self) -> bool {
        let mut text = [0; 256];
        // Fails if the task is gone.
        let length = self.stat.read_at(&mut text, 0).unwrap_or(0);
        text.get(..length).and_then(state).is_some_and(|state| !matches!(state, b'Z' | b'X' | b'x'))
    }
}

/// The state in `stat` (proc_pid_stat(5)), which follows the name. The name may contain parentheses.
fn state(stat: &[u8]) -> Option<u8> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(name_end + 2).copied()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_task_is_alive_until_it_is_a_zombie() {
        let procfs = Procfs::at(Path::new("/proc"));
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("there is cat");
        let task = WatchedTask::open(&procfs, child.id()).expect("it exists");
        assert!(task.is_alive());
        drop(child.stdin.take());
        while task.is_alive() {
            std::thread::yield_now();
        }
        assert!(procfs.exists(task.id()), "it has not been reaped");
        child.wait().expect("it has ended");
        assert!(!task.is_alive());
        assert!(WatchedTask::open(&procfs, task.id()).is_none_or(|other| !other.is_alive()));
    }

    #[test]
    fn the_state_follows_any_name() {
        assert_eq!(state(b"7 (a) Z (b) S 1 7"), Some(b'S'));
        assert_eq!(state(b"7 (cat) Z 1"), Some(b'Z'));
        assert_eq!(state(b"7 (cat)"), None);
        assert_eq!(state(b""), None);
    }
}
