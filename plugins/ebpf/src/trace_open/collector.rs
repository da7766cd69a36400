//! Moves records from the programs' ring buffer into a spool.
//!
//! A task that opens files in a loop fills the buffer within some dozen milliseconds, while formatting and waiting for the
//! reader may take longer. So a thread of its own does nothing but move records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use trace_ebpf::aya::maps::{MapData, RingBuf};
use trace_hook_api::{HookError, Result};
use trace_session::spool::Spool;
use trace_session::{Notifier, take_precedence};

use super::record::lost_before;

/// The pause between two sweeps under load.
const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// The pause otherwise: the longest delay of a line.
const IDLE_PAUSE: Duration = Duration::from_millis(20);
/// So many records in one sweep are load.
const BUSY: u64 = 1000;

/// The collecting thread.
pub struct Collector {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    spool: Arc<Spool>,
    notifier: Notifier,
    stopping: AtomicBool,
}

impl Collector {
    /// Starts to collect from `records` into `spool`.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(records: RingBuf<MapData>, spool: Arc<Spool>) -> Result<Self> {
        let notifier = Notifier::new()?;
        let shared = Arc::new(Shared { spool, notifier, stopping: AtomicBool::new(false) });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("collector".to_owned());
        let thread = thread.spawn(move || collect(records, &theirs))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Is notified when records were found.
    pub fn notifier(&self) -> &Notifier {
        &self.shared.notifier
    }

    /// Collects the remaining records, and ends the thread. The programs must have stopped.
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
        // Records from before the stop request are found by the sweep after it.
        let stopping = shared.stopping.load(Ordering::Acquire);
        let found = sweep(&mut records, &shared.spool);
        if found > 0 {
            shared.notifier.notify();
        }
        if stopping {
            return;
        }
        thread::park_timeout(if found >= BUSY { BUSY_PAUSE } else { IDLE_PAUSE });
    }
}

/// Moves all records in the buffer. Returns how many.
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
