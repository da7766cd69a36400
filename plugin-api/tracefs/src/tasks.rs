//! Whose events an instance records.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::fcntl::OFlag;

use crate::Pid;
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::events::{NEW_TASK, RENAME};
use crate::instance::Instance;
use crate::procfs::Procfs;
use crate::targets::{Member, Targets};
use crate::task_filter::TaskFilter;

/// The file that holds the ids of all threads whose events are recorded. Empty, it means everyone.
pub(crate) const SET: &str = "set_event_pid";

impl Instance {
    /// Chooses whose events are recorded: all living threads of the targets and of their
    /// descendants, and all that they start from now on. To be called once, before any event is
    /// enabled; if it fails, this instance refuses to enable events, for that might record everyone.
    ///
    /// The kernel follows whole families only. Where less is wanted
    /// ([`Follow::ALONE`](crate::Follow::ALONE), [`Follow::CHILDREN`](crate::Follow::CHILDREN)) all records must be
    /// shown to the [`TaskFilter`] that comes with the set. A kernel that does not announce new tasks gets none.
    ///
    /// `procfs` must be that of the initial pid namespace, whose ids tracing uses.
    ///
    /// # Errors
    /// [`Error::EventsBeforeTasks`]; [`Error::NoTasksLeft`]; [`Error::NoNewTaskEvent`] if a filter is needed and
    /// impossible.
    pub fn choose_tasks(&self, procfs: &Path, targets: &Targets) -> Result<(TaskSet, Option<TaskFilter>)> {
        if self.events_enabled.load(Ordering::Relaxed) {
            return Err(Error::EventsBeforeTasks);
        }
        self.lacks_tasks.store(true, Ordering::Relaxed);
        let has_new_tasks = self.tracefs().has_event(NEW_TASK.0, NEW_TASK.1);
        if targets.need_filter() && !has_new_tasks {
            return Err(Error::NoNewTaskEvent);
        }

        let procfs = Procfs::at(procfs);
        if procfs.is_of_inner_namespace() {
            return Err(Error::InnerNamespace { procfs: procfs.root().to_path_buf() });
        }
        let set = TaskSet { instance: Arc::clone(&self.dir), procfs: procfs.clone() };
        self.set_option("event-fork", true)?;
        let members = set.fill(targets)?;
        if !set.any_alive(None)? {
            return Err(targets.nobody_left());
        }
        self.lacks_tasks.store(false, Ordering::Relaxed);

        // By these, a stream knows the tasks' names at any time. Without them, it has to guess now and then.
        for event in [NEW_TASK, RENAME] {
            if let Err(error) = self.enable_quietly(event) {
                log::debug!("{error}");
            }
        }
        if !has_new_tasks {
            return Ok((set, None));
        }
        if targets.need_filter() {
            self.needs_new_tasks.store(true, Ordering::Relaxed);
            self.enable_quietly(NEW_TASK)?;
        }
        Ok((set, Some(TaskFilter::new(procfs, targets.clone(), members))))
    }
}

/// The tasks whose events an instance records. The kernel keeps it up to date, adding what they
/// start and removing those that exit, once their parents have taken notice.
#[derive(Debug)]
pub struct TaskSet {
    instance: Arc<Dir>,
    procfs: Procfs,
}

impl TaskSet {
    /// Whether anyone of the set is alive, and so something may still be recorded. With a filter:
    /// anyone who is followed in any way, be it only for the children it may fork.
    ///
    /// This stops at the first living task, and is cheap enough to be asked every 100 ms.
    pub fn any_alive(&self, filter: Option<&TaskFilter>) -> Result<bool> {
        let mut found = false;
        self.visit(|task| {
            found = filter.is_none_or(|filter| filter.follows(task)) && self.procfs.is_alive(task);
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }

    /// The ids of all threads of the set that are alive, in ascending order.
    pub fn live_tasks(&self) -> Result<Vec<Pid>> {
        let mut tasks = Vec::new();
        self.visit(|task| {
            if self.procfs.is_alive(task) {
                tasks.push(task);
            }
            ControlFlow::Continue(())
        })?;
        Ok(tasks)
    }

    /// With event-fork on, the kernel itself adds what a member starts. What was started before its
    /// creator was a member, or while the kernel was replacing one version of the set by the next,
    /// it does not add; but that is visible in procfs by the time our write returns. So once a look
    /// after the last write shows nobody who is missing in the set, nobody is missed.
    ///
    /// All go into one write: the first takes 1 ms, however long it is, each further one 40 ms.
    fn fill(&self, targets: &Targets) -> Result<HashMap<Pid, Member>> {
        let mut members = targets.members(&self.procfs);
        let mut missing: Vec<Pid> = members.keys().copied().collect();
        while !missing.is_empty() {
            self.instance.write(SET, &list(&missing))?;
            let living = targets.members(&self.procfs);
            missing = self.missing(living.keys().copied())?;
            members.extend(living);
        }
        Ok(members)
    }

    /// Those that are alive and not in the set. They must have been alive before the set is read,
    /// for the kernel takes out whoever exits.
    fn missing(&self, tasks: impl Iterator<Item = Pid>) -> Result<Vec<Pid>> {
        let mut members = HashSet::new();
        self.visit(|task| {
            members.insert(task);
            ControlFlow::Continue(())
        })?;
        Ok(tasks.filter(|task| !members.contains(task) && self.procfs.is_alive(*task)).collect())
    }

    /// Reads the set piece by piece, as far as wanted. One that died between our look and our write
    /// stays in it, so not all members need be alive.
    fn visit(&self, mut visitor: impl FnMut(Pid) -> ControlFlow<()>) -> Result<()> {
        let mut file = self.instance.open_file(SET, OFlag::O_RDONLY)?;
        let mut buffer = [0; 4096];
        let mut number: Option<Pid> = None;
        loop {
            let count =
                file.read(&mut buffer).map_err(|error| self.instance.error("read", Path::new(SET), error))?;
            for &byte in &buffer[..count] {
                if byte.is_ascii_digit() {
                    number = Some(number.unwrap_or(0).wrapping_mul(10).wrapping_add(Pid::from(byte - b'0')));
                } else if let Some(task) = number.take()
                    && visitor(task).is_break()
                {
                    return Ok(());
                }
            }
            if count == 0 {
                return Ok(());
            }
        }
    }
}

fn list(tasks: &[Pid]) -> String {
    let mut text = String::with_capacity(tasks.len() * 8);
    for task in tasks {
        text.push_str(&task.to_string());
        text.push('\n');
    }
    text
}
