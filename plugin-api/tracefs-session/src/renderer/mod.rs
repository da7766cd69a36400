//! What a session shows of its records.

mod as_recorded;

use crate::stream::Record;
use trace_hook_api::{LineBuffer, Origin};
use trace_tasks::Pid;
use tracefs::ring::Gap;

pub use as_recorded::AsRecorded;

/// Makes lines of records.
///
/// Each method that makes lines returns how many. Those that tell of gaps are the session's.
pub trait Renderer: Send {
    /// Shows a record.
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> u64;

    /// Records are missing here, as the session has told: what was known before may not hold any more.
    fn lost(&mut self, gap: Gap) {
        let _ = gap;
    }

    /// Everything there was is shown; there may be more. Called every few milliseconds.
    fn pause(&mut self, lines: &mut LineBuffer) -> u64 {
        let _ = lines;
        0
    }

    /// Everything is shown, and nothing follows.
    fn end(&mut self, lines: &mut LineBuffer) -> u64 {
        let _ = lines;
        0
    }
}

/// Calls `show` with the origin of a record, as that of an event of `thread`.
pub fn with_origin<T>(
    record: &mut Record<'_>,
    thread: Pid,
    show: impl FnOnce(&Record<'_>, &Origin<'_>) -> T,
) -> T {
    let comm = record.comm_of(thread);
    let number = |pid: Pid| u32::try_from(pid).ok();
    let process = record.process_of(thread).and_then(number);
    let origin = Origin::at(record.stamp()).cpu(record.cpu()).pid(process).tid(number(thread)).comm(&comm);
    show(record, &origin)
}
