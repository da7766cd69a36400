use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Pid as ThreadId, gettid};

use crate::{Pid, thread_refusal};

/// Makes calls that a traced process can block, each within a time limit.
///
/// To open or read a file blocks as long as its file system does not answer, because it hangs or is served by the process itself (FUSE).
/// To read the mappings of a process blocks as long as one of its threads changes them and cannot proceed. So the calls are made
/// in a thread, which is abandoned if it does not return in time. It ends with its call, or when this process ends.
///
/// Each call that blocks leaves a quarter of the time for others, so that all of them together take little more than the limit. A
/// process that has blocked a few times in a row is not tried again. A file system is tried again for a very short time each, because a
/// process can make some of its files block while it answers for others.
#[derive(Debug)]
pub struct BlockingCalls {
    longest: Duration,
    /// The limit of the next call.
    limit: Duration,
    thread: Option<CallThread>,
    /// How many calls in a row have blocked.
    blocked: HashMap<CallTarget, u32>,
    /// How many more calls to file systems that have blocked may block.
    retries: u32,
    spent: Duration,
    /// How long a call may run.
    running: Duration,
}

/// What a call depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallTarget {
    /// A process, whose mappings are read or which has a file.
    Process(Pid),
    /// A file system, by the numbers of its device.
    FileSystem((u32, u32)),
}

/// Why a call was not made, or given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// It did not return in time, or its target has blocked too often.
    #[error("the file system or the process does not answer")]
    NoAnswer,
    /// No thread can be started for it.
    #[error("{}", thread_refusal(THREAD, &(*.0).into()))]
    NoThread(Errno),
}

/// The name of the thread.
const THREAD: &str = "files";

/// How often it is found out whether a call runs.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// How many calls in a row a target may block.
const MAX_BLOCKED: u32 = 3;

/// How many calls to file systems beyond that may block.
const MAX_RETRIES: u32 = 30;

/// The time limit of a call, however many have blocked before.
const SHORTEST_LIMIT: Duration = Duration::from_millis(10);

impl CallTarget {
    fn is_file_system(&self) -> bool {
        matches!(self, Self::FileSystem(_))
    }
}

impl BlockingCalls {
    /// Calls that may block this long. Time in which the call runs, or waits for a CPU, does not count.
    pub fn within(limit: Duration) -> Self {
        Self {
            longest: limit,
            limit,
            thread: None,
            blocked: HashMap::new(),
            retries: MAX_RETRIES,
            spent: Duration::ZERO,
            running: Duration::MAX,
        }
    }

    /// Also limits the CPU time of each call. A thread cannot be ended, so one that has run for longer continues at the lowest priority, and is
    /// to be avoided.
    #[must_use]
    pub fn running_at_most(self, limit: Duration) -> Self {
        Self { running: limit, ..self }
    }

    /// How long all calls so far have run or blocked, without the time in which they waited for a CPU.
    pub fn spent(&self) -> Duration {
        self.spent
    }

    /// Gives further calls the whole time again, and tries processes again that have blocked: their ids can belong to others by
    /// now. File systems that have blocked too often are still not tried.
    pub fn begin_again(&mut self) {
        self.limit = self.longest;
        self.blocked.retain(|target, _| matches!(target, CallTarget::FileSystem(_)));
    }

    /// Makes a call. What it returns is dropped in its thread if it comes too late.
    ///
    /// # Errors
    ///
    /// The call blocks, or no thread can be started for it.
    pub fn call<T: Send + 'static>(
        &mut self,
        targets: &[CallTarget],
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Blocked> {
        let has_blocked =
            |target: &&CallTarget| self.blocked.get(target).is_some_and(|count| *count >= MAX_BLOCKED);
        let mut suspects = targets.iter().filter(has_blocked).peekable();
        let (is_retry, is_process) =
            (suspects.peek().is_some(), |target: &CallTarget| !target.is_file_system());
        if is_retry && (self.retries == 0 || suspects.any(is_process)) {
            return Err(Blocked::NoAnswer);
        }
        let limit = if is_retry { SHORTEST_LIMIT } else { self.limit };
        let thread = self.thread.take().map_or_else(CallThread::start, Ok)?;
        let (answer, answered) = channel();
        // It fails if the caller has given up. Then it returns what was answered, which is dropped here.
        let call = move || drop(answer.send(call()));
        let (outcome, spent) = thread.run(Box::new(call), &answered, limit, self.running);
        self.spent += spent;
        let Some(answer) = outcome else {
            self.retries -= u32::from(is_retry);
            targets.iter().for_each(|target| *self.blocked.entry(*target).or_default() += 1);
            self.limit = (self.limit / 4).max(SHORTEST_LIMIT);
            return Err(Blocked::NoAnswer);
        };
        self.thread = Some(thread);
        targets.iter().for_each(|target| _ = self.blocked.remove(target));
        Ok(answer)
    }
}

type Call = Box<dyn FnOnce() + Send>;

/// A thread that makes one call after the other.
#[derive(Debug)]
struct CallThread {
    calls: Sender<Call>,
    id: ThreadId,
    /// How long it has run. `None` if there is no procfs.
    schedstat: Option<File>,
}

impl CallThread {
    fn start() -> Result<Self, Blocked> {
        let (calls, to_make) = channel::<Call>();
        let (started, starting) = channel();
        let run = move || {
            let _ = started.send((gettid(), File::open("/proc/thread-self/schedstat").ok()));
            to_make.iter().for_each(|call| call());
        };
        let thread = thread::Builder::new().name(THREAD.to_owned()).spawn(run);
        thread.map_err(|error| Blocked::NoThread(errno(&error)))?;
        let (id, schedstat) = starting.recv().map_err(|_| Blocked::NoAnswer)?;
        Ok(Self { calls, id, schedstat })
    }

    /// Returns no answer if the call blocks or runs for longer than the limits, or panics. Returns how long it has run or blocked as well.
    fn run<T>(
        &self,
        call: Call,
        answered: &Receiver<T>,
        blocking: Duration,
        running: Duration,
    ) -> (Option<T>, Duration) {
        let (began, before) = (Instant::now(), self.times());
        if self.calls.send(call).is_err() {
            return (None, Duration::ZERO);
        }
        let mut left = blocking.min(running);
        let answer = loop {
            match answered.recv_timeout(left.max(SHORTEST_WAIT)) {
                Ok(answer) => break Some(answer),
                Err(RecvTimeoutError::Disconnected) => break None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let times = self.times();
            let active = times.active().saturating_sub(before.active());
            let blocking = blocking.saturating_sub(began.elapsed().saturating_sub(active));
            let running = running.saturating_sub(times.running.saturating_sub(before.running));
            if running.is_zero() {
                self.lower_priority();
            }
            left = blocking.min(running);
            if left.is_zero() {
                break None;
            }
        };
        let waited = self.times().waiting.saturating_sub(before.waiting);
        (answer, began.elapsed().saturating_sub(waited))
    }

    /// From now on, it runs only where nothing else does (sched(7), `SCHED_IDLE`).
    fn lower_priority(&self) {
        let parameters = libc::sched_param { sched_priority: 0 };
        // SAFETY: the parameters live as long as the call. It may fail where that is not allowed: then the thread runs as before.
        unsafe { libc::sched_setscheduler(self.id.as_raw(), libc::SCHED_IDLE, &raw const parameters) };
    }

    /// See Documentation/scheduler/sched-stats.rst.
    fn times(&self) -> Times {
        let mut text = [0; 64];
        let length = self.schedstat.as_ref().and_then(|file| file.read_at(&mut text, 0).ok());
        let counted = str::from_utf8(&text[..length.unwrap_or_default()]).unwrap_or_default();
        let mut times = counted.split_whitespace().map(|time| time.parse().unwrap_or_default());
        let mut next = || Duration::from_nanos(times.next().unwrap_or_default());
        Times { running: next(), waiting: next() }
    }
}

/// How long a thread has run, and has waited for a CPU.
struct Times {
    running: Duration,
    waiting: Duration,
}

impl Times {
    fn active(&self) -> Duration {
        self.running + self.waiting
    }
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    #[test]
    fn calls_that_block_are_abandoned_and_their_targets_not_tried_for_ever() {
        let mut calls = BlockingCalls::within(LIMIT);
        let (process, file_system) = (CallTarget::Process(7), CallTarget::FileSystem((8, 1)));
        let mut senders = Vec::new();
        for number in 0..=MAX_BLOCKED {
            let (unblock, blocking) = channel::<()>();
            senders.push(unblock);
            assert_eq!(
                calls.call(&[process, file_system], move || _ = blocking.recv()),
                Err(Blocked::NoAnswer)
            );
            if number == 0 {
                assert_eq!(calls.call(&[process, file_system], || 1), Ok(1));
            }
        }
        assert_eq!(calls.call(&[process], || unreachable!()), Err::<(), _>(Blocked::NoAnswer));
        for _ in 0..MAX_RETRIES {
            let (unblock, blocking) = channel::<()>();
            senders.push(unblock);
            assert_eq!(calls.call(&[file_system], move || _ = blocking.recv()), Err(Blocked::NoAnswer));
        }
        assert_eq!(calls.call(&[file_system], || unreachable!()), Err::<(), _>(Blocked::NoAnswer));
        assert_eq!(calls.call(&[CallTarget::Process(8)], || 2), Ok(2));
    }

    #[test]
    fn files_that_block_do_not_cost_other_processes_their_file_system() {
        let mut calls = BlockingCalls::within(LIMIT);
        let file_system = CallTarget::FileSystem((8, 1));
        let mut senders = Vec::new();
        for _ in 0..MAX_BLOCKED + 5 {
            let (unblock, blocking) = channel::<()>();
            senders.push(unblock);
            assert_eq!(calls.call(&[file_system], move || _ = blocking.recv()), Err(Blocked::NoAnswer));
        }
        assert_eq!(calls.call(&[CallTarget::Process(8), file_system], || 2), Ok(2));
        assert_eq!(calls.blocked.get(&file_system), None);
    }

    #[test]
    fn after_a_new_beginning_processes_are_tried_again() {
        let mut calls = BlockingCalls::within(LIMIT);
        let (process, file_system) = (CallTarget::Process(7), CallTarget::FileSystem((8, 1)));
        let mut senders = Vec::new();
        for _ in 0..MAX_BLOCKED {
            let (unblock, blocking) = channel::<()>();
            senders.push(unblock);
            assert_eq!(
                calls.call(&[process, file_system], move || _ = blocking.recv()),
                Err(Blocked::NoAnswer)
            );
        }
        calls.begin_again();
        assert_eq!(calls.limit, LIMIT);
        assert_eq!(calls.blocked.get(&file_system), Some(&MAX_BLOCKED));
        assert_eq!(calls.call(&[process], || 1), Ok(1));
    }

    #[test]
    fn time_in_which_a_call_runs_does_not_count() {
        let mut calls = BlockingCalls::within(LIMIT);
        let compute = || {
            let began = Instant::now();
            while began.elapsed() < 3 * LIMIT {}
        };
        assert_eq!(calls.call(&[], compute), Ok(()));
    }

    #[test]
    fn the_time_is_added_up_in_which_calls_run_or_block() {
        let mut calls = BlockingCalls::within(LIMIT);
        let compute = || {
            let began = Instant::now();
            while began.elapsed() < LIMIT {}
        };
        assert_eq!((calls.spent(), calls.call(&[], compute)), (Duration::ZERO, Ok(())));
        let computed = calls.spent();
        assert!(computed > LIMIT / 20 && computed < 3 * LIMIT, "{computed:?}");
        let (_unblock, blocking) = channel::<()>();
        assert_eq!(calls.call(&[], move || _ = blocking.recv()), Err(Blocked::NoAnswer));
        assert!(calls.spent() - computed > LIMIT / 2, "{:?}", calls.spent());
    }

    #[test]
    fn a_call_that_runs_for_too_long_is_abandoned_at_the_lowest_priority() {
        let mut calls = BlockingCalls::within(10 * LIMIT).running_at_most(LIMIT);
        let (ended, end) = channel();
        let run = move || {
            let began = Instant::now();
            // SAFETY: it has no arguments but a number.
            while began.elapsed() < 100 * LIMIT && unsafe { libc::sched_getscheduler(0) } != libc::SCHED_IDLE
            {
            }
            ended.send(began.elapsed()).unwrap();
        };
        assert_eq!(calls.call(&[], run), Err(Blocked::NoAnswer));
        assert!(end.recv().unwrap() < 100 * LIMIT);
        assert_eq!(calls.call(&[], || 1), Ok(1));
    }

    #[test]
    fn what_comes_too_late_is_dropped() {
        let mut calls = BlockingCalls::within(LIMIT);
        let ((unblock, blocking), (dropped, dropping)) = (channel::<()>(), channel::<()>());
        let late = calls.call(&[], move || {
            let _ = blocking.recv();
            dropped
        });
        assert_eq!(late.err(), Some(Blocked::NoAnswer));
        drop(unblock);
        assert!(dropping.recv().is_err());
    }

    #[test]
    fn a_call_that_panics_is_blocked() {
        assert_eq!(
            BlockingCalls::within(LIMIT).call(&[], || panic!("on purpose")),
            Err::<(), _>(Blocked::NoAnswer)
        );
    }

    #[test]
    fn many_calls_that_block_take_little_more_than_the_limit() {
        let mut calls = BlockingCalls::within(LIMIT);
        let (began, mut senders) = (Instant::now(), Vec::new());
        for process in 0..8 {
            let (unblock, blocking) = channel::<()>();
            senders.push(unblock);
            assert!(calls.call(&[CallTarget::Process(process)], move || _ = blocking.recv()).is_err());
        }
        assert!(began.elapsed() < 10 * LIMIT, "{:?}", began.elapsed());
    }
}
