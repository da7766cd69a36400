//! The cgroups that the programs trace: `bpf/cgroups.h`.

use aya::Pod;
use aya::maps::{HashMap as BpfMap, Map, MapData};
use trace_hook_api::{HookError, Result};
use trace_tasks::{Cgroup, SelectedProcesses};

/// The number of hierarchies of which cgroups can be selected at the same time.
const SLOTS: usize = 4;
/// The flag of a process in a selected cgroup of the first slot.
const IN_FIRST: u32 = 4;

/// The selected cgroups. Each hierarchy has a slot, and each slot a flag of processes.
pub(crate) struct SelectedCgroups {
    cgroups: Vec<Cgroup>,
    hierarchies: [i32; SLOTS],
}

/// `struct cgroup_key`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Key {
    id: u64,
    hierarchy: u32,
    unused: u32,
}

// SAFETY: a C structure of integers without padding, for which all bit patterns are valid.
unsafe impl Pod for Key {}

impl SelectedCgroups {
    /// The cgroups of a selection.
    ///
    /// # Errors
    ///
    /// They are in too many hierarchies.
    pub fn of(selection: &SelectedProcesses) -> Result<Self> {
        let cgroups = selection.cgroups().to_vec();
        let mut hierarchies: Vec<u32> = cgroups.iter().map(Cgroup::hierarchy).collect();
        hierarchies.sort_unstable();
        hierarchies.dedup();
        if hierarchies.len() > SLOTS {
            return Err(HookError::usage(format!(
                "the cgroups are in {} hierarchies; give those of {SLOTS} at most",
                hierarchies.len()
            )));
        }
        let mut slots = [-1; SLOTS];
        slots.iter_mut().zip(&hierarchies).for_each(|(slot, hierarchy)| *slot = hierarchy.cast_signed());
        Ok(Self { cgroups, hierarchies: slots })
    }

    pub fn is_empty(&self) -> bool {
        self.cgroups.is_empty()
    }

    /// The size of the map. The kernel makes none without entries.
    pub fn capacity(&self) -> u32 {
        u32::try_from(self.cgroups.len()).unwrap_or(u32::MAX).max(1)
    }

    /// The hierarchies, by slot.
    pub fn hierarchies(&self) -> &[i32; SLOTS] {
        &self.hierarchies
    }

    /// Enters them into the programs' map.
    ///
    /// # Errors
    ///
    /// The kernel refuses an entry.
    pub fn enter(&self, map: &mut Map) -> Result<()> {
        let mut map: BpfMap<&mut MapData, Key, u32> = map.try_into()?;
        for cgroup in &self.cgroups {
            map.insert(Key { id: cgroup.id(), hierarchy: cgroup.hierarchy(), unused: 0 }, 1, 0)?;
        }
        Ok(())
    }

    /// Each cgroup with the flag of its processes.
    pub fn flags(&self) -> impl Iterator<Item = (Cgroup, u32)> + '_ {
        self.cgroups.iter().map(|cgroup| {
            let hierarchy = cgroup.hierarchy().cast_signed();
            let slot = self.hierarchies.iter().position(|known| *known == hierarchy).unwrap_or_default();
            (cgroup.clone(), IN_FIRST << slot)
        })
    }
}
