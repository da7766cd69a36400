//! A session that records opened files.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use trace_hook_api::{Account, LineBuffer, Progress, Request, Result, Session};
use tracefs::spool::{Entry, Spool, SpoolReader};
use tracefs_session::SPOOL_DIRECTORY;

use super::collector::Collector;
use super::paths::Paths;
use super::record::OpenRecord;
use super::{path, show};
use crate::programs::Programs;

/// Between two looks whether any traced process is left.
const LOOK_FOR_PROCESSES: Duration = Duration::from_millis(50);

/// Records on their way from the programs to lines.
pub struct OpenSession {
    programs: Programs,
    collector: Collector,
    spool: Arc<Spool>,
    reader: SpoolReader,
    wanted: Paths,
    looked_for_processes: Instant,
    recording: bool,
    /// Records whose paths nobody asked for.
    left_out: u64,
    finished: bool,
}

impl OpenSession {
    /// A session of these programs, which shows the calls with the paths that are wanted.
    ///
    /// # Errors
    ///
    /// There can be no thread to collect the records.
    pub fn new(mut programs: Programs, request: &Request, wanted: Paths) -> Result<Self> {
        let records: RingBuf<MapData> = programs.map("records")?;
        let spool = Arc::new(Spool::new(Path::new(SPOOL_DIRECTORY), request.spool_size));
        let collector = Collector::start(records, Arc::clone(&spool))?;
        Ok(Self {
            programs,
            collector,
            reader: SpoolReader::new(Arc::clone(&spool)),
            spool,
            wanted,
            looked_for_processes: Instant::now(),
            recording: true,
            left_out: 0,
            finished: false,
        })
    }

    fn stop_without_processes(&mut self) -> Result<()> {
        if self.recording && self.looked_for_processes.elapsed() >= LOOK_FOR_PROCESSES {
            self.looked_for_processes = Instant::now();
            if !self.programs.processes.any() {
                self.stop()?;
            }
        }
        Ok(())
    }

    /// Tells of what is lost and has no record after it.
    fn show_last_losses(&mut self, lines: &mut LineBuffer) -> Result<()> {
        let mut untold = self.spool.take_untold();
        for (cpu, counts) in self.programs.losses.by_cpu()? {
            *untold.entry(cpu).or_default() += counts.lost - counts.told;
        }
        for (cpu, count) in untold.into_iter().filter(|(_, count)| *count > 0) {
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
        self.collector.found().answer();
        while !lines.is_full() {
            let Some(entry) = self.reader.pop()? else {
                if self.recording {
                    return Ok(Progress::Idle);
                }
                self.show_last_losses(lines)?;
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
                false => self.left_out += 1,
            }
        }
        Ok(Progress::More)
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.collector.found().as_fd())
    }

    fn stop(&mut self) -> Result<()> {
        self.recording = false;
        self.programs.stop();
        self.collector.finish()
    }

    fn account(&self) -> Result<Account> {
        let counts = self.programs.losses.by_cpu()?;
        let recorded: u64 = counts.values().map(|counts| counts.kept + counts.lost).sum();
        let mut lost = self.programs.losses.lost()?;
        for (cpu, refused) in self.spool.refused() {
            *lost.entry(cpu).or_default() += refused;
        }
        // The programs count a record when it is there, and it may have been read before.
        Ok(Account::new(recorded.saturating_sub(self.left_out), lost))
    }
}
