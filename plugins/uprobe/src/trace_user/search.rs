//! From what a user means to places in files.

use std::collections::BTreeMap;
use std::rc::Rc;

use trace_hook_api::{HookError, Result, did_you_mean, log};
use trace_symbols::{ElfError, FunctionKind, display_name};

use super::LONGEST_NAME;
use super::binary::Binary;
use super::choice::Choice;
use super::files::Files;
use super::instruction::can_be_probed;
use super::place::Place;
use super::quoted::quoted;

/// With so many, the kernel takes seconds. More are not told apart, for a made-up file may have any number.
pub const MOST_PLACES: usize = 10_000;

/// The functions found, each once, by file and place in it.
#[derive(Default)]
pub struct Search {
    places: BTreeMap<((u64, u64), u64), Place>,
}

/// What became of one look into some files.
#[derive(Default)]
struct Look {
    found: usize,
    /// Functions of the name that are there, but cannot be traced, and why.
    obstacle: Option<String>,
    /// Files that could not be read, or have no symbols, and why.
    unreadable: Vec<String>,
}

impl Search {
    /// Adds the functions that a user means.
    ///
    /// # Errors
    ///
    /// There are none.
    pub fn add(&mut self, choice: &Choice, files: &Files) -> Result<()> {
        let binaries = match &choice.binary {
            Some(pattern) => files.meant_by(pattern)?,
            None => files.programs()?,
        };
        let mut look = self.look(choice, &binaries);
        if look.found > 0 {
            return Ok(());
        }
        let mut searched = binaries;
        if choice.binary.is_none() {
            let libraries = files.libraries()?;
            let among_libraries = self.look(choice, &libraries);
            if among_libraries.found > 0 {
                return Ok(());
            }
            look.obstacle = among_libraries.obstacle.or(look.obstacle);
            searched.extend(libraries);
        }
        Err(none(choice, &searched, look))
    }

    /// All functions found, if there are not too many.
    ///
    /// # Errors
    ///
    /// There are, and how to have fewer.
    pub fn finish(self, limit: usize) -> Result<Vec<Place>> {
        let count = match self.places.len() {
            count if count > MOST_PLACES => format!("more than {MOST_PLACES}"),
            count => count.to_string(),
        };
        let places: Vec<Place> = self.places.into_values().collect();
        let [first, .., last] = places.as_slice() else { return Ok(places) };
        if places.len() <= limit {
            return Ok(places);
        }
        let full_name = |place: &Place| {
            format!("'{}' in {}", display_name(&place.symbols[0], LONGEST_NAME), place.binary.path.display())
        };
        let advice = match limit {
            MOST_PLACES => "",
            _ => ", or raise --limit",
        };
        Err(HookError::usage(format!(
            "{count} functions match, from {} to {}, but no more than {limit} are traced at once: name fewer, or one file \
             by BINARY:FUNCTION{advice}",
            full_name(first),
            full_name(last),
        )))
    }

    fn look(&mut self, choice: &Choice, binaries: &[Rc<Binary>]) -> Look {
        let mut look = Look::default();
        for binary in binaries {
            match self.look_into(choice, binary, &mut look) {
                Ok(0) => {
                    look.unreadable.push(format!("{} has no symbols (it is stripped)", binary.path.display()))
                }
                Ok(_) => {}
                Err(error) => look.unreadable.push(format!("{}: {error}", binary.path.display())),
            }
        }
        look
    }

    /// Returns how many functions the file tells of.
    fn look_into(
        &mut self,
        choice: &Choice,
        binary: &Rc<Binary>,
        look: &mut Look,
    ) -> Result<usize, ElfError> {
        let elf = binary.elf()?;
        let is_in_go_file = elf.is_go();
        let mut count = 0;
        elf.visit_functions(|function| {
            count += usize::from(function.kind != FunctionKind::Imported);
            let symbol = String::from_utf8_lossy(function.name);
            if !choice.function.matches(&symbol) {
                return;
            }
            let offset = elf.file_offset(function.address);
            let obstacle = match (function.kind, offset) {
                (FunctionKind::Imported, _) => "is only called there, and is defined in another file",
                (FunctionKind::Indirect, _) => {
                    "only chooses, when the program is loaded, which function is called in its place; trace that one"
                }
                (FunctionKind::Defined, None) => "is not in the file",
                (FunctionKind::Defined, Some(_)) if is_part(&symbol) => {
                    "is no function, but a part of one that is jumped to"
                }
                (FunctionKind::Defined, Some(offset)) if !can_be_probed(&elf.instruction_at(offset)) => {
                    "begins with an instruction that the kernel cannot put a probe at"
                }
                (FunctionKind::Defined, Some(offset)) => {
                    look.found += 1;
                    if self.places.len() > MOST_PLACES {
                        return;
                    }
                    let place = self.places.entry((binary.identity, offset)).or_insert_with(|| Place {
                        binary: Rc::clone(binary),
                        offset,
                        is_in_go_file,
                        symbols: Vec::new(),
                    });
                    return place.is_also(symbol.into_owned());
                }
            };
            let obstacle = format!("'{}' in {} {obstacle}", display_name(&symbol, LONGEST_NAME), binary.path.display());
            log::debug!("not traced: {obstacle}");
            // That others call it says least.
            match function.kind {
                FunctionKind::Imported => _ = look.obstacle.get_or_insert(obstacle),
                FunctionKind::Defined | FunctionKind::Indirect => look.obstacle = Some(obstacle),
            }
        })?;
        Ok(count)
    }
}

/// What compilers call the part of a function that is hardly ever run, and lies elsewhere (`f.cold`, or with a number). Taken
/// for a function of its own, it would be a call that is none; and where the return address should be are its locals, which
/// the kernel would overwrite to see it return.
fn is_part(symbol: &str) -> bool {
    let is_number = |rest: &str| rest.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit());
    symbol.split_once(".cold").is_some_and(|(_, rest)| is_number(rest))
}

/// Why nothing was found.
fn none(choice: &Choice, searched: &[Rc<Binary>], look: Look) -> HookError {
    let text = quoted(&choice.text);
    if searched.is_empty() {
        return HookError::new(
            "the traced processes have no program (they belong to the kernel, or have ended), or it cannot be opened, \
             which takes root's CAP_SYS_ADMIN",
        );
    }
    if let Some(obstacle) = look.obstacle {
        return HookError::usage(format!("no function {text} can be traced: {obstacle}"));
    }
    if let [only] = look.unreadable.as_slice()
        && (choice.binary.is_some() || searched.len() == 1)
    {
        return HookError::usage(format!("no function {text}: {only}"));
    }
    let hint = did_you_mean(&choice.function.text, &names(searched));
    let places: Vec<_> = searched.iter().take(3).map(|binary| binary.path.to_string_lossy()).collect();
    let more = match searched.len().saturating_sub(places.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let unreadable = match look.unreadable.is_empty() {
        true => String::new(),
        false => format!("; {}", look.unreadable.join(", ")),
    };
    HookError::usage(format!(
        "unknown function {text}: looked in {}{more}{unreadable}{hint}",
        places.join(", ")
    ))
}

/// In bytes. Nobody has more; a made-up file may.
const MOST_NAMES: usize = 64 << 20;

/// The names of all functions that could be traced.
fn names(binaries: &[Rc<Binary>]) -> Vec<String> {
    let (mut names, mut length) = (Vec::new(), 0);
    for binary in binaries {
        let Ok(elf) = binary.elf() else { continue };
        let visited = elf.visit_functions(|function| {
            if function.kind == FunctionKind::Defined && length < MOST_NAMES {
                let name = display_name(&String::from_utf8_lossy(function.name), LONGEST_NAME);
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
    fn a_part_of_a_function_is_none() {
        assert!(["f.cold", "f.cold.12", "f.part.0.cold", "_ZN2ns1fEv.cold"].into_iter().all(is_part));
        assert!(!["f", "f.part.0", "f.colder", "cold", "main.coldStart", "f.12"].into_iter().any(is_part));
    }
}
