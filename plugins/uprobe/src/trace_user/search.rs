//! Searches files for the functions that the user selects.

use std::collections::BTreeMap;
use std::sync::Arc;

use trace_hook_api::{HookError, Result, did_you_mean, log};
use trace_symbols::{ElfError, ElfFile, Function, FunctionKind};

use super::binary::Binary;
use super::function_name::display_name;
use super::function_selector::FunctionSelector;
use super::instruction::can_be_probed;
use super::probe_target::ProbeTarget;
use super::process_files::ProcessFiles;
use super::quoted::quoted;

/// With this many probes, the kernel takes seconds. The search stops there, because a hostile file can have any number of
/// functions.
pub const MAX_TARGETS: usize = 10_000;

/// The functions that were found, by file and offset.
#[derive(Default)]
pub struct Search {
    targets: BTreeMap<((u64, u64), u64), ProbeTarget>,
}

/// What was found in some files.
#[derive(Default)]
struct Findings {
    found: usize,
    /// A matching function that cannot be traced, and why.
    obstacle: Option<String>,
    /// Files that cannot be read or have no symbols, and why.
    unreadable: Vec<String>,
}

impl Search {
    /// Adds the functions of a selector.
    ///
    /// # Errors
    ///
    /// No function matches.
    pub fn add(&mut self, selector: &FunctionSelector, files: &ProcessFiles) -> Result<()> {
        let binaries = match &selector.binary {
            Some(pattern) => files.matching(pattern)?,
            None => files.programs()?,
        };
        let mut findings = self.search_files(selector, &binaries);
        if findings.found > 0 {
            return Ok(());
        }
        let mut searched = binaries;
        if selector.binary.is_none() {
            let libraries = files.libraries()?;
            let among_libraries = self.search_files(selector, &libraries);
            if among_libraries.found > 0 {
                return Ok(());
            }
            findings.obstacle = among_libraries.obstacle.or(findings.obstacle);
            searched.extend(libraries);
        }
        Err(not_found(selector, &searched, findings))
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

    fn search_files(&mut self, selector: &FunctionSelector, binaries: &[Arc<Binary>]) -> Findings {
        let mut findings = Findings::default();
        for binary in binaries {
            match self.search_file(selector, binary, &mut findings) {
                Ok(0) => findings
                    .unreadable
                    .push(format!("{} has no symbols (it is stripped)", binary.path.display())),
                Ok(_) => {}
                Err(error) => findings.unreadable.push(format!("{}: {error}", binary.path.display())),
            }
        }
        findings
    }

    /// Returns how many functions the file defines.
    fn search_file(
        &mut self,
        selector: &FunctionSelector,
        binary: &Arc<Binary>,
        findings: &mut Findings,
    ) -> Result<usize, ElfError> {
        let elf = binary.elf()?;
        let mut count = 0;
        elf.visit_functions(|function| {
            count += usize::from(function.kind != FunctionKind::Imported);
            let symbol = String::from_utf8_lossy(function.name);
            if selector.function.matches(&symbol) {
                match probe_offset(&elf, &function, &symbol) {
                    Ok(offset) => {
                        findings.found += 1;
                        self.add_target(binary, offset, elf.is_go(), symbol.into_owned());
                    }
                    Err(obstacle) => findings.note_obstacle(binary, &function, &symbol, obstacle),
                }
            }
        })?;
        Ok(count)
    }

    fn add_target(&mut self, binary: &Arc<Binary>, offset: u64, is_in_go_file: bool, symbol: String) {
        if self.targets.len() <= MAX_TARGETS {
            let target =
                || ProbeTarget { binary: Arc::clone(binary), offset, is_in_go_file, symbols: Vec::new() };
            self.targets.entry((binary.identity, offset)).or_insert_with(target).add_symbol(symbol);
        }
    }
}

/// The place in the file where a function can be probed, or why it cannot.
fn probe_offset(elf: &ElfFile<'_>, function: &Function<'_>, symbol: &str) -> Result<u64, &'static str> {
    match function.kind {
        FunctionKind::Imported => return Err("is only imported there; it is defined in another file"),
        FunctionKind::Indirect => {
            return Err(
                "is an indirect function (IFUNC): when the program is loaded it selects the function to \
                        call; trace that one",
            );
        }
        FunctionKind::Defined => {}
    }
    let offset = elf.file_offset(function.address).ok_or("is not in the file")?;
    if is_cold_part(symbol) {
        return Err("is the cold part of a function, which is jumped to, not called");
    }
    match can_be_probed(&elf.instruction_at(offset)) {
        true => Ok(offset),
        false => Err("begins with an instruction at which the kernel cannot put a probe"),
    }
}

impl Findings {
    fn note_obstacle(&mut self, binary: &Binary, function: &Function<'_>, symbol: &str, obstacle: &str) {
        let obstacle = format!("'{}' in {} {obstacle}", display_name(symbol), binary.path.display());
        log::debug!("not traced: {obstacle}");
        // An import is the least useful of the reasons.
        match function.kind {
            FunctionKind::Imported => _ = self.obstacle.get_or_insert(obstacle),
            FunctionKind::Defined | FunctionKind::Indirect => self.obstacle = Some(obstacle),
        }
    }
}

/// Whether this is the symbol that compilers make for the rarely used part of a function (`f.cold`, or with a number). It is
/// jumped to, not called: a probe would record a call that did not happen, and where a return probe expects the return address there
/// are local variables, which the kernel would overwrite.
fn is_cold_part(symbol: &str) -> bool {
    let is_number = |rest: &str| rest.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit());
    symbol.split_once(".cold").is_some_and(|(_, rest)| is_number(rest))
}

/// The error if nothing was found.
fn not_found(selector: &FunctionSelector, searched: &[Arc<Binary>], findings: Findings) -> HookError {
    let text = quoted(&selector.text);
    if searched.is_empty() {
        return HookError::new(
            "the traced processes have no program (they are kernel threads, or have ended), or it cannot be opened, which needs \
             CAP_SYS_ADMIN",
        );
    }
    if let Some(obstacle) = findings.obstacle {
        return HookError::usage(format!("no function {text} can be traced: {obstacle}"));
    }
    if let [only] = findings.unreadable.as_slice()
        && (selector.binary.is_some() || searched.len() == 1)
    {
        return HookError::usage(format!("no function {text}: {only}"));
    }
    let hint = did_you_mean(&selector.function.text, &names(searched));
    let paths: Vec<_> = searched.iter().take(3).map(|binary| binary.path.to_string_lossy()).collect();
    let more = match searched.len().saturating_sub(paths.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let unreadable = match findings.unreadable.is_empty() {
        true => String::new(),
        false => format!("; {}", findings.unreadable.join(", ")),
    };
    HookError::usage(format!(
        "unknown function {text}: searched {}{more}{unreadable}{hint}",
        paths.join(", ")
    ))
}

/// The memory for names to suggest, in bytes. Real programs have less; a hostile file can have any number.
const MAX_NAMES: usize = 64 << 20;

/// The names of all functions that can be traced.
fn names(binaries: &[Arc<Binary>]) -> Vec<String> {
    let (mut names, mut length) = (Vec::new(), 0);
    for binary in binaries {
        let Ok(elf) = binary.elf() else { continue };
        let visited = elf.visit_functions(|function| {
            if function.kind == FunctionKind::Defined && length < MAX_NAMES {
                let name = display_name(&String::from_utf8_lossy(function.name));
                length += name.len().max(size_of::<String>());
                names.push(name);
            }
        });
        visited.unwrap_or_else(|error| log::debug!("{}: {error}", binary.path.display()));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cold_parts_are_distinguished_from_functions() {
        assert!(["f.cold", "f.cold.12", "f.part.0.cold", "_ZN2ns1fEv.cold"].into_iter().all(is_cold_part));
        assert!(
            !["f", "f.part.0", "f.colder", "cold", "main.coldStart", "f.12"].into_iter().any(is_cold_part)
        );
    }
}
