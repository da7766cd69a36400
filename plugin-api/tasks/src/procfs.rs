//! Tasks in procfs (proc(5)).
//!
//! Tasks can start and exit at any time. A task that has exited is not an error here; it is treated as absent.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::Pid;
use crate::error::{Error, Result};

/// A procfs at any mount point.
#[derive(Debug, Clone)]
pub struct Procfs {
    root: PathBuf,
}

/// The number is fixed in the kernel (`PROC_PID_INIT_INO` in include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// A task as `/proc/TID/status` describes it.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Status {
    /// The process the task is a thread of.
    pub process: Pid,
    /// The process that this process is a child of.
    pub parent: Pid,
    /// It has exited, but its parent has not waited for it yet.
    pub exited: bool,
}

impl Procfs {
    /// The procfs that is mounted at `root`.
    pub fn at(root: &Path) -> Procfs {
        Procfs { root: root.to_path_buf() }
    }

    /// The procfs that is mounted at `root`, if it is that of the initial pid namespace.
    ///
    /// # Errors
    ///
    /// [`Error::InnerNamespace`].
    pub fn of_initial_namespace(root: &Path) -> Result<Procfs> {
        let procfs = Procfs::at(root);
        match procfs.is_of_inner_namespace() {
            true => Err(Error::InnerNamespace { procfs: root.to_path_buf() }),
            false => Ok(procfs),
        }
    }

    /// The mount point.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether this is known to be the procfs of an inner pid namespace.
    pub fn is_of_inner_namespace(&self) -> bool {
        let is_inner = |link: PathBuf| link != Path::new(INITIAL_PID_NAMESPACE);
        // Without the privilege, Linux 5.10 returns an empty link, and later kernels an error.
        let namespace_of = |process: &str| {
            let link = fs::read_link(self.root.join(process).join("ns/pid")).ok()?;
            Some(link).filter(|link| link.to_string_lossy().starts_with("pid:["))
        };
        if let Some(link) = namespace_of("1") {
            return is_inner(link);
        }
        // Reading that of process 1 needs privileges. If this process has the same id here as in its own namespace, the
        // procfs is that of its own namespace.
        let is_own = fs::read_link(self.root.join("self"))
            .is_ok_and(|number| number == Path::new(&std::process::id().to_string()));
        is_own && namespace_of("self").is_some_and(is_inner)
    }

    /// This process and its parent, with their ids in this procfs. In a container these differ from getpid(2).
    pub fn ourselves(&self) -> Vec<Pid> {
        let status = fs::read_to_string(self.root.join("self/status")).unwrap_or_default();
        let number =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        ["Pid:", "PPid:"].into_iter().filter_map(number).collect()
    }

    /// The calling thread, with its id in this procfs.
    ///
    /// # Errors
    ///
    /// This is a procfs of a pid namespace without this thread, or no procfs.
    pub fn this_thread(&self) -> io::Result<Pid> {
        let link = fs::read_link(self.root.join("thread-self"))?;
        let id = link.file_name().and_then(|name| name.to_str()?.parse().ok());
        id.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "thread-self leads to no thread"))
    }

    /// All processes.
    pub fn processes(&self) -> Vec<Pid> {
        pids_in(&self.root)
    }

    /// The threads of a process, including the first one.
    pub fn threads(&self, process: Pid) -> Vec<Pid> {
        pids_in(&self.root.join(format!("{process}/task")))
    }

    /// The processes that a thread has forked and that are still its children.
    pub fn children_of_thread(&self, process: Pid, thread: Pid) -> Vec<Pid> {
        let file = self.root.join(format!("{process}/task/{thread}/children"));
        let children = fs::read_to_string(file).unwrap_or_default();
        children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Whether this kernel has `task/TID/children`; it needs CONFIG_PROC_CHILDREN.
    pub fn lists_children(&self) -> bool {
        self.root.join("1/task/1/children").exists()
    }

    /// The children of every process, for kernels that do not list them. This reads all processes.
    pub fn children_of_all(&self) -> HashMap<Pid, Vec<Pid>> {
        let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
        for process in pids_in(&self.root) {
            if let Some(status) = self.status(process) {
                children.entry(status.parent).or_default().push(process);
            }
        }
        children
    }

    /// The status of a task. `None` if it does not exist.
    pub fn status(&self, task: Pid) -> Option<Status> {
        status(&fs::read(self.root.join(format!("{task}/status"))).ok()?)
    }

    /// The present time by the clock of [`started`](Self::started). In a time namespace, it is that of this process.
    pub fn now() -> u64 {
        let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
    }

    /// When the task was started, in nanoseconds since boot, rounded down to 10 ms. `None` if it does not exist.
    pub fn started(&self, task: Pid) -> Option<u64> {
        started(&fs::read(self.root.join(format!("{task}/stat"))).ok()?)
    }

    /// The directory of a thread. That of its id alone is the process's.
    pub(crate) fn path_of_thread(&self, thread: Pid) -> PathBuf {
        self.root.join(format!("{thread}/task/{thread}"))
    }

    /// The path of the task's cgroup in the hierarchy of version 2. A zombie still has one.
    pub fn cgroup_path(&self, task: Pid) -> Option<PathBuf> {
        let cgroups = fs::read_to_string(self.root.join(format!("{task}/cgroup"))).ok()?;
        let path = cgroups.lines().find_map(|line| line.strip_prefix("0::"))?;
        Some(path.strip_suffix(" (deleted)").unwrap_or(path).into())
    }

    /// Whether the task exists and is not a zombie.
    pub fn is_alive(&self, task: Pid) -> bool {
        self.status(task).is_some_and(|status| !status.exited)
    }

    /// Whether the task exists, possibly as a zombie.
    pub fn exists(&self, task: Pid) -> bool {
        self.root.join(task.to_string()).exists()
    }
}

fn pids_in(directory: &Path) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The command name in the first line may hold any bytes, but the kernel escapes newlines in it, so it cannot forge a line.
fn status(text: &[u8]) -> Option<Status> {
    let field = |name: &str| {
        text.split(|&byte| byte == b'\n')
            .find_map(|line| std::str::from_utf8(line.strip_prefix(name.as_bytes())?).ok())
            .map(str::trim)
    };
    Some(Status {
        process: field("Tgid:")?.parse().ok()?,
        parent: field("PPid:")?.parse().ok()?,
        exited: field("State:")?.starts_with(['Z', 'X', 'x']),
    })
}

/// What the start of a task is rounded down to in procfs, in nanoseconds: a tick of `USER_HZ`.
pub const START_PRECISION: u64 = 10_000_000;

/// The 22nd field, in ticks of 10 ms (`USER_HZ`). The second one, the name, may contain spaces and parentheses.
fn started(stat: &[u8]) -> Option<u64> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let after_name = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    after_name.split_whitespace().nth(19)?.parse::<u64>().ok()?.checked_mul(START_PRECISION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Procfs) {
        let root = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("directories");
            fs::write(path, text).expect("file");
        }
        let procfs = Procfs::at(root.path());
        (root, procfs)
    }

    #[test]
    fn the_start_of_a_task_is_the_field_after_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 1234 0 0";
        let (_root, procfs) = tree(&[("7/stat", stat), ("8/stat", "8 (x) S 1")]);
        assert_eq!(procfs.started(7), Some(12_340_000_000));
        assert_eq!((procfs.started(8), procfs.started(9)), (None, None));
    }

    #[test]
    fn this_process_was_started_before_now() {
        let started = Procfs::at(Path::new("/proc")).started(std::process::id()).expect("it runs");
        assert!(started <= Procfs::now() && Procfs::now() - started < 3_600_000_000_000);
    }

    #[test]
    fn threads_are_the_numbers_in_task() {
        let (_root, procfs) = tree(&[("7/task/7/stat", ""), ("7/task/9/stat", ""), ("7/task/odd/stat", "")]);
        let mut threads = procfs.threads(7);
        threads.sort_unstable();
        assert_eq!(threads, [7, 9]);
        assert!(procfs.threads(8).is_empty());
    }

    #[test]
    fn children_are_those_of_each_thread() {
        let (_root, procfs) = tree(&[("1/task/1/children", ""), ("7/task/9/children", "11 12 ")]);
        assert!(procfs.lists_children());
        assert_eq!(procfs.children_of_thread(7, 9), [11, 12]);
        assert!(procfs.children_of_thread(7, 7).is_empty());
    }

    #[test]
    fn without_child_lists_children_are_found_by_parent() {
        let child = "Name:\tsh\nState:\tS (sleeping)\nTgid:\t8\nPPid:\t7\n";
        let (_root, procfs) = tree(&[("8/status", child), ("self/status", child), ("9/stat", "")]);
        assert!(!procfs.lists_children());
        assert_eq!(procfs.children_of_all(), HashMap::from([(7, vec![8])]));
    }

    #[test]
    fn zombies_exist_but_are_not_alive() {
        let text = |state| format!("Name:\ta\nState:\t{state}\nTgid:\t8\nPPid:\t7\n");
        let (_root, procfs) = tree(&[("8/status", &text("Z (zombie)")), ("9/status", &text("R (running)"))]);
        assert!(procfs.exists(8) && !procfs.is_alive(8));
        assert!(procfs.is_alive(9));
        assert!(!procfs.exists(10) && !procfs.is_alive(10));
    }

    #[test]
    fn own_status_is_parsed() {
        let procfs = Procfs::at(Path::new("/proc"));
        let pid = Pid::try_from(std::process::id()).expect("a pid");
        let status = procfs.status(pid).expect("a status");
        assert_eq!(status.process, pid);
        assert!(!status.exited);
    }

    proptest! {
        #[test]
        fn any_name_is_parsed(name in prop::collection::vec(any::<u8>().prop_filter("escaped by the kernel", |b| *b != b'\n'), 0..16)) {
            let mut text = b"Name:\t".to_vec();
            text.extend(name);
            text.extend(b"\nState:\tS (sleeping)\nTgid:\t12\nNgid:\t0\nPid:\t13\nPPid:\t4\n");
            prop_assert_eq!(status(&text), Some(Status { process: 12, parent: 4, exited: false }));
        }

        #[test]
        fn arbitrary_text_does_not_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = status(&text);
        }
    }
}
