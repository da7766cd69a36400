//! The filter of records by task.

use std::collections::HashMap;

use super::new_task::NewTask;
use super::requested::MARKERS;
use crate::traced_tasks::TracedTasks;
use trace_tasks::Pid;
use tracefs::FIRST_WAKEUP;
use tracefs::format::{Field, Formatter};

/// The traced tasks, with the fields that name tasks.
#[derive(Debug)]
pub struct RecordFilter {
    pub tasks: TracedTasks,
    /// The fields that name tasks, of the events that the kernel also records if the current task is not traced.
    subjects: HashMap<u16, Vec<Field>>,
    /// What programs write to the instance: the kernel's pid filter does not apply to it.
    markers: Vec<u16>,
    /// The event of the first wake-up of a new task, and its field with the pid. `None` if not all of these tasks have a record
    /// of their start.
    first_wakeup: Option<(u16, Field)>,
}

/// See [`TracedTasks::keeps_any`].
const ABOUT_OTHERS: [(&str, &[&str]); 4] = [
    ("sched_switch", &["prev_pid", "next_pid"]),
    ("sched_waking", &["pid"]),
    ("sched_wakeup", &["pid"]),
    ("sched_wakeup_new", &["pid"]),
];

impl RecordFilter {
    /// `shows_starts`: whether there is a record of the start of each new task.
    pub fn new(tasks: TracedTasks, formatter: &mut Formatter, shows_starts: bool) -> Self {
        let mut subjects: HashMap<u16, Vec<Field>> = HashMap::new();
        for (event, names) in ABOUT_OTHERS {
            // The kernel may not have the event.
            let Ok(id) = formatter.load("sched", event) else { continue };
            let fields = formatter.event(id).map(|format| names.iter().filter_map(|name| format.field(name)));
            subjects.insert(id, fields.into_iter().flatten().cloned().collect());
        }
        if !shows_starts {
            tasks.trust().miss_starts();
        }
        let (system, event) = FIRST_WAKEUP;
        let wakeup = formatter.load(system, event).ok().filter(|_| shows_starts);
        let first_wakeup = wakeup.and_then(|id| Some((id, subjects.get(&id)?.first()?.clone())));
        let markers = MARKERS.iter().filter_map(|marker| formatter.load("ftrace", marker).ok()).collect();
        Self { tasks, subjects, markers, first_wakeup }
    }

    /// See [`TracedTasks::new_task`].
    pub fn new_task(&mut self, creator: Pid, new: NewTask) -> bool {
        self.tasks.new_task(creator, new.pid, new.clone_flags)
    }

    /// Learns from a record which tasks are traced.
    pub fn observe(&mut self, task: Pid, id: u16, record: &[u8]) {
        let Some((event, pid)) = &self.first_wakeup else { return };
        if id == *event
            && let Some(new) = pid.number(record)
        {
            self.tasks.first_wakeup(task, new as Pid);
        }
    }

    /// Whether a record of the event `id`, written by `task`, is kept.
    pub fn keeps(&mut self, task: Pid, id: u16, record: &[u8]) -> bool {
        if self.markers.contains(&id) {
            return self.tasks.is_traced(task);
        }
        match self.subjects.get(&id) {
            None => self.tasks.keeps(task),
            Some(fields) => {
                let named = fields.iter().filter_map(|field| field.number(record)).map(|pid| pid as Pid);
                self.tasks.keeps_any([task].into_iter().chain(named))
            }
        }
    }
}
