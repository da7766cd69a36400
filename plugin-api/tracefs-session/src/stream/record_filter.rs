//! The filter of records by task.

use std::collections::HashMap;

use super::new_task::NewTask;
use crate::traced_tasks::TracedTasks;
use trace_tasks::Pid;
use tracefs::format::{Field, Formatter};

/// The traced tasks, with the fields that name tasks.
#[derive(Debug)]
pub struct RecordFilter {
    pub tasks: TracedTasks,
    /// The fields that name tasks, of the events that the kernel also records if the current task is not traced.
    subjects: HashMap<u16, Vec<Field>>,
}

/// See [`TracedTasks::keeps_any`].
const ABOUT_OTHERS: [(&str, &[&str]); 4] = [
    ("sched_switch", &["prev_pid", "next_pid"]),
    ("sched_waking", &["pid"]),
    ("sched_wakeup", &["pid"]),
    ("sched_wakeup_new", &["pid"]),
];

impl RecordFilter {
    pub fn new(tasks: TracedTasks, formatter: &mut Formatter) -> Self {
        let mut subjects = HashMap::new();
        for (event, names) in ABOUT_OTHERS {
            // The kernel may not have the event.
            let Ok(id) = formatter.load("sched", event) else { continue };
            let fields = formatter.event(id).map(|format| names.iter().filter_map(|name| format.field(name)));
            subjects.insert(id, fields.into_iter().flatten().cloned().collect());
        }
        Self { tasks, subjects }
    }

    pub fn new_task(&mut self, creator: Pid, new: NewTask) {
        self.tasks.new_task(creator, new.pid, new.clone_flags);
    }

    /// Whether a record of the event `id`, written by `task`, is kept.
    pub fn keeps(&mut self, task: Pid, id: u16, record: &[u8]) -> bool {
        if !self.tasks.drops_any() {
            return true;
        }
        match self.subjects.get(&id) {
            None => self.tasks.keeps(task),
            Some(fields) => {
                let named = fields.iter().filter_map(|field| field.number(record)).map(|pid| pid as Pid);
                self.tasks.keeps_any(&[task].into_iter().chain(named).collect::<Vec<_>>())
            }
        }
    }
}
