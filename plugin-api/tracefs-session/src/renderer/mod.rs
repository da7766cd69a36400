//! How the records of a session become lines.

mod as_recorded;

use crate::stream::Record;
use trace_hook_api::{LineBuffer, Origin};
use trace_tasks::Pid;
use tracefs::ring::Gap;

pub use as_recorded::AsRecorded;

/// Turns records into lines. The session itself reports losses.
pub trait Renderer: Send {
    /// Adds the lines of a record, if it has any.
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer);

    /// Called where records are missing. The session has reported them. State from earlier records may be out of date.
    fn lost(&mut self, gap: Gap) {
        let _ = gap;
    }

    /// Called every few milliseconds, when all records so far have been rendered and more may follow.
    fn pause(&mut self, lines: &mut LineBuffer) {
        let _ = lines;
    }

    /// Adds the next of the lines that are due but were not added yet, for example of a long summary. Returns whether there was one.
    /// Called until there is none, before the next record, as far as the line buffer has room and the read has time.
    fn next_due(&mut self, lines: &mut LineBuffer) -> bool {
        let _ = lines;
        false
    }

    /// Called once, after the last record.
    fn end(&mut self, lines: &mut LineBuffer) {
        let _ = lines;
    }
}

/// Calls `show` with the origin of a record, as an event of `thread`.
pub fn with_origin<T>(
    record: &mut Record<'_>,
    thread: Pid,
    show: impl FnOnce(&Record<'_>, &Origin<'_>) -> T,
) -> T {
    let comm = record.comm_of(thread);
    let process = record.process_of(thread);
    let origin = Origin::at(record.time()).cpu(record.cpu()).pid(process).tid(thread).comm(&comm);
    show(record, &origin)
}
