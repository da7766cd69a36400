//! The functions with probes, to which those of programs are added that traced processes begin to run while the session
//! records.

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use trace_hook_api::{Environment, Result, log};
use trace_tasks::{BlockingCalls, Pid};
use tracefs::Instance;
use tracefs_session::{ProgramObserver, StopFlag};

use super::duplicate_probes::KnownProbes;
use super::enabling::enable;
use super::found_functions::FoundFunctions;
use super::function_selector::FunctionSelector;
use super::left_out::LeftOut;
use super::mapped_files::FileIdentity;
use super::pace::Pace;
use super::probe_set::ProbeSet;
use super::probe_target::ProbeTarget;
use super::process_files::{Postponed, ProcessFiles, blocking_calls};
use super::prototype::Prototype;
use super::search::{MAX_TARGETS, Search};

/// How many files and functions are named that are left out. Hostile processes can run any number of programs.
const MAX_NAMED: usize = 50;

/// What the user selects, in any program.
pub struct Choice {
    pub environment: Environment,
    pub selectors: Vec<Arc<FunctionSelector>>,
    pub prototypes: Vec<Prototype>,
    pub with_returns: bool,
    pub limit: usize,
}

/// Searches new programs and their libraries, and adds probes for what it finds.
pub struct LaterPrograms {
    choice: Choice,
    calls: Arc<Mutex<BlockingCalls>>,
    /// Files that take too long to be searched before the session records.
    postponed: Postponed,
    searched: HashSet<FileIdentity>,
    /// The functions that have probes or were refused, by file and offset.
    functions: HashSet<((u64, u64), u64)>,
    known: KnownProbes,
    /// The numbers of functions and events so far.
    count: (usize, usize),
    found: FoundFunctions,
    /// What was reported as left out.
    named: HashSet<String>,
}

impl LaterPrograms {
    /// After these files were searched.
    pub fn new(choice: Choice, files: &ProcessFiles, found: FoundFunctions) -> Self {
        Self {
            calls: blocking_calls(&choice.environment, Pace::Thorough),
            choice,
            postponed: files.postponed(),
            searched: files.searched().collect(),
            functions: HashSet::new(),
            known: KnownProbes::default(),
            count: (0, 0),
            found,
            named: HashSet::new(),
        }
    }

    /// Puts probes in place. Returns the functions that are left out.
    ///
    /// # Errors
    ///
    /// The kernel refuses a definition, or all probes.
    pub fn add_probes(
        &mut self,
        instance: &Instance,
        targets: &[ProbeTarget],
        set: ProbeSet,
    ) -> Result<LeftOut> {
        let ProbeSet { functions, events, probes, .. } = set;
        self.functions.extend(targets.iter().map(ProbeTarget::place));
        self.count = (self.count.0 + functions.len(), self.count.1 + events.len());
        let probes = self.known.add(probes, targets, instance);
        self.found.add_functions(functions);
        enable(instance, probes, events, targets, |event| self.found.add_event(event.clone()))
    }

    /// Notes that this was reported.
    pub fn are_reported(&mut self, left_out: &LeftOut) {
        _ = left_out.not_in(&mut self.named);
    }

    fn search(
        &mut self,
        instance: &Instance,
        process: Pid,
        stop: &StopFlag,
        left_out: &mut LeftOut,
    ) -> Result<()> {
        let calls = Arc::clone(&self.calls);
        calls.lock().unwrap_or_else(PoisonError::into_inner).begin_again();
        let environment = &self.choice.environment;
        let files = ProcessFiles::of(vec![process], environment, calls, Pace::Thorough, stop.clone())?;
        let is_known = files.searched().all(|file| self.searched.contains(&file));
        let targets = if is_known { Vec::new() } else { self.new_functions(&files, left_out)? };
        left_out.extend(&files.left_out());
        if targets.is_empty() {
            return Ok(());
        }
        let Choice { prototypes, with_returns, .. } = &self.choice;
        let refused = |reason| left_out.add(reason);
        let set = ProbeSet::continuing(self.count, &targets, prototypes, *with_returns, refused);
        log::debug!("{} functions of process {process} are traced from now on", set.functions.len());
        left_out.extend(&self.add_probes(instance, &targets, set)?);
        Ok(())
    }

    /// The functions in these files that have no probes yet.
    fn new_functions(&mut self, files: &ProcessFiles, left_out: &mut LeftOut) -> Result<Vec<ProbeTarget>> {
        let mut search = Search::default();
        self.choice.selectors.iter().for_each(|selector| _ = search.add_any(selector, files));
        self.searched.extend(files.searched());
        let mut targets = search.finish(MAX_TARGETS, files)?;
        targets.retain(|target| !self.functions.contains(&target.place()));
        for target in &mut targets {
            if let Some(opened) = self.known.opened(&target.binary) {
                target.binary = Arc::clone(opened);
            }
        }
        // Half of it, so that no program uses it up for those after it.
        let room = self.choice.limit.saturating_sub(self.functions.len()).div_ceil(2);
        if targets.len() > room {
            left_out.add(format_args!(
                "{} functions of {}: a program that is started later may have half of the functions that are left of the limit of \
                 {}; select fewer, or raise --limit",
                targets.len() - room,
                targets[0].binary.path.display(),
                self.choice.limit
            ));
            targets.truncate(room);
        }
        Ok(targets)
    }

    /// Reports what is left out, each file and function once.
    fn report(&mut self, left_out: &LeftOut) {
        if self.named.len() >= MAX_NAMED {
            return;
        }
        let new = left_out.not_in(&mut self.named);
        if !new.is_empty() {
            log::warn!("left out: {new}");
        }
        if self.named.len() >= MAX_NAMED {
            log::warn!("what else is left out of programs that are started later is not named");
        }
    }
}

impl ProgramObserver for LaterPrograms {
    fn overdue(&self) -> Vec<Pid> {
        self.postponed.processes.iter().copied().collect()
    }

    fn observe(&mut self, instance: &Instance, process: Pid, stop: &StopFlag) {
        let mut left_out = LeftOut::default();
        if let Err(error) = self.search(instance, process, stop, &mut left_out) {
            left_out.add(format_args!("functions of process {process}: {}", error.message()));
        }
        // What was given up for the stop is not missing, unless it was postponed.
        if !stop.is_set() {
            self.postponed.processes.remove(&process);
            self.report(&left_out);
        }
    }

    fn stopped(&mut self) {
        if !self.postponed.processes.is_empty() {
            let left_out = mem::take(&mut self.postponed.reasons);
            self.report(&left_out);
        }
    }
}
