use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use object::Endianness;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::read::{ReadCache, ReadRef};

use super::content::Content;
use super::debug_sections::{DebugLink, MAX_SECTION, build_id};
use super::error::ElfError;
use super::limits::{MAX_HEADERS, MAX_PARTS, MAX_TABLE};
use super::mini_debug_info;
use super::table::{Function, FunctionKind, FunctionSymbol, Table, is_string_at, length};
use super::unwind_index::UnwindIndex;
use crate::memory_budget::{MemoryBudget, Reservation};

/// A program or library.
///
/// Only its headers are kept in memory.
#[derive(Debug)]
pub struct ElfFile<'a> {
    pub(crate) content: Content<'a>,
    budget: Arc<MemoryBudget>,
    is_64_bit: bool,
    machine: elf::Machine,
    is_go: bool,
    pub(crate) segments: Vec<Segment>,
    /// The addresses of the sections with code.
    pub(crate) code_sections: Vec<Range<u64>>,
    symtab: Option<Table>,
    dynsym: Option<Table>,
    mini_debug_info: Option<Range<u64>>,
    build_id: Option<Vec<u8>>,
    debug_link: Option<DebugLink>,
    unwind_index: Option<UnwindIndex>,
}

/// A part of the file that is loaded (`PT_LOAD`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    offset: u64,
    length: u64,
    address: u64,
    is_executable: bool,
}

/// What the kernel of this machine runs.
const NATIVE: elf::Machine = if cfg!(target_arch = "aarch64") { elf::EM_AARCH64 } else { elf::EM_X86_64 };

/// Sections that the Go toolchain makes.
const GO_SECTIONS: [&[u8]; 3] = [b".gopclntab", b".go.buildinfo", b".note.go.buildid"];

/// No instruction is longer.
const MAX_INSTRUCTION: u64 = 15;

impl<'a> ElfFile<'a> {
    /// Reads the headers of a file. What is read of it later takes memory from the budget.
    ///
    /// # Errors
    ///
    /// The file is not an ELF file, or cannot be read. It is no error if it has no section headers: then it has no symbols.
    pub fn parse(content: impl Into<Content<'a>>, budget: &Arc<MemoryBudget>) -> Result<Self, ElfError> {
        let content = content.into();
        match content {
            Content::File(file) => Self::parse_headers(content, Headers(&ReadCache::new(file)), budget),
            Content::Bytes(bytes) => Self::parse_headers(content, Headers(bytes), budget),
        }
    }

    /// Like [`parse`](Self::parse), but accepts only 64-bit programs of this machine.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), and [`ElfError::ForeignMachine`].
    pub fn parse_native(
        content: impl Into<Content<'a>>,
        budget: &Arc<MemoryBudget>,
    ) -> Result<Self, ElfError> {
        let file = Self::parse(content, budget)?;
        match file.is_64_bit && file.machine == NATIVE {
            true => Ok(file),
            false => Err(ElfError::ForeignMachine),
        }
    }

    fn parse_headers<'h>(
        content: Content<'a>,
        headers: Headers<impl ReadRef<'h>>,
        budget: &Arc<MemoryBudget>,
    ) -> Result<Self, ElfError> {
        let ident = headers.read_bytes_at(0, 5).map_err(|()| ElfError::Malformed)?;
        match ident.last() == Some(&elf::ELFCLASS32.0) {
            true => Self::parse_class::<FileHeader32<Endianness>>(content, headers, budget),
            false => Self::parse_class::<FileHeader64<Endianness>>(content, headers, budget),
        }
    }

    fn parse_class<'h, H: FileHeader<Endian = Endianness>>(
        content: Content<'a>,
        headers: Headers<impl ReadRef<'h>>,
        budget: &Arc<MemoryBudget>,
    ) -> Result<Self, ElfError> {
        let header = H::parse(headers)?;
        let endian = header.endian()?;
        let segments = header.program_headers(endian, headers)?;
        let segments = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
        let mut file = Self {
            content,
            budget: Arc::clone(budget),
            is_64_bit: header.is_type_64(),
            machine: header.e_machine(endian),
            is_go: false,
            segments: segments.map(|segment| Segment::new(segment, endian)).take(MAX_PARTS).collect(),
            code_sections: Vec::new(),
            symtab: None,
            dynsym: None,
            mini_debug_info: None,
            build_id: None,
            debug_link: None,
            unwind_index: None,
        };
        file.find_sections(header, headers);
        Ok(file)
    }

    /// Finds the sections with symbols and with code. It finds none if the section headers cannot be read.
    fn find_sections<'h, H: FileHeader<Endian = Endianness>>(
        &mut self,
        header: &H,
        headers: Headers<impl ReadRef<'h>>,
    ) {
        let Ok(endian) = header.endian() else { return };
        let sections = header.section_headers(endian, headers).unwrap_or_default();
        let names = header.section_strings_index(endian, headers).ok();
        let names = names.and_then(|names| part(sections.get(names.0)?, endian));
        let names = names.and_then(|names| self.content.read(&names, MAX_HEADERS).ok()).unwrap_or_default();
        let named = |wanted: &[u8]| {
            sections.iter().find(|section| is_string_at(&names, section.sh_name(endian), wanted))
        };
        let table = |kind| {
            let symbols = sections.iter().find(|section| section.sh_type(endian) == kind)?;
            let strings = sections.get(symbols.sh_link(endian) as usize)?;
            let (symbols, strings) = (part(symbols, endian)?, part(strings, endian)?);
            Some(Table::new(symbols, strings, header.is_type_64(), endian))
        };
        self.symtab = table(elf::SHT_SYMTAB);
        self.dynsym = table(elf::SHT_DYNSYM);
        self.mini_debug_info = named(b".gnu_debugdata").and_then(|section| part(section, endian));
        let short = |name| self.content.read(&part(named(name)?, endian)?, MAX_SECTION).ok();
        self.build_id = short(b".note.gnu.build-id").and_then(|section| build_id(&section, endian));
        self.debug_link = short(b".gnu_debuglink").and_then(|section| DebugLink::parse(&section, endian));
        self.unwind_index = named(b".eh_frame_hdr").and_then(|section| {
            let part = part(section, endian)?;
            Some(UnwindIndex { part, address: section.sh_addr(endian).into(), endian })
        });
        self.is_go = GO_SECTIONS.iter().any(|name| named(name).is_some());
        let code = sections.iter().filter(|section| section.sh_flags(endian).contains(elf::SHF_EXECINSTR));
        let addresses = |section: &H::SectionHeader| {
            let address = section.sh_addr(endian).into();
            address..address.saturating_add(section.sh_size(endian).into())
        };
        self.code_sections = code.map(addresses).take(MAX_PARTS).collect();
    }

    /// Whether it has the symbol table that is lost in a stripped file.
    pub(crate) fn has_full_symbol_table(&self) -> bool {
        self.symtab.is_some()
    }

    /// What identifies the file and its debug file.
    pub(crate) fn build_id(&self) -> Option<Vec<u8>> {
        self.build_id.clone()
    }

    /// The name of its debug file.
    pub(crate) fn debug_link(&self) -> Option<DebugLink> {
        self.debug_link.clone()
    }

    /// Whether the Go toolchain made the file. Go has its own calling convention, and moves stacks.
    pub fn is_go(&self) -> bool {
        self.is_go
    }

    /// The place in the file of the instruction at this address (before relocation).
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        self.segments.iter().filter(|segment| segment.is_executable).find_map(|segment| {
            let within = address.checked_sub(segment.address)?;
            (within < segment.length).then(|| segment.offset.checked_add(within))?
        })
    }

    /// The first bytes at this place in the file, as many as the longest instruction has. Fewer at the end of the file.
    pub fn instruction_at(&self, offset: u64) -> Vec<u8> {
        self.content.read_up_to(offset, MAX_INSTRUCTION)
    }

    /// Visits all functions in the symbol table and in the dynamic symbol table; in a stripped file, also those in the
    /// MiniDebugInfo. Some are visited more than once. When the visitor breaks, the rest is skipped.
    ///
    /// # Errors
    ///
    /// A symbol table cannot be read, or is too large, or has names that are. Functions that could be read were visited.
    pub fn visit_functions(
        &self,
        mut visit: impl FnMut(Function<'_>) -> ControlFlow<()>,
    ) -> Result<(), ElfError> {
        let visited = self.visit_tables(&mut visit);
        let of_mini_debug_info = self.with_mini_debug_info(|elf| elf.visit_tables(&mut visit));
        visited.and(of_mini_debug_info.unwrap_or(Ok(())))
    }

    fn visit_tables(&self, visit: &mut impl FnMut(Function<'_>) -> ControlFlow<()>) -> Result<(), ElfError> {
        let (mut outcome, mut has_ended) = (Ok(()), false);
        for table in self.tables() {
            let mut visit = |function: Function<'_>| {
                let flow = visit(function);
                has_ended |= flow.is_break();
                flow
            };
            outcome = outcome.and(self.visit_table(table, &mut visit));
            if has_ended {
                break;
            }
        }
        outcome
    }

    fn visit_table(
        &self,
        table: &Table,
        visit: &mut impl FnMut(Function<'_>) -> ControlFlow<()>,
    ) -> Result<(), ElfError> {
        let mut names = table.names(self.content, &self.budget)?;
        self.read_functions(table, |FunctionSymbol { name, address, kind, .. }| match names.at(name) {
            Some(name) => visit(Function { name, address, kind }),
            None => ControlFlow::Continue(()),
        })?;
        if names.are_incomplete() {
            return Err(ElfError::NamesTooLong);
        }
        Ok(())
    }

    /// The full symbol table and the dynamic one, which has no others, unless a part of the full one was stripped.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.symtab.iter().chain(&self.dynsym)
    }

    /// Visits the symbols of a table that are functions, or labels of code, until the visitor breaks.
    pub(crate) fn read_functions(
        &self,
        table: &Table,
        mut visit: impl FnMut(FunctionSymbol) -> ControlFlow<()>,
    ) -> Result<(), ElfError> {
        let is_code = |address| self.code_sections.iter().any(|section| section.contains(&address));
        table.read_functions(self.content, |symbol| match symbol.kind {
            FunctionKind::Label if !is_code(symbol.address) => ControlFlow::Continue(()),
            _ => visit(symbol),
        })
    }

    /// Where functions begin that have unwind information, in ascending order.
    pub(crate) fn function_starts(&self) -> Result<Vec<u64>, ElfError> {
        let starts = |index: &UnwindIndex| index.function_starts(self.content, &self.budget);
        self.unwind_index.as_ref().map_or(Ok(Vec::new()), starts)
    }

    /// Calls `read` with the ELF file in the MiniDebugInfo. `None`, if the file has no MiniDebugInfo, or has the full symbol
    /// table, which makes it superfluous.
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

impl Segment {
    #[cfg(test)]
    pub fn loaded(offset: u64, length: u64, address: u64) -> Self {
        Self { offset, length, address, is_executable: true }
    }

    fn new<H: ProgramHeader<Endian = Endianness>>(header: &H, endian: Endianness) -> Self {
        let (offset, length) = header.file_range(endian);
        let is_executable = header.p_flags(endian).contains(elf::PF_X);
        Self { offset, length, address: header.p_vaddr(endian).into(), is_executable }
    }

    /// The address at which this place in the file is loaded, if it is in this segment.
    pub fn address(&self, offset: u64) -> Option<u64> {
        let within = offset.checked_sub(self.offset)?;
        (within < self.length).then(|| within.wrapping_add(self.address))
    }
}

/// Where in the file a section is.
fn part<H: SectionHeader<Endian = Endianness>>(section: &H, endian: Endianness) -> Option<Range<u64>> {
    let (offset, size) = section.file_range(endian)?;
    Some(offset..offset.checked_add(size)?)
}

/// The headers of a file. Reading fails if they are larger than those of any real program.
#[derive(Clone, Copy)]
struct Headers<R>(R);

impl<'h, R: ReadRef<'h>> ReadRef<'h> for Headers<R> {
    fn len(self) -> Result<u64, ()> {
        self.0.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'h [u8], ()> {
        if size > MAX_HEADERS { Err(()) } else { self.0.read_bytes_at(offset, size) }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'h [u8], ()> {
        self.0.read_bytes_at_until(range, delimiter)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::super::synthetic::{CODE, Symbol, SyntheticElf, compressed};
    use super::*;

    const FUNCTION: u8 = 2;
    const INDIRECT: u8 = 10;
    const FULL: [Symbol; 6] = [
        ("main", FUNCTION, true, CODE.1),
        ("also_main", FUNCTION, true, CODE.1),
        ("versioned@@V_2.1", FUNCTION, true, CODE.1 + 16),
        ("chosen", INDIRECT, true, CODE.1 + 32),
        ("imported", FUNCTION, false, 0),
        ("variable", 1, true, 0x50_0000),
    ];
    const PUBLIC: [Symbol; 1] = [("public", FUNCTION, true, CODE.1 + 48)];

    /// A stripped file with MiniDebugInfo.
    static STRIPPED: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mini = compressed(&SyntheticElf { symtab: &FULL, ..SyntheticElf::default() }.bytes());
        let others = vec![(".gnu_debugdata", mini)];
        SyntheticElf { dynsym: &FULL, others, ..SyntheticElf::default() }.bytes()
    });

    fn functions(bytes: &[u8]) -> Vec<(String, u64, FunctionKind)> {
        let mut functions = Vec::new();
        let visited = parse(bytes).unwrap().visit_functions(|function| {
            let name = String::from_utf8_lossy(function.name).into_owned();
            functions.push((name, function.address, function.kind));
            ControlFlow::Continue(())
        });
        visited.map(|()| functions).unwrap()
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        functions(bytes).into_iter().map(|(name, ..)| name).collect()
    }

    fn parse(bytes: &[u8]) -> Result<ElfFile<'_>, ElfError> {
        ElfFile::parse(bytes, &MemoryBudget::new(64 << 20))
    }

    #[test]
    fn functions_and_their_kinds_are_found() {
        let found = functions(&SyntheticElf { symtab: &FULL, ..SyntheticElf::default() }.bytes());
        let expected = [
            ("main", CODE.1, FunctionKind::Defined),
            ("also_main", CODE.1, FunctionKind::Defined),
            ("versioned", CODE.1 + 16, FunctionKind::Defined),
            ("chosen", CODE.1 + 32, FunctionKind::Indirect),
            ("imported", 0, FunctionKind::Imported),
        ];
        assert_eq!(found, expected.map(|(name, address, kind)| (name.to_owned(), address, kind)));
    }

    #[test]
    fn a_stripped_file_has_dynamic_symbols_and_mini_debug_info() {
        let mini = compressed(&SyntheticElf { symtab: &FULL[..1], ..SyntheticElf::default() }.bytes());
        let with = |others| SyntheticElf { dynsym: &PUBLIC, others, ..SyntheticElf::default() }.bytes();
        assert_eq!(names(&with(vec![])), ["public"]);
        assert_eq!(names(&with(vec![(".gnu_debugdata", mini.clone())])), ["public", "main"]);
        let full =
            SyntheticElf { symtab: &FULL[..2], dynsym: &PUBLIC, others: vec![(".gnu_debugdata", mini)] };
        assert_eq!(names(&full.bytes()), ["main", "also_main", "public"]);
        assert!(names(&SyntheticElf::default().bytes()).is_empty());
        let broken = with(vec![(".gnu_debugdata", b"no xz".to_vec())]);
        let visited = parse(&broken).unwrap().visit_functions(|_| ControlFlow::Continue(()));
        assert_eq!(visited, Err(ElfError::Malformed));
    }

    #[test]
    fn addresses_are_translated_to_file_offsets() {
        let bytes = SyntheticElf::default().bytes();
        let elf = parse(&bytes).unwrap();
        let (offset, address, size) = CODE;
        assert_eq!(elf.file_offset(address), Some(offset));
        assert_eq!(elf.file_offset(address + size - 1), Some(offset + size - 1));
        assert_eq!(elf.file_offset(address + size), None);
        assert_eq!(elf.file_offset(address - 1), None);
        assert_eq!(elf.instruction_at(offset), [0x90; 15]);
        assert!(elf.instruction_at(1 << 40).is_empty());
        assert!(!elf.is_go());
        let go = SyntheticElf { others: vec![(".gopclntab", vec![])], ..SyntheticElf::default() }.bytes();
        assert!(parse(&go).unwrap().is_go());
    }

    #[test]
    fn files_that_are_no_elf_files_are_malformed() {
        let bytes = SyntheticElf::default().bytes();
        for bytes in [&b""[..], b"#!/bin/sh\necho hello, world\n", &bytes[..63]] {
            assert_eq!(parse(bytes).err(), Some(ElfError::Malformed));
        }
    }

    #[test]
    fn programs_of_other_machines_are_refused_as_native_ones() {
        let bytes = SyntheticElf::default().bytes();
        let arm = [&bytes[..18], &[40], &bytes[19..]].concat();
        let native = |bytes: &[u8]| ElfFile::parse_native(bytes, &MemoryBudget::new(64 << 20)).map(drop);
        assert_eq!((native(&bytes), native(&arm)), (Ok(()), Err(ElfError::ForeignMachine)));
        // An i386 program, without segments and sections.
        let header = [&b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0"[..], &[0; 32]].concat();
        assert_eq!((parse(&header).map(drop), native(&header)), (Ok(()), Err(ElfError::ForeignMachine)));
    }

    #[test]
    fn the_dynamic_symbols_are_used_if_the_others_are_no_functions() {
        let elf = SyntheticElf { symtab: &FULL[5..], dynsym: &PUBLIC, ..SyntheticElf::default() };
        assert_eq!(names(&elf.bytes()), ["public"]);
    }

    #[test]
    fn symbols_beyond_the_memory_budget_are_an_error() {
        let bytes = SyntheticElf { symtab: &FULL, ..SyntheticElf::default() }.bytes();
        let elf = ElfFile::parse(&bytes[..], &MemoryBudget::new(64)).unwrap();
        assert_eq!(elf.visit_functions(|_| ControlFlow::Continue(())), Err(ElfError::TooLarge));
    }

    #[test]
    fn names_that_are_too_long_are_left_out() {
        let long: &'static str = Box::leak("x".repeat(super::super::limits::MAX_NAME + 1).into_boxed_str());
        let symbols = [(&long[1..], FUNCTION, true, CODE.1), (long, FUNCTION, true, CODE.1)];
        let bytes = SyntheticElf { symtab: &symbols, ..SyntheticElf::default() }.bytes();
        let (mut visited, elf) = (0, parse(&bytes).unwrap());
        let visit = |_: Function<'_>| {
            visited += 1;
            ControlFlow::Continue(())
        };
        assert_eq!(elf.visit_functions(visit), Err(ElfError::NamesTooLong));
        assert_eq!(visited, 1);
    }

    #[test]
    fn visiting_ends_when_the_visitor_breaks() {
        let symbols = [("a", FUNCTION, true, CODE.1), ("b", FUNCTION, true, CODE.1)];
        let bytes = SyntheticElf { symtab: &symbols, ..SyntheticElf::default() }.bytes();
        let mut visited = 0;
        let visit = |_: Function<'_>| {
            visited += 1;
            ControlFlow::Break(())
        };
        assert_eq!((parse(&bytes).unwrap().visit_functions(visit), visited), (Ok(()), 1));
    }

    /// Calls everything that reads the file.
    fn use_everything(bytes: &[u8]) {
        let Ok(elf) = parse(bytes) else { return };
        let _ = elf.is_go();
        let _ = elf.visit_functions(|function| {
            if let Some(offset) = elf.file_offset(function.address) {
                let _ = elf.instruction_at(offset);
            }
            ControlFlow::Continue(())
        });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            use_everything(&bytes);
            use_everything(&[b"\x7fELF\x02\x01\x01", &bytes[..]].concat());
        }

        #[test]
        fn any_change_of_a_file_is_read_without_a_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            length in any::<prop::sample::Index>(),
        ) {
            let mut bytes = STRIPPED.clone();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            use_everything(&bytes);
            use_everything(&bytes[..length.index(bytes.len())]);
        }
    }
}
