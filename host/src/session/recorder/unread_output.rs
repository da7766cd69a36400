//! Stores the lines that no reader took by the end of a session.

use std::fs::{self, File};
use std::io::BufReader;
use std::thread;
use std::time::Instant;

use trace_hook_api::{HookError, Result};

use super::drain_limit::DrainLimit;
use super::{Phase, Recorder, SHORTEST_PAUSE};
use crate::session::lines::Lines;
use crate::session::record::Record;
use crate::session::unread_output::{StoredOutput, UnreadOutput};
use crate::worker::protocol::Channel;

impl Recorder<'_> {
    /// Stores the lines that no reader took in the place of the trace file, or drops them, and counts their events.
    pub(super) fn store_unread_output(&mut self, record: &Record, channel: &mut Channel) -> Result<()> {
        let had_reader = self.trace.has_reader();
        let mut output = match self.options.keep_unread_output {
            true => UnreadOutput::of(record),
            false => UnreadOutput::dropped(),
        };
        self.gather(&mut output)?;
        let stored = self.put_in_place(output);
        // A reader that opened the path just before the file was put there has the trace file, and is given the lines.
        if stored.is_in_place && !had_reader && self.trace.has_reader() {
            return self.deliver_stored(stored, record, channel);
        }
        self.counts.unread = stored.events;
        Ok(())
    }

    /// Delivers stored lines to a reader, and stores again those that it does not take.
    fn deliver_stored(&mut self, stored: StoredOutput, record: &Record, channel: &mut Channel) -> Result<()> {
        let mut file = BufReader::new(File::open(record.trace_path())?);
        let mut are_events = stored.are_events.into_iter();
        self.phase = Phase::Finished(DrainLimit::new(self.options.drain));
        loop {
            self.obey(channel)?;
            let is_more = self.backlog.add_from_file(&mut file, &mut are_events)?;
            self.write()?;
            // While the file has more lines, it is not over though all lines so far may be taken.
            if self.is_over() && !(is_more && self.is_all_taken() && self.trace.has_reader()) {
                break;
            }
            self.wait(channel);
        }
        let mut output = UnreadOutput::of(record);
        self.gather(&mut output)?;
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

    /// Gathers the lines that no reader took: from the trace file, the backlog and the session.
    fn gather(&mut self, output: &mut UnreadOutput) -> Result<()> {
        if !self.is_all_taken() {
            let mut taken = self.trace.take_back()?;
            taken.lines.append(self.backlog.take_all());
            if !taken.torn.is_empty() && self.trace.has_reader() {
                // The reader has the beginning of this line already.
                self.trace.give_back(&taken.lines.take_first())?;
                taken.torn = Lines::default();
            }
            output.add(taken.whole_lines());
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
                // Writing may take long, too.
                self.session.report_progress();
            }
        }
        Ok(())
    }
}
