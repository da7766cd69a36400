//! `set_event_pid`, the kernel's pid filter of an instance.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use trace_tasks::{Member, Pid, Procfs, SelectedProcesses, WatchedTask};

use crate::dir::Dir;
use crate::error::{Error, Result};

/// The file with the ids of the threads whose events are not recorded.
pub(crate) const SET_EVENT_NOTRACE_PID: &str = "set_event_notrace_pid";

/// The file with the ids of all threads whose events are recorded. If it is empty, all tasks are recorded.
pub(crate) const SET_EVENT_PID: &str = "set_event_pid";

/// No task has this pid (`PID_MAX_LIMIT` in include/linux/threads.h). It is in each filter whose tasks may all end while recording
/// goes on. Without it, the file would then be empty, as if another process had emptied it, whereupon all tasks are recorded.
/// Kernels before 5.16 refuse it where it is not below `pid_max`.
const PLACEHOLDER: Pid = 1 << 22;

/// The threads whose events an instance records. The kernel updates it: it adds the tasks that these threads start, and removes
/// exited tasks once their parents have waited for them.
#[derive(Debug)]
pub struct PidFilter {
    instance: Arc<Dir>,
    procfs: Procfs,
    /// A task in the filter that was alive when last checked.
    living: Option<WatchedTask>,
    has_placeholder: bool,
}

impl PidFilter {
    pub(crate) fn new(instance: &Arc<Dir>, procfs: Procfs) -> Self {
        Self { instance: Arc::clone(instance), procfs, living: None, has_placeholder: false }
    }

    /// Another handle of this filter, for another thread.
    pub fn another(&self) -> Self {
        Self { has_placeholder: self.has_placeholder, ..Self::new(&self.instance, self.procfs.clone()) }
    }

    /// Whether any task in the filter is alive.
    ///
    /// This stops at the first living task, and is cheap enough to be called every 50 ms.
    pub fn any_alive(&mut self) -> Result<bool> {
        self.any_alive_of(|_| true)
    }

    /// Whether any task in the filter is alive for which `counts` returns true.
    pub fn any_alive_of(&mut self, counts: impl Fn(Pid) -> bool) -> Result<bool> {
        if self.living.as_ref().is_some_and(|task| task.is_alive() && counts(task.id())) {
            return Ok(true);
        }
        let mut living = None;
        self.visit(|task| {
            living = Some(task).filter(|task| counts(*task));
            living = living.filter(|task| self.procfs.is_alive(*task));
            if living.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.living = living.and_then(|task| WatchedTask::open(&self.procfs, task));
        Ok(living.is_some())
    }

    /// The ids of all threads in the filter that are alive, in ascending order.
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

    /// The threads in the filter, alive or not, in ascending order; at most so many.
    ///
    /// # Errors
    ///
    /// The kernel's filter cannot be read.
    pub fn first_tasks(&self, most: usize) -> Result<Vec<Pid>> {
        let mut tasks = Vec::new();
        self.visit(|task| {
            tasks.push(task);
            if tasks.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(tasks)
    }

    /// Whether another process must have emptied or replaced the filter, because these are all tasks in it.
    pub fn lacks_placeholder(&self, tasks: &[Pid]) -> bool {
        self.has_placeholder && !tasks.contains(&PLACEHOLDER)
    }

    /// Makes sure that the filter is not empty, after another process has emptied it.
    ///
    /// # Errors
    ///
    /// The kernel's filter cannot be written.
    pub fn restore_placeholder(&self) -> Result<()> {
        if self.has_placeholder { self.add(&[PLACEHOLDER]) } else { Ok(()) }
    }

    /// Empties the filter: all tasks are recorded then.
    ///
    /// # Errors
    ///
    /// The kernel's filter cannot be written.
    pub fn clear(&self) -> Result<()> {
        self.instance.empty(SET_EVENT_PID)
    }

    /// Whether threads are excluded from recording.
    ///
    /// # Errors
    ///
    /// The kernel's filter cannot be read.
    pub fn excludes_any(&self) -> Result<bool> {
        match self.instance.read_at_most(SET_EVENT_NOTRACE_PID, 1) {
            Ok(excluded) => Ok(!excluded.is_empty()),
            // A kernel before 5.7.
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Excludes no threads.
    ///
    /// # Errors
    ///
    /// The kernel's filter cannot be written.
    pub fn exclude_none(&self) -> Result<()> {
        self.instance.empty(SET_EVENT_NOTRACE_PID)
    }

    /// The procfs in which it looks for tasks.
    pub fn procfs(&self) -> &Procfs {
        &self.procfs
    }

    /// Writes all selected threads into the filter, beginning with those known to be alive. Returns them.
    ///
    /// With event-fork on, the kernel adds the tasks that a thread in the filter starts. It does not add a task that was started
    /// before its creator was in the filter, or while the kernel replaced one version of the filter by the next. But procfs
    /// lists such a task by the time the write returns. So the filter is complete once a scan after the last write finds no
    /// missing task.
    ///
    /// All pids are written at once: the first write takes 1 ms for any length, each further one 40 ms.
    pub(crate) fn fill(
        &mut self,
        selection: &SelectedProcesses,
        mut members: HashMap<Pid, Member>,
    ) -> Result<HashMap<Pid, Member>> {
        let threads: Vec<Pid> = members.keys().copied().collect();
        self.has_placeholder = selection.may_grow() && self.add_with_placeholder(&threads)?;
        match (self.has_placeholder, threads.is_empty()) {
            (true, _) => {}
            (false, true) => self.fill_with_ended_thread()?,
            (false, false) => self.add(&threads)?,
        }
        loop {
            let living = selection.members(&self.procfs);
            let were_missing = self.add_missing(living.keys().copied())?;
            members.extend(living);
            if !were_missing {
                return Ok(members);
            }
        }
    }

    /// Returns whether the kernel accepts the placeholder.
    fn add_with_placeholder(&self, threads: &[Pid]) -> Result<bool> {
        match self.add(&[threads, &[PLACEHOLDER]].concat()) {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(Errno::EINVAL) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a filter that no task passes: one that was never filled passes all tasks.
    fn fill_with_ended_thread(&self) -> Result<()> {
        let enter = || {
            let this = self.procfs.this_thread();
            let thread = this.map_err(|error| Error::io("find this thread in", self.procfs.root(), error))?;
            self.instance.write(SET_EVENT_PID, &list(&[thread]))
        };
        // The kernel removes a thread when it ends.
        thread::scope(|scope| {
            let thread = thread::Builder::new().spawn_scoped(scope, enter);
            let thread = thread.map_err(|source| Error::NoThread { source })?;
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Adds these threads. What they start before the kernel uses the new filter is missing in it.
    ///
    /// They are recorded long before this returns: the kernel uses the new filter at once, and then waits, some 40 ms, until nothing
    /// uses the old one.
    ///
    /// # Errors
    ///
    /// The kernel's filter cannot be written.
    pub fn add(&self, threads: &[Pid]) -> Result<()> {
        self.instance.write(SET_EVENT_PID, &list(threads))
    }

    /// The threads of these processes.
    pub fn threads(&self, processes: &[Pid]) -> Vec<Pid> {
        processes.iter().flat_map(|process| self.procfs.threads(*process)).collect()
    }

    /// Whether no thread of this process is alive.
    pub fn has_ended(&self, process: Pid) -> bool {
        !self.procfs.threads(process).into_iter().any(|thread| self.procfs.is_alive(thread))
    }

    /// The threads of the processes of these tasks, and of all that descend from these.
    pub fn families(&self, tasks: &[Pid]) -> Vec<Pid> {
        if tasks.is_empty() {
            return Vec::new();
        }
        let processes = tasks.iter().filter_map(|task| self.procfs.status(*task));
        let families = SelectedProcesses::families(processes.map(|status| status.process));
        families.members(&self.procfs).into_keys().collect()
    }

    /// Adds those of these tasks that are alive and not in the filter. Returns whether there were any.
    fn add_missing(&self, tasks: impl IntoIterator<Item = Pid>) -> Result<bool> {
        let missing = self.missing(tasks)?;
        if !missing.is_empty() {
            self.add(&missing)?;
        }
        Ok(!missing.is_empty())
    }

    /// Excludes the threads of these processes, and those that they start. Kernels before 5.7 cannot.
    ///
    /// # Errors
    ///
    /// The kernel's filter cannot be written.
    pub fn exclude(&self, processes: impl IntoIterator<Item = Pid>) -> Result<()> {
        let processes: Vec<Pid> = processes.into_iter().collect();
        self.instance.write(SET_EVENT_NOTRACE_PID, &list(&self.threads(&processes)))
    }

    /// All tasks in the filter, alive or not.
    ///
    /// # Errors
    ///
    /// The kernel's filter cannot be read.
    pub fn all_tasks(&self) -> Result<HashSet<Pid>> {
        Ok(self.first_tasks(usize::MAX)?.into_iter().collect())
    }

    /// Those of these tasks that are alive and not in the filter. They must be found before this call, because the kernel
    /// removes exited tasks and adds new ones.
    ///
    /// # Errors
    ///
    /// The kernel's filter cannot be read.
    pub fn missing(&self, tasks: impl IntoIterator<Item = Pid>) -> Result<Vec<Pid>> {
        let present = self.all_tasks()?;
        let is_missing = |task: &Pid| !present.contains(task) && self.procfs.is_alive(*task);
        Ok(tasks.into_iter().filter(is_missing).collect())
    }

    /// Reads the filter in pieces until `visitor` breaks. A task that exited between the scan of procfs and the write stays in
    /// the filter, so some of its tasks may not be alive.
    fn visit(&self, mut visitor: impl FnMut(Pid) -> ControlFlow<()>) -> Result<()> {
        let mut file = self.instance.open_file(SET_EVENT_PID, OFlag::O_RDONLY)?;
        let mut buffer = [0; 4096];
        let mut number: Option<Pid> = None;
        loop {
            let count = file
                .read(&mut buffer)
                .map_err(|error| self.instance.error("read", Path::new(SET_EVENT_PID), error))?;
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
