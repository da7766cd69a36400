use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};

use crate::{LineBuffer, Result};

/// A session that is recording: a source of lines, which the host pulls.
///
/// The host alone knows where the lines go, so a session never writes a file, waits for a reader or meets a signal.
/// The host's sequence is: `read` again and again; `stop`; `read` until [`Progress::Finished`]; `close`; drop.
///
/// A session notices itself when the last of its traced tasks has ended, as the host does not look for them: it gives what
/// it has and then [`Progress::Finished`], within two seconds, without having been stopped. `TracefsSession` of the crate
/// `tracefs-session` does so; with the crate `tracefs` alone, `TaskSet::any_alive` or `Targets::members` tells. Without
/// either, look every 50 ms or so whether the directories of [`TaskSelection::pids`](crate::TaskSelection::pids) in
/// [`Environment::procfs`](crate::Environment::procfs) are still there. Descendants are traced tasks, too.
pub trait Session: Send {
    /// Gives the lines there are, and never waits: the host does the waiting, and calls again within 20 ms, or 50 ms with
    /// [`Session::wakes`].
    ///
    /// Push no more lines once [`LineBuffer::is_full`], but go on emptying the kernel's buffers: when the reader is
    /// slow, the session is where the backlog is kept.
    ///
    /// # Errors
    ///
    /// An error ends the session. The lines that were pushed before it are kept.
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress>;

    /// A descriptor that polls as readable when there are lines to read, until the next read.
    ///
    /// With one, the host looks at once when there is something, and else less often. It stays open, and the same, until
    /// [`Session::close`].
    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Stops recording. No event after this is recorded; what was recorded before is still to be read.
    ///
    /// # Errors
    ///
    /// An error ends the session. What it gives then, until [`Progress::Finished`] or another error, is kept.
    fn stop(&mut self) -> Result<()>;

    /// Returns how many events were recorded and lost so far. After [`Progress::Finished`] the numbers must be exact.
    ///
    /// # Errors
    ///
    /// The numbers cannot be read.
    fn stats(&self) -> Result<Stats> {
        Ok(Stats::default())
    }

    /// Removes everything that the session made. Called once, at the end.
    ///
    /// Dropping a session must do the same; this is where a failure can be told. Processes that the plugin has started
    /// and not waited for are killed before: after [`Progress::Finished`] there is nothing left for them to do.
    ///
    /// # Errors
    ///
    /// What is left, and why.
    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

/// How many events a session recorded and lost.
///
/// The host compares them with the lines that it got, and reports a difference to the user: each event is one line that is
/// neither a continuation nor a loss, and each loss is reported by a line ([`LineBuffer::lost`](crate::LineBuffer::lost)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// How many events the source has recorded, including those that were lost; `None` if it does not count them.
    pub recorded: Option<u64>,
    /// How many events were lost, by CPU.
    pub lost: BTreeMap<u32, u64>,
}

impl Stats {
    /// Creates the numbers of recorded events and of lost events by CPU.
    pub fn new(recorded: impl Into<Option<u64>>, lost: BTreeMap<u32, u64>) -> Self {
        Self { recorded: recorded.into(), lost }
    }
}

/// What to expect of the next [`Session::read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// There may be more lines right now.
    More,
    /// There is nothing more for the moment.
    Idle,
    /// That was the last line: the session was stopped, or has [seen itself](Session) that every traced task is gone.
    Finished,
}
