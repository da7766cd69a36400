//! What a hook supplies to a session.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;

use trace_hook_api::{LineBuffer, Result};

/// Where the lines of a [`SourceSession`](crate::SourceSession) come from.
pub trait EventSource: Send {
    /// Whether any traced task is alive. Called every 50 ms while recording.
    ///
    /// # Errors
    ///
    /// The state of the tasks cannot be read.
    fn any_task_alive(&mut self) -> Result<bool>;

    /// Called when a read begins: acknowledge the notifier, if there is one.
    ///
    /// # Errors
    ///
    /// Nothing more can be read.
    fn begin_read(&mut self) -> Result<()> {
        Ok(())
    }

    /// Takes one item and writes its lines, if it has any.
    ///
    /// This is called until the line buffer is full or the time of the read is used up, so one call must take well below a
    /// millisecond.
    ///
    /// # Errors
    ///
    /// Nothing more can be read.
    fn render_next(&mut self, lines: &mut LineBuffer) -> Result<Rendered>;

    /// Called while recording, when all items so far have been rendered and more may follow.
    ///
    /// # Errors
    ///
    /// The lines that are due cannot be made.
    fn pause(&mut self, lines: &mut LineBuffer) -> Result<()> {
        let _ = lines;
        Ok(())
    }

    /// Writes the last lines, as far as the buffer has room. Called when recording has stopped and all items were rendered.
    ///
    /// # Errors
    ///
    /// The last lines cannot be made.
    fn end(&mut self, lines: &mut LineBuffer) -> Result<End> {
        let _ = lines;
        Ok(End::Complete)
    }

    /// Stops recording. Called once. If a part fails, all other parts must still be stopped: what was recorded is rendered in
    /// any case.
    ///
    /// # Errors
    ///
    /// What could not be stopped.
    fn stop(&mut self) -> Result<()>;

    /// The counts so far. Called while recording and after it.
    ///
    /// # Errors
    ///
    /// The counts cannot be read.
    fn counts(&self) -> Result<Counts>;

    /// The CPUs that have lost events since the last call because the spool was full. The item after the gap reports how
    /// many, perhaps much later.
    fn take_losing(&mut self) -> BTreeSet<u32> {
        BTreeSet::new()
    }

    /// A descriptor that polls as readable when there are items, until the next read.
    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Removes everything that the source made in the kernel.
    ///
    /// # Errors
    ///
    /// What could not be removed, and why.
    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What one call of [`EventSource::render_next`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rendered {
    /// An event that [`Counts::recorded`] includes.
    Event,
    /// Something else, such as a gap.
    Other,
    /// Nothing: there is no item.
    Nothing,
    /// The next item cannot be rendered yet.
    Blocked,
}

/// Whether the last lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// All of them.
    Complete,
    /// More lines follow; the buffer is full.
    MoreLines,
}

/// What a source counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// The events that were recorded, including those that were lost.
    pub recorded: u64,
    /// The events that were lost, by CPU.
    pub lost: BTreeMap<u32, u64>,
    /// What is missing and cannot be counted: [`Stats::warnings`](trace_hook_api::Stats::warnings).
    pub warnings: Vec<String>,
}

impl Counts {
    /// `recorded` includes the lost events.
    pub fn new(recorded: u64, lost: BTreeMap<u32, u64>) -> Self {
        Self { recorded, lost, warnings: Vec::new() }
    }

    /// Adds warnings.
    pub fn with_warnings(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// Adds losses to those that are known already; the events of these are among the recorded ones.
    pub fn with_lost(mut self, losses: impl IntoIterator<Item = (u32, u64)>) -> Self {
        for (cpu, events) in losses {
            *self.lost.entry(cpu).or_default() += events;
        }
        self
    }
}
