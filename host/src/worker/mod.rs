//! The processes that plugins are loaded into.
//!
//! A worker is forked while this process has one thread only. It loads one plugin, does one job, answers over a socket,
//! and ends. Its standard streams are not the caller's, and it has only the descriptors that it needs.

mod captured_output;
mod child_process;
mod confinement;
mod deadline;
pub mod descendants;
mod hosted_plugin;
mod isolation;
mod load_library;
mod plugin_code;
pub mod protocol;
mod starvation;
mod thread_limit;
mod worker_status;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use trace_hook_api::HookError;

use captured_output::CapturedOutput;
pub use child_process::ChildProcess;
pub use confinement::{Confinement, capabilities_for_tracing, forbidden_calls};
pub use deadline::WorkerDeadline;
pub use hosted_plugin::{HostedPlugin, PluginSession};
pub use isolation::isolate;
pub use plugin_code::{LibraryCode, PluginCode};
use protocol::{Answer, Channel, Order, Received};
use starvation::Starvation;
pub use thread_limit::CHECK_INTERVAL;
use thread_limit::{MOST_THREADS, ThreadLimit};
pub use worker_status::PluginCall;
use worker_status::WorkerStatus;

use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::logging;

/// How many messages are taken before the supervisor does other work: a plugin that logs without end must not stop it.
const MESSAGES_AT_ONCE: usize = 256;

/// What a worker does when its supervisor dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphan {
    /// It is killed.
    Dies,
    /// It notices the end of its channel, and ends its job.
    Finishes,
}

/// A process with one plugin and one job.
pub struct Worker {
    plugin: String,
    began: Instant,
    process: ChildProcess,
    starvation: Starvation,
    threads: Option<ThreadLimit>,
    channel: Channel,
    status: WorkerStatus,
    /// `None` if nothing is logged.
    output: Option<CapturedOutput>,
}

impl Worker {
    /// Forks a worker that loads the plugin and does the job, with the privileges that its confinement allows.
    ///
    /// `keep` are the descriptors that the job needs.
    ///
    /// # Errors
    ///
    /// The process could not be created.
    pub fn start(
        plugin: PluginCode<'_>,
        orphan: Orphan,
        confinement: Confinement,
        keep: &[BorrowedFd<'_>],
        job: impl FnOnce(&HostedPlugin<'_>, &mut Channel) -> Result<Answer, HookError>,
    ) -> Result<Self> {
        let (ours, theirs) = Channel::pair()?;
        let status = WorkerStatus::new()?;
        let captures = log::log_enabled!(log::Level::Info);
        let (output, writer) = captures.then(CapturedOutput::new).transpose()?.unzip();
        let mut file_rules = confinement.prepare(&plugin);
        let process = ChildProcess::fork(|| {
            let kept = keep.iter().copied().chain([theirs.as_fd()]).chain(plugin.files());
            let kept: Vec<_> = kept.chain(file_rules.as_ref().map(OwnedFd::as_fd)).collect();
            isolate(orphan, &kept, writer.as_ref().map(OwnedFd::as_fd));
            do_job(&plugin, || confinement.apply(file_rules.take()), theirs, &status, job);
        })?;
        Ok(Self {
            plugin: plugin.name.to_owned(),
            began: Instant::now(),
            process,
            starvation: Starvation::new(),
            threads: (confinement == Confinement::Discovery).then(ThreadLimit::new),
            channel: ours,
            status,
            output,
        })
    }

    /// Waits for the next answer other than log records. Time in which the worker cannot go on, because it gets no CPU or
    /// the kernel is at work for it, does not count.
    ///
    /// # Errors
    ///
    /// The worker failed, died, or took too long, or a signal was received.
    pub fn answer(&mut self, limit: Duration, interrupts: &Interrupts) -> Result<Answer> {
        let mut deadline = self.deadline(limit);
        loop {
            if let Some(answer) = self.next_answer()? {
                return Ok(answer);
            }
            self.observe(&mut deadline);
            if deadline.is_over() {
                return Err(self.too_slow_after(deadline.elapsed()));
            }
            self.wait(deadline.next_check(), interrupts)?;
        }
    }

    /// Waits until a job that has no other answer is done, as [`answer`](Self::answer) does.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn done(&mut self, limit: Duration, interrupts: &Interrupts) -> Result<()> {
        match self.answer(limit, interrupts)? {
            Answer::Done => Ok(()),
            answer => Err(self.unexpected(&answer)),
        }
    }

    /// Waits for an answer, a signal, or this time.
    fn wait(&self, until: Instant, interrupts: &Interrupts) -> Result<()> {
        let until = self.threads.as_ref().map_or(until, |_| until.min(within(CHECK_INTERVAL)));
        let mut fds = self.poll_fds();
        fds.push(PollFd::new(interrupts.as_fd(), PollFlags::POLLIN));
        match poll(&mut fds, timeout_until(until)) {
            Ok(_) | Err(Errno::EINTR) if interrupts.pending() => Err(Error::Interrupted),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::system("wait for a plugin")(errno)),
        }
    }

    /// The next answer other than log records, if there is one already.
    ///
    /// # Errors
    ///
    /// The worker failed or died.
    pub fn next_answer(&mut self) -> Result<Option<Answer>> {
        self.output.iter_mut().for_each(CapturedOutput::read);
        // Checked before receiving: if the worker has ended, all of its messages can be received.
        let has_ended = self.process.has_ended();
        for _ in 0..MESSAGES_AT_ONCE {
            match self.channel.receive() {
                Received::Message(Answer::Log { level, message }) => {
                    log::log!(target: &self.plugin, level, "{message}");
                }
                Received::Message(Answer::Failed(error)) => {
                    return Err(Error::Hook { hook: self.plugin.clone(), error });
                }
                Received::Message(answer) => return Ok(Some(answer)),
                // A process that the plugin has forked may still hold the other end.
                Received::Nothing if has_ended => return Err(self.died()),
                Received::Nothing => return self.check_threads().map(|()| None),
                Received::End => return Err(self.died()),
                Received::Garbage(problem) => {
                    return Err(self.problem(format!("its worker sent an unreadable message: {problem}")));
                }
            }
        }
        Ok(None)
    }

    /// Kills the worker if it has too many threads.
    fn check_threads(&mut self) -> Result<()> {
        let Some(limit) = &mut self.threads else { return Ok(()) };
        if !limit.is_exceeded(|| self.process.threads()) {
            return Ok(());
        }
        self.process.end();
        let call = self.current_call();
        Err(self.problem(format!("its worker had more than {MOST_THREADS} threads {call}, and was killed")))
    }

    /// Sends an order to the worker. One that is dead is noticed at its next answer.
    pub fn order(&self, order: Order) {
        if let Err(error) = self.channel.sender().send(&order) {
            log::debug!("cannot send an order to the worker of {}: {error}", self.plugin);
            // The worker then ends the session as if its supervisor had died.
            self.channel.sender().close();
        }
    }

    /// What to poll: any of them means that the next answer may be there.
    pub fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let channel = PollFd::new(self.channel.as_fd(), PollFlags::POLLIN);
        let output = self.output.as_ref().and_then(CapturedOutput::poll_fd);
        [channel].into_iter().chain(self.process.poll_fd()).chain(output).collect()
    }

    /// The call into the plugin that the worker is in, or was in when it died.
    pub fn current_call(&self) -> PluginCall {
        self.status.current_call()
    }

    /// How many hooks the plugin has; 0 until that is known.
    pub fn hook_count(&self) -> u32 {
        self.status.hook_count()
    }

    /// How often the worker has reported progress.
    pub fn progress(&self) -> u64 {
        self.status.progress()
    }

    /// The deadline for this worker to make progress from now on.
    pub fn deadline(&mut self, patience: Duration) -> WorkerDeadline {
        // The time that it waited for a CPU before this does not extend the deadline.
        self.starved();
        WorkerDeadline::new(patience, self.progress())
    }

    /// Notes for the deadline what the worker is doing, if it is time for that, and returns whether it was. Always before the
    /// deadline is over.
    pub fn observe(&mut self, deadline: &mut WorkerDeadline) -> bool {
        let is_time = deadline.is_over() || self.starvation.is_due();
        if is_time {
            let cpu_use = self.process.cpu_use();
            let starved = self.starvation.observe(cpu_use);
            deadline.observe(self.progress(), self.process.is_in_kernel(), starved);
        }
        is_time
    }

    /// Its directory in `/proc`.
    pub fn procfs_directory(&self) -> &Path {
        self.process.procfs_directory()
    }

    /// How often it has entered or left a function of the plugin. A worker that records does so all the time.
    pub fn calls(&self) -> u64 {
        self.status.calls()
    }

    /// For how long the worker was starved since the last call, if it is time to find out.
    pub fn starved(&mut self) -> Duration {
        match self.starvation.is_due() {
            true => self.starvation.observe(self.process.cpu_use()),
            false => Duration::ZERO,
        }
    }

    /// The error of a worker that has not done its job in time.
    pub fn too_slow(&self) -> Error {
        self.too_slow_after(self.began.elapsed())
    }

    /// The error of a worker that has not done its job in this time.
    pub fn too_slow_after(&self, time: Duration) -> Error {
        let (seconds, call) = (time.as_secs_f32(), self.current_call());
        self.problem(format!("its worker took more than {seconds:.1} s {call}, and was killed"))
    }

    /// The error of a worker that sent another answer than was expected.
    pub fn unexpected(&self, answer: &Answer) -> Error {
        self.problem(format!("its worker sent an unexpected answer: {answer:?}"))
    }

    fn died(&mut self) -> Error {
        let (cause, call) = (self.process.cause_of_death(), self.current_call());
        self.problem(format!("its worker {cause} {call}"))
    }

    fn problem(&self, problem: String) -> Error {
        Error::Plugin { plugin: self.plugin.clone(), problem }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Its whole output can be read once it has ended.
        self.process.end();
        if let Some(output) = self.output.take() {
            output.log(&self.plugin);
        }
    }
}

/// In the worker: loads the plugin, does the job, answers.
fn do_job(
    plugin: &PluginCode<'_>,
    confine: impl FnOnce(),
    mut channel: Channel,
    status: &WorkerStatus,
    job: impl FnOnce(&HostedPlugin<'_>, &mut Channel) -> Result<Answer, HookError>,
) {
    let sender = channel.sender();
    logging::forward(move |record| {
        let answer = Answer::Log { level: record.level(), message: record.args().to_string() };
        // Fails if the supervisor has died, which then needs no log.
        let _ = sender.send(&answer);
    });
    confine();
    let plugin = HostedPlugin::load(plugin, status);
    let answer = plugin.and_then(|plugin| job(&plugin, &mut channel)).unwrap_or_else(Answer::Failed);
    // Before the answer, after which the supervisor may end.
    descendants::kill_abandoned();
    let _ = channel.sender().send(&answer);
}

/// The deadline that is this limit from now.
pub fn within(limit: Duration) -> Instant {
    Instant::now() + limit
}

/// The timeout of a poll that ends at the deadline. Rounded up: a poll that ends too early would only be repeated.
pub fn timeout_until(deadline: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(Instant::now());
    PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
}
