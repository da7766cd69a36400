//! Searches files for the functions that the user selects.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use trace_hook_api::{HookError, Result, did_you_mean};
use trace_symbols::{ElfError, FunctionKind};
use trace_tasks::Pid;
use tracefs_session::StopFlag;

use super::binary::Binary;
use super::candidate::Candidate;
use super::command_files::CommandFiles;
use super::cpu_time::CpuTimeLimit;
use super::file_search::{FileSearch, FoundFunction, Obstacle, SearchLimits, Unreadable};
use super::function_limit::{Demand, are_of_one_process, within_limit};
use super::function_name::display_name;
use super::function_selector::FunctionSelector;
use super::left_out::LeftOut;
use super::probe_target::ProbeTarget;
use super::process_files::{NotOpened, ProcessFiles};
use super::quoted::quoted;

/// With this many probes, the kernel takes seconds. The search stops there, because a hostile file can have any number of
/// functions.
pub const MAX_TARGETS: usize = 10_000;

/// How many symbols of one file are kept. Several can be of one function.
const MAX_SYMBOLS: usize = 10 * MAX_TARGETS;

/// What the functions in the files of one process may take, and those of all files, in bytes. Real ones have names of some hundred bytes
/// each.
const PROCESS_MEMORY: usize = 4 << 20;
const WHOLE_MEMORY: usize = 16 << 20;

/// The functions that were found, by file.
#[derive(Default)]
pub struct Search {
    files: BTreeMap<(u64, u64), MatchingFile>,
    memory: usize,
    memory_of_processes: HashMap<Pid, usize>,
}

/// A file with matching functions.
struct MatchingFile {
    /// By offset.
    functions: BTreeMap<u64, ProbeTarget>,
    /// The processes that have it.
    processes: Vec<Pid>,
}

/// What was found in some files.
#[derive(Default)]
struct Findings {
    found: usize,
    searched: HashSet<(u64, u64)>,
    paths: Vec<PathBuf>,
    /// Whether a file exists that cannot be opened.
    any_left_out: bool,
    /// A matching function that cannot be traced, and why.
    obstacle: Option<Obstacle>,
    /// Files that cannot be read or have no symbols, and why.
    unreadable: LeftOut,
}

impl Search {
    /// Adds the functions of a selector.
    ///
    /// # Errors
    ///
    /// No function matches.
    pub fn add(&mut self, selector: &Arc<FunctionSelector>, files: &ProcessFiles) -> Result<()> {
        let (candidates, findings) = self.find(selector, files);
        match findings.found {
            0 => Err(not_found(selector, &candidates, files, findings)),
            _ => Ok(()),
        }
    }

    /// Adds the functions of a selector. Returns whether there are any.
    pub fn add_any(&mut self, selector: &Arc<FunctionSelector>, files: &ProcessFiles) -> bool {
        let (_, findings) = self.find(selector, files);
        findings.found > 0
    }

    /// Adds the functions of a selector, which names no path, in the files of a command that is about to be executed. Returns
    /// whether there are any.
    pub fn add_any_of_command(
        &mut self,
        selector: &Arc<FunctionSelector>,
        command: &CommandFiles,
        files: &ProcessFiles,
    ) -> bool {
        let is_wanted = |path: &Path| selector.binary.as_ref().is_none_or(|pattern| pattern.matches(path));
        let mut add = |paths: &[PathBuf]| {
            let wanted = paths.iter().filter(|path| is_wanted(path));
            let candidates: Vec<_> = wanted.map(|path| Candidate::InRootOf(command.process, path)).collect();
            let mut findings = Findings::default();
            self.search_files(selector, files, &candidates, &mut findings);
            findings.found > 0
        };
        let is_in_program = add(slice::from_ref(&command.program));
        // As in running processes, libraries are searched for what the program does not have, or if they are named.
        let is_enough = is_in_program && selector.binary.is_none();
        is_enough || add(&command.libraries) || is_in_program
    }

    /// Adds the functions of a selector. Returns the files in which they were searched for.
    fn find<'a>(
        &mut self,
        selector: &'a Arc<FunctionSelector>,
        files: &'a ProcessFiles,
    ) -> (Vec<Candidate<'a>>, Findings) {
        let mut findings = Findings::default();
        let mut candidates = match &selector.binary {
            Some(pattern) => files.matching(pattern),
            None => files.programs(),
        };
        self.search_files(selector, files, &candidates, &mut findings);
        if findings.found == 0 && selector.binary.is_none() {
            let libraries = files.libraries();
            self.search_files(selector, files, &libraries, &mut findings);
            candidates.extend(libraries);
        }
        (candidates, findings)
    }

    /// All functions that were found. If there are more than `limit`, and in files of several processes, some of these files are left out.
    ///
    /// # Errors
    ///
    /// There are more than `limit`, in files of one process, or in each file. The message says how to select fewer.
    pub fn finish(self, limit: usize, files: &ProcessFiles) -> Result<Vec<ProbeTarget>> {
        let demands: Vec<Demand<'_>> = self.files.values().map(MatchingFile::demand).collect();
        let count: usize = demands.iter().map(|file| file.functions).sum();
        if count <= limit {
            return Ok(self.into_functions().collect());
        }
        let traced = within_limit(&demands, limit);
        if traced.is_empty() || are_of_one_process(&demands) {
            return Err(self.too_many(count, limit));
        }
        let mut matching: Vec<_> = self.files.into_values().map(Some).collect();
        let traced: Vec<_> = traced.into_iter().filter_map(|place| matching[place].take()).collect();
        for file in matching.into_iter().flatten() {
            let (count, advice) = (count_of(file.functions.len()), advice(limit));
            let why = format!(
                "{count} functions match, too many for the limit of {limit} in all files: select fewer{advice}"
            );
            file.functions
                .values()
                .take(1)
                .for_each(|first| files.leave_out(first.binary.path.display(), &why));
        }
        Ok(traced.into_iter().flat_map(|file| file.functions.into_values()).collect())
    }

    fn into_functions(self) -> impl Iterator<Item = ProbeTarget> {
        self.files.into_values().flat_map(|file| file.functions.into_values())
    }

    fn too_many(self, count: usize, limit: usize) -> HookError {
        let all: Vec<ProbeTarget> = self.into_functions().collect();
        let full_name =
            |target: &ProbeTarget| format!("'{}' in {}", target.name(), target.binary.path.display());
        let range = match all.as_slice() {
            [first, .., last] => format!(", from {} to {}", full_name(first), full_name(last)),
            _ => String::new(),
        };
        let (count, advice) = (count_of(count), advice(limit));
        HookError::usage(format!(
            "{count} functions match{range}, more than the limit of {limit}: select fewer, or one file with BINARY:FUNCTION{advice}"
        ))
    }

    fn search_files(
        &mut self,
        selector: &Arc<FunctionSelector>,
        files: &ProcessFiles,
        candidates: &[Candidate<'_>],
        findings: &mut Findings,
    ) {
        for candidate in candidates {
            files.search(*candidate, |time| self.search_file(selector, files, *candidate, time, findings));
        }
    }

    fn search_file(
        &mut self,
        selector: &Arc<FunctionSelector>,
        files: &ProcessFiles,
        candidate: Candidate<'_>,
        time: Duration,
        findings: &mut Findings,
    ) {
        let binary = match files.open(candidate) {
            Ok(binary) => binary,
            Err(reason) => {
                findings.any_left_out |= reason == NotOpened::LeftOut;
                return;
            }
        };
        if !findings.searched.insert(binary.identity) {
            return;
        }
        findings.paths.push(binary.path.clone());
        let selector = Arc::clone(selector);
        let (slow_names_time, stop) = (files.slow_names_time(), files.stop().clone());
        let limits = SearchLimits { symbols: MAX_SYMBOLS, time, slow_names_time, stop };
        let debug_file = files.debug_file_search(candidate);
        let search = move |binary| FileSearch::of(binary, &debug_file, &selector, limits);
        if let Some(search) = files.read(candidate, binary, search) {
            self.add_file(files, candidate, search, findings);
        }
    }

    fn add_file(
        &mut self,
        files: &ProcessFiles,
        candidate: Candidate<'_>,
        search: FileSearch,
        findings: &mut Findings,
    ) {
        let FileSearch { binary, functions, is_go, obstacle, unreadable, .. } = search;
        findings.found += functions.len();
        if let Some(obstacle) = obstacle {
            findings.obstacle = Some(obstacle.more_useful_than(findings.obstacle.take()));
        }
        let path = candidate.path().display();
        match unreadable {
            Some(Unreadable::NoSymbols) => {
                findings.unreadable.add(format_args!("{path} has no symbols (it is stripped)"));
            }
            // Data with code permissions, or a program of another architecture.
            Some(Unreadable::Elf(error @ (ElfError::Malformed | ElfError::ForeignMachine))) => {
                findings.unreadable.add(format_args!("{path}: {error}"));
            }
            Some(Unreadable::Elf(error)) => files.leave_out(&path, error),
            Some(Unreadable::TooManyMatches) => {
                files.leave_out(&path, "some of its functions, because too many match");
            }
            Some(Unreadable::TooSlow) => {
                files.give_up(
                    candidate,
                    "a part of its symbols, because searching all of them takes too long",
                );
            }
            None => {}
        }
        let Some(binary) = binary else { return };
        let processes = candidate.processes();
        for function in functions {
            if !self.has_memory_for(&processes) {
                files.leave_out(&path, "some of its functions, because the names of all are too long");
                return;
            }
            self.add_target(&binary, &processes, function, is_go);
        }
    }

    /// Whether one of these processes has not used up the memory for the functions in its files.
    fn has_memory_for(&self, processes: &[Pid]) -> bool {
        let used = |process: &Pid| self.memory_of_processes.get(process).copied().unwrap_or_default();
        self.memory < WHOLE_MEMORY && processes.iter().any(|process| used(process) < PROCESS_MEMORY)
    }

    fn add_target(
        &mut self,
        binary: &Arc<Binary>,
        processes: &[Pid],
        function: FoundFunction,
        is_in_go_file: bool,
    ) {
        let FoundFunction { offset, symbol, is_label } = function;
        let memory = symbol.len() + size_of::<ProbeTarget>();
        self.memory += memory;
        processes.iter().for_each(|process| *self.memory_of_processes.entry(*process).or_default() += memory);
        let file = || MatchingFile { functions: BTreeMap::new(), processes: processes.to_vec() };
        let file = self.files.entry(binary.identity).or_insert_with(file);
        let target = || ProbeTarget {
            binary: Arc::clone(binary),
            offset,
            is_in_go_file,
            is_label,
            symbols: Vec::new(),
        };
        let target = file.functions.entry(offset).or_insert_with(target);
        target.is_label &= is_label;
        target.add_symbol(symbol);
    }
}

impl MatchingFile {
    fn demand(&self) -> Demand<'_> {
        Demand { functions: self.functions.len(), processes: &self.processes }
    }
}

/// A number of functions, which may not be all.
fn count_of(functions: usize) -> String {
    match functions {
        count if count > MAX_TARGETS => format!("more than {MAX_TARGETS}"),
        count => count.to_string(),
    }
}

fn advice(limit: usize) -> &'static str {
    match limit {
        MAX_TARGETS => "",
        _ => ", or raise --limit",
    }
}

/// The error if nothing was found.
fn not_found(
    selector: &FunctionSelector,
    candidates: &[Candidate<'_>],
    files: &ProcessFiles,
    mut findings: Findings,
) -> HookError {
    let text = quoted(&selector.text);
    findings.unreadable.extend(&files.left_out());
    let unreadable = &findings.unreadable;
    if findings.paths.is_empty() {
        let unsearched = format!("no file can be searched for {text}: {unreadable}");
        return match &selector.binary {
            Some(_) if findings.any_left_out => HookError::usage(unsearched),
            Some(pattern) => files.unknown(pattern, unreadable),
            None if unreadable.is_empty() => {
                HookError::new("the traced processes have no program: they are kernel threads, or have ended")
            }
            None => HookError::new(unsearched),
        };
    }
    if let Some(obstacle) = findings.obstacle {
        return HookError::usage(format!("no function {text} can be traced: {}", obstacle.text));
    }
    if let Some(only) = unreadable.only()
        && (selector.binary.is_some() || findings.paths.len() == 1)
    {
        return HookError::usage(format!("no function {text}: {only}"));
    }
    let hint = did_you_mean(&selector.function.text, &names(candidates, files));
    let paths: Vec<_> = findings.paths.iter().take(3).map(|path| path.to_string_lossy()).collect();
    let more = match findings.paths.len().saturating_sub(paths.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let unreadable = match unreadable.is_empty() {
        true => String::new(),
        false => format!("; {unreadable}"),
    };
    HookError::usage(format!(
        "unknown function {text}: searched {}{more}{unreadable}{hint}",
        paths.join(", ")
    ))
}

/// The memory for names to suggest, in bytes. Few programs have more; a hostile file can have any number.
const MAX_NAMES: usize = 8 << 20;

/// The CPU time for the names of all files, and of one of them.
const MAX_NAMES_TIME: Duration = Duration::from_secs(1);
const MAX_NAMES_TIME_OF_FILE: Duration = Duration::from_millis(500);

/// The names of all functions that can be traced.
fn names(candidates: &[Candidate<'_>], files: &ProcessFiles) -> Vec<String> {
    let (mut names, mut length, mut known) = (Vec::new(), 0, HashSet::new());
    let (began, time) = (files.spent(), files.patient(MAX_NAMES_TIME));
    for candidate in candidates {
        let left = time.saturating_sub(files.spent() - began);
        if length >= MAX_NAMES || left.is_zero() {
            break;
        }
        let Ok(binary) = files.open(*candidate) else { continue };
        if known.insert(binary.identity) {
            let (room, time) = (MAX_NAMES - length, files.patient(MAX_NAMES_TIME_OF_FILE).min(left));
            let of_file = files.read(*candidate, binary, move |binary| names_in(&binary, room, time));
            let (of_file, its_length) = of_file.unwrap_or_default();
            names.extend(of_file);
            length += its_length;
        }
    }
    names
}

/// The names of the functions of a file, and their length together. Both that and the CPU time are limited.
fn names_in(binary: &Binary, room: usize, time: Duration) -> (Vec<String>, usize) {
    let (mut names, mut length, mut time) =
        (Vec::new(), 0, CpuTimeLimit::of(time, time, StopFlag::default()));
    let Ok(elf) = binary.elf() else { return (names, length) };
    // What could be read is enough.
    let _ = elf.visit_functions(|function| {
        if length >= room || time.is_over() {
            return ControlFlow::Break(());
        }
        if function.kind == FunctionKind::Defined {
            let name = display_name(&String::from_utf8_lossy(function.name));
            length += name.len().max(size_of::<String>());
            names.push(name);
        }
        ControlFlow::Continue(())
    });
    (names, length)
}
