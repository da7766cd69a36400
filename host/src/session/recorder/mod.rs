//! In the worker: carries the lines from the session into the trace file.

mod drain_limit;
mod unread_output;

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, ppoll};
use trace_hook_api::{HookError, LineBuffer, Progress, Result, Stats};

use super::backlog::Backlog;
use super::record::Record;
use super::trace_file::{Sent, TakenBack, TraceWriter};
use crate::worker::protocol::{Answer, Channel, Order, Received, Summary};
use crate::worker::{PluginSession, descendants};
use drain_limit::DrainLimit;
pub use drain_limit::READER_PATIENCE;

/// A session that was stopped and gives nothing for so long will never come to its end.
const SESSION_PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks at the session.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_millis(15);
/// The same for a session that wakes us when it has something.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);
/// With so much text from one look, the next one should come sooner.
const BUSY: usize = 64 << 10;

/// Between two offers to a reader whose trace file is full. A fast one takes a hundred lines meanwhile, which is some
/// of what lies there: so it never has to wait for us, nor are both woken for every single line.
const SHORTEST_OFFER: Duration = Duration::from_micros(200);
const LONGEST_OFFER: Duration = Duration::from_millis(10);

/// Making text and passing it on has time, the traced program has not (nice(1)). What is recorded meanwhile is the session's
/// to keep.
const WHILE_RECORDING: libc::c_int = 5;

/// Runs a session, whose record this worker has locked, from its start to its end.
///
/// # Errors
///
/// The session could not start, broke, or left something behind.
pub fn record<'a>(
    start: impl FnOnce() -> Result<PluginSession<'a>>,
    record: &Record,
    options: Options,
    channel: &mut Channel,
) -> Result<Answer> {
    let trace = TraceWriter::open(&record.trace_path())?;
    let session = start()?;
    set_niceness(WHILE_RECORDING);
    match channel.sender().send(&Answer::Recording) {
        // A supervisor that is gone is found out by its silence.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    let mut recorder = Recorder {
        wakes: session.wakes()?,
        session,
        trace,
        drain: options.drain,
        lines: LineBuffer::default(),
        backlog: Backlog::default(),
        pulled: 0,
        look: LONGEST_LOOK,
        next_look: Instant::now(),
        offer: SHORTEST_OFFER,
        phase: Phase::Recording,
        heard: Instant::now(),
        unread: 0,
        discarding: false,
        orphaned: false,
        failure: None,
        dropped: 0,
    };
    let carried = recorder.carry(channel);
    recorder.failure = recorder.failure.or(carried.err());
    let orphaned = recorder.orphaned;
    let summary = recorder.end(record, options.keep_unread_output, channel)?;
    // If anything is left, the record makes the next call of the host sweep.
    if orphaned {
        record.remove()?;
    }
    Ok(Answer::Ended(summary))
}

fn set_niceness(niceness: libc::c_int) {
    // SAFETY: the call takes and returns plain numbers. Where it is not allowed, everything stays as it is.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) };
}

/// How a session is to end.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long to wait for a reader that makes progress.
    pub drain: Duration,
    /// Whether what no reader took is put into the place of the trace file.
    pub keep_unread_output: bool,
}

struct Recorder<'a> {
    session: PluginSession<'a>,
    /// Polls as readable when the session has lines.
    wakes: Option<RawFd>,
    trace: TraceWriter,
    drain: Duration,
    lines: LineBuffer,
    backlog: Backlog,
    /// How many events the session has given.
    pulled: u64,
    look: Duration,
    next_look: Instant,
    offer: Duration,
    phase: Phase,
    /// When the session, asked for lines, last gave some.
    heard: Instant,
    /// What lay in the trace file when it was last looked at.
    unread: usize,
    /// Nobody will ever want the rest.
    discarding: bool,
    /// The supervisor is gone.
    orphaned: bool,
    /// The first thing that went wrong. What the session gave before, and gives still, is carried to its end.
    failure: Option<HookError>,
    /// Events that no reader took and for which there was no other place.
    dropped: u64,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Recording,
    /// The session gives its last lines.
    Draining(DrainLimit),
    /// All lines are here, and the reader takes the last of them.
    Finished(DrainLimit),
}

impl Recorder<'_> {
    fn carry(&mut self, channel: &mut Channel) -> Result<()> {
        loop {
            self.obey(channel)?;
            if self.next_look <= Instant::now() {
                self.pull();
            }
            self.push()?;
            if self.is_over() {
                return Ok(());
            }
            self.rest(channel);
        }
    }

    fn obey(&mut self, channel: &mut Channel) -> Result<()> {
        while !self.orphaned {
            match channel.receive() {
                Received::Message(Order::Stop) => self.stop(),
                Received::Message(Order::Hurry) => self.hurry(),
                Received::Message(Order::Discard) => {
                    self.discarding = true;
                    self.stop();
                }
                Received::Nothing => return Ok(()),
                Received::End => {
                    self.orphaned = true;
                    self.stop();
                }
                Received::Garbage(problem) => {
                    self.stop();
                    return Err(HookError::new(format!("the host said what cannot be read: {problem}")));
                }
            }
        }
        Ok(())
    }

    fn stop(&mut self) {
        if let Phase::Recording = self.phase {
            // From here on somebody waits for us.
            set_niceness(0);
            let stopped = self.session.stop();
            self.failure = self.failure.take().or(stopped.err());
            self.phase = Phase::Draining(DrainLimit::of(self.drain));
            self.heard = Instant::now();
            self.next_look = self.heard;
        }
    }

    /// The session has no more to give. What it has given is still to be taken.
    fn finish(&mut self) {
        self.phase = match self.phase {
            Phase::Draining(wait) => Phase::Finished(wait),
            _ => Phase::Finished(DrainLimit::of(self.drain)),
        };
    }

    fn hurry(&mut self) {
        if let Phase::Draining(wait) | Phase::Finished(wait) = &mut self.phase {
            *wait = DrainLimit::none();
        }
    }

    /// Takes lines from the session. It is asked even if there is no room, so that it can empty the kernel's buffers.
    fn pull(&mut self) {
        if let Phase::Finished(_) = self.phase {
            return;
        }
        self.lines.reset(self.backlog.room());
        let read = self.session.read(&mut self.lines);
        let is_busy = self.take_lines();
        match read.and_then(|progress| self.go_on(progress, is_busy)) {
            Ok(()) => {}
            Err(failure) => {
                self.stop();
                self.failure.get_or_insert(failure);
                self.finish();
            }
        }
    }

    /// Takes over the lines that the session has given. Returns whether they are many.
    fn take_lines(&mut self) -> bool {
        let text = self.lines.as_bytes();
        if !text.is_empty() || self.backlog.room() == 0 {
            self.heard = Instant::now();
        }
        self.pulled += self.lines.events();
        self.backlog.add(text);
        text.len() >= BUSY
    }

    /// Settles when to ask the session again.
    fn go_on(&mut self, progress: Progress, is_busy: bool) -> Result<()> {
        if progress == Progress::Finished {
            self.finish();
        } else if matches!(self.phase, Phase::Draining(_)) && self.heard.elapsed() > SESSION_PATIENCE {
            let limit = SESSION_PATIENCE.as_secs();
            return Err(HookError::new(format!(
                "its read gave neither lines nor their end for {limit} s after stop"
            )));
        }
        self.look = match progress == Progress::More || is_busy {
            true => (self.look / 2).max(SHORTEST_LOOK),
            false => (self.look * 2).min(if self.wakes.is_some() { LONGEST_SLEEP } else { LONGEST_LOOK }),
        };
        let at_once = progress == Progress::More && self.backlog.room() > 0;
        self.next_look = Instant::now() + if at_once { Duration::ZERO } else { self.look };
        Ok(())
    }

    /// Gives the reader what it takes.
    fn push(&mut self) -> Result<()> {
        self.reclaim_torn_line()?;
        let mut progress = false;
        while !self.backlog.is_empty() {
            let packet = self.backlog.next_packet();
            let length = packet.len();
            match self.trace.send(packet)? {
                Sent::Yes => self.backlog.take(length),
                Sent::Full | Sent::NoReader => break,
            }
            progress = true;
        }
        if let Phase::Draining(wait) | Phase::Finished(wait) = &mut self.phase {
            let unread = self.trace.unread();
            progress |= unread < self.unread;
            self.unread = unread;
            if progress {
                wait.has_progressed();
                self.session.report_progress();
            }
        }
        self.offer = if progress { SHORTEST_OFFER } else { (self.offer * 2).min(LONGEST_OFFER) };
        Ok(())
    }

    /// A reader that left within a long line has its beginning. The next one is to have it whole, and not to take its rest for a
    /// line.
    fn reclaim_torn_line(&mut self) -> Result<()> {
        if self.trace.may_be_torn() && !self.trace.has_reader() {
            let TakenBack { torn, text } = self.trace.take_back()?;
            self.backlog.put_back(&[torn, text].concat());
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        match self.phase {
            Phase::Recording => false,
            _ if self.discarding => true,
            Phase::Draining(wait) => wait.is_over() || !self.trace.has_reader(),
            Phase::Finished(wait) => self.is_all_taken() || wait.is_over() || !self.trace.has_reader(),
        }
    }

    fn is_all_taken(&self) -> bool {
        self.backlog.is_empty() && self.trace.unread() == 0
    }

    /// Waits for an order, or for the time of the next look at the session or of the next offer to the reader.
    fn rest(&mut self, channel: &Channel) {
        let until_look = self.next_look.saturating_duration_since(Instant::now());
        let timeout = match self.phase {
            Phase::Finished(_) => self.offer,
            _ if self.backlog.is_empty() => until_look,
            _ => until_look.min(self.offer),
        };
        let mut fds = Vec::with_capacity(2);
        // The channel of an orphan polls as closed, at once and for ever.
        if !self.orphaned {
            fds.push(PollFd::new(channel.as_fd(), PollFlags::POLLIN));
        }
        let own = fds.len();
        if let (Phase::Recording, Some(wakes)) = (self.phase, self.wakes) {
            // SAFETY: the session keeps it open until it is closed, which is after the last rest, and nothing is done with
            // it here but to poll.
            let wakes = unsafe { BorrowedFd::borrow_raw(wakes) };
            fds.push(PollFd::new(wakes, PollFlags::POLLIN));
        }
        // A failure is a rest that was too short: the loop looks at everything again.
        let _ = ppoll(&mut fds, Some(timeout.into()), None);
        if fds[own..].iter().any(|fd| fd.any() == Some(true)) {
            self.next_look = Instant::now();
        }
    }

    /// Ends the trace file first: its reader need not wait for the kernel's clean-up.
    fn end(
        mut self,
        record: &Record,
        keep_unread_output: bool,
        channel: &mut Channel,
    ) -> Result<Option<Summary>> {
        let handed_over = match self.discarding {
            true => Ok(0),
            false => self.hand_over_rest(record, keep_unread_output, channel),
        };
        let stats = self.session.stats();
        // What the plugin has forked may hold the trace file, and what is about to be removed.
        descendants::kill_abandoned();
        let Self { mut session, trace, pulled, discarding, failure, dropped, .. } = self;
        let ended = trace.end(&record.trace_path());
        let closed = session.close();
        ended?.release_late_readers();
        let summary = handed_over.and_then(|unread| {
            let Stats { recorded, lost, .. } = stats?;
            let delivered = pulled.saturating_sub(unread + dropped);
            Ok(Summary { delivered, unread, dropped, lost, recorded })
        });
        if let Some(failure) = failure.or(closed.err()) {
            // Whoever is told of a failure is told what became of the events all the same.
            summary.iter().for_each(|summary| log::info!("{summary}"));
            return Err(failure);
        }
        Ok(Some(summary?).filter(|_| !discarding))
    }
}
