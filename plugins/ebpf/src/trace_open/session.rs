//! A session that records opened files.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trace_ebpf::Programs;
use trace_ebpf::aya::maps::{MapData, RingBuf};
use trace_hook_api::{LineBuffer, Progress, Request, Result, Session, Stats};
use trace_session::SPOOL_DIRECTORY;
use trace_session::spool::{Entry, Spool, SpoolReader};

use super::collector::Collector;
use super::path_patterns::PathPatterns;
use super::record::OpenRecord;
use super::{path, show};

/// How often the session checks whether a traced process is left.
const PROCESS_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Records on their way from the programs to lines.
pub struct OpenSession {
    programs: Programs,
    collector: Collector,
    spool: Arc<Spool>,
    reader: SpoolReader,
    wanted: PathPatterns,
    processes_checked: Instant,
    recording: bool,
    /// Records whose paths match no pattern.
    filtered_out: u64,
    finished: bool,
}

impl OpenSession {
    /// A session that reports the calls whose paths match.
    ///
    /// # Errors
    ///
    /// The thread that collects the records cannot be started.
    pub fn new(mut programs: Programs, request: &Request, wanted: PathPatterns) -> Result<Self> {
        let records: RingBuf<MapData> = programs.map("records")?;
        let spool = Arc::new(Spool::new(Path::new(SPOOL_DIRECTORY), request.spool_size));
        let collector = Collector::start(records, Arc::clone(&spool))?;
        Ok(Self {
            programs,
            collector,
            reader: SpoolReader::new(Arc::clone(&spool)),
            spool,
            wanted,
            processes_checked: Instant::now(),
            recording: true,
            filtered_out: 0,
            finished: false,
        })
    }

    fn stop_without_processes(&mut self) -> Result<()> {
        if self.recording && self.processes_checked.elapsed() >= PROCESS_CHECK_INTERVAL {
            self.processes_checked = Instant::now();
            if !self.programs.processes.any_left() {
                self.stop()?;
            }
        }
        Ok(())
    }

    /// Reports the losses that no later record has reported.
    fn report_last_losses(&mut self, lines: &mut LineBuffer) -> Result<()> {
        let mut unreported = self.spool.take_untold();
        for (cpu, counts) in self.programs.losses.by_cpu()? {
            *unreported.entry(cpu).or_default() += counts.lost - counts.reported;
        }
        for (cpu, count) in unreported.into_iter().filter(|(_, count)| *count > 0) {
            lines.lost(cpu, Some(count));
        }
        Ok(())
    }
}

impl Session for OpenSession {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.stop_without_processes()?;
        if self.finished {
            return Ok(Progress::Finished);
        }
        self.collector.notifier().acknowledge();
        while !lines.is_full() {
            let Some(entry) = self.reader.pop()? else {
                if self.recording {
                    return Ok(Progress::Idle);
                }
                self.report_last_losses(lines)?;
                self.programs.losses.warn_of_missed_children()?;
                self.finished = true;
                return Ok(Progress::Finished);
            };
            let (cpu, bytes, lost) = match entry {
                Entry::Page { cpu, bytes, lost } => (cpu, bytes, lost),
                Entry::Unread { cpu, lost } => (cpu, &[][..], lost),
                Entry::Settled(_) => continue,
            };
            if lost > 0 {
                lines.lost(cpu, Some(lost));
            }
            let Some(record) = OpenRecord::of(bytes) else { continue };
            let path = path::of(&record);
            match self.wanted.include(path.as_deref()) {
                true => show::show(&record, path.as_deref(), lines),
                false => self.filtered_out += 1,
            }
        }
        Ok(Progress::More)
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.collector.notifier().as_fd())
    }

    fn stop(&mut self) -> Result<()> {
        self.recording = false;
        self.programs.stop();
        self.collector.finish()
    }

    fn stats(&self) -> Result<Stats> {
        let counts = self.programs.losses.by_cpu()?;
        let recorded: u64 = counts.values().map(|counts| counts.kept + counts.lost).sum();
        let mut lost = self.programs.losses.lost()?;
        for (cpu, refused) in self.spool.refused() {
            *lost.entry(cpu).or_default() += refused;
        }
        // The programs count a record after it is in the buffer: it may have been read before.
        Ok(Stats::new(recorded.saturating_sub(self.filtered_out), lost))
    }
}
