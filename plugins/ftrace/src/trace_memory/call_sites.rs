//! How much memory each call site has allocated, in a table of bounded size.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::events::AllocationKind;
use trace_tasks::Pid;

/// The call sites that are counted one by one. Beyond that, the smaller half is counted together: a program that generates
/// code, and programs that start others, have call sites without end.
pub const MAX_CALL_SITES: usize = 20_000;

/// The allocations since the last summary, by call site.
#[derive(Debug, Default)]
pub struct CallSites {
    sites: HashMap<(AllocationKind, Place), CallSite>,
    /// The allocations of call sites that are not counted one by one.
    others: BTreeMap<AllocationKind, Totals>,
}

/// The code that allocated. All threads of a process are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    Kernel(u64),
    Program { process: Pid, address: u64 },
    Unknown,
}

/// What is known of a call site.
#[derive(Debug, Default)]
pub struct CallSite {
    pub totals: Totals,
    /// Its name, once it is known.
    pub caller: Option<Vec<u8>>,
    /// The name of the process, for code of a program.
    pub comm: Vec<u8>,
}

/// Allocations and their bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    pub count: u64,
    pub bytes: u64,
}

/// Everything that was counted, the largest call sites first.
#[derive(Debug)]
pub struct Counted {
    pub sites: Vec<(AllocationKind, Place, CallSite)>,
    /// The call sites that were not counted one by one.
    pub others: BTreeMap<AllocationKind, Totals>,
    /// All call sites.
    pub all: BTreeMap<AllocationKind, Totals>,
}

impl Totals {
    pub fn add(&mut self, more: Self) {
        self.count += more.count;
        self.bytes += more.bytes;
    }

    fn of_one(bytes: u64) -> Self {
        Self { count: 1, bytes }
    }
}

impl CallSites {
    /// Whether a call site that is not in the table must wait for [`merge_smaller_half`](Self::merge_smaller_half).
    pub fn lacks_room_for(&self, kind: AllocationKind, place: Place) -> bool {
        self.sites.len() >= MAX_CALL_SITES && !self.sites.contains_key(&(kind, place))
    }

    /// Counts the half of the call sites that allocated the least as one.
    pub fn merge_smaller_half(&mut self) {
        let mut by_bytes: Vec<(u64, (AllocationKind, Place))> =
            self.sites.iter().map(|(key, site)| (site.totals.bytes, *key)).collect();
        let half = by_bytes.len() / 2;
        if half == 0 {
            return;
        }
        by_bytes.select_nth_unstable(half);
        for (_, key) in &by_bytes[..half] {
            if let Some(site) = self.sites.remove(key) {
                self.others.entry(key.0).or_default().add(site.totals);
            }
        }
    }

    /// The processes that have a call site in the table.
    pub fn processes(&self) -> BTreeSet<Pid> {
        let process = |place: &Place| match place {
            Place::Program { process, .. } => Some(*process),
            Place::Kernel(_) | Place::Unknown => None,
        };
        self.sites.keys().filter_map(|(_, place)| process(place)).collect()
    }

    /// Counts an allocation of so many bytes. `describe` is called for a call site that is not in the table.
    pub fn count(
        &mut self,
        kind: AllocationKind,
        place: Place,
        bytes: u64,
        describe: impl FnOnce() -> CallSite,
    ) -> &mut CallSite {
        let site = self.sites.entry((kind, place)).or_insert_with(describe);
        site.totals.add(Totals::of_one(bytes));
        site
    }

    /// Takes everything that was counted.
    pub fn take(&mut self) -> Counted {
        let others = std::mem::take(&mut self.others);
        let mut all = others.clone();
        let mut sites: Vec<_> = self.sites.drain().map(|((kind, place), site)| (kind, place, site)).collect();
        sites.sort_by_key(|(kind, place, site)| (Reverse(site.totals.bytes), *kind, *place));
        for (kind, _, site) in &sites {
            all.entry(*kind).or_default().add(site.totals);
        }
        Counted { sites, others, all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: AllocationKind = AllocationKind::Faults;

    fn count(sites: &mut CallSites, place: Place, bytes: u64) {
        if sites.lacks_room_for(KIND, place) {
            sites.merge_smaller_half();
        }
        sites.count(KIND, place, bytes, CallSite::default);
        assert!(sites.sites.len() <= MAX_CALL_SITES);
    }

    #[test]
    fn number_of_call_sites_is_bounded_and_nothing_is_lost() {
        let mut sites = CallSites::default();
        let many = 10 * MAX_CALL_SITES as u64;
        for address in 0..many {
            count(&mut sites, Place::Program { process: (address / 100) as Pid, address }, 4096);
        }
        assert!(sites.processes().len() <= MAX_CALL_SITES);
        let counted = sites.take();
        assert!(counted.sites.len() <= MAX_CALL_SITES);
        assert_eq!(counted.all[&KIND], Totals { count: many, bytes: 4096 * many });
        let mut sum = counted.others[&KIND];
        counted.sites.iter().for_each(|(_, _, site)| sum.add(site.totals));
        assert_eq!(sum, counted.all[&KIND]);
        assert!(sites.take().all.is_empty());
    }

    #[test]
    fn largest_call_sites_are_kept() {
        let mut sites = CallSites::default();
        count(&mut sites, Place::Kernel(7), 1 << 30);
        for address in 0..3 * MAX_CALL_SITES as u64 {
            count(&mut sites, Place::Program { process: 1, address }, 4096);
        }
        let counted = sites.take();
        let (_, place, site) = &counted.sites[0];
        assert_eq!((*place, site.totals), (Place::Kernel(7), Totals { count: 1, bytes: 1 << 30 }));
    }

    #[test]
    fn few_call_sites_have_no_others() {
        let mut sites = CallSites::default();
        count(&mut sites, Place::Unknown, 10);
        count(&mut sites, Place::Unknown, 20);
        let counted = sites.take();
        assert!(counted.others.is_empty());
        assert_eq!(counted.all[&KIND], Totals { count: 2, bytes: 30 });
    }
}
