//! A thread that works in sweeps, such as the one that empties a kernel buffer.
//!
//! A busy task fills the kernel's default buffer in less than ten milliseconds. Rendering, and waiting for the reader, can
//! take longer. So a thread of its own empties the buffer, and does nothing but move records.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use trace_hook_api::{HookError, Result};
use trace_tasks::thread_refusal;

use crate::notifier::Notifier;
use crate::precedence::take_precedence;

/// The work of a [`Collector`]'s thread.
pub trait Collect: Send + 'static {
    /// The name of the thread. The kernel keeps 15 bytes of it.
    const NAME: &str = "collector";

    /// The least time between two sweeps.
    const SHORTEST_REST: Duration;

    /// Whether the thread takes precedence over usual tasks. It must then need little CPU time.
    const IS_URGENT: bool = true;

    /// Does what is to be done now, such as to move the available records out of the kernel's buffer.
    ///
    /// # Errors
    ///
    /// The buffer cannot be read. The thread ends then.
    fn sweep(&mut self, occasion: Occasion) -> Result<Swept>;

    /// Descriptors that poll as readable when a buffer has filled up to some mark: a sweep follows.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;
}

/// Why a sweep takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Occasion {
    /// The time between two sweeps has passed.
    Regular,
    /// One of the descriptors is readable.
    Filled,
    /// Recording was stopped: this sweep must find all remaining records.
    Stopped,
}

/// What a sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Whether there are new records to render.
    pub found: bool,
    /// The longest time until the next sweep; `None` if more records are waiting already.
    pub rest: Option<Duration>,
}

impl Swept {
    /// The buffer is empty: the next sweep follows after `longest` at the latest.
    pub fn rest(found: bool, longest: Duration) -> Self {
        Self { found, rest: Some(longest) }
    }

    /// The buffer holds more: the next sweep follows at once.
    pub fn again(found: bool) -> Self {
        Self { found, rest: None }
    }
}

/// A thread that collects until [`finish`](Self::finish).
#[derive(Debug)]
pub struct Collector<C> {
    notifier: Arc<Notifier>,
    /// Closing it stops the thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<Result<C>>>,
}

impl<C: Collect> Collector<C> {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(collect: C) -> Result<Self> {
        let failed = |error| HookError::new(thread_refusal(C::NAME, &error));
        let (stop, stopped) = UnixStream::pair().map_err(failed)?;
        let notifier = Arc::new(Notifier::new().map_err(failed)?);
        let shared = Arc::clone(&notifier);
        let thread = Builder::new().name(C::NAME.to_owned());
        let thread = thread.spawn(move || run(collect, &shared, &stopped)).map_err(failed)?;
        Ok(Self { notifier, stop: Some(stop), thread: Some(thread) })
    }

    /// Notified when a sweep has found records.
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Collects the remaining records and ends the thread. Call it after recording was stopped. The first call returns the
    /// [`Collect`].
    ///
    /// # Errors
    ///
    /// A buffer could not be read, or the thread panicked.
    pub fn finish(&mut self) -> Result<Option<C>> {
        self.stop = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result.map(Some),
            Some(Err(_)) => Err(HookError::new(format!("the thread '{}' panicked", C::NAME))),
            None => Ok(None),
        }
    }

    /// The same, but only if the thread ends in time. Otherwise it waits for a lock of the kernel, and [`finish`](Self::finish) is still
    /// to be called.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    pub fn finish_within(&mut self, limit: Duration) -> Result<Option<C>> {
        self.stop = None;
        let began = Instant::now();
        while !self.has_ended() && began.elapsed() < limit {
            sleep(Duration::from_millis(1));
        }
        match self.has_ended() {
            true => self.finish(),
            false => Ok(None),
        }
    }

    /// Whether the thread has ended. If it failed, [`finish`](Self::finish) returns the error.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl<C> Drop for Collector<C> {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            log::error!("{error}");
        }
    }
}

fn run<C: Collect>(mut collect: C, notifier: &Notifier, stopped: &UnixStream) -> Result<C> {
    if C::IS_URGENT {
        take_precedence();
    }
    // The buffer may be full already.
    let mut occasion = Occasion::Filled;
    loop {
        let swept = collect.sweep(occasion)?;
        if swept.found {
            notifier.notify();
        }
        occasion = match (swept.rest, occasion) {
            // Only a sweep that began after the stop has found everything that was recorded before it.
            (Some(_), Occasion::Stopped) => return Ok(collect),
            (Some(longest), _) => rest(&collect.descriptors(), stopped, C::SHORTEST_REST, longest),
            (None, same) => same,
        };
    }
}

/// Sleeps for the longest time, or until the collector is stopped, or until a descriptor is readable after the shortest time.
fn rest(
    descriptors: &[BorrowedFd<'_>],
    stopped: &UnixStream,
    shortest: Duration,
    longest: Duration,
) -> Occasion {
    let began = Instant::now();
    let all = [stopped.as_fd()].into_iter().chain(descriptors.iter().copied());
    let mut fds: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    // A failure only makes the sleep too short.
    let _ = poll(&mut fds, timeout(longest));
    let too_short = shortest.saturating_sub(began.elapsed());
    let (stop, buffers) = fds.split_at_mut(1);
    if stop[0].any() != Some(true) && !too_short.is_zero() {
        let _ = poll(stop, timeout(too_short));
    }
    let is_ready = |fd: &PollFd<'_>| fd.any() == Some(true);
    match (is_ready(&stop[0]), buffers.iter().any(is_ready)) {
        (true, _) => Occasion::Stopped,
        (false, true) => Occasion::Filled,
        (false, false) => Occasion::Regular,
    }
}

fn timeout(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
}
