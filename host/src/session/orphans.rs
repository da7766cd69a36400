//! What dead sessions left, and how it goes.

use std::path::PathBuf;
use std::time::Duration;

use trace_hook_api::Environment;

use super::record::Record;
use super::run_directory::{RunDirectory, SESSION};
use super::trace_file;
use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::plugins::PluginFile;
use crate::worker::{Answer, Confinement, Orphan, Worker, within};

/// How long a plugin may take to remove what its dead sessions left.
const SWEEP_LIMIT: Duration = Duration::from_secs(10);

/// The dead sessions of which this process takes care now.
pub struct Orphans {
    /// No worker: the session died before it had anything to remove.
    sweeping: Vec<(Record, Result<Option<Worker>>)>,
}

impl Orphans {
    /// Takes over what dead sessions left, and begins to remove it, beside whatever else there is to do.
    ///
    /// # Errors
    ///
    /// The run directory cannot be looked at.
    pub fn begin(environment: &Environment) -> Result<Self> {
        let mut sweeping = Vec::new();
        if let Some(directory) = RunDirectory::find()? {
            Record::remove_unfinished(&directory)?;
            for session in directory.sessions(SESSION)? {
                if let Some(mut record) = dead(&directory, &session)? {
                    trace_file::remove(&record.trace_path())?;
                    let worker = record.plugin().and_then(|path| sweeper_of(path, environment));
                    sweeping.push((record, worker));
                }
            }
        }
        Ok(Self { sweeping })
    }

    /// Nothing to take care of.
    pub fn none() -> Self {
        Self { sweeping: Vec::new() }
    }

    /// Waits until everything is removed.
    ///
    /// # Errors
    ///
    /// What could not be removed. It is said once; `--clear` tries it again.
    pub fn finish(&mut self, interrupts: &Interrupts) -> Result<()> {
        let deadline = within(SWEEP_LIMIT);
        let removed = self.sweeping.drain(..).map(|(record, worker)| {
            let swept = worker.and_then(|worker| match worker {
                Some(mut worker) => worker.answer(deadline, interrupts).map(drop),
                None => Ok(()),
            });
            match swept {
                // Somebody else will find it.
                Err(Error::Interrupted) => Err(Error::Interrupted),
                swept => record.remove().and(swept),
            }
        });
        Error::all(removed.filter_map(Result::err).collect())
    }

    /// The same for a call that is about something else: what could not be removed is not its failure.
    pub fn finish_quietly(&mut self, interrupts: &Interrupts) {
        if let Err(error) = self.finish(interrupts) {
            log::warn!("something is left of a dead session: {error}");
        }
    }
}

fn sweeper_of(plugin: Option<PathBuf>, environment: &Environment) -> Result<Option<Worker>> {
    plugin.map(|path| sweeper(&PluginFile::open(&path)?, environment)).transpose()
}

/// The record of the session, if it is dead and nobody else takes care of it.
fn dead(directory: &RunDirectory, session: &str) -> Result<Option<Record>> {
    match Record::open(directory, session)? {
        Some(record) => Ok(record.take_over()?.then_some(record)),
        None => Ok(None),
    }
}

/// Removes what a session of this plugin left whose worker did not end it.
///
/// # Errors
///
/// What is left, and why.
pub fn sweep_with(plugin: &PluginFile, environment: &Environment) -> Result<()> {
    // Nothing stops this: what would be left otherwise is what a signal is not to leave.
    let deaf = Interrupts::none()?;
    sweeper(plugin, environment)?.answer(within(SWEEP_LIMIT), &deaf).map(drop)
}

fn sweeper(plugin: &PluginFile, environment: &Environment) -> Result<Worker> {
    Worker::start(
        plugin,
        "remove what a dead session left",
        Orphan::Dies,
        Confinement::Tracing,
        &[],
        |plugin, _| plugin.sweep(environment).map(|()| Answer::Done),
    )
}
