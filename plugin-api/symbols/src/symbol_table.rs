use std::borrow::Cow;
use std::fs::File;
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
    /// Those of each symbol table. The full one of a file from which a part was stripped may lack what it exports, and a stripped file
    /// has what it does not export in its MiniDebugInfo.
    tables: Vec<Functions>,
    exceeds_budget: bool,
}

/// The functions of one symbol table.
#[derive(Debug)]
struct Functions {
    /// By address.
    entries: Vec<Entry>,
    strings: Strings,
    _reservation: Reservation,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    address: u64,
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
        Self::read_with(content, None, budget)
    }

    /// The same with the functions of its debug file.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_with<'a>(
        content: impl Into<Content<'a>>,
        debug_file: Option<&File>,
        budget: &Arc<MemoryBudget>,
    ) -> Result<Self, ElfError> {
        let elf = ElfFile::parse(content, budget)?;
        let mut symbols = Self { segments: elf.segments.clone(), ..Self::default() };
        symbols.add_tables(&elf, budget);
        if let Some(debug_file) = debug_file {
            // Of its other contents, most are left out: where the code is, the stripped file says.
            let added = ElfFile::parse(debug_file, budget).map(|elf| symbols.add_tables(&elf, budget));
            added.unwrap_or_else(|error| symbols.skip("the debug file", error));
        } else {
            let of_mini_debug_info = elf.with_mini_debug_info(|elf| {
                symbols.add_tables(elf, budget);
                Ok(())
            });
            if let Some(Err(error)) = of_mini_debug_info {
                symbols.skip("the MiniDebugInfo", error);
            }
        }
        if symbols.lacks_sizes() {
            match elf.function_starts() {
                Ok(starts) => symbols.complete_sizes(&elf.code_sections, &starts),
                // Without a name rather than with a wrong one.
                Err(error) => log::debug!("functions without a size are not named: {error}"),
            }
        }
        Ok(symbols)
    }

    fn add_tables(&mut self, elf: &ElfFile<'_>, budget: &Arc<MemoryBudget>) {
        for table in elf.tables() {
            match Functions::read(elf, table, budget, |address| self.has(address)) {
                Ok(functions) => self.tables.extend(functions),
                Err(error) => self.skip("a symbol table", error),
            }
        }
    }

    fn has(&self, address: u64) -> bool {
        let begins =
            |table: &Functions| table.before(address).last().is_some_and(|last| last.address == address);
        self.tables.iter().any(begins)
    }

    fn lacks_sizes(&self) -> bool {
        self.tables.iter().flat_map(|table| &table.entries).any(|function| function.size == 0)
    }

    /// Gives functions without a size, as assembly often has them, the place up to the next function, with or without a name, or to
    /// the end of the section. The stubs that call functions of other files are in a section of their own, and have no names.
    fn complete_sizes(&mut self, sections: &[Range<u64>], starts: &[u64]) {
        let end = |address: u64| {
            let section = sections.iter().find(|section| section.contains(&address))?;
            let named = self.tables.iter().filter_map(|table| table.first_after(address));
            let unnamed = starts.get(starts.partition_point(|start| *start <= address)).copied();
            named.chain(unnamed).chain([section.end]).min()
        };
        let size = |function: &Entry| match function.size {
            0 => end(function.address).map_or(0, |end| clamped(end - function.address)),
            size => size,
        };
        let sizes: Vec<Vec<u32>> =
            self.tables.iter().map(|table| table.entries.iter().map(size).collect()).collect();
        for (table, sizes) in self.tables.iter_mut().zip(sizes) {
            table.entries.iter_mut().zip(sizes).for_each(|(function, size)| function.size = size);
        }
    }

    fn skip(&mut self, what: &str, error: ElfError) {
        log::debug!("cannot read {what}: {error}");
        self.exceeds_budget |= error == ElfError::TooLarge;
    }

    /// Whether symbols were skipped because they exceed the memory budget.
    pub fn exceeds_budget(&self) -> bool {
        self.exceeds_budget
    }

    /// The symbol of the function at this place in the file, without the version that a linker may have added to it.
    pub fn function_at_offset(&self, offset: u64) -> Option<Cow<'_, str>> {
        self.function_at(self.segments.iter().find_map(|segment| segment.address(offset))?)
    }

    fn function_at(&self, address: u64) -> Option<Cow<'_, str>> {
        let around = self.tables.iter().filter_map(|table| Some((table, table.around(address)?)));
        let (table, innermost) = around.max_by_key(|(_, function)| function.address)?;
        table.strings.name_at(innermost.name)
    }
}

impl Functions {
    /// Those of a table that are not known. `None` if there are none.
    fn read(
        elf: &ElfFile<'_>,
        table: &Table,
        budget: &Arc<MemoryBudget>,
        is_known: impl Fn(u64) -> bool,
    ) -> Result<Option<Self>, ElfError> {
        let needed = table.symbol_count().saturating_mul(size_of::<Entry>() as u64);
        let mut reservation = budget.reserve(needed).ok_or(ElfError::TooLarge)?;
        // A vector that grows would take twice as much at times. What is not written takes nothing.
        let mut entries = Vec::with_capacity(usize::try_from(table.symbol_count()).unwrap_or(0));
        elf.read_functions(table, |symbol| {
            entries.extend(Entry::new(&symbol).filter(|entry| !is_known(entry.address)));
            ControlFlow::Continue(())
        })?;
        entries.shrink_to_fit();
        reservation.shrink_to(size_of_val(&*entries) as u64);
        if entries.is_empty() {
            return Ok(None);
        }
        // Of several names for one address, the last is taken: one with a size.
        entries.sort_unstable_by_key(|function| (function.address, function.size));
        let strings = Strings::of(table, elf.content, budget)?;
        Ok(Some(Self { entries, strings, _reservation: reservation }))
    }

    /// The innermost function that contains this address.
    fn around(&self, address: u64) -> Option<Entry> {
        let before = self.before(address).iter().rev().take(MAX_NESTED).copied();
        before.into_iter().find(|function| address - function.address < function.size.into())
    }

    /// Where the first function behind this address begins.
    fn first_after(&self, address: u64) -> Option<u64> {
        self.entries.get(self.before(address).len()).map(|function| function.address)
    }

    /// Those that begin at this address or before.
    fn before(&self, address: u64) -> &[Entry] {
        let after = self.entries.partition_point(|function| function.address <= address);
        &self.entries[..after]
    }
}

impl Entry {
    fn new(symbol: &FunctionSymbol) -> Option<Self> {
        // That of a label is unknown, whatever the symbol says.
        let size = if symbol.kind == FunctionKind::Label { 0 } else { clamped(symbol.size) };
        (symbol.kind != FunctionKind::Imported).then_some(Self {
            address: symbol.address,
            size,
            name: symbol.name,
        })
    }
}

fn clamped(size: u64) -> u32 {
    size.try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
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
        assert!(without.tables.is_empty() && without.exceeds_budget());
        let budget = plenty();
        let symbols = SymbolTable::read(&own_program(), &budget).unwrap();
        let [functions] = &symbols.tables[..] else { panic!("all dynamic symbols are in the full table") };
        assert!(!symbols.exceeds_budget());
        let strings =
            ElfFile::parse(&own_program(), &budget).unwrap().tables().next().unwrap().strings_length();
        let half_of_the_rest = ((64 << 20) - strings - size_of_val(&*functions.entries) as u64) / 2;
        assert!(budget.reserve(half_of_the_rest + 1).is_none() && budget.reserve(half_of_the_rest).is_some());
        drop(symbols);
        assert!(budget.reserve(32 << 20).is_some());
    }

    #[test]
    fn long_names_are_on_disk_if_it_can_be_written() {
        let (program, directory) = (own_program(), tempfile::tempdir().unwrap());
        let in_memory = SymbolTable::read(&program, &plenty()).unwrap();
        let entries = &in_memory.tables[0].entries;
        let functions = size_of_val(&entries[..]) as u64;
        let elf = ElfFile::parse(&program, &plenty()).unwrap();
        let table = elf.tables().next().unwrap();
        // For the entries, and for what tells their ends.
        let memory = 3 * table.symbol_count() * size_of::<Entry>() as u64;
        assert!(memory < table.strings_length());
        let read = |directory: &Path| {
            SymbolTable::read(&program, &MemoryBudget::with_disk(memory, directory, 1 << 30)).unwrap()
        };
        assert!(functions < memory);
        let on_disk = read(directory.path());
        assert!(!on_disk.exceeds_budget());
        for address in entries.iter().map(|function| function.address) {
            assert_eq!(on_disk.function_at(address), in_memory.function_at(address));
        }
        assert!(read(Path::new("/nonexistent")).exceeds_budget());
    }

    #[test]
    fn functions_of_a_program_are_found_from_their_first_to_their_last_byte() {
        let program = own_program();
        let symbols = SymbolTable::read(&program, &plenty()).unwrap();
        let elf = ElfFile::parse(&program, &plenty()).unwrap();
        let sized: Vec<&Entry> =
            symbols.tables[0].entries.iter().filter(|function| function.size > 1).collect();
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
        let functions = |entries, strings: &[u8]| Functions {
            entries,
            strings: Strings::in_memory(strings),
            _reservation: MemoryBudget::new(0).reserve(0).unwrap(),
        };
        let mut symbols = SymbolTable {
            segments: vec![Segment::loaded(0, 0x1000, 0x4000)],
            tables: vec![
                functions(
                    vec![function(0x4000, 0, 0), function(0x4010, 0x30, 6), function(0x4050, 0, 12)],
                    b"start\0outer\0last@@V_2\0",
                ),
                functions(vec![function(0x4020, 8, 0), function(0x4600, 0x10, 6)], b"inner\0other\0"),
            ],
            ..SymbolTable::default()
        };
        symbols.complete_sizes(&[0x4000..0x4008, 0x4010..0x4800], &[0x4010, 0x4050, 0x4500, 0x4600]);
        let at = |offset| symbols.function_at_offset(offset);
        assert_eq!([at(0), at(7), at(8)], [Some("start".into()), Some("start".into()), None]);
        assert_eq!([at(0x10), at(0x28), at(0x3f)], [const { Some(Cow::Borrowed("outer")) }; 3]);
        assert_eq!([at(0x20), at(0x27)], [const { Some(Cow::Borrowed("inner")) }; 2]);
        assert_eq!([at(0x40), at(0x4f), at(0x1000)], [const { None }; 3]);
        assert_eq!([at(0x50), at(0x4ff)], [const { Some(Cow::Borrowed("last")) }; 2]);
        assert_eq!([at(0x500), at(0x5ff)], [const { None }; 2], "a function without a name");
        assert_eq!([at(0x600), at(0x610), at(0x800)], [Some("other".into()), None, None]);
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
