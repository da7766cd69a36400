//! Watches over a session: its worker, the signals, its time, and everything that has to go at its end.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use trace_hook_api::{Environment, Request};

use super::ending::{Ending, clean_up_limit};
use super::follower::Follower;
use super::orphans::{self, Orphans};
use super::record::Record;
use super::recorder::{self, Options, READER_PATIENCE};
use super::run_directory::RunDirectory;
use super::{tasks, trace_file};
use crate::arguments::RunArguments;
use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::output;
use crate::plugins::RunnableHook;
use crate::worker::protocol::{Answer, Order, Summary};
use crate::worker::{Confinement, Orphan, Worker, descendants, timeout_until, within};

/// How long a hook may take to start recording. The largest buffers take seconds.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at everything, while nothing happens. A signal that comes just before poll(2) wakes nobody if the
/// kernel has no memory for what tells of it; [`Interrupts::take`] finds it all the same.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long a session may take to end that nobody knows of yet.
const UNDO_LIMIT: Duration = Duration::from_secs(1);

/// Runs a hook until a signal, its time, or the end of its tasks.
///
/// # Errors
///
/// What kept the session from starting, or from ending well. Whatever it is, nothing of the session is left.
pub fn run(
    hook: &RunnableHook,
    arguments: RunArguments,
    environment: &Environment,
    follow: bool,
    orphans: &mut Orphans,
    interrupts: &Interrupts,
) -> Result<Option<Summary>> {
    let tasks = tasks::living(&arguments.tasks, &environment.procfs)?;
    let directory = RunDirectory::open()?;
    let record = Record::create(&directory, &std::path::absolute(&hook.plugin.path).unwrap_or_default())?;
    let options = Options { drain: arguments.drain, keep_unread_output: !follow };
    let time = arguments.time;
    let request = RunArguments { tasks, ..arguments }.request(&hook.info, &record.session, environment);
    let (outcome, sweep_limit) = match prepare(hook, &request, &record, options, follow, interrupts) {
        Ok(mut supervisor) => {
            let outcome = supervisor.run(time, orphans);
            (outcome, (!supervisor.left_clean).then(|| clean_up_limit(supervisor.ending)))
        }
        Err(error) => (Err(error), None),
    };
    let swept = match sweep_limit {
        Some(limit) => {
            // What the plugin has forked may hold what is to be removed.
            descendants::kill_abandoned();
            orphans::sweep_with(&hook.plugin, environment, limit)
        }
        None => Ok(()),
    };
    let removed = trace_file::remove(&record.trace_path()).and_then(|()| record.remove());
    let (summary, failure) = match outcome {
        Ok(summary) => (summary, None),
        Err(error) => (None, Some(error)),
    };
    Error::all([failure, swept.err(), removed.err()].into_iter().flatten().collect())?;
    Ok(summary)
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
        procfs: &request.environment.procfs,
        worker,
        follower,
        interrupts,
        drain: options.drain,
        time_limit: None,
        ending: None,
        left_clean: false,
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
    procfs: &'a Path,
    worker: Worker,
    follower: Option<Follower>,
    interrupts: &'a Interrupts,
    drain: Duration,
    /// When the session is to end by itself.
    time_limit: Option<Instant>,
    /// The session has been told to end.
    ending: Option<Ending>,
    /// The worker has ended the session itself, or never had one.
    left_clean: bool,
    /// Until when somebody must look at the rest of the trace, after a signal.
    show_limit: Option<Instant>,
    interrupted: bool,
}

impl Supervisor<'_> {
    /// The summary, unless the session was undone.
    fn run(&mut self, time: Option<Duration>, orphans: &mut Orphans) -> Result<Option<Summary>> {
        match self.start() {
            Ok(()) => {
                self.time_limit = time.map(within);
                orphans.finish_quietly(self.interrupts);
                self.watch()
            }
            // Nothing was printed, so nobody waits for anything.
            Err(Error::Interrupted) => self.undo(),
            // The caller does not know of the session, so there must be none.
            Err(error @ Error::Output(_)) => self.undo().and(Err(error)),
            Err(error) => {
                // What a hook fails to start it undoes itself.
                self.left_clean = matches!(error, Error::Hook { .. });
                Err(error)
            }
        }
    }

    /// Waits until the session is recording, and only then tells where.
    fn start(&mut self) -> Result<()> {
        match self.worker.answer(within(START_LIMIT), self.interrupts)? {
            Answer::Recording => {}
            answer => return Err(self.worker.unexpected(&answer)),
        }
        match self.follower {
            Some(_) => Ok(()),
            None => output::print_path(&self.record.trace_path(), self.interrupts),
        }
    }

    fn undo(&mut self) -> Result<Option<Summary>> {
        self.follower = None;
        self.stop(Order::Discard);
        self.ending = Some(Ending::of_undone(UNDO_LIMIT));
        match self.watch() {
            // The kernel may need long for what a session asks for (large buffers). The worker is ended in the middle of
            // it then, which is what was wanted.
            Err(Error::Plugin { .. }) => Ok(None),
            outcome => outcome,
        }
    }

    /// Until the worker has ended the session, and the trace is shown where it is to be shown.
    fn watch(&mut self) -> Result<Option<Summary>> {
        let mut summary = None;
        loop {
            match summary.take_if(|_| self.follower.is_none()) {
                Some(summary) => return Ok(summary),
                None => self.wait(summary.is_none())?,
            }
            if self.interrupts.take() {
                self.interrupted = true;
                match (&summary, self.ending) {
                    // Whoever does not want to see the rest of an ended session does not have to.
                    (Some(_), _) => self.follower = None,
                    (None, None) => self.stop(Order::Stop),
                    // A person who is in a hurry. From anybody else, such as several calls of --clear, one signal is as
                    // good as many: a reader who is at work gets his time.
                    (None, Some(_)) if self.follower.is_some() => self.stop(Order::Hurry),
                    (None, Some(_)) => {}
                }
            }
            if self.time_limit.is_some_and(|limit| limit <= Instant::now()) {
                self.time_limit = None;
                self.stop(Order::Stop);
            }
            if summary.is_none() {
                summary = self.ended()?;
            }
            if self.show_limit.is_some_and(|limit| limit <= Instant::now()) {
                self.follower = None;
            }
            if let Some(ending) = &mut self.ending {
                ending.look(self.worker.progress());
                let kernel_is_at_work = || {
                    self.record.worker().is_ok_and(|worker| {
                        worker.is_some_and(|worker| worker.is_uninterruptible(self.procfs))
                    })
                };
                if ending.is_over() && !(kernel_is_at_work() && ending.wait_for_kernel()) {
                    return Err(self.worker.never_ending(ending.elapsed(), ending.is_alive()));
                }
            }
            self.advance_follower(summary.is_none())?;
        }
    }

    /// What has become of the session, if it has ended.
    fn ended(&mut self) -> Result<Option<Option<Summary>>> {
        let summary = match self.worker.next_answer()? {
            None => return Ok(None),
            Some(Answer::Ended(summary)) => summary,
            Some(answer) => return Err(self.worker.unexpected(&answer)),
        };
        self.left_clean = true;
        // A pager may be read for hours, but not when everything was asked to end.
        self.show_limit = self.interrupted.then(|| within(READER_PATIENCE));
        self.time_limit = None;
        self.ending = None;
        Ok(Some(summary))
    }

    fn stop(&mut self, order: Order) {
        self.worker.order(order);
        match &mut self.ending {
            None => self.ending = Some(Ending::new(self.drain, self.worker.progress())),
            Some(ending) => ending.hurry(),
        }
    }

    fn advance_follower(&mut self, recording: bool) -> Result<()> {
        let Some(follower) = &mut self.follower else {
            return Ok(());
        };
        let mut fds = [follower.poll_fd()];
        let is_ready = matches!(poll(&mut fds, PollTimeout::ZERO), Ok(count) if count > 0);
        if is_ready {
            self.show_limit = self.show_limit.map(|_| within(READER_PATIENCE));
        }
        if is_ready && !follower.advance()? {
            // Like any filter in a pipeline whose reader has seen enough.
            self.follower = None;
            if recording {
                self.stop(Order::Discard);
            }
        } else if !recording && follower.is_done() {
            self.follower = None;
        }
        Ok(())
    }

    fn wait(&self, recording: bool) -> Result<()> {
        let mut fds = vec![PollFd::new(self.interrupts.as_fd(), PollFlags::POLLIN)];
        if recording {
            fds.extend(self.worker.poll_fds());
        }
        fds.extend(self.follower.as_ref().map(Follower::poll_fd));
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::system("wait for the session")(errno)),
        }
    }

    fn timeout(&self) -> PollTimeout {
        let next_look = self.ending.map(|ending| ending.next_look());
        let next = [self.time_limit, next_look, self.show_limit].into_iter().flatten().min();
        timeout_until(next.unwrap_or_else(|| within(LONGEST_WAIT)))
    }
}
