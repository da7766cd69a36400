//! The functions of a program or library, and where in its file they are (elf(5)).
//!
//! The files belong to the traced programs, so they may hold anything.

mod bounded;
mod mini_debug_info;
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
