//! Emits synthetic lines, so that the host can be tested without the kernel, and every line is known in advance.
//!
//! Line `n` is `synthetic: line n`, padded with dots to the requested length. The session ends when all traced
//! processes are gone.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use trace_hook_api::{
    Hook, HookInfo, LineBuffer, Param, Progress, Request, Result, Selection, Session, Stats, Unit, boot_time,
    export_plugin, log,
};

struct SyntheticLines;

impl Hook for SyntheticLines {
    fn info(&self) -> HookInfo {
        HookInfo::new("synthetic_lines", "Makes up lines, for tests")
            .details("It does not need the kernel.")
            .selects([Selection::Exact, Selection::Parents])
            .param(Param::integer("count", "N", "how many lines").short('c').range(0, i64::MAX).default("10"))
            .param(
                Param::duration("every", "TIME", "the time between two lines", Unit::Milliseconds)
                    .range(0, 10_000)
                    .default("0"),
            )
            .param(Param::integer("length", "BYTES", "the length of a line").range(0, 65_535).default("0"))
            .param(Param::integer("pause", "MS", "how long each read takes").range(0, 10_000).default("0"))
            .param(
                Param::integer("lose", "N", "how many events to lose on CPU 0")
                    .range(0, i64::MAX)
                    .default("0"),
            )
            .param(Param::flag("unreported", "no line reports the lost events"))
            .param(Param::flag("frames", "lines that look like stack frames"))
            .param(Param::text("word", "WORD", "written at the end of each line").default(""))
            .param(Param::text("mood", "MOOD", "no effect").choices(["good", "bad"]).default("good"))
            .param(Param::flag("idle", "no effect"))
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let number =
            |name| -> Result<u64> { Ok(request.arguments.integer(name)?.unwrap_or_default().unsigned_abs()) };
        Ok(Box::new(Synthetic {
            next: 0,
            count: number("count")?,
            every: request.arguments.duration("every")?.unwrap_or_default(),
            length: number("length")? as usize,
            word: request.arguments.text("word")?.unwrap_or_default().to_owned(),
            began: Instant::now(),
            pause: Duration::from_millis(number("pause")?),
            lost: number("lose")?,
            reports_loss: number("lose")? > 0 && !request.arguments.flag("unreported")?,
            frames: request.arguments.flag("frames")?,
            processes: processes(request),
            stopped: false,
        }))
    }
}

struct Synthetic {
    next: u64,
    count: u64,
    every: Duration,
    length: usize,
    word: String,
    began: Instant,
    pause: Duration,
    lost: u64,
    /// A line about the loss is still to be emitted.
    reports_loss: bool,
    frames: bool,
    /// The directories of the traced processes.
    processes: Vec<PathBuf>,
    stopped: bool,
}

fn processes(request: &Request) -> Vec<PathBuf> {
    let pids = request.tasks.pids.iter().chain(&request.tasks.parents);
    pids.map(|pid| request.environment.procfs.join(pid.to_string())).collect()
}

impl Synthetic {
    /// Formats in place, so that a benchmark of the host does not measure allocations.
    fn write_line(&self, text: &mut Vec<u8>) {
        let begin = text.len();
        text.extend_from_slice(b"synthetic: line ");
        // Writing to a vector cannot fail.
        let _ = write!(text, "{}{}", self.next, self.word);
        text.resize(text.len().max(begin + self.length), b'.');
        text.push(b'\n');
    }

    /// The number of lines that are due by now, read or not.
    fn due(&self) -> u64 {
        match self.every.as_millis() as u64 {
            0 => self.count,
            every => self.count.min(self.began.elapsed().as_millis() as u64 / every),
        }
    }
}

impl Session for Synthetic {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        if !self.stopped && !self.processes.iter().any(|process| process.exists()) {
            self.stop()?;
        }
        std::thread::sleep(self.pause);
        if std::mem::take(&mut self.reports_loss) {
            log::warn!("the spool is full");
            lines.lost(0, Some(self.lost));
        }
        let due = self.due();
        let time = boot_time();
        while self.next < due && !lines.is_full() {
            if self.frames {
                lines.push(format!(" => {}", self.next));
            } else {
                lines.write_event(time, |text| self.write_line(text));
            }
            self.next += 1;
        }
        Ok(match self.next {
            next if next < due => Progress::More,
            next if next == self.count && self.stopped => Progress::Finished,
            _ => Progress::Idle,
        })
    }

    fn stats(&self) -> Result<Stats> {
        Ok(Stats::new(None, (self.lost > 0).then_some((0, self.lost)).into_iter().collect()))
    }

    /// What is due by now has been recorded; nothing comes after it.
    fn stop(&mut self) -> Result<()> {
        self.count = self.due();
        self.every = Duration::ZERO;
        self.stopped = true;
        Ok(())
    }
}

export_plugin!(SyntheticLines);
