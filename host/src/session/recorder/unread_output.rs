//! What no reader took by the end of a session.

use std::fs::{self, File};
use std::io::BufReader;

use trace_hook_api::{HookError, Result};

use super::drain_limit::DrainLimit;
use super::{Phase, Recorder, SHORTEST_LOOK};
use crate::session::record::Record;
use crate::session::trace_file::TakenBack;
use crate::session::unread_output::{StoredOutput, UnreadOutput};
use crate::worker::protocol::Channel;

impl Recorder<'_> {
    /// Puts what no reader took into the place of the trace file. Returns how many events that are.
    pub(super) fn hand_over_rest(
        &mut self,
        record: &Record,
        keep_unread_output: bool,
        channel: &mut Channel,
    ) -> Result<u64> {
        let had_reader = self.trace.has_reader();
        let mut unread = if keep_unread_output { UnreadOutput::of(record) } else { UnreadOutput::nowhere() };
        self.keep_rest(&mut unread)?;
        let kept = self.put_in_place(unread);
        // Who opened the path just before the unread came there has found the trace file: he gets the lines after all.
        if kept.is_in_place && !had_reader && self.trace.has_reader() {
            return self.deliver_leftover(record, channel);
        }
        Ok(kept.events)
    }

    /// Delivers the unread to a reader, and puts into its place what he does not take.
    fn deliver_leftover(&mut self, record: &Record, channel: &mut Channel) -> Result<u64> {
        let mut rest = BufReader::new(File::open(record.trace_path())?);
        self.phase = Phase::Finished(DrainLimit::of(self.drain));
        loop {
            self.obey(channel)?;
            let is_more = self.backlog.take_from(&mut rest)?;
            self.push()?;
            // Until there is more in the file, everything may be taken for a moment, and it is not over.
            if self.is_over() && !(is_more && self.is_all_taken() && self.trace.has_reader()) {
                break;
            }
            self.rest(channel);
        }
        let mut unread = UnreadOutput::of(record);
        self.keep_rest(&mut unread)?;
        unread.add_all(&mut rest)?;
        let kept = self.put_in_place(unread);
        if !kept.is_in_place && kept.failure.is_none() {
            fs::remove_file(record.trace_path())?;
        }
        Ok(kept.events)
    }

    fn put_in_place(&mut self, unread: UnreadOutput) -> StoredOutput {
        let kept = unread.put_in_place();
        if let Some(failure) = &kept.failure {
            let missing = kept.missing;
            self.dropped += missing;
            self.failure.get_or_insert_with(|| {
                HookError::new(format!("{failure}; {missing} events are missing there"))
            });
        }
        kept
    }

    /// Gathers what no reader took, from the reader's end to the session's.
    fn keep_rest(&mut self, unread: &mut UnreadOutput) -> Result<()> {
        if !self.is_all_taken() {
            let TakenBack { torn, text } = self.trace.take_back()?;
            let rest = [text, self.backlog.take_all()].concat();
            if torn.is_empty() || !self.trace.has_reader() {
                unread.add(&[torn, rest].concat());
            } else {
                // The reader has the beginning of this line already.
                let line_end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
                let (rest_of_line, lines) = rest.split_at(line_end);
                self.trace.give_back(rest_of_line)?;
                unread.add(lines);
            }
        }
        while matches!(self.phase, Phase::Draining(_)) {
            self.pull();
            match self.backlog.is_empty() {
                true => std::thread::sleep(SHORTEST_LOOK),
                false => self.session.report_progress(),
            }
            unread.add(&self.backlog.take_all());
        }
        Ok(())
    }
}
