//! The thread that empties a kernel buffer, whatever else goes on.
//!
//! A busy task fills the kernel's default buffer in less than ten milliseconds. Rendering, and waiting for the reader, take
//! longer than that, so emptying the buffer has a thread of its own. It does nothing but move records.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use trace_hook_api::{HookError, Result};

use crate::notifier::Notifier;
use crate::precedence::take_precedence;

/// What a [`Collector`] does in its thread.
pub trait Collect: Send + 'static {
    /// The least time between two sweeps.
    const SHORTEST_REST: Duration;

    /// Moves the records that there are out of the kernel's buffer.
    ///
    /// # Errors
    ///
    /// The buffer cannot be read. The thread ends then.
    fn sweep(&mut self, occasion: Occasion) -> Result<Swept>;

    /// Descriptors that poll as readable when much has come: a sweep follows then.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;
}

/// Why a sweep takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The rest is over.
    Regular,
    /// One of the descriptors is readable.
    Filled,
    /// Recording was stopped: this sweep is to find everything that is left.
    Stopped,
}

/// What a sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Whether there is something new to read.
    pub found: bool,
    /// How long to rest, at most; `None` if there is more to move at once.
    pub rest: Option<Duration>,
}

/// A thread that collects until it is finished.
#[derive(Debug)]
pub struct Collector<C> {
    notifier: Arc<Notifier>,
    /// Closing it orders the thread to stop.
    order: Option<UnixStream>,
    thread: Option<JoinHandle<Result<C>>>,
}

impl<C: Collect> Collector<C> {
    /// Starts to collect.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn start(collect: C) -> Result<Self> {
        let failed =
            |error| HookError::new(format!("cannot start the thread that collects records: {error}"));
        let (order, stopped) = UnixStream::pair().map_err(failed)?;
        let notifier = Arc::new(Notifier::new().map_err(failed)?);
        let theirs = Arc::clone(&notifier);
        let thread = Builder::new().name("collector".to_owned());
        let thread = thread.spawn(move || run(collect, &theirs, &stopped)).map_err(failed)?;
        Ok(Self { notifier, order: Some(order), thread: Some(thread) })
    }

    /// Notified when something was found.
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Collects what is left, and ends the thread. To be called after recording was stopped. Returns what collected, the
    /// first time.
    ///
    /// # Errors
    ///
    /// A buffer could not be read, or the thread panicked.
    pub fn finish(&mut self) -> Result<Option<C>> {
        self.order = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result.map(Some),
            Some(Err(_)) => Err(HookError::new("the thread that collects records panicked")),
            None => Ok(None),
        }
    }

    /// Whether the thread has ended, perhaps by a failure, which [`finish`](Self::finish) returns then.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl<C> Drop for Collector<C> {
    fn drop(&mut self) {
        self.order = None;
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            log::error!("{error}");
        }
    }
}

fn run<C: Collect>(mut collect: C, notifier: &Notifier, stopped: &UnixStream) -> Result<C> {
    take_precedence();
    // What is there already may be much.
    let mut occasion = Occasion::Filled;
    loop {
        let swept = collect.sweep(occasion)?;
        if swept.found {
            notifier.notify();
        }
        occasion = match (swept.rest, occasion) {
            // What was recorded before the order to stop is found by the sweep after it.
            (Some(_), Occasion::Stopped) => return Ok(collect),
            (Some(longest), _) => rest(&collect.descriptors(), stopped, C::SHORTEST_REST, longest),
            (None, same) => same,
        };
    }
}

/// Sleeps until the longest time is over, or there is an order to stop, or a descriptor is readable after the shortest time.
fn rest(
    descriptors: &[BorrowedFd<'_>],
    stopped: &UnixStream,
    shortest: Duration,
    longest: Duration,
) -> Occasion {
    let began = Instant::now();
    let all = [stopped.as_fd()].into_iter().chain(descriptors.iter().copied());
    let mut fds: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    // A failure is a sleep that was too short.
    let _ = poll(&mut fds, timeout(longest));
    let too_short = shortest.saturating_sub(began.elapsed());
    let (order, buffers) = fds.split_at_mut(1);
    if order[0].any() != Some(true) && !too_short.is_zero() {
        let _ = poll(order, timeout(too_short));
    }
    let is_ready = |fd: &PollFd<'_>| fd.any() == Some(true);
    match (is_ready(&order[0]), buffers.iter().any(is_ready)) {
        (true, _) => Occasion::Stopped,
        (false, true) => Occasion::Filled,
        (false, false) => Occasion::Regular,
    }
}

fn timeout(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
}
