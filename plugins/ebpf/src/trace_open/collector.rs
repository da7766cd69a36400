//! Empties the programs' ring buffer into a spool, whatever else goes on.
//!
//! A task that opens files flat out fills the buffer in some dozen milliseconds; making text, and waiting for whoever
//! reads it, may take longer. So this has a thread of its own, which does nothing but move records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use trace_hook_api::{HookError, Result};
use tracefs::spool::{Doorbell, Spool, take_precedence};

use super::record::lost_before;

/// Between two sweeps while there is much.
const SHORTEST_REST: Duration = Duration::from_millis(1);
/// Between two sweeps while there is little or nothing. No line comes later than that.
const LONGEST_REST: Duration = Duration::from_millis(20);
/// Records of one sweep that are much.
const BUSY: u64 = 1000;

/// A thread that collects until it is stopped.
pub struct Collector {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    spool: Arc<Spool>,
    found: Doorbell,
    stopping: AtomicBool,
}

impl Collector {
    /// Starts to collect from `records` into `spool`.
    ///
    /// # Errors
    ///
    /// There can be no further thread.
    pub fn start(records: RingBuf<MapData>, spool: Arc<Spool>) -> Result<Self> {
        let found = Doorbell::new()?;
        let shared = Arc::new(Shared { spool, found, stopping: AtomicBool::new(false) });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("collector".to_owned());
        let thread = thread.spawn(move || collect(records, &theirs))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Is rung when something was found.
    pub fn found(&self) -> &Doorbell {
        &self.shared.found
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
    take_precedence();
    loop {
        // What was recorded before the order to stop is found by the sweep after it.
        let stopping = shared.stopping.load(Ordering::Acquire);
        let found = sweep(&mut records, &shared.spool);
        if found > 0 {
            shared.found.ring();
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
