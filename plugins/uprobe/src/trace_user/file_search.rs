//! The functions of one file that a selector selects. This is what runs in a thread.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use trace_hook_api::log;
use trace_symbols::{ElfError, ElfFile, Function, FunctionKind};
use tracefs_session::StopFlag;

use super::binary::{self, Binary};
use super::cpu_time::CpuTimeLimit;
use super::debug_file::DebugFileSearch;
use super::function_name::display_name;
use super::function_selector::{Closeness, FunctionSelector};
use super::instruction::can_be_probed;

/// How many bytes of matching names are kept of one file.
const MAX_NAMES: usize = 8 << 20;

/// What was found in a file.
pub struct FileSearch {
    /// The file, if it has functions to trace. Otherwise it is closed.
    pub binary: Option<Arc<Binary>>,
    /// Those that match closest.
    pub functions: Vec<FoundFunction>,
    closeness: Closeness,
    /// How long their symbols are together, in bytes.
    length: usize,
    /// Whether the Go toolchain made the file.
    pub is_go: bool,
    /// A matching function that cannot be traced, and why.
    pub obstacle: Option<Obstacle>,
    /// Why nothing, or not all, of it could be searched.
    pub unreadable: Option<Unreadable>,
}

/// What a search may take.
pub struct SearchLimits {
    /// How many symbols are kept.
    pub symbols: usize,
    pub time: Duration,
    /// The part of it for names that are slow to demangle.
    pub slow_names_time: Duration,
    /// The search is given up when the session stops.
    pub stop: StopFlag,
}

/// A function to trace.
pub struct FoundFunction {
    /// Where in the file it begins.
    pub offset: u64,
    pub symbol: String,
    /// Whether it is a label of assembly, which may be jumped to instead of called.
    pub is_label: bool,
}

/// Why a matching function cannot be traced.
pub struct Obstacle {
    pub text: String,
    /// The function is in another file. That is the least useful of the reasons.
    pub is_import: bool,
}

/// Why a file cannot be searched.
pub enum Unreadable {
    /// It is stripped.
    NoSymbols,
    /// Too many of its symbols match.
    TooManyMatches,
    /// Searching all of its symbols takes too long.
    TooSlow,
    Elf(ElfError),
}

impl FileSearch {
    /// Searches a file, and its debug file.
    pub fn of(
        binary: Arc<Binary>,
        debug_file: &DebugFileSearch,
        selector: &FunctionSelector,
        limits: SearchLimits,
    ) -> Self {
        let mut search = Self {
            binary: None,
            functions: Vec::new(),
            closeness: Closeness::Similar,
            length: 0,
            is_go: false,
            obstacle: None,
            unreadable: None,
        };
        match search.read(&binary, debug_file, selector, limits) {
            Ok(0) if search.unreadable.is_none() => search.unreadable = Some(Unreadable::NoSymbols),
            Ok(_) => {}
            Err(error) => search.unreadable = Some(Unreadable::Elf(error)),
        }
        search.binary = (!search.functions.is_empty()).then_some(binary);
        search
    }

    /// Returns how many functions the file defines.
    fn read(
        &mut self,
        binary: &Binary,
        debug_file: &DebugFileSearch,
        selector: &FunctionSelector,
        limits: SearchLimits,
    ) -> Result<usize, ElfError> {
        let elf = binary.elf()?;
        self.is_go = elf.is_go();
        let SearchLimits { symbols, time, slow_names_time, stop } = limits;
        let (mut count, mut time) = (0, CpuTimeLimit::of(time, slow_names_time, stop));
        let mut visit = |function: Function<'_>| {
            count += usize::from(function.kind != FunctionKind::Imported);
            if self.functions.len() >= symbols || self.length >= MAX_NAMES {
                self.unreadable = Some(Unreadable::TooManyMatches);
            } else if time.is_over() {
                self.unreadable = Some(Unreadable::TooSlow);
            } else {
                self.visit(binary, &elf, selector, &function);
                return ControlFlow::Continue(());
            }
            ControlFlow::Break(())
        };
        elf.visit_functions(&mut visit)?;
        if let Some(file) = binary.debug_file(debug_file) {
            // What could be read of it is enough.
            let _ = binary::symbols(&file).and_then(|symbols| symbols.visit_functions(&mut visit));
        }
        Ok(count)
    }

    /// Adds a function if it matches.
    fn visit(
        &mut self,
        binary: &Binary,
        elf: &ElfFile<'_>,
        selector: &FunctionSelector,
        function: &Function<'_>,
    ) {
        let symbol = String::from_utf8_lossy(function.name);
        let is_label = function.kind == FunctionKind::Label;
        let needed = if is_label { Closeness::Exact } else { self.closeness };
        let Some(closeness) = selector.function.closeness(&symbol).filter(|closeness| *closeness >= needed)
        else {
            return;
        };
        match probe_offset(elf, function, &symbol) {
            Ok(offset) => {
                self.add(FoundFunction { offset, symbol: symbol.into_owned(), is_label }, closeness)
            }
            Err(obstacle) => self.note_obstacle(binary, function, &symbol, obstacle),
        }
    }

    /// Adds a function that matches as closely as the others, or closer: then it replaces them.
    fn add(&mut self, function: FoundFunction, closeness: Closeness) {
        if closeness > self.closeness {
            self.functions.clear();
            (self.closeness, self.length) = (closeness, 0);
        }
        self.length += function.symbol.len();
        self.functions.push(function);
    }

    fn note_obstacle(&mut self, binary: &Binary, function: &Function<'_>, symbol: &str, obstacle: &str) {
        let text = format!("'{}' in {} {obstacle}", display_name(symbol), binary.path.display());
        log::debug!("not traced: {text}");
        let obstacle = Obstacle { text, is_import: function.kind == FunctionKind::Imported };
        self.obstacle = Some(obstacle.more_useful_than(self.obstacle.take()));
    }
}

impl Obstacle {
    /// The more useful one of two, which is the later one where both are equally useful.
    pub fn more_useful_than(self, earlier: Option<Self>) -> Self {
        match earlier {
            Some(earlier) if self.is_import => earlier,
            _ => self,
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
        FunctionKind::Defined | FunctionKind::Label => {}
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

/// Whether this is the symbol that compilers make for the rarely used part of a function (`f.cold`, or with a number). It is
/// jumped to, not called: a probe would record a call that did not happen, and where a return probe expects the return address there
/// are local variables, which the kernel would overwrite.
fn is_cold_part(symbol: &str) -> bool {
    let is_number = |rest: &str| rest.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit());
    symbol.split_once(".cold").is_some_and(|(_, rest)| is_number(rest))
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
