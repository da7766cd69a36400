use std::borrow::Cow;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::elf::{Content, ElfError, ElfFile, FunctionKind, FunctionSymbol, Segment, Table};
use crate::memory_budget::{MemoryBudget, Reservation};
use crate::strings::Strings;

/// How many functions before an address are tried. A function can contain others, such as entries for special cases of what
/// is written in assembly.
const MAX_NESTED: usize = 8;

/// The functions of a file by address, in little memory.
#[derive(Debug, Default)]
pub struct SymbolTable {
    segments: Vec<Segment>,
    /// A function without a size ends with its section at the latest. The stubs that call functions of other files are in a
    /// section of their own, and have no names.
    code_sections: Vec<Range<u64>>,
    /// By address.
    functions: Vec<Entry>,
    strings: Option<Strings>,
    /// What a stripped file has of the functions that it does not export.
    mini_debug_info: Option<Box<SymbolTable>>,
    _reservation: Option<Reservation>,
    exceeds_budget: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    address: u64,
    /// 0: up to the next function, or to the end of the section.
    size: u32,
    /// Where in the strings its name begins.
    name: u32,
}

impl SymbolTable {
    /// Reads the functions of a file. A symbol table that exceeds the memory budget is skipped.
    ///
    /// # Errors
    ///
    /// The file is not an ELF file, or cannot be read.
    pub fn read<'a>(content: impl Into<Content<'a>>, budget: &Arc<MemoryBudget>) -> Result<Self, ElfError> {
        let elf = ElfFile::parse(content, budget)?;
        let mut symbols = Self::of(&elf, budget);
        match elf.with_mini_debug_info(|elf| Ok(Self::of(elf, budget))) {
            Some(Ok(table)) => symbols.mini_debug_info = Some(Box::new(table)),
            Some(Err(error)) => symbols.skip("the MiniDebugInfo", error),
            None => {}
        }
        Ok(symbols)
    }

    fn of(elf: &ElfFile<'_>, budget: &Arc<MemoryBudget>) -> Self {
        let mut symbols = Self {
            segments: elf.segments.clone(),
            code_sections: elf.code_sections.clone(),
            ..Self::default()
        };
        for table in elf.tables() {
            match symbols.read_table(elf, table, budget) {
                Ok(()) if symbols.functions.is_empty() => {}
                Ok(()) => break,
                Err(error) => {
                    symbols.functions = Vec::new();
                    symbols.skip("a symbol table", error);
                }
            }
        }
        // Of several names for one address, the last is taken: one with a size.
        symbols.functions.sort_unstable_by_key(|function| (function.address, function.size));
        symbols
    }

    fn read_table(
        &mut self,
        elf: &ElfFile<'_>,
        table: &Table,
        budget: &Arc<MemoryBudget>,
    ) -> Result<(), ElfError> {
        let needed = table.symbol_count().saturating_mul(size_of::<Entry>() as u64);
        let mut reservation = budget.reserve(needed).ok_or(ElfError::TooLarge)?;
        // A vector that grows would take twice as much at times. What is not written takes nothing.
        self.functions = Vec::with_capacity(usize::try_from(table.symbol_count()).unwrap_or(0));
        table.read_functions(elf.content, |symbol| {
            self.functions.extend(Entry::new(&symbol));
            ControlFlow::Continue(())
        })?;
        self.functions.shrink_to_fit();
        reservation.shrink_to(size_of_val(&*self.functions) as u64);
        if !self.functions.is_empty() {
            self.strings = Some(Strings::of(table, elf.content, budget)?);
        }
        self._reservation = Some(reservation);
        Ok(())
    }

    fn skip(&mut self, what: &str, error: ElfError) {
        log::debug!("cannot read {what}: {error}");
        self.exceeds_budget |= error == ElfError::TooLarge;
    }

    /// Whether symbols were skipped because they exceed the memory budget.
    pub fn exceeds_budget(&self) -> bool {
        self.exceeds_budget || self.mini_debug_info.as_ref().is_some_and(|table| table.exceeds_budget())
    }

    /// The symbol of the function at this place in the file, without the version that a linker may have added to it.
    pub fn function_at_offset(&self, offset: u64) -> Option<Cow<'_, str>> {
        self.function_at(self.segments.iter().find_map(|segment| segment.address(offset))?)
    }

    fn function_at(&self, address: u64) -> Option<Cow<'_, str>> {
        let after = self.functions.partition_point(|function| function.address <= address);
        let before = self.functions[..after].iter().rev().take(MAX_NESTED).enumerate();
        let mut around = before.filter(|(distance, function)| match function.size {
            0 => *distance == 0 && self.are_in_one_section(function.address, address),
            size => address - function.address < size.into(),
        });
        match around.next() {
            Some((_, function)) => self.strings.as_ref()?.name_at(function.name),
            None => self.mini_debug_info.as_ref()?.function_at(address),
        }
    }

    fn are_in_one_section(&self, first: u64, second: u64) -> bool {
        self.code_sections.iter().any(|section| section.contains(&first) && section.contains(&second))
    }
}

impl Entry {
    fn new(symbol: &FunctionSymbol) -> Option<Self> {
        let size = symbol.size.try_into().unwrap_or(u32::MAX);
        (symbol.kind != FunctionKind::Imported).then_some(Self {
            address: symbol.address,
            size,
            name: symbol.name,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::elf::synthetic::{CODE, SyntheticElf, compressed};

    const FUNCTION: u8 = 2;

    /// A stripped file: `exported` is a dynamic symbol, and `internal` is in its MiniDebugInfo.
    static STRIPPED: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mini = [("internal", FUNCTION, true, CODE.1 + 16)];
        let mini = SyntheticElf { symtab: &mini, ..SyntheticElf::default() }.bytes();
        let others = vec![(".gnu_debugdata", compressed(&mini))];
        let exported = [("exported", FUNCTION, true, CODE.1)];
        SyntheticElf { dynsym: &exported, others, ..SyntheticElf::default() }.bytes()
    });

    fn plenty() -> Arc<MemoryBudget> {
        MemoryBudget::new(64 << 20)
    }

    fn own_program() -> File {
        File::open("/proc/self/exe").unwrap()
    }

    #[test]
    fn symbols_take_memory_of_the_budget_while_they_exist() {
        let too_small = MemoryBudget::new(1000);
        let without = SymbolTable::read(&own_program(), &too_small).unwrap();
        assert!(without.functions.is_empty() && without.exceeds_budget());
        let budget = plenty();
        let symbols = SymbolTable::read(&own_program(), &budget).unwrap();
        assert!(!symbols.functions.is_empty() && !symbols.exceeds_budget());
        let strings =
            ElfFile::parse(&own_program(), &budget).unwrap().tables().next().unwrap().strings_length();
        let half_of_the_rest = ((64 << 20) - strings - size_of_val(&*symbols.functions) as u64) / 2;
        assert!(budget.reserve(half_of_the_rest + 1).is_none() && budget.reserve(half_of_the_rest).is_some());
        drop(symbols);
        assert!(budget.reserve(32 << 20).is_some());
    }

    #[test]
    fn long_names_are_on_disk_if_it_can_be_written() {
        let (program, directory) = (own_program(), tempfile::tempdir().unwrap());
        let in_memory = SymbolTable::read(&program, &plenty()).unwrap();
        let functions = size_of_val(&*in_memory.functions) as u64;
        let elf = ElfFile::parse(&program, &plenty()).unwrap();
        let memory = 2 * elf.tables().next().unwrap().symbol_count() * size_of::<Entry>() as u64;
        let read = |directory: &Path| {
            SymbolTable::read(&program, &MemoryBudget::with_disk(memory, directory, 1 << 30)).unwrap()
        };
        assert!(functions < memory);
        let on_disk = read(directory.path());
        assert!(!on_disk.exceeds_budget());
        for address in in_memory.functions.iter().map(|function| function.address) {
            assert_eq!(on_disk.function_at(address), in_memory.function_at(address));
        }
        assert!(read(Path::new("/nonexistent")).exceeds_budget());
    }

    #[test]
    fn functions_of_a_program_are_found_from_their_first_to_their_last_byte() {
        let program = own_program();
        let symbols = SymbolTable::read(&program, &plenty()).unwrap();
        let elf = ElfFile::parse(&program, &plenty()).unwrap();
        let sized: Vec<&Entry> = symbols.functions.iter().filter(|function| function.size > 1).collect();
        assert!(sized.len() > 100);
        for function in sized.iter().step_by(50) {
            let first = elf.file_offset(function.address).unwrap();
            let last = first + u64::from(function.size) - 1;
            assert!(symbols.function_at_offset(first).is_some());
            assert_eq!(symbols.function_at_offset(first), symbols.function_at_offset(last));
        }
        assert_eq!(symbols.function_at_offset(u64::MAX), None);
    }

    #[test]
    fn functions_can_be_within_others() {
        let function = |address, size, name| Entry { address, size, name };
        let symbols = SymbolTable {
            segments: vec![Segment::loaded(0, 0x1000, 0x4000)],
            code_sections: vec![0x4000..0x4008, 0x4010..0x4800],
            functions: vec![
                function(0x4000, 0, 0),
                function(0x4010, 0x30, 6),
                function(0x4020, 8, 12),
                function(0x4050, 0, 18),
            ],
            strings: Some(Strings::in_memory(b"start\0outer\0inner\0last@@V_2\0")),
            ..SymbolTable::default()
        };
        let at = |offset| symbols.function_at_offset(offset);
        assert_eq!([at(0), at(7), at(8)], [Some("start".into()), Some("start".into()), None]);
        assert_eq!([at(0x10), at(0x28), at(0x3f)], [const { Some(Cow::Borrowed("outer")) }; 3]);
        assert_eq!([at(0x20), at(0x27)], [const { Some(Cow::Borrowed("inner")) }; 2]);
        assert_eq!([at(0x40), at(0x4f), at(0x1000)], [const { None }; 3]);
        assert_eq!([at(0x7ff), at(0x800)], [Some("last".into()), None]);
    }

    #[test]
    fn mini_debug_info_names_what_the_dynamic_symbols_do_not() {
        let symbols = SymbolTable::read(&STRIPPED[..], &plenty()).unwrap();
        assert_eq!(symbols.function_at_offset(CODE.0).as_deref(), Some("exported"));
        assert_eq!(symbols.function_at_offset(CODE.0 + 16).as_deref(), Some("internal"));
    }

    fn look_up_everything(bytes: &[u8]) {
        if let Ok(symbols) = SymbolTable::read(bytes, &plenty()) {
            (0..bytes.len() as u64).step_by(16).for_each(|offset| _ = symbols.function_at_offset(offset));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..2000), is_elf: bool, class in 1_u8..3) {
            if is_elf && bytes.len() > 16 {
                bytes[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1, 1]);
            }
            look_up_everything(&bytes);
        }

        #[test]
        fn any_change_of_a_file_is_read_without_a_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..16),
            length in any::<prop::sample::Index>(),
        ) {
            let mut bytes = STRIPPED.clone();
            // Half of the changes are in the file's header, which is short.
            for (number, (at, byte)) in changes.into_iter().enumerate() {
                let at = at.index(if number % 2 == 0 { 64 } else { bytes.len() });
                bytes[at] = byte;
            }
            look_up_everything(&bytes);
            look_up_everything(&bytes[..length.index(bytes.len())]);
        }
    }
}
