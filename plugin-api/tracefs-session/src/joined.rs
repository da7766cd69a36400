//! Processes that join the selected cgroups while a session records.
//!
//! The kernel's filter holds threads, and adds what they fork. A process that is moved into a cgroup, or started in it by
//! clone3(2), descends from none of them. So the members of the cgroups are compared with the filter when an event reports such a
//! process ([`JoinEvents`]), and again and again: not every kernel has the events, and a process that has joined may have started
//! others before it was in the filter.

use std::collections::BTreeSet;
use std::mem;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use trace_hook_api::{Result, log};
use trace_session::{Collect, Occasion, Swept};
use trace_tasks::{Cgroup, Pid};
use tracefs::PidFilter;

use crate::additions::{Additions, StartedTask};
use crate::ended_tasks::{EndedTask, EndedTasks};
use crate::join_events::{JoinEvents, Joins};
use crate::new_programs::NewPrograms;
use crate::queue::Queue;
use crate::unrecorded::Unrecorded;

/// What a hook that starts a [`TracefsSession`](crate::TracefsSession) writes in its details about processes that join a cgroup.
pub const JOINING: &str = "\
With --cgroup, --container and --whole-cgroup, a process that joins while the session records is traced from at most 20 ms after \
it joined, usually 1 ms. One that joins within some 40 ms after another, or while another session starts or ends, waits for the \
kernel: it is traced some 50 ms after it joined, later on a busy machine, and a warning reports how much may be missing. What it \
starts is traced from its start.

A warning counts the processes that joined and ended before they were recorded, but not what they started meanwhile. It \
counts none if a --filter applies to sched:sched_process_exit. A process that clone3(CLONE_INTO_CGROUP) started, and that does not \
exist any more when its event is read, usually after 0.2 ms, cannot be assigned to a cgroup: another warning \
counts these for the whole machine. A process that gets the pid of one that ended while it joined, and that has itself ended before \
its first event is read, cannot be distinguished from it, and is shown.";

/// Half of the time within which a process that joins is to be recorded, where no event reports it.
const REST: Duration = Duration::from_millis(10);

/// A process that may have been recorded later than this after it joined is reported: its first events are missing.
const PROMPT: Duration = Duration::from_millis(20);

/// How long the kernel usually waits, when it already uses the new filter, until nothing uses the old one.
const WAIT_FOR_OLD_FILTER: Duration = Duration::from_millis(40);

/// Tasks that were added to the kernel's filter, on their way to the thread that renders records.
#[derive(Debug, Clone, Default)]
pub struct Joined {
    tasks: Queue<Pid>,
    /// The same tasks, on their way to the thread that watches the filter.
    unwatched: Arc<Mutex<BTreeSet<Pid>>>,
}

impl Joined {
    pub fn add(&self, tasks: Vec<Pid>) {
        self.unwatched.lock().unwrap_or_else(PoisonError::into_inner).extend(&tasks);
        self.tasks.add(tasks);
    }

    /// The tasks that were added since the last call.
    pub fn take(&self) -> Vec<Pid> {
        self.tasks.take()
    }

    /// The same for the thread that watches the filter.
    pub(crate) fn take_unwatched(&self) -> BTreeSet<Pid> {
        mem::take(&mut self.unwatched.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Joiners that were not recorded, or too late.
#[derive(Debug, Clone, Default)]
pub struct UnrecordedJoiners {
    /// Those that were recorded late.
    pub late: Unrecorded,
    /// Those that ended before they were recorded.
    pub ended: Unrecorded,
    /// Processes that ended before it was known whether they had joined.
    pub unknown: Unrecorded,
}

/// Adds the processes that join cgroups to the kernel's filter.
pub struct JoinWatcher {
    cgroups: Vec<Cgroup>,
    excluded: BTreeSet<Pid>,
    filter: PidFilter,
    events: Option<JoinEvents>,
    /// The processes in the cgroups at the last sweep.
    members: BTreeSet<Pid>,
    /// The processes that were added to the filter in the last sweep.
    added: Vec<StartedTask>,
    /// Processes that have joined and were neither members at that sweep nor had ended: those that are about to end, or have left.
    leaving: Vec<StartedTask>,
    /// When that sweep began. A process that joined after it may have been a member since then.
    swept: Option<Instant>,
    joined: Joined,
    additions: Additions,
    programs: Option<NewPrograms>,
    ended: EndedTasks,
    unrecorded: UnrecordedJoiners,
}

impl JoinWatcher {
    /// A watcher of these cgroups for this filter, which has their present members. It reports processes that join to `programs` as
    /// well, and notes in `unrecorded` what is recorded too late, or perhaps not at all, which the records of `ended` tasks decide.
    #[expect(clippy::too_many_arguments, reason = "it is called once")]
    pub fn new(
        cgroups: &[Cgroup],
        excluded: BTreeSet<Pid>,
        filter: PidFilter,
        events: Option<JoinEvents>,
        joined: Joined,
        additions: Additions,
        programs: Option<NewPrograms>,
        ended: EndedTasks,
        unrecorded: UnrecordedJoiners,
    ) -> Self {
        Self {
            cgroups: cgroups.to_vec(),
            excluded,
            filter,
            events,
            members: BTreeSet::new(),
            added: Vec::new(),
            leaving: Vec::new(),
            swept: None,
            joined,
            additions,
            programs,
            ended,
            unrecorded,
        }
    }

    /// The processes that were not in the cgroups at the last sweep.
    fn new_members(&mut self) -> Vec<Pid> {
        let mut members: BTreeSet<Pid> = self.cgroups.iter().flat_map(Cgroup::processes).collect();
        members.retain(|process| !self.excluded.contains(process));
        let new = members.difference(&self.members).copied().collect();
        self.members = members;
        new
    }

    /// Identifies processes that have joined. Reports those that have ended already, and returns the others.
    fn identified(&self, processes: Vec<Pid>, missing: Duration) -> Vec<StartedTask> {
        let (mut found, mut gone) = (Vec::new(), Vec::new());
        for process in processes {
            match StartedTask::find(process, self.filter.procfs()) {
                Some(process) => found.push(process),
                None => gone.push(process),
            }
        }
        self.report_ended(gone, missing, &self.unrecorded.ended);
        self.without_ended(found, missing)
    }

    /// Reports the processes among those that have joined that have ended. Returns the others.
    fn without_ended(&self, mut processes: Vec<StartedTask>, missing: Duration) -> Vec<StartedTask> {
        let has_ended = |process: &mut StartedTask| {
            self.filter.has_ended(process.task) || process.is_another(self.filter.procfs())
        };
        let ended = processes.extract_if(.., has_ended).map(|process| process.task);
        self.report_ended(ended, missing, &self.unrecorded.ended);
        processes
    }

    fn report_ended(&self, tasks: impl IntoIterator<Item = Pid>, missing: Duration, counted_in: &Unrecorded) {
        for task in tasks {
            self.ended.report(EndedTask { task, reused: None, counted_in: counted_in.clone(), missing });
        }
    }

    fn threads(&self, processes: &[StartedTask]) -> Vec<Pid> {
        let processes: Vec<Pid> = processes.iter().map(|process| process.task).collect();
        self.filter.threads(&processes)
    }

    /// Reports the processes that have joined by events and have ended. Call it after the members were read, among which the others
    /// are.
    fn report_ended_joiners(&mut self, joins: Joins, missing: Duration) {
        self.unrecorded.unknown.note(usize::try_from(joins.lost).unwrap_or(usize::MAX), missing);
        let leaving = mem::take(&mut self.leaving);
        self.without_ended(leaving, missing);
        let (mut attached, mut unknown) = (joins.attached, Vec::new());
        for process in joins.started.into_iter().filter(|process| !self.members.contains(process)) {
            match self.events.as_ref().and_then(|events| events.was_in_selected(process)) {
                Some(true) => attached.push(process),
                Some(false) => {}
                None => unknown.push(process),
            }
        }
        self.report_ended(unknown, missing, &self.unrecorded.unknown);
        let mut left = self.identified(attached, missing);
        left.retain(|process| !self.members.contains(&process.task));
        self.leaving = left;
    }
}

impl Collect for JoinWatcher {
    const NAME: &str = "joiners";
    /// Processes that join in the meantime are added together.
    const SHORTEST_REST: Duration = Duration::from_micros(500);

    fn sweep(&mut self, occasion: Occasion) -> Result<Swept> {
        let began = Instant::now();
        let unobserved = self.swept.replace(began).map_or(Duration::ZERO, |swept| began - swept);
        // Before the members, among which those that they name are if they are alive.
        let is_last = occasion == Occasion::Stopped;
        let joins = self.events.as_mut().map(|events| events.take(is_last)).transpose()?.unwrap_or_default();
        let new = self.new_members();
        self.report_ended_joiners(joins, unobserved);
        // They may have ended before the kernel used the filter with them.
        let added = mem::take(&mut self.added);
        let added = self.without_ended(added, unobserved);
        if is_last {
            return Ok(Swept::rest(false, REST));
        }
        let new = self.identified(new, unobserved);
        if !new.is_empty() {
            // Before their first records.
            self.joined.add(self.threads(&new));
            self.programs.iter().for_each(|programs| programs.report(new.iter().map(|process| process.task)));
        }
        // They may have started threads before the kernel used the filter with them.
        let unchecked = [added, new].concat();
        if unchecked.is_empty() {
            return Ok(Swept::rest(false, REST));
        }
        let threads = StartedTask::find_all(self.threads(&unchecked), self.filter.procfs());
        // What was forked by a member is in the filter already.
        let missing = Additions::missing(&self.filter, threads)?;
        if missing.is_empty() {
            self.without_ended(unchecked, unobserved);
            return Ok(Swept::rest(false, REST));
        }
        log::debug!("{} tasks have joined the cgroups", missing.len());
        // Before their first records.
        self.joined.add(missing.iter().map(|thread| thread.task).collect());
        self.additions.add(&self.filter, &missing)?;
        note_late(&self.unrecorded.late, missing.len(), unobserved, began.elapsed());
        self.added = unchecked;
        // Those that have joined meanwhile have waited long enough.
        Ok(Swept::rest(false, Duration::ZERO))
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.events.as_ref().map(JoinEvents::descriptors).unwrap_or_default()
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
