//! Tasks that had ended before it was known whether they were recorded, on their way to the thread that renders records.

use std::time::Duration;

use trace_tasks::Pid;

use crate::queue::Queue;
use crate::reused_pids::ReusedPid;
use crate::unrecorded::Unrecorded;

/// A task that has ended. It was recorded to its end if there is a record of that.
#[derive(Debug, Clone)]
pub struct EndedTask {
    pub task: Pid,
    /// Set if it had got the pid of another traced task: there may be a record of the end of that one, too.
    pub reused: Option<ReusedPid>,
    /// Where it is counted otherwise.
    pub counted_in: Unrecorded,
    /// How long it may not have been recorded then.
    pub missing: Duration,
}

impl EndedTask {
    /// Counts it: it was not recorded to its end.
    pub fn count(&self) {
        match &self.reused {
            Some(reused) => reused.count_in(&self.counted_in, self.missing),
            None => self.counted_in.note(1, self.missing),
        }
    }
}

/// The ended tasks.
#[derive(Debug, Clone, Default)]
pub struct EndedTasks(Queue<EndedTask>);

impl EndedTasks {
    pub fn report(&self, task: EndedTask) {
        self.0.add([task]);
    }

    /// The tasks that were reported since the last call.
    pub fn take(&self) -> Vec<EndedTask> {
        self.0.take()
    }
}
