//! Watches over a session: its worker, the signals, its time, and the removal of everything at its end.

mod caller;
mod follower;
mod stop;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use trace_hook_api::{Environment, Request};

use super::orphans::{self, Orphans};
use super::record::Record;
use super::recorder::{self, Options};
use super::run_directory::RunDirectory;
use super::{tasks, trace_file, unread_files};
use crate::arguments::RunArguments;
use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::output;
use crate::patience::patient;
use crate::plugins::RunnableHook;
use crate::worker::protocol::{Answer, Summary};
use crate::worker::{Confinement, Orphan, Worker, WorkerDeadline, descendants, timeout_until, within};
use caller::Caller;
use follower::Follower;

/// How long a hook may take to start recording. The largest buffers take seconds.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Between two checks of everything while nothing happens, in case the kernel has no memory to wake the poll.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Runs a hook until a signal, its time, or the end of its tasks.
///
/// # Errors
///
/// The session did not start, or failed. All of its objects have been removed, unless the error reports otherwise.
pub fn run(
    hook: &RunnableHook,
    arguments: RunArguments,
    environment: &Environment,
    follow: bool,
    orphans: &mut Orphans,
    interrupts: &Interrupts,
) -> Result<Option<Summary>> {
    let tasks = tasks::find(&arguments.tasks, environment)?;
    let options = options(&arguments, follow)?;
    let directory = RunDirectory::open()?;
    let record = Record::create(&directory, &std::path::absolute(&hook.plugin.path).unwrap_or_default())?;
    let time = arguments.time;
    let request = arguments.request(&hook.info, &record.session, tasks, environment);
    let (outcome, is_clean) = match prepare(hook, &request, &record, options, follow, interrupts) {
        Ok(mut supervisor) => (supervisor.run(time, orphans), supervisor.is_clean),
        Err(error) => (Err(error), true),
    };
    let swept = if is_clean { Ok(()) } else { sweep(hook, environment) };
    let removed = trace_file::remove(&record.trace_path()).and_then(|()| match &swept {
        Ok(()) => record.remove(),
        // The next call sweeps again.
        Err(_) => Ok(()),
    });
    let (summary, failure) = match outcome {
        Ok(summary) => (summary, None),
        Err(error) => (None, Some(error)),
    };
    Error::all([failure, swept.err(), removed.err()].into_iter().flatten().collect())?;
    if summary.as_ref().is_some_and(|summary| summary.unread > 0) {
        log::info!("the unread output is in {}", record.trace_path().display());
    }
    Ok(summary)
}

fn options(arguments: &RunArguments, follow: bool) -> Result<Options> {
    let unread_limit = unread_files::limit()?;
    Ok(Options {
        drain: match follow {
            // The user ends the wait with another signal.
            true => arguments.drain,
            false => Some(arguments.drain.unwrap_or_else(|| patient(RunArguments::DRAIN))),
        },
        unread_limit: (!follow).then_some(unread_limit),
        report_losses: follow,
        spool_size: arguments.spool_size,
    })
}

fn sweep(hook: &RunnableHook, environment: &Environment) -> Result<()> {
    // A process that the plugin has forked may hold what is to be removed.
    descendants::kill_abandoned();
    orphans::sweep_with(&hook.plugin, environment)
}

fn prepare<'a>(
    hook: &RunnableHook,
    request: &'a Request,
    record: &'a Record,
    options: Options,
    follow: bool,
    interrupts: &'a Interrupts,
) -> Result<Supervisor<'a>> {
    trace_file::create(&record.trace_path())?;
    let follower = follow.then(|| Follower::open(&record.trace_path())).transpose()?;
    let worker = start(hook, request, record, options)?;
    Ok(Supervisor {
        record,
        worker,
        follower,
        caller: Caller::of_this_process(),
        interrupts,
        environment: &request.environment,
        time_limit: None,
        stopping: None,
        reported_frozen: false,
        is_clean: false,
        show_limit: None,
        interrupted: false,
    })
}

fn start(hook: &RunnableHook, request: &Request, record: &Record, options: Options) -> Result<Worker> {
    Worker::start(
        hook.plugin.code(),
        Orphan::Finishes,
        Confinement::Tracing,
        &[record.as_fd()],
        |plugin, channel| {
            record.lock_as_worker(&request.environment.procfs)?;
            let start = || plugin.start(hook.position, request);
            recorder::record(start, record, options, channel)
        },
    )
}

struct Supervisor<'a> {
    record: &'a Record,
    worker: Worker,
    follower: Option<Follower>,
    caller: Caller,
    interrupts: &'a Interrupts,
    environment: &'a Environment,
    /// When the session ends without a signal.
    time_limit: Option<Instant>,
    /// After an order to stop: the worker must make progress before this deadline.
    stopping: Option<WorkerDeadline>,
    /// It was reported that a cgroup has frozen the worker.
    reported_frozen: bool,
    /// The worker has removed everything that the session created, or it created nothing.
    is_clean: bool,
    /// With `--follow`, after a signal: the deadline for standard output to take more of an ended trace.
    show_limit: Option<Instant>,
    interrupted: bool,
}

impl Supervisor<'_> {
    /// Returns the summary, unless the session was undone.
    fn run(&mut self, time: Option<Duration>, orphans: &mut Orphans) -> Result<Option<Summary>> {
        match self.start() {
            Ok(()) => {
                self.time_limit = time.map(within);
                orphans.finish_quietly(self.interrupts);
                self.watch()
            }
            // The path was not printed, so nothing waits for this session.
            Err(Error::Interrupted) => self.undo(),
            Err(error @ Error::Output(_)) => self.undo().and(Err(error)),
            Err(error) => {
                // A hook that cannot start removes what it has created.
                self.is_clean = matches!(error, Error::Hook { .. });
                Err(error)
            }
        }
    }

    /// Waits until the session is recording, and only then prints the path of its trace file.
    fn start(&mut self) -> Result<()> {
        match self.worker.answer(patient(START_LIMIT), self.interrupts)? {
            Answer::Recording => {}
            answer => return Err(self.worker.unexpected(&answer)),
        }
        match self.follower {
            Some(_) => Ok(()),
            None => output::print_path(&self.record.trace_path(), self.interrupts),
        }
    }

    /// Waits until the worker has ended the session, and with `--follow` until the trace is printed.
    fn watch(&mut self) -> Result<Option<Summary>> {
        let mut summary = None;
        loop {
            match summary.take_if(|_| self.follower.is_none()) {
                Some(summary) => return Ok(summary),
                None => self.wait(summary.is_none())?,
            }
            descendants::reap_orphans();
            if self.interrupts.take() {
                self.on_signal(summary.is_some());
            }
            self.check_time_limit();
            self.check_caller(summary.is_none());
            if summary.is_none() {
                summary = self.next_answer()?;
            }
            if self.show_limit.is_some_and(|limit| limit <= Instant::now()) {
                self.give_up_printing();
            }
            self.check_progress()?;
            self.advance_follower(summary.is_none())?;
        }
    }

    /// The summary, if the session has ended.
    fn next_answer(&mut self) -> Result<Option<Option<Summary>>> {
        match self.worker.next_answer()? {
            None => Ok(None),
            Some(Answer::Lost(lost)) => {
                for (cpu, count) in lost {
                    output::report(&format!("CPU {cpu} lost {count} events"));
                }
                Ok(None)
            }
            Some(Answer::Ended(summary)) => {
                self.ended();
                Ok(Some(summary))
            }
            Some(answer) => Err(self.worker.unexpected(&answer)),
        }
    }

    /// The lines that were taken already count as delivered, so those that were not printed are reported.
    fn give_up_printing(&mut self) {
        let unprinted = self.follower.take().map_or(0, |follower| follower.unprinted_lines());
        if unprinted > 0 {
            output::report(&format!(
                "{unprinted} of the delivered lines were not printed: standard output takes no more"
            ));
        }
    }

    fn advance_follower(&mut self, is_recording: bool) -> Result<()> {
        let Some(follower) = &mut self.follower else {
            return Ok(());
        };
        let mut fds = [follower.poll_fd()];
        let is_ready = matches!(poll(&mut fds, PollTimeout::ZERO), Ok(count) if count > 0);
        if is_ready {
            self.extend_show_limit();
        }
        let Some(follower) = &mut self.follower else { return Ok(()) };
        if follower.has_lost_reader() || (is_ready && !follower.advance()?) {
            // End like any filter in a pipeline.
            self.follower = None;
            if is_recording {
                self.discard();
            }
        } else if !is_recording && follower.is_done() {
            self.follower = None;
        }
        Ok(())
    }

    fn wait(&self, is_recording: bool) -> Result<()> {
        let mut fds = vec![PollFd::new(self.interrupts.as_fd(), PollFlags::POLLIN)];
        if is_recording {
            fds.extend(self.worker.poll_fds());
        }
        fds.extend(self.follower.iter().flat_map(|follower| [follower.poll_fd(), follower.reader_fd()]));
        if is_recording && self.stopping.is_none() {
            fds.extend(self.caller.poll_fds());
        }
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::system("wait for the session")(errno)),
        }
    }

    fn timeout(&self) -> PollTimeout {
        let next_check = self.stopping.map(|deadline| deadline.next_check());
        let next = [self.time_limit, next_check, self.show_limit].into_iter().flatten().min();
        timeout_until(next.unwrap_or_else(|| within(LONGEST_WAIT)))
    }
}
