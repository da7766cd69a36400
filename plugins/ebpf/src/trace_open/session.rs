//! A session that records opened files.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use trace_ebpf::Programs;
use trace_ebpf::aya::maps::{MapData, RingBuf};
use trace_hook_api::{LineBuffer, Request, Result};
use trace_session::spool::{Entry, Spool, SpoolReader};
use trace_session::{Collector, Counts, End, EventSource, Rendered, SPOOL_DIRECTORY, SourceSession};

use super::collector::RecordCollector;
use super::path_patterns::PathPatterns;
use super::record::OpenRecord;
use super::{path, show};

/// Records on their way from the programs to lines.
pub struct OpenSession {
    programs: Programs,
    collector: Collector<RecordCollector>,
    spool: Arc<Spool>,
    reader: SpoolReader,
    wanted: PathPatterns,
}

impl OpenSession {
    /// A session that reports the calls whose paths match.
    ///
    /// # Errors
    ///
    /// The thread that collects the records cannot be started.
    pub fn start(
        mut programs: Programs,
        request: &Request,
        wanted: PathPatterns,
    ) -> Result<SourceSession<Self>> {
        let records: RingBuf<MapData> = programs.map("records")?;
        let spool = Arc::new(Spool::new(Path::new(SPOOL_DIRECTORY), request.spool_size));
        let collector = Collector::start(RecordCollector::new(records, Arc::clone(&spool)))?;
        let reader = SpoolReader::new(Arc::clone(&spool));
        Ok(SourceSession::new(Self { programs, collector, spool, reader, wanted }))
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

impl EventSource for OpenSession {
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
        let Some(record) = OpenRecord::of(bytes) else { return Ok(Rendered::Other) };
        let path = path::of(&record);
        if self.wanted.include(path.as_deref()) {
            show::show(&record, path.as_deref(), lines);
        }
        Ok(Rendered::Event)
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
        self.collector.finish().map(drop)
    }

    fn counts(&self) -> Result<Counts> {
        let counts = self.programs.losses.by_cpu()?;
        let recorded: u64 = counts.values().map(|counts| counts.kept + counts.lost).sum();
        let lost = self.programs.losses.lost()?;
        Ok(Counts::new(recorded, lost).with_lost(self.spool.refused()))
    }

    fn take_losing(&mut self) -> BTreeSet<u32> {
        self.spool.take_losing()
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.collector.notifier().as_fd())
    }
}
