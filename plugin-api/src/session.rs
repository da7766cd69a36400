use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};

use crate::{LineBuffer, Result};

/// A session that is recording: a source of lines, from which the host reads.
///
/// The host writes the lines to their destination and handles the signals, so a session does neither. The host calls `read`
/// repeatedly, then `stop`, `read` until it returns [`Progress::Finished`], and `close`, and drops the session.
///
/// A session must find out itself that the last of its traced tasks has ended, descendants included. Then it returns the
/// remaining lines and [`Progress::Finished`], within two seconds and without having been stopped. The crates `trace-session`
/// and `trace-tasks` do this; without them, check every 50 ms or so whether the directories of
/// [`TaskSelection::pids`](crate::TaskSelection::pids) still exist in [`Environment::procfs`](crate::Environment::procfs).
pub trait Session: Send {
    /// Adds the lines that are available to `lines`, without waiting for more.
    ///
    /// The host calls again within 20 ms, or within 50 ms if the session has a descriptor that [`wakes`](Self::wakes) it.
    /// A read must return within 20 ms, whether it has found lines or not.
    ///
    /// Stop adding lines once [`LineBuffer::is_full`], but keep emptying the kernel's buffers: if the reader is slow, the session
    /// keeps the backlog.
    ///
    /// # Errors
    ///
    /// An error ends the session. Lines that were added before it are kept.
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress>;

    /// Returns a descriptor that polls as readable from when there are lines until the next read.
    ///
    /// With one, the host reads as soon as there are lines, and less often otherwise. It must stay open, and be the same, until
    /// [`close`](Self::close).
    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Stops recording. Events that were recorded before are still read.
    ///
    /// # Errors
    ///
    /// An error ends the session. Lines that it returns until [`Progress::Finished`], or until another error, are kept.
    fn stop(&mut self) -> Result<()>;

    /// Returns how many events were recorded and lost so far. After [`Progress::Finished`] the numbers must be exact.
    ///
    /// # Errors
    ///
    /// The numbers cannot be read.
    fn stats(&self) -> Result<Stats> {
        Ok(Stats::default())
    }

    /// Removes everything that the session has made. The host calls it once, at the end.
    ///
    /// Dropping a session must do the same, but cannot report a failure. Before it, the host kills the processes that the plugin
    /// has started and not waited for.
    ///
    /// # Errors
    ///
    /// What could not be removed, and why.
    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

/// How many events a session recorded and lost.
///
/// The host compares them with the lines that it got, and reports a difference to the user: each event is one line that is
/// neither a continuation nor a loss, and each loss is reported by a line ([`LineBuffer::lost`](crate::LineBuffer::lost)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Stats {
    /// How many events the source has recorded, including those that were lost; `None` if it does not count them.
    pub recorded: Option<u64>,
    /// How many events were lost, by CPU.
    pub lost: BTreeMap<u32, u64>,
    /// How many events did not meet the condition of the [`View`](crate::View), and became no lines. This crate counts them.
    pub left_out: u64,
    /// What else is missing in the trace, or should not be in it: a sentence each, for the user. The host adds them to its summary
    /// of the session, and reports them as warnings, except those that the session has logged as such. With any, the summary does
    /// not say that nothing is lost.
    pub warnings: Vec<String>,
}

impl Stats {
    /// Creates the numbers of recorded events and of lost events by CPU.
    pub fn new(recorded: impl Into<Option<u64>>, lost: BTreeMap<u32, u64>) -> Self {
        Self { recorded: recorded.into(), lost, ..Self::default() }
    }

    /// Adds warnings.
    #[must_use]
    pub fn with_warnings(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.warnings.extend(warnings);
        self
    }
}

/// What to expect of the next [`Session::read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// More lines may be available now.
    More,
    /// No more lines are available at the moment.
    Idle,
    /// There are no further lines: the session was stopped, or [found](Session) that every traced task has ended.
    Finished,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_unknown_fields_of_stats_are_accepted() {
        let stats = |text| serde_json::from_str::<Stats>(text).unwrap();
        assert_eq!(stats("{}"), Stats::default());
        assert_eq!(
            stats(r#"{"recorded":7,"lost":{"1":2},"kept":5}"#),
            Stats::new(7, BTreeMap::from([(1, 2)]))
        );
    }
}
