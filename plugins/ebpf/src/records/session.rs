//! A session that turns records of eBPF programs into lines.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use trace_ebpf::aya::maps::{MapData, RingBuf};
use trace_ebpf::{Programs, TracedProcesses};
use trace_hook_api::{LineBuffer, Request, Result};
use trace_session::spool::{Entry, Spool, SpoolReader};
use trace_session::{Collector, Counts, End, EventSource, Rendered, SPOOL_DIRECTORY, SourceSession};

use super::collector::{LostBefore, RecordCollector};

/// What a hook does with its records.
pub trait ShowRecord: Send {
    /// Reads the CPU of a record, and the losses before it.
    const LOST_BEFORE: LostBefore;

    /// The records of calls that have not returned, after the programs have ended.
    fn unfinished(&mut self, _processes: &TracedProcesses) -> Vec<Unfinished> {
        Vec::new()
    }

    /// Adds the line of a record, if it has one. Returns whether the bytes are a record.
    fn show(&mut self, bytes: &[u8], lines: &mut LineBuffer) -> bool;
}

/// The record of a call that has not returned, and its CPU.
pub struct Unfinished {
    pub cpu: u32,
    pub bytes: Vec<u8>,
}

/// Records on their way from the programs to lines.
pub struct RecordSession<S> {
    programs: Programs,
    collector: Collector<RecordCollector>,
    spool: Arc<Spool>,
    reader: SpoolReader,
    show: S,
    /// Records that the programs have not counted.
    unfinished: u64,
}

impl<S: ShowRecord> RecordSession<S> {
    /// A session that shows the records in the ring buffer `records` of these programs.
    ///
    /// # Errors
    ///
    /// The thread that collects the records cannot be started.
    pub fn start(mut programs: Programs, request: &Request, show: S) -> Result<SourceSession<Self>> {
        let records: RingBuf<MapData> = programs.map("records")?;
        let spool = Arc::new(Spool::new(Path::new(SPOOL_DIRECTORY), request.spool_size));
        let collector = Collector::start(RecordCollector::new(records, S::LOST_BEFORE, Arc::clone(&spool)))?;
        let reader = SpoolReader::new(Arc::clone(&spool));
        Ok(SourceSession::new(Self { programs, collector, spool, reader, show, unfinished: 0 }))
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

impl<S: ShowRecord> EventSource for RecordSession<S> {
    fn any_task_alive(&mut self) -> Result<bool> {
        Ok(self.programs.processes.any_left())
    }

    fn begin_read(&mut self) -> Result<()> {
        self.collector.notifier().acknowledge();
        Ok(())
    }

    fn render_next(&mut self, lines: &mut LineBuffer) -> Result<Rendered> {
        let Some(entry) = self.reader.pop()? else { return Ok(Rendered::Nothing) };
        let (cpu, bytes, lost) = match entry {
            Entry::Page { cpu, bytes, lost } => (cpu, bytes, lost),
            Entry::Unread { cpu, lost } => (cpu, &[][..], lost),
            Entry::Settled(_) | Entry::Clock(_) => return Ok(Rendered::Other),
        };
        lines.lost(cpu, lost);
        Ok(if self.show.show(bytes, lines) { Rendered::Event } else { Rendered::Other })
    }

    fn end(&mut self, lines: &mut LineBuffer) -> Result<End> {
        for (cpu, count) in self.last_losses()? {
            lines.lost(cpu, count);
        }
        self.programs.losses.warn_of_missed_children()?;
        Ok(End::Complete)
    }

    fn stop(&mut self) -> Result<()> {
        self.programs.stop();
        self.collector.finish()?;
        // They are the last to be shown.
        for Unfinished { cpu, bytes } in self.show.unfinished(&self.programs.processes) {
            self.spool.push_page(cpu, &bytes, 1, 0);
            self.unfinished += 1;
        }
        Ok(())
    }

    fn counts(&self) -> Result<Counts> {
        let counts = self.programs.losses.by_cpu()?;
        let recorded: u64 = counts.values().map(|counts| counts.kept + counts.lost).sum();
        let lost = self.programs.losses.lost()?;
        Ok(Counts::new(recorded + self.unfinished, lost).with_lost(self.spool.refused()))
    }

    fn take_losing(&mut self) -> BTreeSet<u32> {
        self.spool.take_losing()
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.collector.notifier().as_fd())
    }
}
