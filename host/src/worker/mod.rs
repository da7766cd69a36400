//! The processes that plugins live in.
//!
//! A worker is forked while this process has one thread only. It loads one plugin, does one job, answers over a socket,
//! and ends. Its standard streams are not the caller's, and it has no other descriptor than the ones it needs.

mod channel;
mod confinement;
mod load;
mod process;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use trace_hook_api::abi::LoadedPlugin;
use trace_hook_api::{HookError, PluginInfo};

pub use channel::{Channel, Received};
pub use confinement::{Confinement, capabilities_for_tracing};
use process::{Process, isolate};

use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::logging;
use crate::plugins::PluginFile;
use crate::session::verdict::Verdict;

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// A log record.
    Log { level: log::Level, message: String },
    /// The plugin is this, and why each of its hooks is not usable here, where that was asked.
    Inspected { info: PluginInfo, unavailable: Vec<Option<String>> },
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
    /// What the worker is doing, for the user who wants to know what went wrong.
    pub step: &'static str,
    process: Process,
    channel: Channel,
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
        step: &'static str,
        orphan: Orphan,
        confinement: Confinement,
        keep: &[BorrowedFd<'_>],
        job: impl FnOnce(&LoadedPlugin, &mut Channel) -> Result<Answer, HookError>,
    ) -> Result<Self> {
        let (ours, theirs) = Channel::pair()?;
        let process = Process::fork(|| {
            let kept: Vec<_> = keep.iter().copied().chain([theirs.as_fd(), plugin.as_fd()]).collect();
            isolate(orphan, &kept);
            answer_with(plugin, confinement, theirs, job);
        })?;
        Ok(Self { plugin: plugin.name.clone(), step, process, channel: ours })
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
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [
                PollFd::new(self.as_fd(), PollFlags::POLLIN),
                PollFd::new(interrupts.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Ok(0) => return Err(self.too_slow()),
                Ok(_) | Err(Errno::EINTR) if interrupts.pending() => return Err(Error::Interrupted),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("wait for a plugin")(errno)),
            }
        }
    }

    /// The next answer that is no log record, if there is one already.
    ///
    /// # Errors
    ///
    /// The worker failed or died.
    pub fn next_answer(&mut self) -> Result<Option<Answer>> {
        loop {
            match self.channel.receive() {
                Received::Message(Answer::Log { level, message }) => {
                    log::log!(target: &self.plugin, level, "{message}");
                }
                Received::Message(Answer::Failed(error)) => {
                    return Err(Error::Hook { hook: self.plugin.clone(), error });
                }
                Received::Message(answer) => return Ok(Some(answer)),
                Received::Nothing => return Ok(None),
                Received::End => return Err(self.died()),
                Received::Garbage(problem) => {
                    return Err(self.problem(format!("its worker said what cannot be read: {problem}")));
                }
            }
        }
    }

    /// Tells the worker to do something. One that is dead is found out by its next answer.
    pub fn order(&self, order: Order) {
        if let Err(error) = self.channel.sender().send(&order) {
            log::debug!("the worker of {} does not take orders: {error}", self.plugin);
        }
    }

    /// What to say of a worker that was not done in time.
    pub fn too_slow(&self) -> Error {
        self.problem(format!("it was ended because it took too long to {}", self.step))
    }

    fn died(&mut self) -> Error {
        let cause = self.process.cause_of_death();
        self.problem(format!("its worker {cause} when it was to {}", self.step))
    }

    fn problem(&self, problem: String) -> Error {
        Error::Plugin { plugin: self.plugin.clone(), problem }
    }
}

impl AsFd for Worker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// The worker's life: load, work, answer.
fn answer_with(
    plugin: &PluginFile,
    confinement: Confinement,
    mut channel: Channel,
    job: impl FnOnce(&LoadedPlugin, &mut Channel) -> Result<Answer, HookError>,
) {
    let sender = channel.sender();
    logging::forward(move |record| {
        let answer = Answer::Log { level: record.level(), message: record.args().to_string() };
        // A supervisor that is gone reads no log.
        let _ = sender.send(&answer);
    });
    confinement.apply();
    let answer =
        load::load(plugin).and_then(|loaded| job(&loaded, &mut channel)).unwrap_or_else(Answer::Failed);
    let _ = channel.sender().send(&answer);
}

/// A deadline from now.
pub fn within(limit: Duration) -> Instant {
    Instant::now() + limit
}
