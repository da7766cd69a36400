//! `--clear`

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use trace_hook_api::Environment;

use super::Context;
use crate::environment;
use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::patience::{self, patient};
use crate::plugins::KnownPlugin;
use crate::session::orphans::{Orphans, Retry};
use crate::session::record::{Holder, Record};
use crate::session::run_directory::{RunDirectory, SESSION, SUMMARY, TRACE};
use crate::worker::protocol::Answer;
use crate::worker::{Confinement, Orphan, Worker, within};

/// How long living sessions may take to end. One with a slow reader takes as long as its `--drain` allows.
const SESSIONS_LIMIT: Duration = Duration::from_secs(30);
/// How long a plugin may take to reset its sub-system.
const RESET_LIMIT: Duration = Duration::from_secs(5);
/// Between two checks of a session that is ending: the lock of a record cannot be polled.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// Ends all sessions, removes what dead ones left, and resets every trace sub-system.
///
/// Continues after a failure. All failures are reported at the end.
pub fn clear(context: &Context<'_>) -> Result<()> {
    patience::check()?;
    environment::check(&context.environment)?;
    let directory = RunDirectory::find()?;
    let mut failures = Vec::new();
    // Only older trace files are removed: callers of the sessions that end now may still read their unread output.
    let old_traces = directory.as_ref().map(old_traces).transpose()?.unwrap_or_default();
    if let Some(directory) = &directory {
        failures.extend(end_sessions(directory, context.interrupts).err());
    }
    let mut orphans = Orphans::new(&context.environment, context.trust, Retry::All);
    failures.extend(orphans.begin().and_then(|()| orphans.finish(context.interrupts)).err());
    failures.extend(reset_all(context)?);
    failures.extend(old_traces.iter().filter_map(|trace| remove(trace).err()));
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
    let deadline = within(patient(SESSIONS_LIMIT));
    for record in ending {
        failures.extend(wait_for_end(&record, deadline, interrupts).err());
    }
    Error::all(failures)
}

fn ask_to_end(record: Record) -> Result<Record> {
    log::info!("ending session {}", record.session);
    record.signal(Holder::Supervisor, Signal::SIGINT)?;
    // A stopped process (Ctrl-Z) would not handle SIGINT.
    record.signal(Holder::Supervisor, Signal::SIGCONT)?;
    record.signal(Holder::Worker, Signal::SIGCONT)?;
    Ok(record)
}

fn wait_for_end(record: &Record, deadline: Instant, interrupts: &Interrupts) -> Result<()> {
    while !record.is_ended()? {
        if record.is_orphaned()? && Instant::now() > deadline {
            log::info!("the worker of {} does not end, and has no supervisor; killing it", record.session);
            record.signal(Holder::Worker, Signal::SIGKILL)?;
        } else if Instant::now() > deadline {
            return Err(Error::Session {
                session: record.session.clone(),
                problem: format!("did not end within {} s", patient(SESSIONS_LIMIT).as_secs()),
            });
        }
        interrupts.wait(CHECK_INTERVAL)?;
    }
    Ok(())
}

/// Sweeps and resets all plugins in parallel.
fn reset_all(context: &Context<'_>) -> Result<Vec<Error>> {
    let catalog = context.catalog()?;
    let workers: Vec<_> =
        catalog.plugins.iter().map(|plugin| resetter(plugin, &context.environment)).collect();
    let resets = workers.into_iter().map(|worker| worker?.done(patient(RESET_LIMIT), context.interrupts));
    let failures = resets.filter_map(Result::err).collect::<Vec<_>>();
    Ok(catalog.complaints.into_iter().chain(failures).collect())
}

fn resetter(plugin: &KnownPlugin, environment: &Environment) -> Result<Worker> {
    Worker::start(plugin.file.code(), Orphan::Dies, Confinement::Tracing, &[], |plugin, _| {
        let swept = plugin.sweep(environment);
        plugin.reset(environment).and(swept).map(|()| Answer::Done)
    })
}

/// The trace files and summaries of sessions that have ended.
fn old_traces(directory: &RunDirectory) -> Result<Vec<PathBuf>> {
    // A session creates its record first and removes it last, so a trace file without a record belongs to no session.
    let files_of = |kind| Ok(directory.sessions(kind)?.into_iter().map(move |session| (session, kind)));
    let files = files_of(TRACE)?.chain(files_of(SUMMARY)?).collect::<Vec<_>>();
    let sessions = directory.sessions(SESSION)?;
    let old = files.iter().filter(|(session, _)| !sessions.contains(session));
    Ok(old.map(|(session, kind)| directory.file(session, kind)).collect())
}

fn remove(trace: &Path) -> Result<()> {
    match std::fs::remove_file(trace) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", trace)(error)),
        _ => Ok(()),
    }
}
