//! Watches over a session: its worker, the signals, its time, and the removal of everything at its end.

mod caller;
mod command;
mod freeze;
mod printer;
mod status_line;
mod stop;

use std::collections::BTreeMap;
use std::io::PipeWriter;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use trace_hook_api::{Environment, Format, Request, TaskSelection};

use super::command_end::CommandEnd;
use super::destination::Destination;
use super::orphans::{self, Orphans};
use super::record::Record;
use super::recorder::{self, Options};
use super::run_directory::RunDirectory;
use super::traced_command::{CommandLine, TracedCommand};
use super::{tasks, trace_file, trace_pipe, unread_files};
use crate::arguments::RunArguments;
use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::output;
use crate::patience::patient;
use crate::plugins::RunnableHook;
use crate::worker::protocol::{Answer, Summary};
use crate::worker::{Confinement, Orphan, Worker, WorkerDeadline, descendants, timeout_until, within};
use caller::Caller;
use freeze::FreezeWatch;
use printer::Printer;
use status_line::StatusLine;

/// How long a hook may take to start recording. The largest buffers take seconds.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Between two checks of everything while nothing happens: nothing is reported if the worker is frozen, or if the kernel has no memory to
/// wake the poll.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What is run.
pub struct Run<'a> {
    pub hook: &'a RunnableHook,
    pub arguments: RunArguments,
    pub destination: Destination,
    /// A command that is started, and the only thing that is traced.
    pub command: Option<CommandLine>,
    /// The session ends with the command, even if processes that it has started are still alive.
    pub until_exit: bool,
    /// A person who is at a terminal sees that the session is recording.
    pub shows_status: bool,
}

/// What is left of a run.
#[derive(Debug, Default)]
pub struct Ended {
    /// Absent if the session was undone.
    pub summary: Option<Summary>,
    /// How the command has ended.
    pub command: Option<CommandEnd>,
}

/// Runs a hook until a signal, its time, or the end of its tasks. Then waits for the command, if there is one.
///
/// # Errors
///
/// The session did not start, or failed. All of its objects have been removed, unless the error reports otherwise.
pub fn run(
    run: Run<'_>,
    environment: &Environment,
    orphans: &mut Orphans,
    interrupts: &Interrupts,
) -> Result<Ended> {
    let command = run.command.as_ref().map(|command| TracedCommand::prepare(command, &environment.procfs));
    let mut command = command.transpose()?;
    let traced = trace(run, &mut command, environment, orphans, interrupts);
    // The command goes on, also if the session has failed.
    let executed = command.as_mut().filter(|command| command.is_executed());
    let ended = executed.map(|command| command::await_end(command, interrupts));
    Ok(Ended { summary: traced?, command: ended.transpose()?.flatten() })
}

/// The session, from its record to the removal of its record.
fn trace(
    run: Run<'_>,
    command: &mut Option<TracedCommand>,
    environment: &Environment,
    orphans: &mut Orphans,
    interrupts: &Interrupts,
) -> Result<Option<Summary>> {
    let Run { hook, mut arguments, destination, until_exit, shows_status, .. } = run;
    arguments.tasks.pids.extend(command.as_ref().map(|command| command.traced_pid));
    let tasks = tasks::find(&arguments.tasks, environment)?;
    let options = options(&arguments, &destination)?;
    let directory = RunDirectory::open()?;
    let record = Record::create(&directory, &std::path::absolute(&hook.plugin.path).unwrap_or_default())?;
    let time = arguments.time;
    let status = (shows_status && command.is_none())
        .then(|| StatusLine::new(subject(&hook.info.name, &tasks), destination.is_file()))
        .flatten();
    let mut request = arguments.request(&hook.info, &record.session, tasks, environment);
    request.command = command.as_ref().map(|command| command.program().to_owned());
    let (outcome, is_clean) = match prepare(hook, &request, &record, options, destination, interrupts) {
        Ok(supervisor) => {
            let mut supervisor = Supervisor { command: command.take(), until_exit, status, ..supervisor };
            let outcome = supervisor.run(time, orphans);
            *command = supervisor.command.take();
            (outcome, supervisor.is_clean)
        }
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

/// What is recorded, in words: `trace_open of 3 processes`.
fn subject(hook: &str, tasks: &TaskSelection) -> String {
    let count = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let of_parents = |parents: String| format!("the descendants of {parents}");
    let parts = [
        tasks.all.then(|| "all tasks".to_owned()),
        count(tasks.pids.len(), "process", "processes"),
        count(tasks.parents.len(), "process", "processes").map(of_parents),
        count(tasks.cgroups.len(), "cgroup", "cgroups"),
    ];
    format!("{hook} of {}", parts.into_iter().flatten().collect::<Vec<_>>().join(" and "))
}

fn options(arguments: &RunArguments, destination: &Destination) -> Result<Options> {
    let unread_limit = unread_files::limit()?;
    let is_printed = matches!(destination, Destination::Output(_));
    Ok(Options {
        drain: match is_printed {
            // The user ends the wait with another signal.
            true => arguments.drain,
            false => Some(arguments.drain.unwrap_or_else(|| patient(RunArguments::DRAIN))),
        },
        unread_limit: (!is_printed).then_some(unread_limit),
        reports_progress: is_printed,
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
    destination: Destination,
    interrupts: &'a Interrupts,
) -> Result<Supervisor<'a>> {
    let (printer, pipe) = match destination {
        Destination::TraceFile => {
            trace_file::create(&record.trace_path())?;
            (None, None)
        }
        Destination::Output(output) => {
            let (reader, writer) = trace_pipe::create()?;
            let heading = request.view.heading().filter(|_| request.format == Format::Text);
            (Some(Printer::new(reader, output, heading)), Some(writer))
        }
    };
    // The worker alone keeps the writing end of the pipe.
    let worker = start(hook, request, record, options, pipe)?;
    Ok(Supervisor {
        record,
        worker,
        printer,
        command: None,
        until_exit: false,
        status: None,
        caller: Caller::of_this_process(),
        interrupts,
        environment: &request.environment,
        time_limit: None,
        stopping: None,
        freeze: FreezeWatch::new(),
        is_clean: false,
        print_limit: None,
        interrupted: false,
    })
}

fn start(
    hook: &RunnableHook,
    request: &Request,
    record: &Record,
    options: Options,
    pipe: Option<PipeWriter>,
) -> Result<Worker> {
    let kept: Vec<_> = [record.as_fd()].into_iter().chain(pipe.as_ref().map(PipeWriter::as_fd)).collect();
    Worker::start(hook.plugin.code(), Orphan::Finishes, Confinement::Tracing, &kept, |plugin, channel| {
        record.lock_as_worker(&request.environment.procfs)?;
        let start = || plugin.start(hook.position, request);
        recorder::record(start, pipe.as_ref(), record, options, channel)
    })
}

struct Supervisor<'a> {
    record: &'a Record,
    worker: Worker,
    /// If the trace is printed.
    printer: Option<Printer>,
    /// The command that is traced.
    command: Option<TracedCommand>,
    /// The session ends with the command.
    until_exit: bool,
    status: Option<StatusLine>,
    caller: Caller,
    interrupts: &'a Interrupts,
    environment: &'a Environment,
    /// When the session ends without a signal.
    time_limit: Option<Instant>,
    /// After an order to stop: the worker must make progress before this deadline.
    stopping: Option<WorkerDeadline>,
    freeze: FreezeWatch,
    /// The worker has removed everything that the session created, or it created nothing.
    is_clean: bool,
    /// If the trace is printed, after a signal: the deadline for the destination to take more of an ended trace.
    print_limit: Option<Instant>,
    interrupted: bool,
}

impl Supervisor<'_> {
    /// Returns the summary, unless the session was undone.
    fn run(&mut self, time: Option<Duration>, orphans: &mut Orphans) -> Result<Option<Summary>> {
        match self.start() {
            Ok(()) => {
                self.time_limit = time.map(within);
                // A trace that is printed must not wait for that. It is finished at the end of the call as well.
                if self.printer.is_none() {
                    orphans.finish_quietly(self.interrupts);
                }
                self.watch()
            }
            // Nothing waits for this session: its path was not printed, or its command not executed.
            Err(Error::Interrupted) => self.undo().map(|()| None),
            Err(error @ (Error::Output(_) | Error::Command { .. })) => self.undo().and(Err(error)),
            Err(error) => {
                // A hook that cannot start removes what it has created.
                self.is_clean = matches!(error, Error::Hook { .. });
                Err(error)
            }
        }
    }

    /// Waits until the session is recording, and only then prints the path of its trace file, or executes the command.
    fn start(&mut self) -> Result<()> {
        match self.worker.answer(patient(START_LIMIT), self.interrupts)? {
            Answer::Recording => {}
            answer => return Err(self.worker.unexpected(&answer)),
        }
        match &self.printer {
            Some(printer) => printer.output().begin()?,
            None => output::print_path(&self.record.trace_path(), self.interrupts)?,
        }
        self.status.iter_mut().for_each(StatusLine::begin);
        self.command.as_mut().map_or(Ok(()), TracedCommand::execute)
    }

    /// Waits until the worker has ended the session, and until a trace that is printed has been printed.
    fn watch(&mut self) -> Result<Option<Summary>> {
        let mut summary = None;
        loop {
            match summary.take_if(|_| self.printer.is_none()) {
                Some(summary) => return Ok(summary),
                None => self.wait(summary.is_none())?,
            }
            descendants::reap_orphans();
            for interrupt in self.interrupts.take_each() {
                self.on_interrupt(interrupt, summary.is_some());
            }
            self.check_command();
            self.check_time_limit();
            self.check_caller(summary.is_none());
            if summary.is_none() {
                summary = self.next_answer()?;
                self.check_frozen();
            }
            if self.print_limit.is_some_and(|limit| limit <= Instant::now()) {
                self.give_up_printing();
            }
            self.check_progress()?;
            self.advance_printer(summary.is_none())?;
        }
    }

    /// The summary, if the session has ended.
    fn next_answer(&mut self) -> Result<Option<Option<Summary>>> {
        match self.worker.next_answer()? {
            None => Ok(None),
            Some(Answer::Progress { events, lost, has_warnings }) => {
                self.report_progress(events, &lost, has_warnings);
                Ok(None)
            }
            Some(Answer::Ended(summary)) => {
                self.status = None;
                self.ended();
                Ok(Some(summary))
            }
            Some(answer) => Err(self.worker.unexpected(&answer)),
        }
    }

    fn report_progress(&mut self, events: u64, lost: &BTreeMap<u32, u64>, has_warnings: bool) {
        for (cpu, count) in lost {
            output::report(&format!("CPU {cpu} lost {count} events"));
        }
        if let Some(status) = &mut self.status {
            let bytes = self.printer.as_ref().map_or(0, Printer::bytes);
            status.update(events, lost.values().sum(), has_warnings, bytes);
        }
    }

    /// The lines that were taken already count as delivered, so those that were not printed are reported.
    fn give_up_printing(&mut self) {
        let unprinted = self.printer.take().map_or(0, |printer| printer.unprinted_lines());
        if unprinted > 0 {
            output::report(&format!(
                "{unprinted} of the delivered lines were not printed: the output takes no more"
            ));
        }
    }

    fn advance_printer(&mut self, is_recording: bool) -> Result<()> {
        let Some(printer) = &mut self.printer else {
            return Ok(());
        };
        let mut fds = [printer.poll_fd()];
        let is_ready = matches!(poll(&mut fds, PollTimeout::ZERO), Ok(count) if count > 0);
        if is_ready {
            self.extend_print_limit();
        }
        let Some(printer) = &mut self.printer else { return Ok(()) };
        if printer.has_lost_reader() || (is_ready && !printer.advance()?) {
            // End like any filter in a pipeline.
            self.printer = None;
            if is_recording {
                self.discard();
            }
        } else if !is_recording && printer.is_done() {
            self.printer = None;
        }
        Ok(())
    }

    fn wait(&self, is_recording: bool) -> Result<()> {
        let mut fds = vec![PollFd::new(self.interrupts.as_fd(), PollFlags::POLLIN)];
        if is_recording {
            fds.extend(self.worker.poll_fds());
        }
        fds.extend(self.printer.iter().flat_map(|printer| [printer.poll_fd(), printer.reader_fd()]));
        fds.extend(self.command_fd());
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
        let next = [self.time_limit, next_check, self.print_limit].into_iter().flatten();
        timeout_until(next.fold(within(LONGEST_WAIT), Instant::min))
    }
}
