use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use object::elf::{self, Sym32, Sym64};
use object::read::elf::Sym;
use object::{Endianness, Pod, pod};

use super::content::Content;
use super::error::ElfError;
use super::limits::{MAX_NAME, MAX_TABLE};
use super::names::Names;
use crate::memory_budget::MemoryBudget;

/// Symbols that are read at a time.
const SYMBOLS_AT_ONCE: u64 = 1 << 11;

/// A function of a file, as a symbol describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function<'a> {
    /// The name as the linker has it, without a version.
    pub name: &'a [u8],
    /// Where it is loaded, before relocation. 0 for those that are imported.
    pub address: u64,
    /// What the symbol stands for.
    pub kind: FunctionKind,
}

/// What the symbol of a function stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    /// A function.
    Defined,
    /// A function that chooses the function to call when the program is loaded (`STT_GNU_IFUNC`).
    Indirect,
    /// A function of another file.
    Imported,
    /// A place in the code that assembly exports under a name without saying what it is: mostly a function.
    Label,
}

/// Where in the file a symbol table and its strings are.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    symbols: Range<u64>,
    strings: Range<u64>,
    is_64_bit: bool,
    endian: Endianness,
}

/// The symbol of a function, its name being a place in the strings of its table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FunctionSymbol {
    pub name: u32,
    pub address: u64,
    pub size: u64,
    pub kind: FunctionKind,
}

impl Table {
    pub fn new(symbols: Range<u64>, strings: Range<u64>, is_64_bit: bool, endian: Endianness) -> Self {
        Self { symbols, strings, is_64_bit, endian }
    }

    /// How many symbols it has.
    pub fn symbol_count(&self) -> u64 {
        length(&self.symbols) / self.symbol_size()
    }

    /// How long its strings are, in bytes.
    pub fn strings_length(&self) -> u64 {
        length(&self.strings)
    }

    /// Reads the names of its symbols.
    pub(super) fn names<'a>(
        &self,
        content: Content<'a>,
        budget: &Arc<MemoryBudget>,
    ) -> Result<Names<'a>, ElfError> {
        Names::new(content, self.strings.clone(), self.symbol_count(), budget)
    }

    /// Reads the strings that the names of its symbols are parts of.
    pub fn read_strings(&self, content: Content<'_>) -> Result<Vec<u8>, ElfError> {
        content.read(&self.strings, MAX_TABLE)
    }

    /// Reads up to `length` bytes of these strings, from `begin` on.
    pub fn read_part_of_strings(&self, content: Content<'_>, begin: u64, length: u64) -> Vec<u8> {
        let begin = self.strings.start.saturating_add(begin);
        content.read_up_to(begin, length.min(self.strings.end.saturating_sub(begin)))
    }

    /// Visits the symbols that are functions, until the visitor breaks. Only a part of the table is in memory at a time.
    pub fn read_functions(
        &self,
        content: Content<'_>,
        visit: impl FnMut(FunctionSymbol) -> ControlFlow<()>,
    ) -> Result<(), ElfError> {
        match self.is_64_bit {
            true => self.read_symbols::<Sym64<Endianness>>(content, visit),
            false => self.read_symbols::<Sym32<Endianness>>(content, visit),
        }
    }

    fn read_symbols<S: Sym<Endian = Endianness> + Pod>(
        &self,
        content: Content<'_>,
        mut visit: impl FnMut(FunctionSymbol) -> ControlFlow<()>,
    ) -> Result<(), ElfError> {
        if length(&self.symbols) > MAX_TABLE {
            return Err(ElfError::TooLarge);
        }
        let (start, size, count) = (self.symbols.start, self.symbol_size(), self.symbol_count());
        for first in (0..count).step_by(SYMBOLS_AT_ONCE as usize) {
            let number = SYMBOLS_AT_ONCE.min(count - first);
            let part = start + first * size..start + (first + number) * size;
            let bytes = content.read(&part, MAX_TABLE)?;
            let symbols = pod::slice_from_bytes::<S>(&bytes, number as usize);
            let (symbols, _) = symbols.map_err(|()| ElfError::Malformed)?;
            let mut functions = symbols.iter().filter_map(|symbol| FunctionSymbol::new(symbol, self.endian));
            if functions.try_for_each(&mut visit).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn symbol_size(&self) -> u64 {
        (if self.is_64_bit { size_of::<Sym64<Endianness>>() } else { size_of::<Sym32<Endianness>>() }) as u64
    }
}

impl FunctionSymbol {
    fn new<S: Sym<Endian = Endianness>>(symbol: &S, endian: Endianness) -> Option<Self> {
        let kind = match (symbol.st_type(), symbol.is_undefined(endian)) {
            (elf::STT_FUNC | elf::STT_GNU_IFUNC, true) => FunctionKind::Imported,
            (elf::STT_FUNC, false) => FunctionKind::Defined,
            (elf::STT_GNU_IFUNC, false) => FunctionKind::Indirect,
            // Those that are not exported are for the assembler only, or, on aarch64, marks of code and data.
            (elf::STT_NOTYPE, false)
                if !symbol.is_local() && symbol.st_shndx(endian).0 < elf::SHN_LORESERVE =>
            {
                FunctionKind::Label
            }
            _ => return None,
        };
        let (address, size) = (symbol.st_value(endian).into(), symbol.st_size(endian).into());
        Some(Self { name: symbol.st_name(endian), address, size, kind })
    }
}

/// The name at this place of a string table, without the version that a linker may have added to it.
pub(crate) fn name_at(strings: &[u8], offset: u32) -> Option<&[u8]> {
    let name = strings.get(offset as usize..)?;
    let name = &name[..name.len().min(MAX_NAME + 1)];
    let name = name.split(|byte| matches!(byte, 0 | b'@')).next()?;
    (1..=MAX_NAME).contains(&name.len()).then_some(name)
}

/// How many bytes a part of a file has.
pub(crate) fn length(part: &Range<u64>) -> u64 {
    part.end.saturating_sub(part.start)
}

/// Whether this is the string at this place of a string table. Only as much of the table is read as the string is long.
pub(crate) fn is_string_at(strings: &[u8], offset: u32, string: &[u8]) -> bool {
    let rest = strings.get(offset as usize..).and_then(|strings| strings.strip_prefix(string));
    rest.is_some_and(|rest| rest.starts_with(b"\0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_compared_up_to_their_nul() {
        let strings = b"\0.symtab\0.strtab";
        assert!(is_string_at(strings, 1, b".symtab") && is_string_at(strings, 4, b"mtab"));
        assert!(!is_string_at(strings, 1, b".sym") && !is_string_at(strings, 1, b".symtab2"));
        assert!(!is_string_at(strings, 9, b".strtab") && !is_string_at(strings, 99, b""));
    }

    #[test]
    fn names_have_no_version_and_a_limited_length() {
        let name = |strings: &[u8], offset| name_at(strings, offset).map(<[u8]>::to_vec);
        assert_eq!(name(b"\0open@@V_2.1\0", 1), Some(b"open".to_vec()));
        assert_eq!((name(b"\0open\0", 0), name(b"\0open\0", 9)), (None, None));
        let long = vec![b'x'; MAX_NAME + 1];
        assert_eq!((name(&long, 0), name(&long, 1)), (None, Some(long[1..].to_vec())));
    }
}
