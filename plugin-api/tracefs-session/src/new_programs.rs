//! Programs that traced processes begin to run while a session records.

use std::collections::BTreeSet;
use std::fmt;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use trace_hook_api::{HookError, Result};
use trace_session::{Collect, Notifier, Occasion, Swept};
use trace_tasks::Pid;
use tracefs::Instance;

/// After this time, most programs have loaded their libraries.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The thread sleeps until it is notified.
const UNTIL_NOTIFIED: Duration = Duration::from_secs(3600);

/// What a hook does about programs that traced processes begin to run.
pub trait ProgramObserver: Send + 'static {
    /// These processes have executed a program, or have joined a selected cgroup. This is called again for each of them a little
    /// later, when it has loaded its libraries. It may take long: it is called in a thread of its own.
    fn observe(&mut self, instance: &Instance, processes: &[Pid]);
}

/// Processes on their way to the thread of the observer.
#[derive(Debug, Clone)]
pub struct NewPrograms(Arc<Reports>);

#[derive(Debug)]
struct Reports {
    processes: Mutex<BTreeSet<Pid>>,
    notifier: Notifier,
}

/// Calls an observer.
pub struct ProgramWatcher {
    observer: Box<dyn ProgramObserver>,
    instance: Arc<Instance>,
    programs: NewPrograms,
    /// The processes that were observed once.
    again: BTreeSet<Pid>,
}

impl NewPrograms {
    /// # Errors
    ///
    /// The eventfd for it cannot be created.
    pub fn new() -> Result<Self> {
        let notifier = Notifier::new();
        let notifier =
            notifier.map_err(|error| HookError::new(format!("cannot create an eventfd: {error}")))?;
        Ok(Self(Arc::new(Reports { processes: Mutex::default(), notifier })))
    }

    /// Reports processes that run a new program.
    pub fn report(&self, processes: impl IntoIterator<Item = Pid>) {
        self.0.processes.lock().unwrap_or_else(PoisonError::into_inner).extend(processes);
        self.0.notifier.notify();
    }

    fn take(&self) -> BTreeSet<Pid> {
        self.0.notifier.acknowledge();
        mem::take(&mut self.0.processes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ProgramWatcher {
    pub fn new(observer: Box<dyn ProgramObserver>, instance: Arc<Instance>, programs: NewPrograms) -> Self {
        Self { observer, instance, programs, again: BTreeSet::new() }
    }
}

impl Collect for ProgramWatcher {
    /// Programs that are executed in the meantime are observed together.
    const SHORTEST_REST: Duration = Duration::from_millis(5);
    const IS_URGENT: bool = false;

    fn sweep(&mut self, occasion: Occasion) -> Result<Swept> {
        if occasion == Occasion::Stopped {
            return Ok(Swept::rest(false, UNTIL_NOTIFIED));
        }
        let new = self.programs.take();
        let before = mem::replace(&mut self.again, new.clone());
        let processes: Vec<Pid> = new.union(&before).copied().collect();
        if !processes.is_empty() {
            self.observer.observe(&self.instance, &processes);
        }
        Ok(Swept::rest(false, if self.again.is_empty() { UNTIL_NOTIFIED } else { LOOK_AGAIN }))
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.programs.0.notifier.as_fd()]
    }
}

impl fmt::Debug for ProgramWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramWatcher").field("again", &self.again).finish_non_exhaustive()
    }
}
