//! The functions of a program or library, and where in its file they are (elf(5)).
//!
//! The files belong to the traced programs, so they may hold anything.

mod bounded;
#[cfg(test)]
mod made_up;
mod symbols;

use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionTable};
use object::{Endianness, ReadRef};

use bounded::Bounded;
pub use symbols::Kind;

/// What a file is, if it is none that functions can be traced in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadElf {
    /// It is no ELF file, or ends too early.
    #[error("it is no ELF file that can be read")]
    Malformed,
    /// It is for other machines.
    #[error("it is not a 64-bit program of this machine")]
    Foreign,
}

impl From<object::read::Error> for BadElf {
    fn from(_: object::read::Error) -> Self {
        Self::Malformed
    }
}

/// What the kernel here runs.
const MACHINE: elf::Machine = if cfg!(target_arch = "aarch64") { elf::EM_AARCH64 } else { elf::EM_X86_64 };

/// An ELF file.
pub struct Elf<'data, R: ReadRef<'data>> {
    data: Bounded<R>,
    endian: Endianness,
    segments: &'data [ProgramHeader64<Endianness>],
    sections: SectionTable<'data, FileHeader64<Endianness>, Bounded<R>>,
}

impl<'data, R: ReadRef<'data>> Elf<'data, R> {
    /// # Errors
    ///
    /// It is none that can be traced.
    pub fn parse(data: R) -> Result<Self, BadElf> {
        let data = Bounded(data);
        let ident = data.read_bytes_at(0, 16).map_err(|()| BadElf::Malformed)?;
        if ident.starts_with(&elf::ELFMAG) && ident.get(4) != Some(&elf::ELFCLASS64.0) {
            return Err(BadElf::Foreign);
        }
        let header = FileHeader64::<Endianness>::parse(data)?;
        let endian = header.endian()?;
        if header.e_machine(endian) != MACHINE {
            return Err(BadElf::Foreign);
        }
        let segments = header.program_headers(endian, data)?;
        // Without its section headers a file is still a program, if one without symbols.
        let sections = header.sections(endian, data).unwrap_or_default();
        Ok(Self { data, endian, segments, sections })
    }

    /// Where in the file the instruction is that is loaded at this address; nothing, where there is none.
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let is_code = segment.p_type(self.endian) == elf::PT_LOAD
                && segment.p_flags(self.endian).contains(elf::PF_X);
            let within = address.checked_sub(segment.p_vaddr(self.endian))?;
            let is_there = is_code && within < segment.p_filesz(self.endian);
            is_there.then(|| segment.p_offset(self.endian).checked_add(within))?
        })
    }

    /// The first bytes of what is at this place in the file; fewer, where it ends before.
    pub fn bytes_at(&self, offset: u64) -> &'data [u8] {
        const LONGEST_INSTRUCTION: u64 = 15;
        let there = self.data.len().unwrap_or(0).saturating_sub(offset);
        self.data.read_bytes_at(offset, there.min(LONGEST_INSTRUCTION)).unwrap_or_default()
    }

    /// Whether it was made by the Go toolchain, which passes arguments in registers of its own choice, and moves stacks.
    pub fn is_go(&self) -> bool {
        [&b".gopclntab"[..], b".go.buildinfo", b".note.go.buildid"]
            .iter()
            .any(|name| self.section(name).is_some())
    }

    fn section(&self, name: &[u8]) -> Option<&'data elf::SectionHeader64<Endianness>> {
        self.sections.section_by_name(self.endian, name).map(|(_, section)| section)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lzma_rust2::{XzOptions, XzWriter};
    use proptest::prelude::*;

    use super::made_up::{CODE, MadeUp, Symbol};
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

    fn functions(bytes: &[u8]) -> Vec<(String, u64, Kind)> {
        let mut functions = Vec::new();
        let visited = Elf::parse(bytes).unwrap().visit_functions(|function| {
            let name = String::from_utf8_lossy(function.name).into_owned();
            functions.push((name, function.address, function.kind));
        });
        visited.map(|()| functions).unwrap()
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        functions(bytes).into_iter().map(|(name, ..)| name).collect()
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn functions_are_told_from_everything_else() {
        let found = functions(&MadeUp { symtab: &FULL, ..MadeUp::default() }.bytes());
        let expected = [
            ("main", CODE.1, Kind::Defined),
            ("also_main", CODE.1, Kind::Defined),
            ("versioned", CODE.1 + 16, Kind::Defined),
            ("chosen", CODE.1 + 32, Kind::Indirect),
            ("imported", 0, Kind::Imported),
        ];
        assert_eq!(found, expected.map(|(name, address, kind)| (name.to_owned(), address, kind)));
    }

    #[test]
    fn a_stripped_file_has_what_others_call_and_its_mini_debug_info() {
        let mini = packed(&MadeUp { symtab: &FULL[..1], ..MadeUp::default() }.bytes());
        let with = |others| MadeUp { dynsym: &PUBLIC, others, ..MadeUp::default() }.bytes();
        assert_eq!(names(&with(vec![])), ["public"]);
        assert_eq!(names(&with(vec![(".gnu_debugdata", mini.clone())])), ["public", "main"]);
        let full = MadeUp { symtab: &FULL[..2], dynsym: &PUBLIC, others: vec![(".gnu_debugdata", mini)] };
        assert_eq!(names(&full.bytes()), ["main", "also_main"]);
        assert!(names(&MadeUp::default().bytes()).is_empty());
        let broken = with(vec![(".gnu_debugdata", b"no xz".to_vec())]);
        let visited = Elf::parse(broken.as_slice()).unwrap().visit_functions(|_| {});
        assert_eq!(visited, Err(BadElf::Malformed));
    }

    #[test]
    fn addresses_lead_to_places_in_the_file() {
        let bytes = MadeUp::default().bytes();
        let elf = Elf::parse(bytes.as_slice()).unwrap();
        let (offset, address, size) = CODE;
        assert_eq!(elf.file_offset(address), Some(offset));
        assert_eq!(elf.file_offset(address + size - 1), Some(offset + size - 1));
        assert_eq!(elf.file_offset(address + size), None);
        assert_eq!(elf.file_offset(address - 1), None);
        assert_eq!(elf.bytes_at(offset), [0x90; 15]);
        assert!(elf.bytes_at(1 << 40).is_empty());
        assert!(!elf.is_go());
        let go = MadeUp { others: vec![(".gopclntab", vec![])], ..MadeUp::default() }.bytes();
        assert!(Elf::parse(go.as_slice()).unwrap().is_go());
    }

    #[test]
    fn what_is_no_program_of_this_machine_is_told() {
        let error = |bytes: &[u8]| Elf::parse(bytes).err();
        assert_eq!(error(b""), Some(BadElf::Malformed));
        assert_eq!(error(b"#!/bin/sh\necho hello, world\n"), Some(BadElf::Malformed));
        let bytes = MadeUp::default().bytes();
        let with = |at: usize, byte: u8| [&bytes[..at], &[byte], &bytes[at + 1..]].concat();
        assert_eq!(error(&with(4, 1)), Some(BadElf::Foreign));
        assert_eq!(error(&with(18, 40)), Some(BadElf::Foreign));
        assert_eq!(error(&bytes[..63]), Some(BadElf::Malformed));
    }

    /// Does everything that is done with a file.
    fn look_at_everything(bytes: &[u8]) {
        let Ok(elf) = Elf::parse(bytes) else { return };
        let _ = elf.is_go();
        let _ = elf.visit_functions(|function| {
            if let Some(offset) = elf.file_offset(function.address) {
                let _ = elf.bytes_at(offset);
            }
        });
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            look_at_everything(&bytes);
            look_at_everything(&[b"\x7fELF\x02\x01\x01", &bytes[..]].concat());
        }

        #[test]
        fn any_change_of_a_file_is_survived(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            length in any::<prop::sample::Index>(),
        ) {
            let mini = packed(&MadeUp { symtab: &FULL, ..MadeUp::default() }.bytes());
            let mut bytes = MadeUp { dynsym: &FULL, others: vec![(".gnu_debugdata", mini)], ..MadeUp::default() }.bytes();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            look_at_everything(&bytes);
            look_at_everything(&bytes[..length.index(bytes.len())]);
        }
    }
}
