//! How a session stops: by an order of the supervisor, by its own end, or because the supervisor has died.

use std::time::{Duration, Instant};

use trace_hook_api::{HookError, Progress, Result};

use super::drain_limit::DrainLimit;
use super::stop_limit::StopLimit;
use super::{Recorder, set_niceness};
use crate::session::record::Record;
use crate::session::summary_file;
use crate::session::trace_file::EndedTrace;
use crate::worker::descendants;
use crate::worker::protocol::{Channel, Order, Received, Summary};

#[derive(Debug)]
pub enum Phase {
    Recording,
    /// The session is stopped and gives its last lines.
    Draining(DrainLimit, StopLimit),
    /// The session has ended, and the reader takes the last lines.
    Finished(DrainLimit),
}

impl Phase {
    /// How long to wait for the reader, once the session is stopped.
    pub fn drain_limit(&mut self) -> Option<&mut DrainLimit> {
        match self {
            Self::Recording => None,
            Self::Draining(limit, _) | Self::Finished(limit) => Some(limit),
        }
    }
}

impl Recorder<'_> {
    pub(super) fn handle_orders(&mut self, channel: &mut Channel) -> Result<()> {
        while !self.orphaned {
            match channel.receive() {
                Received::Message(Order::Stop) => self.stop(),
                Received::Message(Order::EndDrain) => self.end_drain(),
                Received::Message(Order::Discard) => {
                    self.discarding = true;
                    self.stop();
                }
                Received::Nothing => return Ok(()),
                Received::End => {
                    self.orphaned = true;
                    self.stop();
                }
                Received::Garbage(problem) => {
                    self.stop();
                    return Err(HookError::new(format!("the host sent an unreadable order: {problem}")));
                }
            }
        }
        Ok(())
    }

    pub(super) fn stop(&mut self) {
        if let Phase::Recording = self.phase {
            // From now on the supervisor waits for this process.
            set_niceness(0);
            let stopped = self.session.stop();
            self.failure = self.failure.take().or(stopped.err());
            let drain_limit = DrainLimit::new(self.options.drain);
            self.phase = Phase::Draining(drain_limit, StopLimit::new(self.options.spool_size));
            self.next_read = Instant::now();
        }
    }

    /// The session has given its last line. The reader may still take lines.
    pub(super) fn finish(&mut self) {
        self.phase = Phase::Finished(match self.phase {
            Phase::Draining(limit, _) | Phase::Finished(limit) => limit,
            Phase::Recording => DrainLimit::new(self.options.drain),
        });
    }

    /// Ends the wait for the reader.
    fn end_drain(&mut self) {
        if let Some(limit) = self.phase.drain_limit() {
            *limit = DrainLimit::none();
        }
    }

    /// Checks a read of a stopped session.
    ///
    /// # Errors
    ///
    /// The session will not end.
    pub(super) fn check_stop_limit(
        &mut self,
        room: usize,
        took: Duration,
        text: usize,
        progress: Progress,
    ) -> Result<()> {
        let Phase::Draining(_, limit) = &mut self.phase else { return Ok(()) };
        if room == 0 {
            limit.note_no_room();
        } else if limit.note(took, text, progress)? {
            self.session.report_progress();
        }
        Ok(())
    }

    pub(super) fn is_over(&self) -> bool {
        match &self.phase {
            Phase::Recording => false,
            _ if self.discarding => true,
            Phase::Draining(limit, _) => limit.is_over() || !self.sink.has_reader(),
            Phase::Finished(limit) => self.is_all_taken() || limit.is_over() || !self.sink.has_reader(),
        }
    }

    pub(super) fn is_all_taken(&self) -> bool {
        self.backlog.is_empty() && self.sink.unread() == 0
    }

    /// Ends the trace file before the session: the reader need not wait while the kernel removes what the session created.
    pub(super) fn end(mut self, record: &Record, channel: &mut Channel) -> Result<Option<Summary>> {
        let stored = match self.discarding {
            true => Ok(()),
            false => self.store_unread_output(record, channel),
        };
        let stats = self.session.stats();
        // A process that the plugin has forked may hold the trace file, or what is about to be removed.
        descendants::kill_abandoned();
        let Self { mut session, sink, options, counts, discarding, failure, .. } = self;
        let ended = sink.end(&record.trace_path());
        let closed = session.close();
        ended?.into_iter().for_each(EndedTrace::release_late_readers);
        let summary = stored.and(stats).map(|stats| counts.summary(stats));
        let failure = failure.or(closed.err());
        if let (Ok(summary), Some(_), false) = (&summary, options.unread_limit, discarding)
            && !summary.is_complete()
        {
            summary_file::write(record, summary, failure.as_ref().map(HookError::message));
        }
        if let Some(failure) = failure {
            // The counts of events are of use after a failure, too.
            summary.iter().for_each(Summary::log);
            return Err(failure);
        }
        Ok(Some(summary?).filter(|_| !discarding))
    }
}
