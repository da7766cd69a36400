//! Moves records from the programs' ring buffer into a spool.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use trace_hook_api::Result;
use trace_session::spool::Spool;
use trace_session::{Collect, Occasion, Swept};

/// The longest pause between two sweeps otherwise, and the longest delay of a line. The first pauses are shorter: a command that
/// is traced opens its libraries at once.
const IDLE_REST: Duration = Duration::from_millis(20);
/// At this many records in one sweep, the load is high.
const BUSY: u64 = 1000;

/// Looks at the bytes of a record. Returns its CPU, and the number of records that were lost there before it. `None` if there is
/// nothing to render.
pub type Intake = Box<dyn FnMut(&[u8]) -> Option<(u32, u64)> + Send>;

/// Collects records.
pub struct RecordCollector {
    records: RingBuf<MapData>,
    intake: Intake,
    spool: Arc<Spool>,
    rest: Duration,
}

impl RecordCollector {
    /// Collects from `records` into `spool`.
    pub fn new(records: RingBuf<MapData>, intake: Intake, spool: Arc<Spool>) -> Self {
        Self { records, intake, spool, rest: Self::SHORTEST_REST }
    }
}

impl Collect for RecordCollector {
    /// The pause between two sweeps under load.
    const SHORTEST_REST: Duration = Duration::from_millis(1);

    fn sweep(&mut self, _: Occasion) -> Result<Swept> {
        let mut found = 0;
        while let Some(record) = self.records.next() {
            if let Some((cpu, lost)) = (self.intake)(&record) {
                self.spool.push_page(cpu, &record, 1, lost);
            }
            found += 1;
        }
        self.rest = (self.rest * 2).min(IDLE_REST);
        let rest = if found >= BUSY { Self::SHORTEST_REST } else { self.rest };
        Ok(Swept::rest(found > 0, rest))
    }

    /// The buffer polls as readable with its first record. To wait for that would cost the traced task a wake-up each.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
}
