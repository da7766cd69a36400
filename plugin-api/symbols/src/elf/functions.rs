use std::ops::Range;

use object::elf::{self, Sym32, Sym64};
use object::read::elf::Sym;
use object::{Endianness, Pod, pod};

use super::limits::{MAX_NAME, MAX_TABLE};
use super::{Content, ElfError, ElfFile, mini_debug_info};
use crate::memory_budget::Reservation;

/// Symbols that are read at a time.
const SYMBOLS_AT_ONCE: u64 = 1 << 15;

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
}

/// Where in the file a symbol table and its strings are.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub symbols: Range<u64>,
    pub strings: Range<u64>,
}

/// The symbol of a function, its name being a place in the strings of its table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FunctionSymbol {
    pub name: u32,
    pub address: u64,
    pub size: u64,
    pub kind: FunctionKind,
}

impl ElfFile<'_> {
    /// Visits all functions that the file has symbols of: the full symbol table, or, of a stripped file, the dynamic symbols
    /// and those of its MiniDebugInfo. Some come more than once.
    ///
    /// # Errors
    ///
    /// A symbol table is not where it should be, or is too large. All that could be read was visited.
    pub fn visit_functions(&self, mut visit: impl FnMut(Function<'_>)) -> Result<(), ElfError> {
        let visited = self.visit_tables(&mut visit);
        let of_mini_debug_info = self.with_mini_debug_info(|elf| elf.visit_tables(&mut visit));
        visited.and(of_mini_debug_info.unwrap_or(Ok(())))
    }

    fn visit_tables(&self, visit: &mut impl FnMut(Function<'_>)) -> Result<(), ElfError> {
        let mut outcome = Ok(());
        for table in self.tables() {
            match self.visit_table(table, visit) {
                Ok(0) => {}
                Ok(_) => break,
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// Returns how many functions the table defines.
    fn visit_table(&self, table: &Table, visit: &mut impl FnMut(Function<'_>)) -> Result<usize, ElfError> {
        let _reservation = self.budget.reserve(length(&table.strings)).ok_or(ElfError::TooLarge)?;
        let strings = self.read_strings(table)?;
        let mut count = 0;
        self.read_functions(table, |FunctionSymbol { name, address, kind, .. }| {
            count += usize::from(kind != FunctionKind::Imported);
            if let Some(name) = name_at(&strings, name) {
                visit(Function { name, address, kind });
            }
        })?;
        Ok(count)
    }

    /// The full symbol table, and the dynamic one, which is needed only if there are no functions in the other: it is a part
    /// of it.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.symtab.iter().chain(&self.dynsym)
    }

    /// How many symbols a table has.
    pub(crate) fn symbol_count(&self, table: &Table) -> u64 {
        length(&table.symbols) / self.symbol_size()
    }

    /// The strings that the names of a table are parts of.
    pub(crate) fn read_strings(&self, table: &Table) -> Result<Vec<u8>, ElfError> {
        self.content.read(&table.strings, MAX_TABLE)
    }

    /// Visits the symbols of a table that are functions. No more than a part of the table is in memory at a time.
    pub(crate) fn read_functions(
        &self,
        table: &Table,
        visit: impl FnMut(FunctionSymbol),
    ) -> Result<(), ElfError> {
        match self.is_64_bit {
            true => self.read_symbols::<Sym64<Endianness>>(table, visit),
            false => self.read_symbols::<Sym32<Endianness>>(table, visit),
        }
    }

    fn read_symbols<S: Sym<Endian = Endianness> + Pod>(
        &self,
        table: &Table,
        mut visit: impl FnMut(FunctionSymbol),
    ) -> Result<(), ElfError> {
        if length(&table.symbols) > MAX_TABLE {
            return Err(ElfError::TooLarge);
        }
        let (start, size, count) = (table.symbols.start, self.symbol_size(), self.symbol_count(table));
        for first in (0..count).step_by(SYMBOLS_AT_ONCE as usize) {
            let number = SYMBOLS_AT_ONCE.min(count - first);
            let part = start + first * size..start + (first + number) * size;
            let bytes = self.content.read(&part, MAX_TABLE)?;
            let symbols = pod::slice_from_bytes::<S>(&bytes, number as usize);
            let (symbols, _) = symbols.map_err(|()| ElfError::Malformed)?;
            symbols.iter().filter_map(|symbol| FunctionSymbol::new(symbol, self.endian)).for_each(&mut visit);
        }
        Ok(())
    }

    fn symbol_size(&self) -> u64 {
        (if self.is_64_bit { size_of::<Sym64<Endianness>>() } else { size_of::<Sym32<Endianness>>() }) as u64
    }

    /// Does something with the file that the MiniDebugInfo is. `None`, if there is none, or if it is of no use because the
    /// file has its full symbol table.
    pub(crate) fn with_mini_debug_info<T>(
        &self,
        read: impl FnOnce(&ElfFile<'_>) -> Result<T, ElfError>,
    ) -> Option<Result<T, ElfError>> {
        let part = self.mini_debug_info.as_ref().filter(|_| self.symtab.is_none())?;
        Some(
            self.decompress(part)
                .and_then(|(elf, _reservation)| read(&ElfFile::parse(Content::Bytes(&elf), &self.budget)?)),
        )
    }

    fn decompress(&self, part: &Range<u64>) -> Result<(Vec<u8>, Reservation), ElfError> {
        let _reservation = self.budget.reserve(length(part)).ok_or(ElfError::TooLarge)?;
        mini_debug_info::decompress(&self.content.read(part, MAX_TABLE)?, &self.budget)
    }
}

impl FunctionSymbol {
    fn new<S: Sym<Endian = Endianness>>(symbol: &S, endian: Endianness) -> Option<Self> {
        let kind = match (symbol.st_type(), symbol.is_undefined(endian)) {
            (elf::STT_FUNC | elf::STT_GNU_IFUNC, true) => FunctionKind::Imported,
            (elf::STT_FUNC, false) => FunctionKind::Defined,
            (elf::STT_GNU_IFUNC, false) => FunctionKind::Indirect,
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
