//! Searches files for the functions that the user selects.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use trace_hook_api::{HookError, Result, did_you_mean};
use trace_symbols::{ElfError, FunctionKind};

use super::binary::Binary;
use super::command_files::CommandFiles;
use super::cpu_time::CpuTimeLimit;
use super::file_search::{FileSearch, FoundFunction, MAX_CPU_TIME, Obstacle, Unreadable};
use super::function_name::display_name;
use super::function_selector::FunctionSelector;
use super::left_out::LeftOut;
use super::probe_target::ProbeTarget;
use super::process_files::{Candidate, ProcessFiles};
use super::quoted::quoted;

/// With this many probes, the kernel takes seconds. The search stops there, because a hostile file can have any number of
/// functions.
pub const MAX_TARGETS: usize = 10_000;

/// How many symbols of one file are kept. Several can be of one function.
const MAX_SYMBOLS: usize = 10 * MAX_TARGETS;

/// How long the symbols of all functions may be together, in bytes. Real ones have some hundred bytes each.
const MAX_SYMBOL_MEMORY: usize = 8 << 20;

/// The functions that were found, by file and offset.
#[derive(Default)]
pub struct Search {
    targets: BTreeMap<((u64, u64), u64), ProbeTarget>,
    /// How long their symbols are together.
    symbols: usize,
}

/// What was found in some files.
#[derive(Default)]
struct Findings {
    found: usize,
    searched: HashSet<(u64, u64)>,
    paths: Vec<PathBuf>,
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

    /// All functions that were found.
    ///
    /// # Errors
    ///
    /// There are more than `limit`. The message says how to select fewer.
    pub fn finish(self, limit: usize) -> Result<Vec<ProbeTarget>> {
        let count = match self.targets.len() {
            count if count > MAX_TARGETS => format!("more than {MAX_TARGETS}"),
            count => count.to_string(),
        };
        let targets: Vec<ProbeTarget> = self.targets.into_values().collect();
        let [first, .., last] = targets.as_slice() else { return Ok(targets) };
        if targets.len() <= limit {
            return Ok(targets);
        }
        let full_name = |target: &ProbeTarget| {
            format!("'{}' in {}", display_name(&target.symbols[0]), target.binary.path.display())
        };
        let advice = match limit {
            MAX_TARGETS => "",
            _ => ", or raise --limit",
        };
        Err(HookError::usage(format!(
            "{count} functions match, from {} to {}, more than the limit of {limit}: select fewer, or one file with \
             BINARY:FUNCTION{advice}",
            full_name(first),
            full_name(last),
        )))
    }

    fn search_files(
        &mut self,
        selector: &Arc<FunctionSelector>,
        files: &ProcessFiles,
        candidates: &[Candidate<'_>],
        findings: &mut Findings,
    ) {
        for candidate in candidates {
            let mut search = |time| self.search_file(selector, files, *candidate, time, findings);
            match candidate {
                Candidate::Mapped(file) => files.search(file, search),
                Candidate::InRootOf(..) => search(files.patient(MAX_CPU_TIME)),
            }
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
        let Some(binary) = files.open(candidate) else { return };
        if !findings.searched.insert(binary.identity) {
            return;
        }
        findings.paths.push(binary.path.clone());
        let selector = Arc::clone(selector);
        let search = move |binary| FileSearch::of(binary, &selector, MAX_SYMBOLS, time);
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
            Some(Unreadable::TooCostly) => {
                files.give_up(candidate, "a part of its symbols, because it has too many");
            }
            None => {}
        }
        let Some(binary) = binary else { return };
        for function in functions {
            if self.symbols + function.symbol.len() > MAX_SYMBOL_MEMORY {
                files.leave_out(&path, "some of its functions, because the names of all are too long");
                return;
            }
            self.add_target(&binary, function, is_go);
        }
    }

    fn add_target(&mut self, binary: &Arc<Binary>, function: FoundFunction, is_in_go_file: bool) {
        if self.targets.len() <= MAX_TARGETS {
            let FoundFunction { offset, symbol, is_label } = function;
            self.symbols += symbol.len();
            let target = || ProbeTarget {
                binary: Arc::clone(binary),
                offset,
                is_in_go_file,
                is_label,
                symbols: Vec::new(),
            };
            let target = self.targets.entry((binary.identity, offset)).or_insert_with(target);
            target.is_label &= is_label;
            target.add_symbol(symbol);
        }
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
        return match &selector.binary {
            Some(pattern) => files.unknown(pattern, unreadable),
            None if unreadable.is_empty() => {
                HookError::new("the traced processes have no program: they are kernel threads, or have ended")
            }
            None => HookError::new(format!("no file can be searched for {text}: {unreadable}")),
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
const MAX_NAMES: usize = 16 << 20;

/// The CPU time for the names of one file.
const MAX_NAMES_TIME: Duration = Duration::from_millis(500);

/// The names of all functions that can be traced.
fn names(candidates: &[Candidate<'_>], files: &ProcessFiles) -> Vec<String> {
    let (mut names, mut length, mut known) = (Vec::new(), 0, HashSet::new());
    for candidate in candidates {
        let Some(binary) = files.open(*candidate).filter(|_| length < MAX_NAMES) else { continue };
        if known.insert(binary.identity) {
            let (room, time) = (MAX_NAMES - length, files.patient(MAX_NAMES_TIME));
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
    let (mut names, mut length, mut time) = (Vec::new(), 0, CpuTimeLimit::of(time));
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
