//! Removes what dead sessions left.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use trace_hook_api::{Environment, HookError};

use super::process_identity::ProcessIdentity;
use super::record::{Holder, Record};
use super::run_directory::{RunDirectory, SESSION};
use super::trace_file;
use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::patience::patient;
use crate::plugins::{PluginFile, Trust};
use crate::worker::protocol::Answer;
use crate::worker::{Confinement, Orphan, Worker, within};

/// How long a plugin may take to remove what its dead sessions left.
const SWEEP_LIMIT: Duration = Duration::from_secs(5);
/// The same for a session that has just failed, while its caller waits.
const OWN_SWEEP_LIMIT: Duration = Duration::from_millis(1500);
/// After a sweep that failed, calls that are about something else do not sweep again for this long.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(60);
/// How long a call waits for workers that have lost their supervisors. One with a slow reader may take longer.
const ENDING_LIMIT: Duration = Duration::from_secs(2);
/// How long the kernel may take to close the files of a killed worker.
const DYING_LIMIT: Duration = Duration::from_secs(3);
/// Between two checks of a session that is ending: the lock of a record cannot be polled.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// Dead sessions that this process sweeps.
pub struct Orphans {
    environment: Environment,
    trust: Trust,
    retry: Retry,
    sweeping: Vec<Sweep>,
    /// Sessions that have lost their supervisors, and are being ended by their workers.
    ending: Vec<Record>,
    /// Failures of single sessions. The other sessions are swept regardless.
    failures: Vec<Error>,
}

/// The sweep after one dead session. Its record is removed only after a successful sweep.
struct Sweep {
    record: Record,
    /// `None`: the session died before it had created anything.
    worker: Result<Option<Worker>>,
}

/// What to do about sessions whose sweep has failed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Sweep again now.
    All,
    /// Sweep again once some time has passed.
    Later,
}

impl Orphans {
    /// Creates an empty list. [`Self::begin`] searches for dead sessions.
    pub fn new(environment: &Environment, trust: Trust, retry: Retry) -> Self {
        Self {
            environment: environment.clone(),
            trust,
            retry,
            sweeping: Vec::new(),
            ending: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Takes over dead sessions and starts to sweep them, in parallel with the other work of the call.
    ///
    /// # Errors
    ///
    /// The run directory cannot be read.
    pub fn begin(&mut self) -> Result<()> {
        if let Some(directory) = RunDirectory::find()? {
            Record::remove_unfinished(&directory)?;
            for session in directory.sessions(SESSION)? {
                let checked = self.check(&directory, &session);
                self.failures.extend(checked.err());
            }
        }
        Ok(())
    }

    /// The same for calls with another purpose: they do not fail because of dead sessions.
    pub fn begin_quietly(&mut self) {
        if let Err(error) = self.begin() {
            log::warn!("cannot search for dead sessions: {error}");
        }
    }

    fn check(&mut self, directory: &RunDirectory, session: &str) -> Result<()> {
        let Some(record) = Record::open(directory, session)? else { return Ok(()) };
        // First, as it is cheap: with hundreds of sessions this is most of what a start does in the run directory.
        if record.has_supervisor()? {
            return Ok(());
        }
        if record.take_over()? {
            if self.retry == Retry::All || !record.is_unswept_since(PAUSE_AFTER_FAILURE)? {
                self.sweep(record)?;
            }
        } else {
            // Its worker ends it, or is just dying. A stopped worker cannot.
            if let Err(error) = record.signal(Holder::Worker, Signal::SIGCONT) {
                log::info!("{error}");
            }
            self.ending.push(record);
        }
        Ok(())
    }

    fn sweep(&mut self, record: Record) -> Result<()> {
        trace_file::remove(&record.trace_path())?;
        let worker = sweeper_of(&record, self.trust, &self.environment);
        if worker.is_err() && names_no_plugin(&record) {
            // There is no plugin that could sweep. This is reported once.
            record.remove()?;
        }
        self.sweeping.push(Sweep { record, worker });
        Ok(())
    }

    /// Waits until everything is removed.
    ///
    /// # Errors
    ///
    /// A sweep failed. A later call tries it again.
    pub fn finish(&mut self, interrupts: &Interrupts) -> Result<()> {
        let mut failures = std::mem::take(&mut self.failures);
        failures.extend(self.wait_for_workers(interrupts).err());
        let swept = self.sweeping.drain(..).map(|sweep| sweep.finish(interrupts));
        failures.extend(swept.filter_map(Result::err));
        Error::all(failures)
    }

    /// Waits for the workers that end their sessions themselves, and takes over from those that die meanwhile.
    fn wait_for_workers(&mut self, interrupts: &Interrupts) -> Result<()> {
        let deadline = within(patient(ENDING_LIMIT));
        for record in std::mem::take(&mut self.ending) {
            while !record.is_ended()? && Instant::now() < deadline {
                interrupts.wait(CHECK_INTERVAL)?;
            }
            if record.take_over()? {
                self.sweep(record)?;
            }
        }
        Ok(())
    }

    /// The same for calls with another purpose: they do not fail if the sweep fails.
    pub fn finish_quietly(&mut self, interrupts: &Interrupts) {
        if let Err(error) = self.finish(interrupts) {
            log::warn!("cannot remove what a dead session left: {error}");
        }
    }
}

impl Sweep {
    fn finish(self, interrupts: &Interrupts) -> Result<()> {
        let swept = self.worker.and_then(|worker| match worker {
            Some(mut worker) => worker.done(patient(SWEEP_LIMIT), interrupts),
            None => Ok(()),
        });
        match swept {
            Ok(()) => self.record.remove(),
            // The next call finds the record unchanged.
            Err(Error::Interrupted) => Err(Error::Interrupted),
            Err(error) => {
                if let Err(error) = self.record.mark_unswept() {
                    log::warn!("{error}");
                }
                Err(error)
            }
        }
    }
}

/// Returns whether the plugin of the record does not exist, or the file is not a record.
fn names_no_plugin(record: &Record) -> bool {
    match record.plugin() {
        Ok(plugin) => plugin.is_none_or(|plugin| matches!(plugin.try_exists(), Ok(false))),
        Err(_) => true,
    }
}

fn sweeper_of(record: &Record, trust: Trust, environment: &Environment) -> Result<Option<Worker>> {
    let Some(plugin) = record.plugin()? else { return Ok(None) };
    sweeper(&PluginFile::open(&plugin, trust)?, environment, record.worker()?).map(Some)
}

/// Sweeps a session of this plugin that its worker did not end.
///
/// # Errors
///
/// The sweep failed. The message names what is left.
pub fn sweep_with(plugin: &PluginFile, environment: &Environment) -> Result<()> {
    // A signal must not keep this from being removed.
    let uninterrupted = Interrupts::none()?;
    sweeper(plugin, environment, None)?.done(patient(OWN_SWEEP_LIMIT), &uninterrupted)
}

/// `dead` is the worker of the session that is swept.
fn sweeper(plugin: &PluginFile, environment: &Environment, dead: Option<ProcessIdentity>) -> Result<Worker> {
    Worker::start(plugin.code(), Orphan::Dies, Confinement::Tracing, &[], |plugin, _| {
        let deadline = within(patient(DYING_LIMIT));
        while dead.is_some_and(|dead| !dead.is_gone(&environment.procfs)) && Instant::now() < deadline {
            std::thread::sleep(CHECK_INTERVAL);
        }
        // What it still holds looks like that of a living session, and would be left.
        if dead.is_some_and(|dead| !dead.is_gone(&environment.procfs)) {
            return Err(HookError::new(
                "the killed worker of the session has not ended yet; call --clear again",
            ));
        }
        plugin.sweep(environment).map(|()| Answer::Done)
    })
}
