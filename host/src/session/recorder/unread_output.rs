//! Stores the output of a session that is unread at its end.

use std::fs::{self, File};
use std::io::BufReader;
use std::thread;
use std::time::Instant;

use trace_hook_api::{HookError, Result};

use super::drain_limit::DrainLimit;
use super::{Phase, Recorder, SHORTEST_PAUSE};
use crate::session::record::Record;
use crate::session::unread_output::{StoredOutput, UnreadOutput};
use crate::worker::protocol::Channel;

impl Recorder<'_> {
    /// Stores unread output in the place of the trace file, or drops it, and counts its events.
    pub(super) fn store_unread_output(&mut self, record: &Record, channel: &mut Channel) -> Result<()> {
        let had_reader = self.sink.has_reader();
        let mut output = self.new_output(record);
        self.collect_unread(&mut output)?;
        let stored = self.put_in_place(output);
        // A reader that opened the path just before the file was put there has the trace file, so it gets the lines
        // from there.
        if stored.is_in_place && !had_reader && self.sink.has_reader() {
            return self.deliver_stored(stored, record, channel);
        }
        self.counts.unread = stored.events;
        Ok(())
    }

    fn new_output(&self, record: &Record) -> UnreadOutput {
        match self.options.unread_limit {
            Some(limit) => UnreadOutput::of(record, limit),
            None => UnreadOutput::dropped(),
        }
    }

    /// Delivers stored lines to a reader, and stores again those that it does not take.
    fn deliver_stored(&mut self, stored: StoredOutput, record: &Record, channel: &mut Channel) -> Result<()> {
        let mut file = BufReader::new(File::open(record.trace_path())?);
        let mut are_events = stored.are_events.into_iter();
        self.phase = Phase::Finished(DrainLimit::new(self.options.drain));
        loop {
            self.handle_orders(channel)?;
            let is_more = self.backlog.add_from_file(&mut file, &mut are_events)?;
            self.write()?;
            // Not over while the file has more lines, even if all lines so far were taken.
            if self.is_over() && !(is_more && self.is_all_taken() && self.sink.has_reader()) {
                break;
            }
            self.wait(channel);
        }
        let mut output = self.new_output(record);
        self.collect_unread(&mut output)?;
        while self.backlog.add_from_file(&mut file, &mut are_events)? || !self.backlog.is_empty() {
            output.add(self.backlog.take_all());
        }
        let stored = self.put_in_place(output);
        if !stored.is_in_place && stored.failure.is_none() {
            fs::remove_file(record.trace_path())?;
        }
        self.counts.unread = stored.events;
        Ok(())
    }

    fn put_in_place(&mut self, output: UnreadOutput) -> StoredOutput {
        let stored = output.put_in_place();
        self.counts.dropped += stored.dropped;
        if let Some(failure) = &stored.failure {
            let dropped = stored.dropped;
            self.failure.get_or_insert_with(|| {
                HookError::new(format!("{failure}; {dropped} events are missing there"))
            });
        }
        stored
    }

    /// Collects unread output from the trace file, the backlog and the session.
    fn collect_unread(&mut self, output: &mut UnreadOutput) -> Result<()> {
        if !self.is_all_taken() {
            output.add(self.sink.take_back(self.backlog.take_all())?);
        }
        while matches!(self.phase, Phase::Draining(..)) {
            self.read();
            let lines = self.backlog.take_all();
            if lines.is_empty() {
                if Instant::now() < self.next_read {
                    thread::sleep(SHORTEST_PAUSE);
                }
            } else {
                output.add(lines);
                // Writing may take long as well.
                self.session.report_progress();
            }
        }
        Ok(())
    }
}
