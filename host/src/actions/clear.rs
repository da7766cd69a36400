//! `--clear`

use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use std::os::fd::AsFd;
use trace_hook_api::Environment;

use super::Context;
use crate::environment;
use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::plugins::KnownPlugin;
use crate::session::orphans::Orphans;
use crate::session::record::Record;
use crate::session::run_directory::{RunDirectory, SESSION, TRACE};
use crate::worker::{Answer, Confinement, Orphan, Worker, within};

/// How long living sessions may take to end. One with a slow reader takes as long as its `--drain` allows.
const SESSIONS_LIMIT: Duration = Duration::from_secs(30);
/// How long a plugin may take to reset its sub-system.
const RESET_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at a session that is ending: a record's lock cannot be polled.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Ends all sessions, removes what dead ones left, and resets every trace sub-system.
///
/// One failure does not keep the rest from being done.
pub fn clear(context: &Context<'_>) -> Result<()> {
    environment::check(&context.environment)?;
    let directory = RunDirectory::find()?;
    let mut failures = Vec::new();
    if let Some(directory) = &directory {
        failures.extend(end_sessions(directory, context.interrupts).err());
    }
    let orphans = Orphans::begin(&context.environment);
    failures.extend(orphans.and_then(|mut orphans| orphans.finish(context.interrupts)).err());
    failures.extend(reset_all(context)?);
    if let Some(directory) = &directory {
        failures.extend(remove_traces(directory).err());
    }
    Error::all(failures)
}

/// Ends the living sessions, as SIGINT would, and waits for them.
fn end_sessions(directory: &RunDirectory, interrupts: &Interrupts) -> Result<()> {
    let mut failures = Vec::new();
    let mut ending = Vec::new();
    for session in directory.sessions(SESSION)? {
        match Record::open(directory, &session).and_then(|record| record.map(ask_to_end).transpose()) {
            Ok(record) => ending.extend(record),
            Err(error) => failures.push(error),
        }
    }
    let deadline = within(SESSIONS_LIMIT);
    for record in ending {
        failures.extend(wait_for_end(&record, deadline, interrupts).err());
    }
    Error::all(failures)
}

fn ask_to_end(record: Record) -> Result<Record> {
    if let Some(supervisor) = record.supervisor()? {
        log::info!("ending session {} of process {supervisor}", record.session);
        // The kernel has just named this process as the holder of the lock. If it has ended since, so has its session.
        let _ = kill(supervisor, Signal::SIGINT);
    }
    Ok(record)
}

fn wait_for_end(record: &Record, deadline: Instant, interrupts: &Interrupts) -> Result<()> {
    while !record.is_ended()? {
        if Instant::now() > deadline {
            return Err(Error::Session {
                session: record.session.clone(),
                problem: format!("did not end within {} s", SESSIONS_LIMIT.as_secs()),
            });
        }
        let mut fds = [PollFd::new(interrupts.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(LOOK_AGAIN).unwrap_or(PollTimeout::ZERO);
        if matches!(poll(&mut fds, timeout), Ok(count) if count > 0) {
            return Err(Error::Interrupted);
        }
    }
    Ok(())
}

/// Lets every plugin sweep and reset, all at the same time.
fn reset_all(context: &Context<'_>) -> Result<Vec<Error>> {
    let catalog = context.catalog()?;
    let deadline = within(RESET_LIMIT);
    let workers: Vec<_> =
        catalog.plugins.iter().map(|plugin| resetter(plugin, &context.environment)).collect();
    let resets = workers.into_iter().map(|worker| worker?.answer(deadline, context.interrupts).map(drop));
    let failures = resets.filter_map(Result::err).collect::<Vec<_>>();
    Ok(catalog.complaints.into_iter().chain(failures).collect())
}

fn resetter(plugin: &KnownPlugin, environment: &Environment) -> Result<Worker> {
    Worker::start(
        &plugin.file,
        "reset the trace sub-system",
        Orphan::Dies,
        Confinement::Tracing,
        &[],
        |plugin, _| {
            let swept = plugin.sweep(environment);
            plugin.reset(environment).and(swept).map(|()| Answer::Done)
        },
    )
}

/// Removes the trace files of sessions that ended.
fn remove_traces(directory: &RunDirectory) -> Result<()> {
    // A session makes its record first and removes it last, so a trace file without a record is nobody's any more.
    let traces = directory.sessions(TRACE)?;
    let sessions = directory.sessions(SESSION)?;
    let removed = traces.iter().filter(|trace| !sessions.contains(trace)).map(|trace| {
        let path = directory.file(trace, TRACE);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    });
    Error::all(removed.filter_map(Result::err).collect())
}
