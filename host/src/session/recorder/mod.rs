//! In the worker: carries the lines from the session into the trace file, or to the supervisor.

mod drain_limit;
mod progress;
mod sink;
mod stop;
mod stop_limit;
mod summary;
mod unread_output;

use std::io::{ErrorKind, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, ppoll};
use trace_hook_api::{HookError, LineBuffer, Progress, Result};

use super::backlog::Backlog;
use super::record::Record;
use crate::worker::PluginSession;
use crate::worker::protocol::{Answer, Channel};
pub use drain_limit::READER_PATIENCE;
use progress::ProgressReports;
use sink::Sink;
use stop::Phase;
use summary::Counts;

/// Between two reads of the session.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(15);
/// The same for a session with a descriptor that wakes the recorder.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);
/// After a read with this much text the next pause is shorter.
const BUSY: usize = 64 << 10;

/// Between two attempts to write to a full trace file. A fast reader takes about a hundred lines in that time, which is
/// less than the file contains, so it never waits for the recorder, and neither is woken for each line.
const SHORTEST_RETRY: Duration = Duration::from_micros(200);
const LONGEST_RETRY: Duration = Duration::from_millis(10);

/// The niceness while recording. The traced program has priority, because the session keeps the events.
const WHILE_RECORDING: libc::c_int = 5;

/// Runs a session, whose record this worker has locked, from its start to its end. Its lines go into the pipe, or if there is
/// none into the trace file.
///
/// # Errors
///
/// The session could not start, failed, or left something behind.
pub fn record<'a>(
    start: impl FnOnce() -> Result<PluginSession<'a>>,
    pipe: Option<&PipeWriter>,
    record: &Record,
    options: Options,
    channel: &mut Channel,
) -> Result<Answer> {
    let sink = Sink::open(pipe, &record.trace_path())?;
    let session = start()?;
    set_niceness(WHILE_RECORDING);
    match channel.sender().send(&Answer::Recording) {
        // The death of the supervisor is noticed when the channel is read.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    let mut recorder = Recorder {
        wakes: session.wakes()?,
        session,
        sink,
        options,
        lines: LineBuffer::default(),
        backlog: Backlog::default(),
        counts: Counts::default(),
        pause: LONGEST_PAUSE,
        next_read: Instant::now(),
        has_more: false,
        retry: SHORTEST_RETRY,
        phase: Phase::Recording,
        unread: 0,
        discarding: false,
        orphaned: false,
        failure: None,
        progress: options.reports_progress.then(ProgressReports::new),
    };
    let carried = recorder.carry(channel);
    recorder.failure = recorder.failure.or(carried.err());
    let orphaned = recorder.orphaned;
    let summary = recorder.end(record, channel)?;
    // If anything is left, the next call of the host finds the record and sweeps.
    if orphaned {
        record.remove()?;
    }
    Ok(Answer::Ended(summary))
}

fn set_niceness(niceness: libc::c_int) {
    // SAFETY: the call takes and returns plain numbers. Where it is not allowed, nothing changes.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) };
}

/// How a session is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long to wait in all for a reader that makes progress. None: as long as it does.
    pub drain: Option<Duration>,
    /// Whether unread output is stored in the place of the trace file, and how much that of all sessions may take, in bytes.
    pub unread_limit: Option<u64>,
    /// Whether the number of events, and losses, are reported as they happen.
    pub reports_progress: bool,
    /// How much the session may keep for a slow reader, in bytes.
    pub spool_size: u64,
}

struct Recorder<'a> {
    session: PluginSession<'a>,
    /// Polls as readable when the session has lines.
    wakes: Option<RawFd>,
    sink: Sink,
    options: Options,
    lines: LineBuffer,
    backlog: Backlog,
    counts: Counts,
    pause: Duration,
    next_read: Instant,
    /// The session had more lines than the last read took.
    has_more: bool,
    retry: Duration,
    phase: Phase,
    /// How many bytes were sent and not read when that was last checked.
    unread: usize,
    /// The lines are discarded.
    discarding: bool,
    /// The supervisor has died.
    orphaned: bool,
    /// The first failure. The lines before and after it are still written to the trace file.
    failure: Option<HookError>,
    progress: Option<ProgressReports>,
}

impl Recorder<'_> {
    fn carry(&mut self, channel: &mut Channel) -> Result<()> {
        loop {
            self.handle_orders(channel)?;
            if self.next_read <= Instant::now() {
                self.read();
            }
            self.write()?;
            if self.is_over() {
                return Ok(());
            }
            if let Some(progress) = &mut self.progress {
                progress.send(&self.session, self.counts.given, &channel.sender());
            }
            self.wait(channel);
        }
    }

    /// Reads lines from the session. It is read even if there is no room, so that it can empty the kernel's buffers.
    fn read(&mut self) {
        if let Phase::Finished(_) = self.phase {
            return;
        }
        let room = self.backlog.room();
        self.lines.reset(room);
        let began = Instant::now();
        let read = self.session.read(&mut self.lines);
        let took = began.elapsed();
        let text = self.lines.as_bytes().len();
        self.counts.add_read(&self.lines);
        self.backlog.add(&self.lines);
        let outcome = read.and_then(|progress| {
            self.plan_next_read(progress, text >= BUSY);
            match progress {
                Progress::Finished => self.finish(),
                _ => self.check_stop_limit(room, took, text, progress)?,
            }
            Ok(())
        });
        if let Err(failure) = outcome {
            self.stop();
            self.failure.get_or_insert(failure);
            self.finish();
        }
    }

    fn plan_next_read(&mut self, progress: Progress, is_busy: bool) {
        self.pause = match progress == Progress::More || is_busy {
            true => (self.pause / 2).max(SHORTEST_PAUSE),
            false => (self.pause * 2).min(if self.wakes.is_some() { LONGEST_SLEEP } else { LONGEST_PAUSE }),
        };
        self.has_more = progress == Progress::More;
        let at_once = self.has_more && self.backlog.room() > 0;
        self.next_read = Instant::now() + if at_once { Duration::ZERO } else { self.pause };
    }

    /// Writes as many lines as there is room for.
    fn write(&mut self) -> Result<()> {
        self.sink.reclaim_torn_line(&mut self.backlog)?;
        let mut progress = self.sink.send(&mut self.backlog)?;
        if self.has_more && self.backlog.is_empty() && self.sink.as_pipe().is_some() {
            // The pause is for a reader that takes single lines.
            self.next_read = Instant::now();
        }
        if let Some(limit) = self.phase.drain_limit() {
            let unread = self.sink.unread();
            progress |= unread < self.unread;
            if unread == 0 && self.backlog.is_empty() {
                // A reader that has taken all lines so far is not stuck, however long the session takes for the next one.
                limit.has_progressed();
            }
            self.unread = unread;
            if progress {
                limit.has_progressed();
                self.session.report_progress();
            }
        }
        self.retry = if progress { SHORTEST_RETRY } else { (self.retry * 2).min(LONGEST_RETRY) };
        Ok(())
    }

    /// Waits for an order, or for the time of the next read or of the next attempt to write.
    fn wait(&mut self, channel: &Channel) {
        let until_read = self.next_read.saturating_duration_since(Instant::now());
        // What takes any number of lines at once is waited for. It is ready at once, and always, without a reader.
        let room_in_pipe = self.sink.as_pipe().filter(|_| !self.backlog.is_empty() && self.sink.has_reader());
        let retry = if room_in_pipe.is_some() { LONGEST_RETRY } else { self.retry };
        let timeout = match self.phase {
            Phase::Finished(_) => retry,
            _ if self.backlog.is_empty() => until_read,
            _ => until_read.min(retry),
        };
        let mut fds = Vec::with_capacity(3);
        fds.extend(room_in_pipe.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)));
        // The channel of an orphan is closed, and would end every poll immediately.
        if !self.orphaned {
            fds.push(PollFd::new(channel.as_fd(), PollFlags::POLLIN));
        }
        let own = fds.len();
        // Without room the session keeps its lines, and the descriptor stays readable.
        let has_room = self.backlog.room() > 0;
        if let (Phase::Recording, Some(wakes), true) = (&self.phase, self.wakes, has_room) {
            // SAFETY: the session keeps the descriptor open until it is closed, which is after the last poll, and it is
            // only polled here.
            let wakes = unsafe { BorrowedFd::borrow_raw(wakes) };
            fds.push(PollFd::new(wakes, PollFlags::POLLIN));
        }
        // After a failure the loop only repeats its checks.
        let _ = ppoll(&mut fds, Some(timeout.into()), None);
        if fds[own..].iter().any(|fd| fd.any() == Some(true)) {
            self.next_read = Instant::now();
        }
    }
}
