//! Whose calls the programs record: `bpf/processes.h`.

use std::fs;
use std::path::{Path, PathBuf};

use aya::maps::{HashMap as BpfMap, MapData};
use trace_hook_api::Result;
use tracefs::{Follow, Pid, Targets};

const OWN: u32 = 1;
const CHILDREN: u32 = 2;

/// Room for so many processes at least.
const LEAST_ROOM: u32 = 1 << 16;
/// The map's table takes 16 bytes for each: not more than 16 MiB.
const MOST_ROOM: u32 = 1 << 20;

/// The traced processes, which the programs keep up to date.
pub struct Processes {
    map: BpfMap<MapData, u32, u32>,
    procfs: PathBuf,
}

impl Processes {
    /// The processes in this map of the programs, as this procfs numbers them.
    pub fn new(map: BpfMap<MapData, u32, u32>, procfs: &Path) -> Self {
        Self { map, procfs: procfs.to_owned() }
    }

    /// How many processes a map should have room for: all that this kernel can have, within reason.
    pub fn room(procfs: &Path) -> u32 {
        let limit = |name: &str| {
            let text = fs::read_to_string(procfs.join("sys/kernel").join(name)).ok()?;
            text.trim().parse::<u32>().ok()
        };
        let limits = ["pid_max", "threads-max"].into_iter().filter_map(limit);
        limits.min().unwrap_or(MOST_ROOM).clamp(LEAST_ROOM, MOST_ROOM)
    }

    /// Takes in who is there. To be called when the programs see forks and exits already: what is forked by one that is
    /// in the map, they add. So once a look shows nobody who is not in it, nobody is missed but those whose parents have come and
    /// gone between two looks.
    ///
    /// # Errors
    ///
    /// Nobody is left to trace, or the kernel refuses an entry.
    pub fn follow(&mut self, targets: &Targets) -> Result<()> {
        let mut entered: Vec<Pid> = Vec::new();
        loop {
            let mut missing = targets.processes(&self.procfs)?;
            missing.retain(|process, _| !self.has(*process) && will_exit(&self.procfs, *process));
            if missing.is_empty() {
                break;
            }
            for (process, follow) in missing {
                self.map.insert(process as u32, flags(follow), 0)?;
                entered.push(process);
            }
        }
        // Who has exited between our look and our entry was seen by the programs too early to be taken out.
        entered.into_iter().filter(|process| !will_exit(&self.procfs, *process)).for_each(|gone| {
            // Refused where the programs have done it.
            let _ = self.map.remove(&(gone as u32));
        });
        match self.any() {
            true => Ok(()),
            false => Err(targets.nobody_left().into()),
        }
    }

    /// Whether anybody is left to trace, or to follow for what it may fork.
    pub fn any(&self) -> bool {
        self.map.keys().next().is_some()
    }

    fn has(&self, process: Pid) -> bool {
        self.map.get(&(process as u32), 0).is_ok()
    }
}

/// Whether the programs have yet to see the last thread of a process exit.
///
/// One that is past their tracepoint is not always a zombie yet. But the kernel marks it as exiting before it comes to
/// that (`do_exit` in kernel/exit.c).
fn will_exit(procfs: &Path, process: Pid) -> bool {
    let threads = fs::read_dir(procfs.join(format!("{process}/task"))).into_iter().flatten().flatten();
    let mut stats = threads.filter_map(|thread| fs::read(thread.path().join("stat")).ok());
    stats.any(|stat| is_exiting(&stat) == Some(false))
}

/// What `/proc/TID/stat` says of a thread (proc_pid_stat(5)). None: it is not that.
fn is_exiting(stat: &[u8]) -> Option<bool> {
    /// `PF_EXITING` in include/linux/sched.h.
    const EXITING: u32 = 4;
    // The thread's name may have brackets in it, too.
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
    fn who_exits_is_marked_whatever_his_name() {
        let stat = |flags: u32| format!("7 (a) R 1 (b)) R 1 7 7 0 -1 {flags} 100 0 0 0 0").into_bytes();
        assert_eq!(is_exiting(&stat(0x40_0000)), Some(false));
        assert_eq!(is_exiting(&stat(0x40_0104)), Some(true));
        assert_eq!(is_exiting(b"7 (cat"), None);
        assert_eq!(is_exiting(b"7 (cat) R 1"), None);
    }

    #[test]
    fn we_will_exit_and_nobody_else_by_that_number() {
        let procfs = Path::new("/proc");
        assert!(will_exit(procfs, std::process::id() as Pid));
        assert!(!will_exit(procfs, Pid::MAX));
    }
}
