//! The traced tasks, for selections that the kernel's pid filter cannot express.
//!
//! With event-fork on, the kernel records the tasks in its filter and all their descendants. It cannot record a process
//! without its children, or children without their parent. This filter can. It follows the records of `task:task_newtask`,
//! each of which precedes the first record of the new task. The clone flags in it distinguish threads from processes.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::path::Path;

use trace_hook_api::log;
use trace_tasks::{Follow, Member, Pid, Procfs, START_PRECISION, SelectedProcesses};
use tracefs::{Instance, PidFilter, RecentMap};

use crate::additions::{Additions, Unidentified};
use crate::joined::Joined;
use crate::tampering::FilterTrust;

/// The clone flag that distinguishes a new thread from a new process (clone(2)).
const CLONE_THREAD: u64 = 0x0001_0000;

/// The table is pruned only from this size on.
const SMALLEST_PRUNED: usize = 4096;

/// A longer filter is not compared with the traced tasks.
const MOST_COMPARED: usize = 8192;

/// More tasks are not between their creation and their first wake-up at the same time.
const MOST_BEING_STARTED: usize = 4096;

/// Decides which records belong to traced tasks. It must see all records, in the order of the ring buffer.
///
/// An unknown task (the record of its start was lost, or it started between the choice of tasks and the start of recording) is
/// looked up in procfs. If it has exited, it is treated as a child: its records are kept if the selection follows the
/// children of any process.
#[derive(Debug)]
pub struct TracedTasks {
    procfs: Procfs,
    selection: SelectedProcesses,
    drops_any: bool,
    known: HashMap<Pid, Follow>,
    /// The processes of the threads that were alive when the tasks were chosen.
    processes: HashMap<Pid, Pid>,
    /// Tasks that were looked up and are not traced. A new task with such an id has a record of its start.
    untraced: HashSet<Pid>,
    /// Tasks of processes that have joined a selected cgroup.
    joined: Joined,
    /// Tasks that were added to the kernel's filter: those with their pids may be others.
    unidentified: Unidentified,
    /// The time of the record that is being read, in nanoseconds since boot.
    time: u64,
    /// Tasks that were found in procfs while recording: the records of their starts may follow.
    found: HashSet<Pid>,
    /// Those among them whose records have been read by the time when all existing records have been read again.
    found_before: HashSet<Pid>,
    /// New tasks whose first wake-up has not been read yet.
    started: RecentMap<Pid, ()>,
    /// Whether tasks may have been started without a record: just before recording began, or because records are missing.
    misses_starts: bool,
    /// Tasks that had exited when the ring buffer was last found empty.
    exited: HashSet<Pid>,
    prune_at: usize,
    /// The task of the last record that was kept: most records are of the same task as the one before.
    last_kept: Option<Pid>,
    /// Tasks that are taken for traced ones only because the kernel recorded them.
    assumed: HashSet<Pid>,
    trust: FilterTrust,
    /// The kernel's filter. `None` in unit tests.
    pids: Option<PidFilter>,
    /// When the choice of tasks began, by the clock of [`Procfs::now`].
    chosen: u64,
    /// When recording had begun. `None` if tasks may have been started since without a record.
    recorded: Option<u64>,
}

impl TracedTasks {
    fn new(procfs: Procfs, selection: SelectedProcesses, members: HashMap<Pid, Member>) -> TracedTasks {
        let prune_at = next_pruning(members.len());
        let drops_any = selection.needs_new_tasks();
        TracedTasks {
            procfs,
            selection,
            drops_any,
            known: members.iter().map(|(task, member)| (*task, member.follow)).collect(),
            processes: members.into_iter().map(|(task, member)| (task, member.process)).collect(),
            untraced: HashSet::new(),
            joined: Joined::default(),
            unidentified: Unidentified::default(),
            time: 0,
            found: HashSet::new(),
            found_before: HashSet::new(),
            started: RecentMap::new(MOST_BEING_STARTED),
            misses_starts: true,
            exited: HashSet::new(),
            prune_at,
            last_kept: None,
            assumed: HashSet::new(),
            trust: FilterTrust::default(),
            pids: None,
            chosen: Procfs::now(),
            recorded: None,
        }
    }

    /// Where to put the tasks of processes that have joined a selected cgroup.
    pub fn joined(&self) -> Joined {
        self.joined.clone()
    }

    /// Where to report tasks that are added to the kernel's filter.
    pub(crate) fn additions(&self) -> Additions {
        self.unidentified.reported()
    }

    /// Where to report that the kernel's filter was changed.
    pub(crate) fn trust(&self) -> FilterTrust {
        self.trust.clone()
    }

    /// Whether some records are dropped. For selections with all descendants the kernel's filter is exact, until a task that is
    /// not traced gets a pid that is still in it.
    pub fn drops_any(&self) -> bool {
        self.drops_any
    }

    /// Scans procfs again. Call it right after recording was started: tasks started since the tasks were chosen have no record
    /// of their start.
    pub fn rescan(&mut self) {
        self.recorded = Some(Procfs::now());
        // Otherwise the scan is not needed, and would delay the start of the session.
        if !self.drops_any {
            return;
        }
        for (task, member) in self.selection.members(&self.procfs) {
            self.known.entry(task).or_insert_with(|| {
                self.found.insert(task);
                member.follow
            });
        }
    }

    /// Call it for each record with its time, before what it says is passed to the other methods.
    pub(crate) fn reach(&mut self, time: u64) {
        self.time = time;
    }

    /// Adds the new task of a `task:task_newtask` record. Returns whether it is followed and has the pid of a followed task,
    /// which has ended: when the kernel removes the pid of that task from its filter, it removes that of the new one.
    pub fn new_task(&mut self, creator: Pid, new: Pid, clone_flags: u64) -> bool {
        let creator_follow = self.follow(creator);
        let is_thread = clone_flags & CLONE_THREAD != 0;
        let follow = if is_thread { creator_follow } else { creator_follow.of_child() };
        self.exited.remove(&new);
        self.untraced.remove(&new);
        self.assumed.remove(&new);
        self.last_kept = None;
        self.started.insert(new, ());
        self.add_joined();
        self.unidentified.forget(new, self.time);
        let is_own_start = self.found.remove(&new) | self.found_before.remove(&new);
        let before = self.known.insert(new, follow).filter(|_| !is_own_start);
        let has_reused = [Some(follow), before]
            .into_iter()
            .all(|follow| follow.is_some_and(|follow| follow != Follow::NOTHING));
        if has_reused {
            // What it starts may have no record, until it is in the filter again.
            self.recorded = None;
        }
        has_reused
    }

    /// Call it for each record of the end of a task: a new task with its pid is another one.
    pub fn ended(&mut self, task: Pid) {
        self.found.remove(&task);
        self.found_before.remove(&task);
    }

    /// Call it for each `sched:sched_wakeup_new` record. The kernel also writes one if the creator is not in its filter, but the
    /// new task has the pid of a task that was, and has just ended. From then on, the pid is that of a task that is not traced.
    pub fn first_wakeup(&mut self, creator: Pid, new: Pid) {
        if self.started.remove(&new).is_some() || self.may_have_started(creator) || self.is_in_cgroup(new) {
            return;
        }
        log::debug!("task {new} has the pid of a traced task that has ended; task {creator} is not traced");
        self.unidentified.forget(new, self.time);
        self.drop_task(new);
    }

    fn drop_task(&mut self, task: Pid) {
        self.known.insert(task, Follow::NOTHING);
        self.last_kept = None;
        self.drops_any = true;
    }

    /// Call it when records are missing: one of the start of a task may be among them.
    pub fn lost(&mut self) {
        self.misses_starts = true;
        self.recorded = None;
    }

    /// Whether a new task without a record of its start may be one that a traced task has started.
    fn may_have_started(&mut self, creator: Pid) -> bool {
        self.add_joined();
        self.identify(creator);
        let is_followed = |follow: Follow| follow != Follow::NOTHING;
        match self.known.get(&creator) {
            Some(&follow) => is_followed(follow),
            None if self.procfs.exists(creator) => self.related(creator).is_some_and(is_followed),
            None => self.misses_starts(),
        }
    }

    fn misses_starts(&self) -> bool {
        self.misses_starts || self.trust.misses_starts()
    }

    fn is_in_cgroup(&self, process: Pid) -> bool {
        self.selection.cgroups().iter().any(|cgroup| cgroup.processes().contains(&process))
    }

    /// Whether a record written by this task is kept.
    pub fn keeps(&mut self, task: Pid) -> bool {
        self.add_joined();
        self.drop_assumed();
        if self.last_kept == Some(task) {
            return true;
        }
        let keeps = self.follow(task).own;
        // Each record is looked at until the task is identified.
        self.last_kept = Some(task).filter(|task| keeps && !self.unidentified.has(*task));
        keeps
    }

    /// Whether a task that a record names is traced. It need not have written a record.
    pub fn is_traced(&mut self, task: Pid) -> bool {
        self.add_joined();
        self.identify(task);
        if let Some(follow) = self.known.get(&task) {
            return follow.own;
        }
        if self.untraced.contains(&task) {
            return false;
        }
        let Some(follow) = self.related(task).or(self.selection.is_all().then_some(Follow::FAMILY)) else {
            self.untraced.insert(task);
            return false;
        };
        self.known.insert(task, follow);
        follow.own
    }

    /// The processes of the threads that were alive when the tasks were chosen, by thread. The first call returns them.
    pub fn take_processes(&mut self) -> HashMap<Pid, Pid> {
        mem::take(&mut self.processes)
    }

    /// The tasks that are known to be traced.
    pub fn traced(&self) -> impl Iterator<Item = Pid> + '_ {
        self.known.iter().filter(|(_, follow)| follow.own).map(|(task, _)| *task)
    }

    /// Whether a record that names several tasks is kept. The kernel records `sched_switch`, `sched_wakeup`,
    /// `sched_wakeup_new` and `sched_waking` also if the current task is not in its filter but the named task is.
    pub fn keeps_any(&mut self, tasks: impl Iterator<Item = Pid> + Clone) -> bool {
        self.drop_assumed();
        tasks.clone().any(|task| self.is_traced(task))
            // One of them is in the kernel's filter.
            || (!self.drops_any && self.misses_starts() && tasks.clone().any(|task| self.trusts_filter(task)))
    }

    /// Whether the task, or any task that it may start, is traced.
    pub fn follows(&self, task: Pid) -> bool {
        if self.unidentified.is_another(task, &self.procfs) {
            return false;
        }
        let unknown = || if self.trust.is_lost() { Follow::NOTHING } else { self.unknown_task() };
        self.related(task).unwrap_or_else(unknown) != Follow::NOTHING
    }

    /// Removes the tasks that had exited at the previous call. Call it when every record has been read that was in the ring
    /// buffer at some time since the previous call: then these tasks have no more records.
    pub fn caught_up(&mut self) {
        for task in self.exited.drain() {
            self.known.remove(&task);
            self.assumed.remove(&task);
        }
        self.last_kept = None;
        self.misses_starts = false;
        self.found_before = mem::take(&mut self.found);
        if self.untraced.len() >= SMALLEST_PRUNED {
            self.untraced.clear();
        }
        if self.known.len() >= self.prune_at {
            self.exited = self.known.keys().copied().filter(|&task| !self.procfs.exists(task)).collect();
            self.prune_at = next_pruning(self.known.len() - self.exited.len());
            self.unidentified.prune(&self.procfs);
        }
    }

    fn add_joined(&mut self) {
        if self.unidentified.take_reported() {
            self.last_kept = None;
        }
        for task in self.joined.take() {
            self.untraced.remove(&task);
            self.assumed.remove(&task);
            self.last_kept = None;
            if self.known.insert(task, Follow::FAMILY).is_none() {
                self.found.insert(task);
            }
        }
    }

    /// Drops the tasks that were taken for traced ones, if the kernel's filter was changed.
    fn drop_assumed(&mut self) {
        if self.trust.is_lost() && !self.assumed.is_empty() {
            self.last_kept = None;
            for task in self.assumed.drain() {
                self.known.remove(&task);
            }
        }
    }

    /// Finds out whether a task is another one with the pid of a task that was added to the kernel's filter.
    fn identify(&mut self, task: Pid) {
        if !self.unidentified.identify(task, self.time, &self.procfs) {
            return;
        }
        self.known.remove(&task);
        self.untraced.remove(&task);
        if self.related(task).is_none_or(|follow| follow == Follow::NOTHING) && !self.is_member(task) {
            log::debug!(
                "task {task} has the pid of one that ended while it was added to the kernel's filter"
            );
            self.drop_task(task);
        }
    }

    fn follow(&mut self, task: Pid) -> Follow {
        self.identify(task);
        if let Some(&follow) = self.known.get(&task) {
            return follow;
        }
        let follow = self.related(task).unwrap_or_else(|| self.assume(task));
        log::debug!("no record of the start of task {task}; treated as {follow:?}");
        self.known.insert(task, follow);
        follow
    }

    /// How a task is followed of which nothing is known.
    fn assume(&mut self, task: Pid) -> Follow {
        if !self.trusts_filter(task) {
            return Follow::NOTHING;
        }
        let follow = self.unknown_task();
        if follow != Follow::NOTHING {
            self.assumed.insert(task);
        }
        follow
    }

    /// Whether a task of which nothing is known may be recorded because the kernel's filter has it.
    fn trusts_filter(&self, task: Pid) -> bool {
        if self.selection.is_all() || self.is_member(task) {
            return true;
        }
        let trusts = !self.trust.is_lost() && !self.is_foreign(task) && !self.was_filter_replaced();
        if !trusts && task != 0 {
            self.trust.lose();
        }
        trusts
    }

    /// Whether it is in a selected cgroup.
    fn is_member(&self, task: Pid) -> bool {
        !self.selection.cgroups().is_empty()
            && self.procfs.status(task).is_some_and(|status| self.is_in_cgroup(status.process))
    }

    /// Whether no traced task can have started it: it is older than the session, or has no record of its start although it was
    /// started while all starts were recorded. The idle tasks are older.
    fn is_foreign(&self, task: Pid) -> bool {
        if task == 0 {
            return true;
        }
        let has_record = self.recorded.filter(|_| !self.trust.misses_starts());
        let is_foreign = |started: u64| {
            started + START_PRECISION < self.chosen
                || has_record.is_some_and(|recorded| started > recorded + START_PRECISION)
        };
        self.procfs.started(task).is_some_and(is_foreign)
    }

    /// Whether the kernel's filter is another one: it lacks the placeholder, or all traced tasks although one is alive.
    fn was_filter_replaced(&self) -> bool {
        let Some(Ok(tasks)) = self.pids.as_ref().map(|pids| pids.first_tasks(MOST_COMPARED)) else {
            return false;
        };
        let mut followed = self.known.iter().filter(|(_, follow)| **follow != Follow::NOTHING);
        let lacks_placeholder = self.pids.as_ref().is_some_and(|pids| pids.lacks_placeholder(&tasks));
        let mut lacks_followed = || {
            followed.clone().all(|(task, _)| tasks.binary_search(task).is_err())
                && followed.any(|(task, _)| self.procfs.is_alive(*task))
        };
        tasks.len() < MOST_COMPARED && (lacks_placeholder || lacks_followed())
    }

    /// How a task is followed, if that is known for the task, its process or its parent.
    fn related(&self, task: Pid) -> Option<Follow> {
        if let Some(&follow) = self.known.get(&task) {
            return Some(follow);
        }
        let status = self.procfs.status(task)?;
        if self.selection.excludes(status.process) {
            return Some(Follow::NOTHING);
        }
        if self.selection.is_all() {
            return Some(Follow::FAMILY);
        }
        let process = self.known.get(&status.process).copied();
        process.or_else(|| self.known.get(&status.parent).map(|parent| parent.of_child()))
    }

    fn unknown_task(&self) -> Follow {
        if self.selection.follows_children() { Follow::FAMILY } else { Follow::NOTHING }
    }
}

/// Chooses the tasks of an instance, and follows them if the kernel has `task:task_newtask`.
///
/// # Errors
///
/// See [`Instance::choose_tasks`].
pub fn choose_tasks(
    instance: &Instance,
    procfs: &Path,
    selection: &SelectedProcesses,
) -> tracefs::Result<(PidFilter, Option<TracedTasks>)> {
    let chosen = Procfs::now();
    let (filter, members) = instance.choose_tasks(procfs, selection)?;
    let pids = Some(filter.another());
    let follow =
        || TracedTasks { pids, chosen, ..TracedTasks::new(Procfs::at(procfs), selection.clone(), members) };
    Ok((filter, instance.has_new_task_event().then(follow)))
}

/// Whether any followed task in the kernel's filter is alive, including tasks followed only for their children.
///
/// # Errors
///
/// The kernel's filter cannot be read.
pub fn any_alive(filter: &mut PidFilter, traced: Option<&TracedTasks>) -> tracefs::Result<bool> {
    filter.any_alive_of(|task| traced.is_none_or(|traced| traced.follows(task)))
}

fn next_pruning(known: usize) -> usize {
    (known * 2).max(SMALLEST_PRUNED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::additions::StartedTask;
    use proptest::prelude::*;
    use std::fs;

    struct Fixture {
        root: tempfile::TempDir,
        filter: TracedTasks,
    }

    /// A filter that traces only process 10 (threads 10 and 11), in an empty procfs.
    fn fixture(follow: Follow) -> Fixture {
        let root = tempfile::tempdir().expect("a temporary directory");
        let mut selection = SelectedProcesses::new();
        selection.add(10, follow);
        let member = Member::new(10, 10, follow);
        let members = HashMap::from([(10, member), (11, member)]);
        let filter = TracedTasks::new(Procfs::at(root.path()), selection, members);
        Fixture { root, filter }
    }

    impl Fixture {
        fn add_task(&self, task: Pid, process: Pid, parent: Pid) {
            let dir = self.root.path().join(task.to_string());
            fs::create_dir_all(&dir).expect("directory");
            let status = format!("Name:\tx\nState:\tR (running)\nTgid:\t{process}\nPPid:\t{parent}\n");
            fs::write(dir.join("status"), status).expect("status");
        }

        /// A process that was started then, in nanoseconds since boot.
        fn add_started(&self, task: Pid, started: u64) {
            self.add_task(task, task, 1);
            let ticks = started / START_PRECISION;
            let stat = format!("{task} (x) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} 0");
            fs::write(self.root.path().join(format!("{task}/stat")), stat).expect("stat");
        }

        fn remove_task(&self, task: Pid) {
            fs::remove_dir_all(self.root.path().join(task.to_string())).expect("task");
        }
    }

    const FORK: u64 = 0x0120_0000;
    const THREAD: u64 = 0x003d_0f00;

    #[test]
    fn alone_keeps_later_threads_and_drops_children() {
        let Fixture { mut filter, root: _root } = fixture(Follow::ALONE);
        filter.new_task(11, 12, THREAD);
        filter.new_task(12, 20, FORK);
        filter.new_task(20, 21, THREAD);
        filter.new_task(20, 30, FORK);
        assert!([10, 11, 12].iter().all(|&task| filter.keeps(task)));
        assert!([20, 21, 30].iter().all(|&task| !filter.keeps(task) && !filter.follows(task)));
    }

    #[test]
    fn children_drops_the_parent_and_its_later_threads() {
        let Fixture { mut filter, root: _root } = fixture(Follow::CHILDREN);
        filter.new_task(10, 12, THREAD);
        filter.new_task(12, 20, FORK);
        filter.new_task(20, 21, THREAD);
        filter.new_task(21, 30, FORK);
        assert!([10, 11, 12].iter().all(|&task| !filter.keeps(task) && filter.follows(task)));
        assert!([20, 21, 30].iter().all(|&task| filter.keeps(task)));
    }

    #[test]
    fn the_start_of_a_task_that_was_found_is_no_reuse_of_its_pid() {
        let Fixture { mut filter, root: _root } = fixture(Follow::FAMILY);
        filter.joined().add(vec![12, 13, 14]);
        assert!(!filter.new_task(10, 12, FORK));
        assert!(filter.new_task(10, 12, FORK));
        filter.ended(13);
        assert!(filter.new_task(10, 13, FORK));
        filter.caught_up();
        filter.caught_up();
        assert!(filter.new_task(10, 14, FORK));
    }

    #[test]
    fn reused_pid_belongs_to_the_new_task() {
        let Fixture { mut filter, root: _root } = fixture(Follow::ALONE);
        filter.new_task(10, 12, THREAD);
        assert!(filter.keeps(12));
        filter.new_task(10, 12, FORK);
        assert!(!filter.keeps(12));
    }

    #[test]
    fn a_new_task_with_the_pid_of_a_followed_one_is_reported() {
        let Fixture { mut filter, root: _root } = fixture(Follow::ALONE);
        assert!(!filter.new_task(10, 12, THREAD));
        assert!(filter.new_task(10, 12, THREAD));
        assert!(!filter.new_task(10, 12, FORK), "it is not followed");
        assert!(!filter.new_task(10, 12, THREAD), "the task before was not followed");
    }

    #[test]
    fn a_pid_that_another_process_gives_to_its_child_is_not_traced() {
        let mut fixture = fixture(Follow::FAMILY);
        fixture.add_task(500, 500, 1);
        fixture.filter.new_task(10, 20, FORK);
        fixture.filter.first_wakeup(10, 20);
        assert!(!fixture.filter.drops_any() && fixture.filter.keeps(20));
        fixture.filter.first_wakeup(500, 20);
        assert!(fixture.filter.drops_any() && !fixture.filter.keeps(20) && !fixture.filter.follows(20));
        fixture.filter.new_task(20, 21, FORK);
        assert!(!fixture.filter.keeps(21), "a child of it");
        fixture.filter.new_task(10, 20, FORK);
        fixture.filter.first_wakeup(10, 20);
        assert!(fixture.filter.keeps(20) && fixture.filter.keeps(10));
    }

    #[test]
    fn a_task_is_traced_if_the_record_of_its_start_may_be_missing() {
        let mut fixture = fixture(Follow::FAMILY);
        fixture.filter.first_wakeup(77, 20);
        assert!(fixture.filter.keeps(20), "started when recording began");
        fixture.filter.caught_up();
        fixture.filter.first_wakeup(77, 21);
        assert!(!fixture.filter.keeps(21));
        fixture.filter.lost();
        fixture.filter.first_wakeup(77, 22);
        fixture.add_task(79, 79, 10);
        fixture.filter.first_wakeup(79, 23);
        assert!(fixture.filter.keeps(22) && fixture.filter.keeps(23));
    }

    #[test]
    fn unknown_tasks_are_looked_up_in_procfs() {
        let mut alone = fixture(Follow::ALONE);
        alone.add_task(12, 10, 1);
        alone.add_task(20, 20, 10);
        assert!(alone.filter.keeps(12));
        assert!(!alone.filter.keeps(20));

        let mut children = fixture(Follow::CHILDREN);
        children.add_task(12, 10, 1);
        children.add_task(20, 20, 10);
        assert!(!children.filter.keeps(12));
        assert!(children.filter.keeps(20));
    }

    #[test]
    fn unknown_tasks_are_not_traced_when_the_kernels_filter_was_changed() {
        let mut fixture = fixture(Follow::FAMILY);
        assert!(fixture.filter.keeps(77) && fixture.filter.keeps(10));
        fixture.filter.trust().lose();
        fixture.add_task(20, 20, 10);
        assert!(!fixture.filter.keeps(77) && !fixture.filter.keeps(78) && !fixture.filter.follows(79));
        assert!(fixture.filter.keeps(10) && fixture.filter.keeps(20));
    }

    #[test]
    fn a_task_that_no_traced_one_can_have_started_is_not_traced() {
        let second = 1_000_000_000;
        for has_lost in [false, true] {
            let mut fixture = fixture(Follow::FAMILY);
            fixture.filter.chosen = 10 * second;
            fixture.filter.recorded = Some(12 * second);
            if has_lost {
                fixture.filter.lost();
            }
            for (task, seconds) in [(70, 9), (71, 11), (72, 13)] {
                fixture.add_started(task, seconds * second);
            }
            // Started while the session began; its parent may have ended.
            assert!(fixture.filter.keeps(71));
            assert_eq!(fixture.filter.keeps(72), has_lost);
            assert!(!fixture.filter.keeps(70) && !fixture.filter.keeps(0));
        }
    }

    #[test]
    fn a_task_with_the_pid_of_one_that_ended_while_it_was_added_is_not_traced() {
        let mut fixture = fixture(Follow::FAMILY);
        let (added, now) = (fixture.filter.additions(), Procfs::now());
        for task in 20..=23 {
            fixture.add_started(task, now - 5_000_000_000);
        }
        fixture.filter.joined().add((20..=23).collect());
        added.report(&StartedTask::find_all(20..=23, &fixture.filter.procfs));
        fixture.add_started(20, now);
        fixture.add_started(21, now);
        fixture.add_task(21, 21, 10);
        fixture.add_started(22, now);
        fixture.filter.reach(now + 1_000_000_000);
        fixture.filter.new_task(10, 22, FORK);
        assert!([21, 22, 23].iter().all(|&task| fixture.filter.keeps(task)));
        assert!(!fixture.filter.keeps(20) && !fixture.filter.follows(20));
        fixture.filter.new_task(20, 30, FORK);
        assert!(!fixture.filter.keeps(30), "a child of it");
    }

    #[test]
    fn exited_unknown_tasks_are_treated_as_children() {
        assert!(!fixture(Follow::ALONE).filter.keeps(77));
        assert!(fixture(Follow::CHILDREN).filter.keeps(77));
    }

    #[test]
    fn wakeups_of_traced_tasks_by_other_tasks_are_kept() {
        let mut fixture = fixture(Follow::CHILDREN);
        fixture.add_task(500, 500, 1);
        fixture.filter.new_task(10, 20, FORK);
        assert!(fixture.filter.keeps_any([500, 20].into_iter()));
        assert!(!fixture.filter.keeps_any([500, 10].into_iter()));
        assert!(!fixture.filter.keeps_any([0, 11].into_iter()));
    }

    #[test]
    fn named_tasks_are_classified() {
        let mut fixture = fixture(Follow::FAMILY);
        fixture.filter.selection.exclude(30);
        fixture.add_task(20, 20, 10);
        fixture.add_task(30, 30, 10);
        fixture.add_task(40, 40, 1);
        fixture.filter.new_task(10, 12, THREAD);
        let mut are_traced =
            |tasks: &[Pid]| tasks.iter().map(|task| fixture.filter.is_traced(*task)).collect::<Vec<_>>();
        assert_eq!(are_traced(&[10, 12, 20]), [true; 3]);
        assert_eq!(are_traced(&[0, 30, 40, 50]), [false; 4]);
        fixture.filter.new_task(10, 50, FORK);
        assert!(fixture.filter.is_traced(50), "the pid was reused");
    }

    #[test]
    fn rescan_adds_new_threads_and_keeps_known_ones() {
        let mut fixture = fixture(Follow::ALONE);
        fs::create_dir_all(fixture.root.path().join("10/task/15")).expect("thread");
        fixture.filter.rescan();
        assert!(fixture.filter.keeps(15));
        assert!(fixture.filter.keeps(11));
    }

    #[test]
    fn exited_tasks_are_removed_after_their_records_were_read() {
        let mut fixture = fixture(Follow::CHILDREN);
        fixture.add_task(10, 10, 1);
        fixture.add_task(11, 10, 1);
        for thread in 0..SMALLEST_PRUNED as Pid {
            fixture.filter.new_task(10, 1000 + thread, THREAD);
        }
        fixture.add_task(1000, 10, 1);
        fixture.filter.caught_up();
        assert!(!fixture.filter.keeps(1001), "its records in the buffer still belong to the parent");
        fixture.filter.new_task(10, 1002, FORK);
        fixture.filter.caught_up();
        assert_eq!(fixture.filter.known.len(), 4);
        assert!(!fixture.filter.keeps(1000));
        assert!(fixture.filter.keeps(1002));
        fixture.remove_task(10);
    }

    proptest! {
        /// The filter agrees with a simple model of processes.
        #[test]
        fn follows_the_model(children in any::<bool>(), steps in prop::collection::vec((0usize..50, any::<bool>()), 1..100)) {
            let follow = if children { Follow::CHILDREN } else { Follow::ALONE };
            let Fixture { mut filter, root: _root } = fixture(follow);
            let mut tasks = vec![(10, true), (11, true)];
            for (index, (creator, thread)) in steps.into_iter().enumerate() {
                let (creator, is_own) = tasks[creator % tasks.len()];
                let new = 100 + index as Pid;
                filter.new_task(creator, new, if thread { THREAD } else { FORK });
                tasks.push((new, is_own && thread));
            }
            for (task, is_own) in tasks {
                prop_assert_eq!(filter.keeps(task), is_own != children);
            }
        }
    }
}
