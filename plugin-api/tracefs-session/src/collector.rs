//! Empties the kernel's ring buffer into a spool, whatever else goes on.
//!
//! A flat-out task fills the kernel's default buffer in less than ten milliseconds. Making text, and waiting for whoever
//! reads it, takes longer than that, so this has a thread of its own. It does nothing but move pages.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use trace_hook_api::{HookError, Result, log};
use trace_session::spool::Spool;
use trace_session::{Notifier, take_precedence};
use tracefs::ring::{CollectedPage, RingBuffer, Sweep};

use crate::losses::Losses;

/// Between two sweeps while there is much. Also the least rest of all: on a kernel whose buffers poll as readable with
/// the first record, each sweep costs the traced task an interrupt. A flat-out task fills a third of the kernel's default
/// buffer meanwhile.
const SHORTEST_REST: Duration = Duration::from_millis(2);
/// Between two sweeps while there is little or nothing. No line comes later than that.
const LONGEST_REST: Duration = Duration::from_millis(30);
/// No longer than this, pages that only look like a writer's may hide others.
const LONGEST_WITHOUT_WHOLE: Duration = Duration::from_secs(1);
/// Pages of one sweep that are much: a tenth of the kernel's default buffer.
const BUSY: u64 = 32;

/// A thread that collects until it is stopped.
#[derive(Debug)]
pub(crate) struct Collector {
    shared: Arc<Shared>,
    /// Closing it is the order to stop.
    order: Option<UnixStream>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// What the thread has in common with whoever takes the pages.
#[derive(Debug)]
struct Shared {
    spool: Arc<Spool>,
    whole_sweeps: AtomicU64,
    notifier: Notifier,
}

impl Collector {
    /// Starts to collect from `ring` into `spool`.
    ///
    /// # Errors
    /// There can be no further thread.
    pub(crate) fn start(ring: RingBuffer, losses: Losses, spool: Arc<Spool>) -> Result<Self> {
        let failed =
            |error| HookError::new(format!("cannot start the thread that empties the ring buffer: {error}"));
        let (order, stopped) = UnixStream::pair().map_err(failed)?;
        let notifier = Notifier::new().map_err(failed)?;
        let shared = Arc::new(Shared { spool, whole_sweeps: AtomicU64::new(0), notifier });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("collector".to_owned());
        let thread = thread.spawn(move || collect(ring, losses, &theirs, &stopped)).map_err(failed)?;
        Ok(Self { shared, order: Some(order), thread: Some(thread) })
    }

    /// Notified when something was found.
    pub(crate) fn notifier(&self) -> &Notifier {
        &self.shared.notifier
    }

    /// How many sweeps over the buffers are done, each of which has taken all that was there when it began.
    pub(crate) fn whole_sweeps(&self) -> u64 {
        self.shared.whole_sweeps.load(Ordering::Acquire)
    }

    /// Collects what is left, and ends. To be called after recording was stopped. The buffers are closed then.
    ///
    /// # Errors
    /// A buffer could not be read.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.order = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(HookError::new("the thread that empties the ring buffer panicked")),
            None => Ok(()),
        }
    }

    /// Whether it has ended, be it by a failure, which [`finish`](Self::finish) tells then.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            log::error!("{error}");
        }
    }
}

fn collect(mut ring: RingBuffer, mut losses: Losses, shared: &Shared, stopped: &UnixStream) -> Result<()> {
    take_precedence();
    let (mut stopping, mut hurry) = (false, true);
    let mut last_whole = Instant::now();
    loop {
        // What was recorded before the order to stop is found by the sweep after it.
        let to_the_last = hurry || stopping || last_whole.elapsed() >= LONGEST_WITHOUT_WHOLE;
        let Sweep { mut pages, drained, whole, .. } =
            sweep(&mut ring, &mut losses, &shared.spool, to_the_last)?;
        if whole {
            last_whole = Instant::now();
            shared.whole_sweeps.fetch_add(1, Ordering::Release);
        }
        if stopping && drained {
            // What the kernel had no room for after the last page, no page tells.
            for cpu in ring.cpus() {
                shared.spool.lose(cpu, losses.untold(cpu));
            }
            return Ok(());
        }
        if drained && !stopping {
            if pages < BUSY && pages > 0 {
                // A record is settled by the sweep after the one that found it.
                pages += sweep(&mut ring, &mut losses, &shared.spool, true)?.pages;
            }
            if pages > 0 {
                shared.notifier.notify();
            }
            let rest = if pages >= BUSY { SHORTEST_REST } else { LONGEST_REST };
            (stopping, hurry) = sleep(&ring, stopped, rest);
        }
    }
}

/// Moves the pages there are: to the last record, or up to where the writers are.
fn sweep(ring: &mut RingBuffer, losses: &mut Losses, spool: &Spool, to_the_last: bool) -> Result<Sweep> {
    let keep = |page: CollectedPage<'_>| {
        let lost = if page.lost.is_some() { losses.untold(page.cpu) } else { 0 };
        spool.push_page(page.cpu, page.bytes, page.records, lost);
    };
    let sweep = if to_the_last { ring.collect(keep)? } else { ring.catch_up(keep)? };
    spool.push_settled(sweep.settled);
    Ok(sweep)
}

/// Sleeps for the time given, or until there is an order to stop or a buffer is filled to its `buffer_percent`. Returns
/// whether there is an order to stop, and whether a buffer is filled.
fn sleep(ring: &RingBuffer, stopped: &UnixStream, rest: Duration) -> (bool, bool) {
    let began = Instant::now();
    let mut fds: Vec<PollFd<'_>> = [stopped.as_fd()]
        .into_iter()
        .chain(ring.descriptors())
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    // A failure is a sleep that was too short.
    let _ = poll(&mut fds, timeout(rest));
    let too_short = SHORTEST_REST.saturating_sub(began.elapsed());
    let (order, buffers) = fds.split_at_mut(1);
    if order[0].any() != Some(true) && !too_short.is_zero() {
        let _ = poll(order, timeout(too_short));
    }
    let is_ready = |fd: &PollFd<'_>| fd.any() == Some(true);
    (is_ready(&order[0]), buffers.iter().any(is_ready))
}

fn timeout(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
}
