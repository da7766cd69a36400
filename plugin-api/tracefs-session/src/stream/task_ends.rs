//! `sched:sched_process_exit`, the event of the end of a task: who has a record of it was recorded until then.

use std::collections::HashMap;
use std::mem;

use trace_tasks::Pid;
use tracefs::format::Formatter;
use tracefs::{Instance, RecentMap, TASK_END};

use crate::ended_tasks::{EndedTask, EndedTasks};

/// More tasks do not end in the time until one of them is reported.
const MOST_RECENT: usize = 8192;

/// Decides by the records of their ends whether ended tasks were recorded.
#[derive(Debug)]
pub struct TaskEnds {
    /// `None` if not every traced task has a record of its end.
    event: Option<u16>,
    /// The tasks whose records were read last.
    recent: RecentMap<Pid, ()>,
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
            reported: EndedTasks::default(),
            undecided: HashMap::new(),
            due: HashMap::new(),
            misses_ends: false,
        }
    }

    /// Takes ended tasks from here.
    pub fn decide_about(&mut self, reported: EndedTasks) {
        self.reported = reported;
    }

    /// Learns from a record of this task which tasks have ended.
    #[inline]
    pub fn observe(&mut self, task: Pid, id: u16) {
        if self.event != Some(id) {
            return;
        }
        self.take_reported();
        self.recent.insert(task, ());
        self.undecided.remove(&task);
        self.due.remove(&task);
    }

    /// Call it when records are missing: those of ends may be among them.
    pub fn lost(&mut self) {
        self.misses_ends = true;
        self.undecided.clear();
        self.due.clear();
    }

    /// Call it when every record has been read that existed at some time since the previous call.
    pub fn caught_up(&mut self) {
        self.take_reported();
        let undecided = mem::take(&mut self.undecided);
        mem::replace(&mut self.due, undecided).values().for_each(EndedTask::count);
        self.misses_ends = false;
    }

    /// Call it when no more records follow.
    pub fn finish(&mut self) {
        self.take_reported();
        self.due.drain().chain(self.undecided.drain()).for_each(|(_, ended)| ended.count());
    }

    fn take_reported(&mut self) {
        for ended in self.reported.take() {
            // A task may be reported twice, by an event and because it was found.
            let is_known = self.recent.get(&ended.task).is_some() || self.due.contains_key(&ended.task);
            if self.event.is_some() && !self.misses_ends && !is_known {
                self.undecided.insert(ended.task, ended);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unrecorded::Unrecorded;
    use std::time::Duration;

    const END: u16 = 7;

    fn fixture() -> (TaskEnds, EndedTasks, Unrecorded) {
        let reported = EndedTasks::default();
        let ends = TaskEnds {
            event: Some(END),
            recent: RecentMap::new(10),
            reported: reported.clone(),
            undecided: HashMap::new(),
            due: HashMap::new(),
            misses_ends: false,
        };
        (ends, reported, Unrecorded::default())
    }

    fn ended(task: Pid, count: &Unrecorded) -> EndedTask {
        EndedTask { task, counted_in: count.clone(), missing: Duration::from_millis(3) }
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
}
