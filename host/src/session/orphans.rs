//! What dead sessions left, and how it goes.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use trace_hook_api::Environment;

use super::process_identity::ProcessIdentity;
use super::record::{Holder, Record};
use super::run_directory::{RunDirectory, SESSION};
use super::trace_file;
use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::plugins::{PluginFile, Trust};
use crate::worker::protocol::Answer;
use crate::worker::{Confinement, Orphan, Worker, within};

/// How long a plugin may take to remove what its dead sessions left.
const SWEEP_LIMIT: Duration = Duration::from_secs(5);

/// How long a call waits for workers that have lost their supervisors. One with a slow reader may take longer.
const ENDING_LIMIT: Duration = Duration::from_secs(2);
/// How long the kernel may take to close what a killed worker had open.
const DYING_LIMIT: Duration = Duration::from_secs(3);
/// Between two looks at a session that is ending: a record's lock cannot be polled.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The dead sessions of which this process takes care now.
pub struct Orphans {
    environment: Environment,
    trust: Trust,
    /// No worker: the session died before it had anything to remove.
    sweeping: Vec<(Record, Result<Option<Worker>>)>,
    /// They have lost their supervisors, and are just being ended by their workers.
    ending: Vec<Record>,
    /// About single sessions. They do not keep the others from being looked at.
    failures: Vec<Error>,
}

impl Orphans {
    /// Takes over what dead sessions left, and begins to remove it, beside whatever else there is to do.
    ///
    /// # Errors
    ///
    /// The run directory cannot be looked at.
    pub fn begin(environment: &Environment, trust: Trust) -> Result<Self> {
        let mut orphans = Self::none(environment, trust);
        if let Some(directory) = RunDirectory::find()? {
            Record::remove_unfinished(&directory)?;
            for session in directory.sessions(SESSION)? {
                let looked_at = orphans.look_at(&directory, &session);
                orphans.failures.extend(looked_at.err());
            }
        }
        Ok(orphans)
    }

    /// Nothing to take care of.
    pub fn none(environment: &Environment, trust: Trust) -> Self {
        Self {
            environment: environment.clone(),
            trust,
            sweeping: Vec::new(),
            ending: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn look_at(&mut self, directory: &RunDirectory, session: &str) -> Result<()> {
        let Some(record) = Record::open(directory, session)? else { return Ok(()) };
        if record.take_over()? {
            self.sweep(record)?;
        } else if record.is_orphaned()? {
            // It goes on by itself, unless it was stopped.
            if let Err(error) = record.signal(Holder::Worker, Signal::SIGCONT) {
                log::info!("{error}");
            }
            self.ending.push(record);
        }
        Ok(())
    }

    fn sweep(&mut self, record: Record) -> Result<()> {
        trace_file::remove(&record.trace_path())?;
        let sweeper = sweeper_of(&record, self.trust, &self.environment);
        self.sweeping.push((record, sweeper));
        Ok(())
    }

    /// Waits until everything is removed.
    ///
    /// # Errors
    ///
    /// What could not be removed. It is said once; `--clear` tries it again.
    pub fn finish(&mut self, interrupts: &Interrupts) -> Result<()> {
        let mut failures = std::mem::take(&mut self.failures);
        failures.extend(self.wait_for_workers(interrupts).err());
        let deadline = within(SWEEP_LIMIT);
        let removed = self.sweeping.drain(..).map(|(record, worker)| {
            let swept = worker.and_then(|worker| match worker {
                Some(mut worker) => worker.done(deadline, interrupts),
                None => Ok(()),
            });
            match swept {
                // Somebody else will find it.
                Err(Error::Interrupted) => Err(Error::Interrupted),
                swept => record.remove().and(swept),
            }
        });
        failures.extend(removed.filter_map(Result::err));
        Error::all(failures)
    }

    /// Waits for the workers that end their sessions themselves, and takes over from those that die over it.
    fn wait_for_workers(&mut self, interrupts: &Interrupts) -> Result<()> {
        let deadline = within(ENDING_LIMIT);
        for record in std::mem::take(&mut self.ending) {
            while !record.is_ended()? && Instant::now() < deadline {
                interrupts.rest(LOOK_AGAIN)?;
            }
            if record.take_over()? {
                self.sweep(record)?;
            }
        }
        Ok(())
    }

    /// The same for a call that is about something else: what could not be removed is not its failure.
    pub fn finish_quietly(&mut self, interrupts: &Interrupts) {
        if let Err(error) = self.finish(interrupts) {
            log::warn!("something is left of a dead session: {error}");
        }
    }
}

fn sweeper_of(record: &Record, trust: Trust, environment: &Environment) -> Result<Option<Worker>> {
    let Some(plugin) = record.plugin()? else { return Ok(None) };
    sweeper(&PluginFile::open(&plugin, trust)?, environment, record.worker()?).map(Some)
}

/// Removes what a session of this plugin left whose worker did not end it, within `limit`.
///
/// # Errors
///
/// What is left, and why.
pub fn sweep_with(plugin: &PluginFile, environment: &Environment, limit: Duration) -> Result<()> {
    // Nothing stops this: what would be left otherwise is what a signal is not to leave.
    let deaf = Interrupts::none()?;
    sweeper(plugin, environment, None)?.done(within(limit), &deaf)
}

/// `dead` is the worker that has left something.
fn sweeper(plugin: &PluginFile, environment: &Environment, dead: Option<ProcessIdentity>) -> Result<Worker> {
    Worker::start(plugin.code(), Orphan::Dies, Confinement::Tracing, &[], |plugin, _| {
        let deadline = within(DYING_LIMIT);
        while dead.is_some_and(|dead| !dead.is_gone(&environment.procfs)) && Instant::now() < deadline {
            std::thread::sleep(LOOK_AGAIN);
        }
        plugin.sweep(environment).map(|()| Answer::Done)
    })
}
