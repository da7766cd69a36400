//! Programs that traced processes begin to run while a session records.

use std::collections::BTreeSet;
use std::fmt;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use trace_hook_api::{HookError, Result};
use trace_session::{Collect, Notifier, Occasion, Swept};
use trace_tasks::Pid;
use tracefs::Instance;

use crate::stop_flag::StopFlag;

/// After this time, most programs have loaded their libraries.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// After this time, the thread looks whether it is to stop.
const LONGEST_SWEEP: Duration = Duration::from_millis(50);
/// The thread sleeps until it is notified.
const UNTIL_NOTIFIED: Duration = Duration::from_secs(3600);

/// What a hook does about programs that traced processes begin to run.
pub trait ProgramObserver: Send + 'static {
    /// Processes that are observed as soon as the session records, as if they had just executed their programs.
    fn overdue(&self) -> Vec<Pid> {
        Vec::new()
    }

    /// This process has executed a program, or has joined a selected cgroup. This is called again for it a little later, when it
    /// has loaded its libraries. It may take some time: it is called in a thread of its own. The end of the session waits for it: what takes
    /// long is given up when `stop` is set.
    fn observe(&mut self, instance: &Instance, process: Pid, stop: &StopFlag);

    /// The session has stopped: no process is observed any more.
    fn stopped(&mut self) {}
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
    stop: StopFlag,
    /// When to observe which process.
    waiting: BTreeSet<(Instant, Pid)>,
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
        Self { observer, instance, programs, stop: StopFlag::default(), waiting: BTreeSet::new() }
    }

    /// Ends what it is doing.
    pub fn stop(&self) -> StopFlag {
        self.stop.clone()
    }

    /// The next process to observe, or how long there is none.
    fn next(&mut self) -> Result<Pid, Duration> {
        let Some((due, process)) = self.waiting.pop_first() else { return Err(UNTIL_NOTIFIED) };
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            self.waiting.insert((due, process));
            return Err(left);
        }
        Ok(process)
    }
}

impl Collect for ProgramWatcher {
    const NAME: &str = "programs";
    /// Programs that are executed in the meantime are observed together.
    const SHORTEST_REST: Duration = Duration::from_millis(5);
    const IS_URGENT: bool = false;

    fn sweep(&mut self, occasion: Occasion) -> Result<Swept> {
        if occasion == Occasion::Stopped {
            self.observer.stopped();
            return Ok(Swept::rest(false, UNTIL_NOTIFIED));
        }
        let now = Instant::now();
        let times = |process| [(now, process), (now + LOOK_AGAIN, process)];
        self.waiting.extend(self.programs.take().into_iter().flat_map(times));
        loop {
            match self.next() {
                Ok(process) => self.observer.observe(&self.instance, process, &self.stop),
                Err(rest) => return Ok(Swept::rest(false, rest)),
            }
            if now.elapsed() >= LONGEST_SWEEP || self.stop.is_set() {
                return Ok(Swept::rest(false, Duration::ZERO));
            }
        }
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.programs.0.notifier.as_fd()]
    }
}

impl fmt::Debug for ProgramWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramWatcher").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}
