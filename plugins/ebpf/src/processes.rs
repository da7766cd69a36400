//! Whose calls the programs record: `bpf/processes.h`.

use std::collections::HashMap;
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
    /// in the map, they add. So once a look shows nobody new, nobody is missed.
    ///
    /// # Errors
    ///
    /// Nobody is left to trace, or the kernel refuses an entry.
    pub fn follow(&mut self, targets: &Targets) -> Result<()> {
        let mut known: HashMap<Pid, Follow> = HashMap::new();
        loop {
            let mut living = targets.processes(&self.procfs)?;
            living.retain(|process, _| !known.contains_key(process));
            if living.is_empty() {
                break;
            }
            for (process, follow) in &living {
                self.map.insert(*process as u32, flags(*follow), 0)?;
            }
            known.extend(living);
        }
        // Who has exited between our look and our entry was seen by the programs too early to be taken out.
        known.retain(|process, _| tracefs::is_alive(&self.procfs, *process) || self.take_out(*process));
        match known.is_empty() {
            true => Err(targets.nobody_left().into()),
            false => Ok(()),
        }
    }

    /// Whether anybody is left to trace, or to follow for what it may fork.
    pub fn any(&self) -> bool {
        self.map.keys().next().is_some()
    }

    /// Returns false.
    fn take_out(&mut self, process: Pid) -> bool {
        // Refused where the programs have done it.
        let _ = self.map.remove(&(process as u32));
        false
    }
}

fn flags(follow: Follow) -> u32 {
    (if follow.own { OWN } else { 0 }) | (if follow.children { CHILDREN } else { 0 })
}
