//! Processes that join the selected cgroups while a session records.
//!
//! The kernel's filter holds threads, and adds what they fork. A process that is moved into a cgroup, or started in it by
//! clone3(2), descends from none of them. So the members of the cgroups are compared with the filter again and again.

use std::collections::BTreeSet;
use std::mem;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use trace_hook_api::{Result, log};
use trace_session::{Collect, Occasion, Swept};
use trace_tasks::{Cgroup, Pid};
use tracefs::PidFilter;

use crate::new_programs::NewPrograms;
use crate::unrecorded::Unrecorded;

/// What a hook that starts a [`TracefsSession`](crate::TracefsSession) writes in its details about processes that join a cgroup.
pub const JOINING: &str = "\
With --cgroup, --container and --whole-cgroup, a process that joins while the session records is traced from at most 20 ms after \
it joined. One that joins within some 40 ms after another, or while another session starts or ends, waits for the kernel: it is \
traced some 50 ms after it joined, later on a busy machine, and a warning reports how much may be missing. What it starts is \
traced from its start.";

/// Half of the time within which a process that joins is to be recorded.
const REST: Duration = Duration::from_millis(10);

/// A process that may have been recorded later than this after it joined is reported: its first events are missing.
const PROMPT: Duration = Duration::from_millis(20);

/// How long the kernel usually waits, when it already uses the new filter, until nothing uses the old one.
const WAIT_FOR_OLD_FILTER: Duration = Duration::from_millis(40);

/// Tasks that were added to the kernel's filter, on their way to the thread that renders records.
#[derive(Debug, Clone, Default)]
pub struct Joined {
    tasks: Arc<Mutex<Vec<Pid>>>,
    any: Arc<AtomicBool>,
}

impl Joined {
    fn add(&self, tasks: Vec<Pid>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
        self.any.store(true, Ordering::Release);
    }

    /// The tasks that were added since the last call.
    pub fn take(&self) -> Vec<Pid> {
        // This is called for each record, so the usual case is one load.
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.any.store(false, Ordering::Release);
        mem::take(&mut self.tasks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Adds the processes that join cgroups to the kernel's filter.
pub struct JoinWatcher {
    cgroups: Vec<Cgroup>,
    excluded: BTreeSet<Pid>,
    filter: PidFilter,
    /// The processes in the cgroups at the last sweep.
    members: BTreeSet<Pid>,
    /// The processes that were added to the filter in the last sweep.
    added: Vec<Pid>,
    /// When that sweep began: who joined since may have been there all the time.
    swept: Option<Instant>,
    joined: Joined,
    programs: Option<NewPrograms>,
    late: Unrecorded,
}

impl JoinWatcher {
    /// A watcher of these cgroups for this filter, which has their present members. It reports those who join to `programs` as
    /// well, and notes in `late` what is recorded too late.
    pub fn new(
        cgroups: &[Cgroup],
        excluded: BTreeSet<Pid>,
        filter: PidFilter,
        joined: Joined,
        programs: Option<NewPrograms>,
        late: Unrecorded,
    ) -> Self {
        Self {
            cgroups: cgroups.to_vec(),
            excluded,
            filter,
            members: BTreeSet::new(),
            added: Vec::new(),
            swept: None,
            joined,
            programs,
            late,
        }
    }
}

impl Collect for JoinWatcher {
    const SHORTEST_REST: Duration = Duration::ZERO;

    fn sweep(&mut self, _: Occasion) -> Result<Swept> {
        let began = Instant::now();
        let unobserved = self.swept.replace(began).map_or(Duration::ZERO, |swept| began - swept);
        let mut members: BTreeSet<Pid> = self.cgroups.iter().flat_map(Cgroup::processes).collect();
        members.retain(|process| !self.excluded.contains(process));
        let new: Vec<Pid> = members.difference(&self.members).copied().collect();
        self.members = members;
        if !new.is_empty() {
            // Before their first records.
            self.joined.add(self.filter.threads(&new));
            self.programs.iter().for_each(|programs| programs.report(new.iter().copied()));
        }
        // They may have started threads before the kernel used the filter with them.
        let unchecked = [mem::take(&mut self.added), new].concat();
        if unchecked.is_empty() {
            return Ok(Swept::rest(false, REST));
        }
        // What was forked by a member is in the filter already.
        let missing = self.filter.missing(self.filter.threads(&unchecked))?;
        if missing.is_empty() {
            return Ok(Swept::rest(false, REST));
        }
        log::debug!("{} tasks have joined the cgroups", missing.len());
        self.filter.add(&missing)?;
        note_late(&self.late, missing.len(), unobserved, began.elapsed());
        self.joined.add(missing);
        self.added = unchecked;
        // Those that have joined meanwhile have waited long enough.
        Ok(Swept::rest(false, Duration::ZERO))
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
}

/// Notes tasks that may have been in a cgroup for longer than [`PROMPT`] before they were recorded. It is not known at which point
/// of `adding` the kernel used the new filter: first it may have waited for a lock.
fn note_late(late: &Unrecorded, tasks: usize, unobserved: Duration, adding: Duration) {
    if unobserved + adding.saturating_sub(WAIT_FOR_OLD_FILTER) > PROMPT {
        late.note(tasks, unobserved + adding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_may_have_been_recorded_late_are_counted() {
        let ms = Duration::from_millis;
        let late = Unrecorded::default();
        note_late(&late, 1, ms(11), ms(45));
        assert_eq!(late.warning("tasks"), None);
        note_late(&late, 2, ms(45), ms(40));
        note_late(&late, 3, ms(11), ms(90));
        assert_eq!(late.warning("tasks").as_deref(), Some("5 tasks: up to 101 ms of each are missing"));
    }

    #[test]
    fn joined_tasks_are_taken_once() {
        let joined = Joined::default();
        assert!(joined.take().is_empty());
        joined.clone().add(vec![7, 8]);
        joined.add(vec![9]);
        assert_eq!(joined.take(), [7, 8, 9]);
        assert!(joined.take().is_empty());
    }
}
