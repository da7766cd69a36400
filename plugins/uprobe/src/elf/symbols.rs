use function_names::unpack_mini_debug_info;
use object::elf::{self, SectionHeader64, Sym64};
use object::read::elf::{SectionHeader, Sym};
use object::{Endianness, ReadRef};

use super::{BadElf, Elf};

/// A symbol of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function<'a> {
    /// As the linker knows it, without a version.
    pub name: &'a [u8],
    /// Where it is loaded, before relocation. Nothing for those that are imported.
    pub address: u64,
    /// What it stands for.
    pub kind: Kind,
}

/// What a symbol stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A function.
    Defined,
    /// A function that chooses the function to call when the program is loaded (STT_GNU_IFUNC).
    Indirect,
    /// A function of another file.
    Imported,
}

/// What the linker left, or what it needs to load the file.
const TABLES: [&[u8]; 2] = [b".symtab", b".dynsym"];

/// What the symbols of a large program come to, unpacked, many times over.
const LARGEST_UNPACKED: u64 = 256 << 20;

/// Compilers make names of some thousand bytes. In a made-up file each could take up the whole table.
const LONGEST_NAME: usize = 64 << 10;

impl<'data, R: ReadRef<'data>> Elf<'data, R> {
    /// Shows all functions that the file tells of: of a stripped one those that others can call, and those of its
    /// MiniDebugInfo. Some come more than once.
    ///
    /// # Errors
    ///
    /// A symbol table is not where it should be.
    pub fn visit_functions(&self, mut visit: impl FnMut(Function<'_>)) -> Result<(), BadElf> {
        if let Some(section) = TABLES.iter().find_map(|name| self.section(name)) {
            self.visit_table(section, &mut visit)?;
        }
        // The full table has all that this one has.
        match self.section(b".gnu_debugdata").filter(|_| self.section(TABLES[0]).is_none()) {
            Some(section) => self.visit_mini_debug_info(section, &mut visit),
            None => Ok(()),
        }
    }

    fn visit_mini_debug_info(
        &self,
        section: &SectionHeader64<Endianness>,
        visit: &mut impl FnMut(Function<'_>),
    ) -> Result<(), BadElf> {
        let unpacked = unpack_mini_debug_info(section.data(self.endian, self.data)?, LARGEST_UNPACKED);
        let unpacked = unpacked.ok_or(BadElf::Malformed)?;
        let elf = Elf::parse(unpacked.as_slice())?;
        match elf.section(TABLES[0]) {
            Some(section) => elf.visit_table(section, visit),
            None => Ok(()),
        }
    }

    fn visit_table(
        &self,
        section: &SectionHeader64<Endianness>,
        visit: &mut impl FnMut(Function<'_>),
    ) -> Result<(), BadElf> {
        let symbols: &[Sym64<Endianness>] = section.data_as_array(self.endian, self.data)?;
        let strings = self.sections.section(section.link(self.endian))?.data(self.endian, self.data)?;
        for symbol in symbols {
            let kind = match (symbol.st_type(), symbol.is_undefined(self.endian)) {
                (elf::STT_FUNC | elf::STT_GNU_IFUNC, true) => Kind::Imported,
                (elf::STT_FUNC, false) => Kind::Defined,
                (elf::STT_GNU_IFUNC, false) => Kind::Indirect,
                _ => continue,
            };
            let name = strings.get(symbol.st_name(self.endian) as usize..).unwrap_or_default();
            let name = &name[..name.len().min(LONGEST_NAME + 1)];
            let name = name.split(|byte| matches!(byte, 0 | b'@')).next().unwrap_or_default();
            if (1..=LONGEST_NAME).contains(&name.len()) {
                visit(Function { name, address: symbol.st_value(self.endian), kind });
            }
        }
        Ok(())
    }
}
