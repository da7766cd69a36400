//! Empties the programs' ring buffer into a spool, whatever else goes on.
//!
//! A task that opens files flat out fills the buffer in some dozen milliseconds; making text, and waiting for whoever
//! reads it, may take longer. So this has a thread of its own, which does nothing but move records.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use nix::libc;
use nix::sys::eventfd::{EfdFlags, EventFd};
use trace_hook_api::{HookError, Result};
use tracefs::spool::Spool;

use super::record::lost_before;

/// Between two sweeps while there is much.
const SHORTEST_REST: Duration = Duration::from_millis(1);
/// Between two sweeps while there is little or nothing. No line comes later than that.
const LONGEST_REST: Duration = Duration::from_millis(20);
/// Records of one sweep that are much.
const BUSY: u64 = 1000;

/// The collector needs to be first in the queue for a CPU, and little of its time. As urgent as daemons may be (nice(1)).
const NICENESS: libc::c_int = -15;

/// A thread that collects until it is stopped.
pub struct Collector {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    spool: Arc<Spool>,
    found: EventFd,
    stopping: AtomicBool,
}

impl Collector {
    /// Starts to collect from `records` into `spool`.
    ///
    /// # Errors
    ///
    /// There can be no further thread.
    pub fn start(records: RingBuf<MapData>, spool: Arc<Spool>) -> Result<Self> {
        let found = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let shared = Arc::new(Shared { spool, found, stopping: AtomicBool::new(false) });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("collector".to_owned());
        let thread = thread.spawn(move || collect(records, &theirs))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Polls as readable since something was found, until [`Self::acknowledge`].
    pub fn found(&self) -> BorrowedFd<'_> {
        self.shared.found.as_fd()
    }

    /// What was found until now is about to be looked at.
    pub fn acknowledge(&self) {
        // Refused where nothing was found.
        let _ = self.shared.found.read();
    }

    /// Collects what is left, and ends. To be called when the programs have stopped.
    ///
    /// # Errors
    ///
    /// The thread panicked.
    pub fn finish(&mut self) -> Result<()> {
        self.shared.stopping.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        Thread::unpark(thread.thread());
        thread.join().map_err(|_| HookError::new("the thread that collects records panicked"))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

fn collect(mut records: RingBuf<MapData>, shared: &Shared) {
    go_first();
    loop {
        // What was recorded before the order to stop is found by the sweep after it.
        let stopping = shared.stopping.load(Ordering::Acquire);
        let found = sweep(&mut records, &shared.spool);
        if found > 0 {
            // Refused where it was found to be full, and so is readable already.
            let _ = shared.found.write(1);
        }
        if stopping {
            return;
        }
        thread::park_timeout(if found >= BUSY { SHORTEST_REST } else { LONGEST_REST });
    }
}

/// Moves all records there are. Returns how many.
fn sweep(records: &mut RingBuf<MapData>, spool: &Spool) -> u64 {
    let mut found = 0;
    while let Some(record) = records.next() {
        if let Some((cpu, lost)) = lost_before(&record) {
            spool.push_page(cpu, &record, 1, lost);
        }
        found += 1;
    }
    found
}

fn go_first() {
    // On Linux this is about the calling thread alone (setpriority(2), "C library/kernel differences").
    // SAFETY: the call takes and returns plain numbers. Where it is not allowed, everything stays as it is.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}
