//! `sched:sched_process_exit`, the event of the end of a task: a task with a record of it was recorded until then.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::time::Duration;

use trace_hook_api::boot_time;
use trace_tasks::Pid;
use tracefs::format::Formatter;
use tracefs::{Instance, RecentMap, TASK_END};

use crate::ended_tasks::{EndedTask, EndedTasks};
use crate::reused_pids::ReusedPid;
use crate::unrecorded::Unrecorded;

/// How many ended tasks are remembered until they are reported.
const MOST_RECENT: usize = 8192;
/// How many tasks with reused pids are known. Beyond that the oldest is forgotten.
const MOST_REUSED: usize = 8192;

/// Decides by the records of their ends whether ended tasks were recorded.
#[derive(Debug)]
pub struct TaskEnds {
    /// `None` if not every traced task has a record of its end.
    event: Option<u16>,
    /// The tasks whose records were read last.
    recent: RecentMap<Pid, ()>,
    /// Tasks with the pids of other traced tasks. The kernel may have removed them from its filter.
    reused: RecentMap<Pid, ReusedPid>,
    /// Those among them that it has removed.
    removed: Unrecorded,
    /// When recording was stopped, and the tasks that were in the filter then.
    stopped: Option<(u64, HashSet<Pid>)>,
    reported: EndedTasks,
    /// Ended tasks whose records have not been read, and may not exist.
    undecided: HashMap<Pid, EndedTask>,
    /// Those whose records must be read by the time when all existing records have been read again.
    due: HashMap<Pid, EndedTask>,
    /// Whether records are missing, which may be those of ends.
    misses_ends: bool,
}

impl TaskEnds {
    /// Expects a record of the end of each traced task of this instance, unless it filters them.
    pub fn new(instance: &Instance, formatter: &mut Formatter) -> Self {
        let (system, event) = TASK_END;
        Self {
            event: formatter.load(system, event).ok().filter(|_| !instance.filters_task_ends()),
            recent: RecentMap::new(MOST_RECENT),
            reused: RecentMap::new(MOST_REUSED),
            removed: Unrecorded::default(),
            stopped: None,
            reported: EndedTasks::default(),
            undecided: HashMap::new(),
            due: HashMap::new(),
            misses_ends: false,
        }
    }

    /// Takes ended tasks from here, and counts tasks with reused pids there.
    pub fn decide_about(&mut self, reported: EndedTasks, removed: Unrecorded) {
        self.reported = reported;
        self.removed = removed;
    }

    /// Call it when recording was stopped, with the tasks that were in the filter then.
    pub fn stopped(&mut self, in_filter: HashSet<Pid>) {
        self.stopped = Some((boot_time(), in_filter));
    }

    /// A traced task was started with the pid of another one. That one has ended, and what has no record of its end by now will
    /// have none.
    pub fn reused(&mut self, reused: ReusedPid) {
        if self.event.is_none() {
            return;
        }
        self.take_reported();
        let (task, started) = (reused.task, reused.started);
        self.recent.remove(&task);
        let before = self.reused.insert(task, reused);
        if let Some(ended) = self.take_undecided(task) {
            ended.count();
        } else if let Some(before) = before {
            count_until(&before, started, &self.removed);
        }
    }

    /// Learns from a record of this task whether it has ended, and returns that.
    #[inline]
    pub fn observe(&mut self, task: Pid, id: u16) -> bool {
        if self.event != Some(id) {
            return false;
        }
        self.take_reported();
        self.recent.insert(task, ());
        if let Some(reused) = self.reused.remove(&task) {
            reused.ended();
        }
        self.take_undecided(task);
        true
    }

    /// Call it when records are missing: those of ends may be among them.
    pub fn lost(&mut self) {
        self.misses_ends = true;
        self.reused.clear();
        self.undecided.clear();
        self.due.clear();
    }

    /// Call it when every record has been read that existed at some time since the previous call.
    pub fn caught_up(&mut self) {
        self.take_reported();
        let undecided = mem::take(&mut self.undecided);
        let due = mem::replace(&mut self.due, undecided);
        self.count(due);
        self.misses_ends = false;
    }

    /// Call it when no more records follow.
    pub fn finish(&mut self) {
        self.take_reported();
        let (due, undecided) = (mem::take(&mut self.due), mem::take(&mut self.undecided));
        self.count(due.into_iter().chain(undecided));
        let Some((stopped, in_filter)) = &self.stopped else { return };
        for (_, reused) in self.reused.drain().filter(|(task, _)| !in_filter.contains(task)) {
            count_until(&reused, *stopped, &self.removed);
        }
    }

    fn count(&mut self, ended: impl IntoIterator<Item = (Pid, EndedTask)>) {
        for (task, ended) in ended {
            ended.count();
            self.reused.remove(&task);
        }
    }

    fn take_undecided(&mut self, task: Pid) -> Option<EndedTask> {
        self.undecided.remove(&task).or_else(|| self.due.remove(&task))
    }

    fn take_reported(&mut self) {
        for ended in self.reported.take() {
            // A task may be reported twice, by an event and because it was found.
            let is_known = self.due.contains_key(&ended.task)
                || match &ended.reused {
                    Some(ended) => {
                        self.reused.get(&ended.task).is_none_or(|reused| reused.started != ended.started)
                    }
                    None => self.recent.get(&ended.task).is_some(),
                };
            if self.event.is_some() && !self.misses_ends && !is_known {
                self.undecided.insert(ended.task, ended);
            }
        }
    }
}

/// Counts a task that may not have been recorded from its start until this time.
fn count_until(reused: &ReusedPid, time: u64, not_recorded: &Unrecorded) {
    reused.count_in(not_recorded, Duration::from_nanos(time.saturating_sub(reused.started)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u16 = 7;

    fn fixture() -> (TaskEnds, EndedTasks, Unrecorded) {
        let (reported, count) = (EndedTasks::default(), Unrecorded::default());
        let ends = TaskEnds {
            event: Some(END),
            recent: RecentMap::new(10),
            reused: RecentMap::new(10),
            removed: count.clone(),
            stopped: None,
            reported: reported.clone(),
            undecided: HashMap::new(),
            due: HashMap::new(),
            misses_ends: false,
        };
        (ends, reported, count)
    }

    fn ended(task: Pid, count: &Unrecorded) -> EndedTask {
        EndedTask { task, reused: None, counted_in: count.clone(), missing: Duration::from_millis(3) }
    }

    #[test]
    fn a_task_with_a_record_of_its_end_is_not_counted() {
        let (mut ends, reported, count) = fixture();
        ends.observe(1, END);
        [1, 2, 3].into_iter().for_each(|task| reported.report(ended(task, &count)));
        ends.caught_up();
        ends.observe(2, END);
        ends.observe(3, END + 1);
        ends.caught_up();
        assert_eq!(count.tasks(), 1);
        ends.caught_up();
        ends.finish();
        assert_eq!(count.tasks(), 1);
    }

    #[test]
    fn a_task_is_counted_at_the_end_or_when_all_records_were_read_twice() {
        let (mut ends, reported, count) = fixture();
        reported.report(ended(1, &count));
        ends.caught_up();
        assert_eq!(count.tasks(), 0);
        [1, 2, 2].into_iter().for_each(|task| reported.report(ended(task, &count)));
        ends.caught_up();
        assert_eq!(count.tasks(), 1);
        reported.report(ended(3, &count));
        ends.finish();
        assert_eq!(count.tasks(), 3);
    }

    #[test]
    fn nothing_is_concluded_from_records_that_may_be_missing() {
        let (mut ends, reported, count) = fixture();
        reported.report(ended(1, &count));
        ends.caught_up();
        ends.lost();
        reported.report(ended(2, &count));
        ends.caught_up();
        ends.finish();
        assert_eq!(count.tasks(), 0);
        reported.report(ended(3, &count));
        ends.finish();
        assert_eq!(count.tasks(), 1);
    }

    #[test]
    fn tasks_with_the_same_pid_are_distinguished() {
        let (mut ends, reported, count) = fixture();
        let report = |started| {
            reported.report(EndedTask { reused: Some(ReusedPid::new(1, started)), ..ended(1, &count) })
        };
        ends.observe(1, END);
        ends.reused(ReusedPid::new(1, 10));
        // It was not recorded to its end. That is counted once.
        ends.reused(ReusedPid::new(1, 20));
        assert_eq!(count.tasks(), 1);
        report(10);
        ends.observe(1, END);
        ends.reused(ReusedPid::new(1, 30));
        report(20);
        report(30);
        ends.caught_up();
        assert_eq!(count.tasks(), 1);
        ends.caught_up();
        assert_eq!(count.tasks(), 2);
        ends.stopped(HashSet::new());
        ends.finish();
        assert_eq!(count.tasks(), 2);
    }

    #[test]
    fn a_task_that_was_added_again_and_then_ends_unrecorded_is_counted_once() {
        let (mut ends, reported, count) = fixture();
        let added_again = |task| {
            let reused = ReusedPid::new(task, 10);
            reused.count_in(&count, Duration::from_millis(40));
            reused
        };
        let tasks: Vec<ReusedPid> = (1..=3).map(added_again).collect();
        assert_eq!(count.tasks(), 3);
        tasks.iter().for_each(|reused| ends.reused(reused.clone()));
        // The pid is used again, the end is noticed, and recording stops.
        ends.reused(ReusedPid::new(1, 20));
        reported.report(EndedTask { reused: Some(tasks[1].clone()), ..ended(2, &count) });
        ends.stopped(HashSet::from([1]));
        ends.finish();
        assert_eq!(count.tasks(), 3);
    }

    #[test]
    fn a_task_that_is_not_in_the_filter_when_recording_stops_is_counted() {
        let (mut ends, _, count) = fixture();
        [1, 2, 3].into_iter().for_each(|task| ends.reused(ReusedPid::new(task, 10)));
        ends.observe(3, END);
        ends.stopped(HashSet::from([1]));
        ends.finish();
        assert_eq!(count.tasks(), 1);
    }
}
