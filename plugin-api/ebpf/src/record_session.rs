//! A session that renders the records of the programs, which are in a ring buffer.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use aya::maps::{MapData, RingBuf};
use trace_hook_api::{LineBuffer, Request, Result};
use trace_session::spool::{Entry, Spool, SpoolReader};
use trace_session::{Collector, Counts, End, EventSource, Rendered, SPOOL_DIRECTORY, SourceSession};

use crate::programs::Programs;
use crate::record_collector::{Intake, RecordCollector};
use crate::traced_processes::TracedProcesses;

/// Turns records into lines.
pub trait RecordRenderer: Send + 'static {
    /// Returns the CPU of the record in these bytes, and the number of records that were lost there before it. `None` if they are
    /// no record.
    fn lost_before(bytes: &[u8]) -> Option<(u32, u64)>;

    /// Adds the line of the record in these bytes, if it has one. Returns whether they are a record.
    fn record(&mut self, bytes: &[u8], lines: &mut LineBuffer) -> bool;

    /// What looks at each record as soon as it is collected, usually long before it becomes a line.
    fn intake(&self) -> Intake {
        Box::new(Self::lost_before)
    }

    /// Whether the record in these bytes can be rendered already. If not, the session asks again.
    fn is_ready(&mut self, bytes: &[u8]) -> bool {
        let _ = bytes;
        true
    }

    /// Called where records are missing, which the session has reported.
    fn lost(&mut self) {}

    /// Writes lines that are due beside those of records, as far as there is room. At the end all of them are. Returns whether
    /// some are left.
    fn write_due(&mut self, lines: &mut LineBuffer, is_end: bool) -> bool {
        let _ = (lines, is_end);
        false
    }

    /// Called when nothing is recorded any more.
    fn stopped(&mut self) {}

    /// What is missing in the lines: [`Counts::warnings`].
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// The records of what has not ended, after the programs have.
    fn unfinished(&mut self, _processes: &TracedProcesses) -> Vec<Unfinished> {
        Vec::new()
    }
}

/// The record of what has not ended, and its CPU.
pub struct Unfinished {
    /// The CPU.
    pub cpu: u32,
    /// The record.
    pub bytes: Vec<u8>,
}

/// Records on their way from the programs to lines. The programs write them to the map `records`, a ring buffer.
pub struct RecordSession<R> {
    programs: Programs,
    collector: Collector<RecordCollector>,
    spool: Arc<Spool>,
    reader: SpoolReader,
    renderer: R,
    /// The number of records that the programs have not counted.
    unfinished: u64,
    /// The record that is not ready.
    deferred: Option<Vec<u8>>,
}

impl<R: RecordRenderer> RecordSession<R> {
    /// A session of these programs.
    ///
    /// # Errors
    ///
    /// The programs have no such map, or the thread that collects the records cannot be started.
    pub fn start(mut programs: Programs, request: &Request, renderer: R) -> Result<SourceSession<Self>> {
        let records: RingBuf<MapData> = programs.map("records")?;
        let spool = Arc::new(Spool::new(Path::new(SPOOL_DIRECTORY), request.spool_size));
        let collector =
            Collector::start(RecordCollector::new(records, renderer.intake(), Arc::clone(&spool)))?;
        let reader = SpoolReader::new(Arc::clone(&spool));
        Ok(SourceSession::new(Self {
            programs,
            collector,
            spool,
            reader,
            renderer,
            deferred: None,
            unfinished: 0,
        }))
    }

    fn render_deferred(&mut self, bytes: Vec<u8>, lines: &mut LineBuffer) -> Rendered {
        if !self.renderer.is_ready(&bytes) {
            self.deferred = Some(bytes);
            return Rendered::Blocked;
        }
        if self.renderer.record(&bytes, lines) { Rendered::Event } else { Rendered::Other }
    }

    /// The losses that no later record has reported.
    fn last_losses(&self) -> Result<BTreeMap<u32, u64>> {
        let mut unreported = self.spool.take_unreported_losses();
        for (cpu, counts) in self.programs.losses.by_cpu()? {
            *unreported.entry(cpu).or_default() += counts.lost - counts.reported;
        }
        Ok(unreported)
    }
}

impl<R: RecordRenderer> EventSource for RecordSession<R> {
    fn any_task_alive(&mut self) -> Result<bool> {
        Ok(self.programs.processes.any_left())
    }

    fn begin_read(&mut self) -> Result<()> {
        self.collector.notifier().acknowledge();
        Ok(())
    }

    fn render_next(&mut self, lines: &mut LineBuffer) -> Result<Rendered> {
        if self.renderer.write_due(lines, false) {
            return Ok(Rendered::Other);
        }
        if let Some(bytes) = self.deferred.take() {
            return Ok(self.render_deferred(bytes, lines));
        }
        let Some(entry) = self.reader.pop()? else { return Ok(Rendered::Nothing) };
        let (cpu, bytes, lost) = match entry {
            Entry::Page { cpu, bytes, lost } => (cpu, bytes, lost),
            Entry::Unread { cpu, lost } => (cpu, &[][..], lost),
            Entry::Settled(_) | Entry::Clock(_) => return Ok(Rendered::Other),
        };
        lines.lost(cpu, lost);
        if lost > 0 {
            self.renderer.lost();
        }
        if !self.renderer.is_ready(bytes) {
            self.deferred = Some(bytes.to_vec());
            return Ok(Rendered::Blocked);
        }
        Ok(if self.renderer.record(bytes, lines) { Rendered::Event } else { Rendered::Other })
    }

    fn pause(&mut self, lines: &mut LineBuffer) -> Result<()> {
        self.renderer.write_due(lines, false);
        Ok(())
    }

    fn end(&mut self, lines: &mut LineBuffer) -> Result<End> {
        if self.renderer.write_due(lines, true) {
            return Ok(End::MoreLines);
        }
        for (cpu, count) in self.last_losses()? {
            lines.lost(cpu, count);
        }
        Ok(End::Complete)
    }

    fn stop(&mut self) -> Result<()> {
        self.programs.stop();
        self.collector.finish()?;
        // They are the last to be shown.
        for Unfinished { cpu, bytes } in self.renderer.unfinished(&self.programs.processes) {
            self.spool.push_page(cpu, &bytes, 1, 0);
            self.unfinished += 1;
        }
        self.renderer.stopped();
        Ok(())
    }

    fn counts(&self) -> Result<Counts> {
        let counts = self.programs.losses.by_cpu()?;
        let recorded: u64 = counts.values().map(|counts| counts.kept + counts.lost).sum();
        let lost = self.programs.losses.lost()?;
        Ok(Counts::new(recorded + self.unfinished, lost)
            .with_lost(self.spool.refused())
            .with_warnings(self.renderer.warnings())
            .with_warnings(self.programs.losses.missed_children()?))
    }

    fn take_losing(&mut self) -> BTreeSet<u32> {
        self.spool.take_losing()
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.collector.notifier().as_fd())
    }
}
