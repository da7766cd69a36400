//! Reads a trace as container-tracer does: only the first line of each read is kept.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::traced_task;
use crate::error::{Explain, Result};

/// After this time without a line, the trace is complete.
const PATIENCE: Duration = Duration::from_secs(5);

/// The end of the measurement, apart from a line or two.
#[derive(Clone, Copy)]
pub enum Last {
    /// The line of this number.
    Line(u64),
    /// This many marks have been read ([`traced_task::MARK`]).
    Mark(u64),
}

/// Reads in its own thread until the trace ends.
pub struct Reader {
    thread: JoinHandle<Result<Seen>>,
    /// The lines so far.
    lines: Arc<AtomicU64>,
    /// Is notified of the last line.
    last: Receiver<()>,
}

/// The counts of a reader.
pub struct Seen {
    /// Events; a line each.
    pub events: u64,
    /// Events that lines report as lost.
    pub lost: u64,
    /// From the first line to the last.
    took: Duration,
}

impl Reader {
    pub fn of(path: &Path, last: Last) -> Result<Self> {
        let trace = File::open(path).explain(|| format!("cannot open {}", path.display()))?;
        let lines = Arc::new(AtomicU64::new(0));
        let (is_here, has_come) = channel();
        let count = Arc::clone(&lines);
        let thread = thread::spawn(move || read(trace, last, &count, &is_here));
        Ok(Self { thread, lines, last: has_come })
    }

    /// Waits until the last line has been read, or no more lines arrive.
    pub fn wait(&self) {
        let mut lines = 0;
        while let Err(RecvTimeoutError::Timeout) = self.last.recv_timeout(PATIENCE) {
            let so_far = self.lines.load(Ordering::Relaxed);
            if so_far == lines {
                return;
            }
            lines = so_far;
        }
    }

    /// Waits for the end of the trace.
    pub fn finish(self) -> Result<Seen> {
        self.thread.join().expect("the reader does not panic")
    }
}

impl Seen {
    pub fn lines_per_second(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }
}

fn read(mut trace: File, last: Last, lines: &AtomicU64, last_is_here: &Sender<()>) -> Result<Seen> {
    let mut seen = Seen { events: 0, lost: 0, took: Duration::ZERO };
    let (mut began, mut marks) = (None, 0);
    while let Some(line) = next_line(&mut trace)? {
        seen.took = began.get_or_insert_with(Instant::now).elapsed();
        match lost(&line) {
            Some(count) => seen.lost += count,
            None => seen.events += 1,
        }
        lines.store(seen.events, Ordering::Relaxed);
        let is_last = match last {
            Last::Line(number) => seen.events == number,
            Last::Mark(number) => {
                let is_mark = traced_task::is_mark(&line);
                marks += u64::from(is_mark);
                is_mark && marks == number
            }
        };
        if is_last {
            // The receiver may have been dropped without waiting.
            let _ = last_is_here.send(());
        }
    }
    Ok(seen)
}

/// The first line of a read into a new buffer, completed by further reads if it is not whole.
fn next_line(trace: &mut File) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let mut buffer = vec![0; 4096];
        let length = trace.read(&mut buffer)?;
        let end = buffer[..length].iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&buffer[..end.map_or(length, |end| end + 1)]);
        if length == 0 || end.is_some() {
            return Ok(Some(line).filter(|line| !line.is_empty()));
        }
    }
}

/// The number of lost events in a line like `CPU:1 [LOST 5 EVENTS]`.
fn lost(line: &[u8]) -> Option<u64> {
    let line = str::from_utf8(line.strip_prefix(b"CPU:")?).ok()?;
    let (_, count) = line.split_once(" [LOST ")?;
    count.split_once(' ')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::lost;

    #[test]
    fn losses_are_told_by_lines() {
        assert_eq!(lost(b"CPU:1 [LOST 5 EVENTS]\n"), Some(5));
        assert_eq!(lost(b"            cat-12      [001] .....  1580.993115: sys_getppid()\n"), None);
    }
}
