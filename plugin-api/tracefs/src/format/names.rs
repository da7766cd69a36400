use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trace_tasks::Pid;

use super::comm::Comm;
use crate::RecentMap;
use crate::dir::Dir;

/// The least time between two lookups of an unknown name.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(10);

/// The least number of tasks whose names are kept.
const REMEMBERED: usize = 1 << 15;

/// The names of tasks, from the kernel and from events.
#[derive(Debug)]
pub(super) struct Names {
    tracefs: Arc<Dir>,
    procfs: PathBuf,
    known: RecentMap<Pid, Comm>,
    /// The names in `saved_cmdlines`. A pid in it may have been reused since.
    saved: RecentMap<Pid, Comm>,
    /// Tasks whose name is unknown. Cleared when `saved_cmdlines` is read again.
    unknown: HashSet<Pid>,
    last: (Pid, Comm),
    groups: RecentMap<Pid, u32>,
    read_at: Option<Instant>,
}

impl Names {
    pub(super) fn new(tracefs: Arc<Dir>, procfs: &Path) -> Self {
        Self {
            tracefs,
            procfs: procfs.to_owned(),
            known: RecentMap::new(REMEMBERED),
            saved: RecentMap::new(REMEMBERED),
            unknown: HashSet::new(),
            last: (0, Comm::new(b"<idle>")),
            groups: RecentMap::new(REMEMBERED),
            read_at: None,
        }
    }

    /// The name of `pid`; `<...>` if it is unknown (`trace_find_cmdline`).
    #[inline]
    pub(super) fn name(&mut self, pid: Pid) -> Comm {
        if self.last.0 == pid {
            return self.last.1;
        }
        let (name, is_known) = self.find(pid);
        if is_known {
            self.last = (pid, name);
        }
        name
    }

    fn find(&mut self, pid: Pid) -> (Comm, bool) {
        match pid {
            0 => return (Comm::new(b"<idle>"), true),
            _ if pid.cast_signed() < 0 => return (Comm::new(b"<XXX>"), true),
            _ => {}
        }
        if let Some(name) = self.known.get_mut(&pid) {
            return (*name, true);
        }
        let due = self.read_at.is_none_or(|at| at.elapsed() >= LOOKUP_INTERVAL);
        if due || !self.unknown.contains(&pid) {
            // procfs comes first: the saved name may be that of an earlier task with this id.
            if self.read_comm(pid) {
                return (self.known.get(&pid).copied().unwrap_or(Comm::new(b"<...>")), true);
            }
            if due {
                self.refresh();
            }
            if let Some(name) = self.saved.get(&pid).copied() {
                self.known.insert(pid, name);
                return (name, true);
            }
            self.unknown.insert(pid);
        }
        (Comm::new(b"<...>"), false)
    }

    /// Reads `saved_cmdlines`.
    fn refresh(&mut self) {
        self.unknown.clear();
        let text = self.tracefs.contents("saved_cmdlines").unwrap_or_default();
        let mut last: Option<(Pid, Vec<u8>)> = None;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match (saved_name(line), &mut last) {
                (Some((pid, name)), _) => {
                    self.saved.insert(pid, Comm::new(name));
                    last = Some((pid, name.to_vec()));
                }
                // The rest of a name with a newline, which the kernel does not escape.
                (None, Some((pid, name))) => {
                    name.push(b'\n');
                    name.extend_from_slice(line);
                    self.saved.insert(*pid, Comm::new(name));
                }
                (None, None) => {}
            }
        }
        self.read_at = Some(Instant::now());
    }

    /// Reads the current name of `pid` from procfs. Returns whether the task exists.
    pub(super) fn read_comm(&mut self, pid: Pid) -> bool {
        let Ok(text) = fs::read(self.procfs.join(pid.to_string()).join("comm")) else { return false };
        self.insert(pid, own_name(text.strip_suffix(b"\n").unwrap_or(&text)));
        true
    }

    /// Sets the name of a task.
    pub(super) fn insert(&mut self, pid: Pid, name: &[u8]) {
        if pid.cast_signed() <= 0 {
            return;
        }
        let name = Comm::new(name);
        if self.known.insert(pid, name) != Some(name) && self.last.0 == pid {
            self.last.1 = name;
        }
    }

    /// The thread group of `pid`; 0 if it is unknown (`trace_find_tgid`).
    pub(super) fn group(&mut self, pid: Pid) -> u32 {
        if let Some(group) = self.groups.get_mut(&pid) {
            return *group;
        }
        let text = self.tracefs.read("saved_tgids").unwrap_or_default();
        let saved = text.lines().filter_map(|line| {
            let (pid, group) = line.trim().split_once(' ')?;
            Some((pid.parse::<Pid>().ok()?, group.trim().parse::<u32>().ok()?))
        });
        for (pid, group) in saved {
            self.groups.insert(pid, group);
        }
        if let Some(group) = self.groups.get_mut(&pid) {
            return *group;
        }
        self.groups.insert(pid, 0);
        0
    }
}

/// Parses a line such as `4711 bash`. The name may contain blanks.
fn saved_name(line: &[u8]) -> Option<(Pid, &[u8])> {
    let blank = line.iter().position(|byte| *byte == b' ')?;
    let pid = std::str::from_utf8(line.get(..blank)?).ok()?.parse().ok()?;
    Some((pid, line.get(blank + 1..)?))
}

/// Removes what procfs appends to the names of kernel workers. `kworker/0:2-events` has the name `kworker/0:2` and
/// works for the workqueue `events` (`wq_worker_comm` in kernel/workqueue.c).
fn own_name(shown: &[u8]) -> &[u8] {
    let is_worker = shown.starts_with(b"kworker/") && !shown.starts_with(b"kworker/R-");
    match shown.iter().position(|byte| is_worker && matches!(byte, b'-' | b'+')) {
        Some(end) => shown.get(..end).unwrap_or(shown),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::own_name;

    #[test]
    fn workqueue_is_removed_from_worker_names() {
        assert_eq!(own_name(b"kworker/0:2-events"), b"kworker/0:2");
        assert_eq!(own_name(b"kworker/u8:1+flush-254:0"), b"kworker/u8:1");
        assert_eq!(own_name(b"kworker/R-rcu_gp"), b"kworker/R-rcu_gp");
        assert_eq!(own_name(b"my-kworker/0:2-x"), b"my-kworker/0:2-x");
    }
}
