//! The processes that the programs trace: `bpf/processes.h`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use aya::maps::{HashMap as BpfMap, MapData};
use trace_hook_api::Result;
use trace_tasks::{Cgroup, Follow, Pid, Procfs, SelectedProcesses};

use crate::cgroups::SelectedCgroups;

/// The process itself is traced.
const OWN: u32 = 1;
/// The processes that it forks are traced.
const CHILDREN: u32 = 2;

const MIN_CAPACITY: u32 = 1 << 16;
/// The map's table takes 16 bytes an entry, so 16 MiB at most.
const MAX_CAPACITY: u32 = 1 << 20;

/// The traced processes, which the programs keep up to date at each fork, exit and move between cgroups.
pub struct TracedProcesses {
    map: BpfMap<MapData, u32, u32>,
    selection: SelectedProcesses,
    cgroups: SelectedCgroups,
    procfs: PathBuf,
}

impl TracedProcesses {
    pub(crate) fn new(
        map: BpfMap<MapData, u32, u32>,
        selection: SelectedProcesses,
        cgroups: SelectedCgroups,
        procfs: &Path,
    ) -> Self {
        Self { map, selection, cgroups, procfs: procfs.to_owned() }
    }

    /// The size of the map: as many processes as this kernel can have, within limits. The least, if the map takes all of its
    /// memory at once.
    pub(crate) fn capacity(procfs: &Path, is_preallocated: bool) -> u32 {
        if is_preallocated {
            return MIN_CAPACITY;
        }
        let limit = |name: &str| {
            let text = fs::read_to_string(procfs.join("sys/kernel").join(name)).ok()?;
            text.trim().parse::<u32>().ok()
        };
        let limits = ["pid_max", "threads-max"].into_iter().filter_map(limit);
        limits.min().unwrap_or(MAX_CAPACITY).clamp(MIN_CAPACITY, MAX_CAPACITY)
    }

    /// Whether processes join when they are moved into a cgroup.
    pub(crate) fn follows_cgroups(&self) -> bool {
        !self.cgroups.is_empty()
    }

    /// Adds the selected processes that exist now. The programs must see forks, exits and moves already.
    ///
    /// # Errors
    ///
    /// No process is left to trace, or the kernel refuses an entry.
    pub(crate) fn add(&mut self) -> Result<()> {
        if self.selection.is_all() {
            return self.except_excluded();
        }
        self.add_families()?;
        self.add_members()?;
        match self.any_left() {
            true => Ok(()),
            false => Err(self.selection.none_left().into()),
        }
    }

    /// Without a flag, a process is not traced even if all others are.
    fn except_excluded(&mut self) -> Result<()> {
        Procfs::of_initial_namespace(&self.procfs)?;
        let excluded: Vec<Pid> = self.selection.excluded().collect();
        Ok(excluded.into_iter().try_for_each(|process| self.map.insert(process, 0, 0))?)
    }

    /// The programs add the children of every process in the map. So when a scan finds no process that is missing, only those
    /// are missed whose parents began and ended between two scans.
    fn add_families(&mut self) -> Result<()> {
        let selection = self.selection.without_cgroups();
        let mut entered: Vec<Pid> = Vec::new();
        loop {
            let mut missing = selection.processes(&self.procfs)?;
            missing.retain(|process, follow| {
                !self.has(*process, flags(*follow)) && will_exit(&self.procfs, *process)
            });
            if missing.is_empty() {
                break;
            }
            for (process, follow) in missing {
                self.set(process, flags(follow))?;
                entered.push(process);
            }
        }
        // A process that exited between the scan and its entry was seen by the programs too early to be removed.
        entered.into_iter().filter(|process| !will_exit(&self.procfs, *process)).for_each(|gone| {
            // Fails if the programs have removed it.
            let _ = self.map.remove(&gone);
        });
        Ok(())
    }

    /// The programs add what joins or is forked. So one scan finds all others.
    fn add_members(&mut self) -> Result<()> {
        let excluded: BTreeSet<Pid> = self.selection.excluded().collect();
        let cgroups: Vec<(Cgroup, u32)> = self.cgroups.flags().collect();
        for (cgroup, flag) in cgroups {
            let members = cgroup.processes();
            for process in members.difference(&excluded) {
                self.set(*process, flag)?;
            }
            // One that has left since, or exited, was seen by the programs too early to be removed.
            let remaining = cgroup.processes();
            for gone in members.difference(&remaining) {
                self.clear(*gone, flag)?;
            }
        }
        Ok(())
    }

    /// Whether any process is left that is traced, or whose children will be; or any may join.
    pub fn any_left(&self) -> bool {
        self.selection.may_grow() || self.map.keys().next().is_some()
    }

    /// The threads of the traced processes that exist now.
    pub fn threads(&self) -> Vec<Pid> {
        let is_traced = |process: &Pid| match self.map.get(process, 0) {
            Ok(flags) => flags & !CHILDREN != 0,
            Err(_) => self.selection.is_all(),
        };
        let processes = match self.selection.is_all() {
            true => numbers(&self.procfs),
            false => self.map.keys().flatten().collect(),
        };
        let threads = |process: Pid| numbers(&self.procfs.join(format!("{process}/task")));
        processes.into_iter().filter(is_traced).flat_map(threads).collect()
    }

    fn has(&self, process: Pid, flags: u32) -> bool {
        self.map.get(&process, 0).is_ok_and(|known| known & flags == flags)
    }

    fn set(&mut self, process: Pid, flags: u32) -> Result<()> {
        let known = self.map.get(&process, 0).unwrap_or(0);
        Ok(self.map.insert(process, known | flags, 0)?)
    }

    fn clear(&mut self, process: Pid, flags: u32) -> Result<()> {
        match self.map.get(&process, 0).map(|known| known & !flags) {
            Ok(0) => _ = self.map.remove(&process),
            Ok(left) => self.map.insert(process, left, 0)?,
            Err(_) => {}
        }
        Ok(())
    }
}

/// The ids among the names in a directory of procfs.
fn numbers(directory: &Path) -> Vec<Pid> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether the programs will still see the last thread of a process exit.
///
/// A thread that has passed the tracepoint need not be a zombie yet. But the kernel marks it as exiting before
/// (`do_exit` in kernel/exit.c).
fn will_exit(procfs: &Path, process: Pid) -> bool {
    let threads = fs::read_dir(procfs.join(format!("{process}/task"))).into_iter().flatten().flatten();
    let mut stats = threads.filter_map(|thread| fs::read(thread.path().join("stat")).ok());
    stats.any(|stat| is_exiting(&stat) == Some(false))
}

/// Whether a thread is exiting, by its `/proc/TID/stat` (proc_pid_stat(5)). `None`: the text is malformed.
fn is_exiting(stat: &[u8]) -> Option<bool> {
    /// `PF_EXITING` in include/linux/sched.h.
    const EXITING: u32 = 4;
    // The thread's name may contain brackets.
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let flags: u32 = fields.split_ascii_whitespace().nth(6)?.parse().ok()?;
    Some(flags & EXITING != 0)
}

fn flags(follow: Follow) -> u32 {
    (if follow.own { OWN } else { 0 }) | (if follow.children { CHILDREN } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exiting_threads_are_recognised_whatever_their_name() {
        let stat = |flags: u32| format!("7 (a) R 1 (b)) R 1 7 7 0 -1 {flags} 100 0 0 0 0").into_bytes();
        assert_eq!(is_exiting(&stat(0x40_0000)), Some(false));
        assert_eq!(is_exiting(&stat(0x40_0104)), Some(true));
        assert_eq!(is_exiting(b"7 (cat"), None);
        assert_eq!(is_exiting(b"7 (cat) R 1"), None);
    }

    #[test]
    fn only_existing_processes_will_exit() {
        let procfs = Path::new("/proc");
        assert!(will_exit(procfs, std::process::id()));
        assert!(!will_exit(procfs, Pid::MAX));
    }
}
