//! Traced tasks that were not recorded for some time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How many tasks were not recorded for some time, and how long at most. The events that are missing cannot be counted.
#[derive(Debug, Clone, Default)]
pub struct Unrecorded(Arc<Mutex<Times>>);

#[derive(Debug, Clone, Copy, Default)]
struct Times {
    tasks: usize,
    longest: Duration,
}

impl Unrecorded {
    /// Adds tasks that may not have been recorded for this time.
    pub fn note(&self, tasks: usize, time: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.tasks += tasks;
        times.longest = times.longest.max(time);
    }

    /// The number of tasks.
    pub fn tasks(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).tasks
    }

    /// A sentence about these tasks, if there are any, of which everything is missing. It begins with their number and this.
    pub fn warning_of_number(&self, what_happened: &str) -> Option<String> {
        let tasks = self.tasks();
        (tasks > 0).then(|| format!("{tasks} {what_happened}"))
    }

    /// A sentence about these tasks, if there are any. It begins with their number and this.
    pub fn warning(&self, what_happened: &str) -> Option<String> {
        let Times { tasks, longest } = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text =
            || format!("{tasks} {what_happened}: up to {} ms of each are missing", longest.as_millis());
        (tasks > 0).then(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_is_reported() {
        let unrecorded = Unrecorded::default();
        assert_eq!(unrecorded.warning("tasks waited"), None);
        unrecorded.clone().note(2, Duration::from_millis(45));
        unrecorded.note(3, Duration::from_millis(9));
        let warning = "5 tasks waited: up to 45 ms of each are missing";
        assert_eq!(unrecorded.warning("tasks waited").as_deref(), Some(warning));
    }
}
