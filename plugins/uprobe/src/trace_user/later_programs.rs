//! Functions of programs that traced processes begin to run while the session records.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use trace_hook_api::{HookError, Result, log};
use trace_tasks::Pid;
use tracefs::Instance;
use tracefs_session::ProgramObserver;

use super::duplicate_probes::KnownProbes;
use super::enable;
use super::function_selector::FunctionSelector;
use super::probe_set::{Event, Function, ProbeSet};
use super::probe_target::ProbeTarget;
use super::process_files::ProcessFiles;
use super::prototype::Prototype;
use super::search::{MAX_TARGETS, Search};

/// A file with code in the list of a process's mappings, and whether it is the program of the process.
type SearchedFile = (((u32, u32), u64), bool);

/// What the user selects, in any program.
pub struct Choice {
    pub procfs: PathBuf,
    pub selectors: Vec<FunctionSelector>,
    pub prototypes: Vec<Prototype>,
    pub with_returns: bool,
    pub limit: usize,
}

/// Searches new programs and their libraries, and adds probes for what it finds.
pub struct LaterPrograms {
    choice: Choice,
    searched: HashSet<SearchedFile>,
    /// The functions that have probes, by file and offset.
    functions: HashSet<((u64, u64), u64)>,
    known: KnownProbes,
    /// The numbers of functions and events so far.
    count: (usize, usize),
    found: FoundLater,
    /// Whether it was reported that functions are left out.
    is_limit_reported: bool,
}

/// Functions with the events of their probes.
type FoundSet = (Vec<Function>, Vec<Event>);

/// Functions and events on their way to the thread that renders records.
#[derive(Clone, Default)]
pub struct FoundLater {
    sets: Arc<Mutex<Vec<FoundSet>>>,
    any: Arc<AtomicBool>,
}

impl FoundLater {
    fn add(&self, functions: Vec<Function>, events: Vec<Event>) {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner).push((functions, events));
        self.any.store(true, Ordering::Release);
    }

    /// What was found since the last call.
    pub fn take(&self) -> Vec<FoundSet> {
        match self.any.swap(false, Ordering::Acquire) {
            true => std::mem::take(&mut self.sets.lock().unwrap_or_else(PoisonError::into_inner)),
            false => Vec::new(),
        }
    }
}

impl LaterPrograms {
    /// For a session with these probes and `count` functions and events, after these files were searched.
    pub fn new(
        choice: Choice,
        files: &ProcessFiles,
        targets: &[ProbeTarget],
        known: KnownProbes,
        count: (usize, usize),
        found: FoundLater,
    ) -> Self {
        let searched = searched_files(files).collect();
        let functions = targets.iter().map(ProbeTarget::place).collect();
        Self { choice, searched, functions, known, count, found, is_limit_reported: false }
    }

    fn add_probes(&mut self, instance: &Instance, process: Pid) -> Result<()> {
        let files = ProcessFiles::of(vec![process], &self.choice.procfs)?;
        if searched_files(&files).all(|file| self.searched.contains(&file)) {
            return Ok(());
        }
        let targets = self.new_functions(&files)?;
        self.searched.extend(searched_files(&files));
        if targets.is_empty() {
            return Ok(());
        }
        let refused = |error: HookError| log::warn!("a function is not traced: {}", error.message());
        let Choice { prototypes, with_returns, .. } = &self.choice;
        let set = ProbeSet::continuing(self.count, &targets, prototypes, *with_returns, refused);
        let ProbeSet { functions, events, probes, .. } = set;
        let probes = self.known.add(probes, &targets, instance)?;
        self.functions.extend(targets.iter().map(ProbeTarget::place));
        self.count = (self.count.0 + functions.len(), self.count.1 + events.len());
        log::debug!("{} functions of process {process} are traced from now on", functions.len());
        // Before the first record of these events.
        self.found.add(functions, events.clone());
        enable(instance, &probes, &events)
    }

    /// The functions in these files that have no probes yet.
    fn new_functions(&mut self, files: &ProcessFiles) -> Result<Vec<ProbeTarget>> {
        let mut search = Search::default();
        for selector in &self.choice.selectors {
            if let Err(error) = search.add(selector, files) {
                log::debug!("{}", error.message());
            }
        }
        let mut targets = search.finish(MAX_TARGETS)?;
        targets.retain(|target| !self.functions.contains(&target.place()));
        for target in &mut targets {
            if let Some(opened) = self.known.opened(&target.binary) {
                target.binary = Arc::clone(opened);
            }
        }
        self.within_limit(targets)
    }

    fn within_limit(&mut self, mut targets: Vec<ProbeTarget>) -> Result<Vec<ProbeTarget>> {
        let room = self.choice.limit.saturating_sub(self.functions.len());
        if targets.len() > room && !self.is_limit_reported {
            self.is_limit_reported = true;
            log::warn!(
                "functions of programs that were started later are not traced: there are more than the limit of {}; select fewer, \
                 or raise --limit",
                self.choice.limit
            );
        }
        targets.truncate(room);
        Ok(targets)
    }
}

impl ProgramObserver for LaterPrograms {
    fn observe(&mut self, instance: &Instance, processes: &[Pid]) {
        for process in processes {
            if let Err(error) = self.add_probes(instance, *process) {
                log::warn!("functions of process {process} are not traced: {}", error.message());
            }
        }
    }
}

fn searched_files(files: &ProcessFiles) -> impl Iterator<Item = SearchedFile> + '_ {
    files.mapped().iter().map(|file| (file.identity, file.is_program))
}
