//! The processes that plugins live in.
//!
//! A worker is forked while this process has one thread only. It loads one plugin, does one job, answers over a socket,
//! and ends. Its standard streams are not the caller's, and it has no other descriptor than the ones it needs.

mod channel;
mod confinement;
pub mod descendants;
mod guest;
mod load;
mod printed;
mod process;
mod step;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use trace_hook_api::{HookError, PluginInfo};

pub use channel::{Channel, Received};
pub use confinement::{Confinement, capabilities_for_tracing};
pub use guest::{Guest, GuestSession};
use printed::Printed;
pub use process::{Process, isolate};
pub use step::Step;
use step::Whereabouts;

use crate::checks::Finding;
use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::logging;
use crate::plugins::{Inspection, PluginFile};
use crate::session::verdict::Verdict;

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// A log record.
    Log { level: log::Level, message: String },
    /// What the plugin says of itself.
    Inspected(Inspection),
    /// The same, as it says it all at once.
    Described(PluginInfo),
    /// What a check of the plugin has found.
    Found(Finding),
    /// Why a hook says that it cannot run here, if so, and how long it took to say that.
    Probed { refusal: Option<HookError>, took: Duration },
    /// The session is recording.
    Recording,
    /// The session has ended, and this has become of its events, if anybody wanted them.
    Ended(Option<Verdict>),
    /// The job is done.
    Done,
    /// The job could not be done.
    Failed(HookError),
}

/// What the supervisor says to a worker that records.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// End the session.
    Stop,
    /// Do not wait for the reader any more.
    Hurry,
    /// End the session. Nobody wants what it has recorded.
    Discard,
}

/// What becomes of a worker whose supervisor dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphan {
    /// It is killed: there is nobody to answer.
    Dies,
    /// It sees the end of its channel, and brings its job to an end.
    Finishes,
}

/// A process with one plugin and one job.
pub struct Worker {
    plugin: String,
    began: Instant,
    process: Process,
    channel: Channel,
    whereabouts: Whereabouts,
    /// Only where somebody wants to know.
    printed: Option<Printed>,
}

impl Worker {
    /// Forks a worker that loads the plugin and does the job, and can do no more than its confinement lets it.
    ///
    /// `keep` are the descriptors that the job needs.
    ///
    /// # Errors
    ///
    /// There can be no further process.
    pub fn start(
        plugin: &PluginFile,
        orphan: Orphan,
        confinement: Confinement,
        keep: &[BorrowedFd<'_>],
        job: impl FnOnce(&Guest<'_>, &mut Channel) -> Result<Answer, HookError>,
    ) -> Result<Self> {
        let (ours, theirs) = Channel::pair()?;
        let whereabouts = Whereabouts::new()?;
        let (printed, output) = log::log_enabled!(log::Level::Info).then(Printed::new).transpose()?.unzip();
        let process = Process::fork(|| {
            let kept: Vec<_> = keep.iter().copied().chain([theirs.as_fd(), plugin.as_fd()]).collect();
            isolate(orphan, &kept, output.as_ref().map(OwnedFd::as_fd));
            answer_with(plugin, confinement, theirs, &whereabouts, job);
        })?;
        let began = Instant::now();
        Ok(Self { plugin: plugin.name.clone(), began, process, channel: ours, whereabouts, printed })
    }

    /// Waits for the next answer that is no log record.
    ///
    /// # Errors
    ///
    /// The worker failed, died, or took too long, or a signal came.
    pub fn answer(&mut self, deadline: Instant, interrupts: &Interrupts) -> Result<Answer> {
        loop {
            if let Some(answer) = self.next_answer()? {
                return Ok(answer);
            }
            if deadline <= Instant::now() {
                return Err(self.too_slow());
            }
            let mut fds = self.poll_fds();
            fds.push(PollFd::new(interrupts.as_fd(), PollFlags::POLLIN));
            match poll(&mut fds, timeout_until(deadline)) {
                Ok(_) | Err(Errno::EINTR) if interrupts.pending() => return Err(Error::Interrupted),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("wait for a plugin")(errno)),
            }
        }
    }

    /// Waits until the job is done that has no other answer.
    ///
    /// # Errors
    ///
    /// The worker failed, died, or took too long, or a signal came.
    pub fn done(&mut self, deadline: Instant, interrupts: &Interrupts) -> Result<()> {
        match self.answer(deadline, interrupts)? {
            Answer::Done => Ok(()),
            answer => Err(self.out_of_turn(&answer)),
        }
    }

    /// The next answer that is no log record, if there is one already.
    ///
    /// # Errors
    ///
    /// The worker failed or died.
    pub fn next_answer(&mut self) -> Result<Option<Answer>> {
        self.printed.iter_mut().for_each(Printed::take);
        // What it said before its end is there once it has ended.
        let has_ended = self.process.has_ended();
        // Whoever logs without end keeps nobody else waiting.
        for _ in 0..MESSAGES_AT_ONCE {
            match self.channel.receive() {
                Received::Message(Answer::Log { level, message }) => {
                    log::log!(target: &self.plugin, level, "{message}");
                }
                Received::Message(Answer::Failed(error)) => {
                    return Err(Error::Hook { hook: self.plugin.clone(), error });
                }
                Received::Message(answer) => return Ok(Some(answer)),
                // Somebody else may hold the other end: what the plugin has forked.
                Received::Nothing if has_ended => return Err(self.died()),
                Received::Nothing => return Ok(None),
                Received::End => return Err(self.died()),
                Received::Garbage(problem) => {
                    return Err(self.problem(format!("its worker said what cannot be read: {problem}")));
                }
            }
        }
        Ok(None)
    }

    /// Tells the worker to do something. One that is dead is found out by its next answer.
    pub fn order(&self, order: Order) {
        if let Err(error) = self.channel.sender().send(&order) {
            log::debug!("the worker of {} gets no orders any more: {error}", self.plugin);
            // It ends the session then as if it were alone.
            self.channel.sender().fall_silent();
        }
    }

    /// What to wait for: each of them means that the next answer may be there.
    pub fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let channel = PollFd::new(self.channel.as_fd(), PollFlags::POLLIN);
        let printed = self.printed.as_ref().and_then(Printed::poll_fd);
        [channel].into_iter().chain(self.process.poll_fd()).chain(printed).collect()
    }

    /// Which of the plugin's functions the worker is in, or was in when it died.
    pub fn step(&self) -> Step {
        self.whereabouts.step()
    }

    /// How many hooks the plugin has, as far as the worker knows.
    pub fn hooks(&self) -> u32 {
        self.whereabouts.hooks()
    }

    /// How often the worker has given a sign that it gets on with its job.
    pub fn signs(&self) -> u64 {
        self.whereabouts.signs()
    }

    /// What to say of a worker that has had its time for its job, and is not done.
    pub fn too_slow(&self) -> Error {
        self.too_slow_after(self.began.elapsed())
    }

    /// What to say of a worker that was given so much time, and is not done.
    pub fn too_slow_after(&self, time: Duration) -> Error {
        let (seconds, step) = (time.as_secs_f32(), self.step());
        self.problem(format!("its worker took more than {seconds:.1} s {step}, and was ended"))
    }

    /// What to say of a worker whose session was to end so long ago, and gives lines or does nothing.
    pub fn never_ending(&self, time: Duration, gives_lines: bool) -> Error {
        match (self.step(), gives_lines) {
            (Step::Read | Step::Host, true) => self.problem(format!(
                "its read still gave lines {:.1} s after stop, and not their end (Progress::Finished); its worker was \
                 ended",
                time.as_secs_f32()
            )),
            _ => self.too_slow_after(time),
        }
    }

    /// What to say of a worker that gave an answer which nobody has asked for.
    pub fn out_of_turn(&self, answer: &Answer) -> Error {
        self.problem(format!("its worker answered out of turn: {answer:?}"))
    }

    fn died(&mut self) -> Error {
        let (cause, step) = (self.process.cause_of_death(), self.step());
        self.problem(format!("its worker {cause} {step}"))
    }

    fn problem(&self, problem: String) -> Error {
        Error::Plugin { plugin: self.plugin.clone(), problem }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // What it printed last is there once it has ended.
        self.process.end();
        if let Some(printed) = self.printed.take() {
            printed.tell(&self.plugin);
        }
    }
}

/// Messages taken before anything else is looked at again.
const MESSAGES_AT_ONCE: usize = 256;

/// The worker's life: load, work, answer.
fn answer_with(
    plugin: &PluginFile,
    confinement: Confinement,
    mut channel: Channel,
    whereabouts: &Whereabouts,
    job: impl FnOnce(&Guest<'_>, &mut Channel) -> Result<Answer, HookError>,
) {
    let sender = channel.sender();
    logging::forward(move |record| {
        let answer = Answer::Log { level: record.level(), message: record.args().to_string() };
        // A supervisor that is gone reads no log.
        let _ = sender.send(&answer);
    });
    confinement.apply();
    let guest = Guest::load(plugin, whereabouts);
    let answer = guest.and_then(|guest| job(&guest, &mut channel)).unwrap_or_else(Answer::Failed);
    // Before the answer, after which the supervisor may be gone, and in any case if it is gone already.
    descendants::end_left_over();
    let _ = channel.sender().send(&answer);
}

/// A deadline from now.
pub fn within(limit: Duration) -> Instant {
    Instant::now() + limit
}

/// For how long to poll until then. Rounded up: a poll that ends too early would only have to be done again.
pub fn timeout_until(deadline: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(Instant::now());
    PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
}
