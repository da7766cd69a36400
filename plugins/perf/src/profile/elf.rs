//! The functions of a program or a library.

use std::borrow::Cow;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use function_names::unpack_mini_debug_info;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym};
use object::read::{ReadCache, ReadRef};
use object::{Endianness, pod, read};
use trace_hook_api::log;
use tracefs::mapped_ranges;

use super::room::{Claim, Room};

/// A program can claim to have as many segments and sections as it likes. These are thousands.
const LARGEST_HEADERS: u64 = 1 << 20;
/// Symbols that are read at a time.
const SYMBOLS_AT_ONCE: u64 = 1 << 15;
/// Nobody reads a longer name.
const LONGEST_NAME: usize = 4096;
/// MiniDebugInfo has no more, unpacked: it is of what others do not call.
const LARGEST_UNPACKED: u64 = 32 << 20;
/// A function can have others within it, such as entries for special cases of what is written in assembly.
const MOST_NESTED: usize = 8;

/// No program has more segments, or sections with code.
const MOST_PARTS: usize = 1000;

/// Where the functions are.
#[derive(Debug, Default)]
pub struct ElfSymbols {
    /// Where parts of the file come to lie: place in the file, length, address.
    segments: Vec<(u64, u64, u64)>,
    /// The addresses of code that belongs together. What calls other files' functions is apart, and has no names.
    sections: Vec<Range<u64>>,
    /// By address.
    functions: Vec<Function>,
    /// What a stripped file keeps of its functions that others do not call (MiniDebugInfo).
    kept: Option<Box<ElfSymbols>>,
    /// The file's string table. Names can overlap in it, so that all of them together may be many times as long.
    names: Box<[u8]>,
    /// What functions and names take.
    _room: Option<Claim>,
}

#[derive(Debug, Clone, Copy)]
struct Function {
    address: u64,
    /// 0: to the next, or the section's end.
    size: u32,
    /// Where in the names it begins.
    name: u32,
}

/// Reads a part of the file.
type ReadPart<'a> = &'a dyn Fn(Range<u64>) -> Option<Vec<u8>>;

impl ElfSymbols {
    /// Those of a file. None, if it is no program that can be read. Without functions, if there is no room for them.
    ///
    /// It is read and not mapped: who owns it may cut it short at any time.
    pub fn of_file(file: File, room: &Arc<Room>) -> Option<Self> {
        let headers = ReadCache::new(&file);
        let read = |part: Range<u64>| {
            let mut bytes = vec![0; usize::try_from(part.end - part.start).ok()?];
            file.read_exact_at(&mut bytes, part.start).ok().map(|()| bytes)
        };
        let (mut symbols, mini_debug_info) = Self::of(Modest(&headers), &read, room)?;
        symbols.kept = mini_debug_info.and_then(|packed| Self::unpacked(&read(packed)?, room)).map(Box::new);
        Some(symbols)
    }

    fn unpacked(packed: &[u8], room: &Arc<Room>) -> Option<Self> {
        let _room = room.claim(LARGEST_UNPACKED)?;
        Self::of_bytes(&unpack_mini_debug_info(packed, LARGEST_UNPACKED)?, room)
    }

    fn of_bytes(bytes: &[u8], room: &Arc<Room>) -> Option<Self> {
        let read = |part: Range<u64>| {
            let (from, to) = (usize::try_from(part.start).ok()?, usize::try_from(part.end).ok()?);
            bytes.get(from..to).map(<[u8]>::to_vec)
        };
        Self::of(bytes, &read, room).map(|(symbols, _)| symbols)
    }

    /// The symbols, and where there are packed ones beside them.
    fn of<'a>(
        headers: impl ReadRef<'a>,
        read: ReadPart<'_>,
        room: &Arc<Room>,
    ) -> Option<(Self, Option<Range<u64>>)> {
        let wide = Self::of_class::<FileHeader64<Endianness>>(headers, read, room);
        wide.or_else(|_| Self::of_class::<FileHeader32<Endianness>>(headers, read, room)).ok()
    }

    fn of_class<'a, Header: FileHeader<Endian = Endianness>>(
        headers: impl ReadRef<'a>,
        read: ReadPart<'_>,
        room: &Arc<Room>,
    ) -> read::Result<(Self, Option<Range<u64>>)> {
        let header = Header::parse(headers)?;
        let endian = header.endian()?;
        let loaded = header.program_headers(endian, headers)?.iter();
        let loaded = loaded.filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
        let segments = loaded.take(MOST_PARTS).map(|segment| {
            let (offset, length) = segment.file_range(endian);
            (offset, length, segment.p_vaddr(endian).into())
        });
        let sections = header.sections(endian, headers)?;
        let code = sections.iter().filter(|section| section.sh_flags(endian).contains(elf::SHF_EXECINSTR));
        let code = code.take(MOST_PARTS).map(|section| {
            let address = section.sh_addr(endian).into();
            address..address.saturating_add(section.sh_size(endian).into())
        });
        let mut symbols = Self { segments: segments.collect(), sections: code.collect(), ..Self::default() };
        // The dynamic ones are among the others, unless those were stripped.
        for table in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
            if symbols.functions.is_empty()
                && let Some(tables) = Tables::find(&sections, table, endian)
                && symbols.read_tables::<Header>(&tables, endian, read, room).is_none()
            {
                log::debug!("a table of symbols cannot be read, or there is no room for it");
                symbols.functions = Vec::new();
            }
        }
        // Of several names, the last is taken: one with a size.
        symbols.functions.sort_unstable_by_key(|function| (function.address, function.size));
        let is_stripped = Tables::find(&sections, elf::SHT_SYMTAB, endian).is_none();
        let packed = sections.section_by_name(endian, b".gnu_debugdata").filter(|_| is_stripped);
        let packed = packed.and_then(|(_, section)| part(section, endian));
        Ok((symbols, packed.filter(|packed| packed.end - packed.start <= LARGEST_UNPACKED)))
    }

    fn read_tables<Header: FileHeader<Endian = Endianness>>(
        &mut self,
        tables: &Tables,
        endian: Endianness,
        read: ReadPart<'_>,
        room: &Arc<Room>,
    ) -> Option<()> {
        let size = size_of::<Header::Sym>() as u64;
        let count = tables.symbols.end.saturating_sub(tables.symbols.start) / size;
        let names = tables.names.end.saturating_sub(tables.names.start);
        let mut claim = room.claim(count.checked_mul(size_of::<Function>() as u64)?.checked_add(names)?)?;
        for first in (0..count).step_by(SYMBOLS_AT_ONCE as usize) {
            let some = SYMBOLS_AT_ONCE.min(count - first);
            let from = tables.symbols.start + first * size;
            let bytes = read(from..from + some * size)?;
            let (symbols, _) = pod::slice_from_bytes::<Header::Sym>(&bytes, some as usize).ok()?;
            self.functions.extend(symbols.iter().filter_map(|symbol| Function::of(symbol, endian)));
        }
        self.functions.shrink_to_fit();
        if !self.functions.is_empty() {
            self.names = read(tables.names.clone())?.into();
        }
        claim.shrink_to((size_of_val(&*self.functions) + self.names.len()) as u64);
        self._room = Some(claim);
        Some(())
    }

    /// The function at this place in the file.
    pub fn function(&self, offset: u64) -> Option<Cow<'_, str>> {
        let (from, _, address) = self
            .segments
            .iter()
            .find(|(from, length, _)| (*from..from.saturating_add(*length)).contains(&offset))?;
        self.function_at((offset - from).wrapping_add(*address))
    }

    fn function_at(&self, address: u64) -> Option<Cow<'_, str>> {
        let after = self.functions.partition_point(|function| function.address <= address);
        let before = self.functions[..after].iter().rev().take(MOST_NESTED).enumerate();
        let mut around = before.filter(|(nearer, function)| match function.size {
            0 => *nearer == 0 && self.is_in_one_section(function.address, address),
            size => address - function.address < size.into(),
        });
        match around.next() {
            Some((_, function)) => self.name(function),
            None => self.kept.as_ref()?.function_at(address),
        }
    }

    fn is_in_one_section(&self, first: u64, second: u64) -> bool {
        self.sections.iter().any(|section| section.contains(&first) && section.contains(&second))
    }

    /// The name of a function, without the version that a linker may have added to it.
    fn name(&self, function: &Function) -> Option<Cow<'_, str>> {
        let name = self.names.get(function.name as usize..)?;
        let name = &name[..name.len().min(LONGEST_NAME)];
        let name = name.split(|byte| matches!(byte, 0 | b'@')).next().filter(|name| !name.is_empty())?;
        Some(String::from_utf8_lossy(name))
    }
}

impl Function {
    fn of<S: Sym<Endian = Endianness>>(symbol: &S, endian: Endianness) -> Option<Self> {
        let is_function = matches!(symbol.st_type(), elf::STT_FUNC | elf::STT_GNU_IFUNC);
        (is_function && !symbol.is_undefined(endian)).then(|| Self {
            address: symbol.st_value(endian).into(),
            size: symbol.st_size(endian).into().try_into().unwrap_or(u32::MAX),
            name: symbol.st_name(endian),
        })
    }
}

/// Where in the file the symbols and their names are.
struct Tables {
    symbols: Range<u64>,
    names: Range<u64>,
}

impl Tables {
    fn find<'a, Header: FileHeader<Endian = Endianness>, R: ReadRef<'a>>(
        sections: &SectionTable<'a, Header, R>,
        table: elf::SectionType,
        endian: Endianness,
    ) -> Option<Self> {
        let symbols = sections.iter().find(|section| section.sh_type(endian) == table)?;
        let names = sections.section(symbols.link(endian)).ok()?;
        Some(Self { symbols: part(symbols, endian)?, names: part(names, endian)? })
    }
}

/// Where in the file a section is.
fn part<Section: SectionHeader<Endian = Endianness>>(
    section: &Section,
    endian: Endianness,
) -> Option<Range<u64>> {
    let (offset, size) = section.file_range(endian)?;
    Some(offset..offset.checked_add(size)?)
}

/// The functions of the code that the kernel gives to every program, us included.
pub fn vdso(room: &Arc<Room>) -> Option<ElfSymbols> {
    ElfSymbols::of_bytes(&vdso_image()?, room)
}

fn vdso_image() -> Option<Vec<u8>> {
    let maps = fs::read("/proc/self/maps").ok()?;
    let vdso = mapped_ranges(&maps).find(|range| *range.path == *b"[vdso]")?.addresses;
    let mut image = vec![0; usize::try_from(vdso.end - vdso.start).ok()?];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut image, vdso.start).ok()?;
    Some(image)
}

/// Refuses to read larger headers than a real program has.
#[derive(Clone, Copy)]
struct Modest<R>(R);

impl<'a, R: ReadRef<'a>> ReadRef<'a> for Modest<R> {
    fn len(self) -> Result<u64, ()> {
        self.0.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if size > LARGEST_HEADERS { Err(()) } else { self.0.read_bytes_at(offset, size) }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.0.read_bytes_at_until(range, delimiter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plenty() -> Arc<Room> {
        Room::of(64 << 20)
    }

    #[test]
    fn symbols_take_room_while_they_are_there() {
        let own = || File::open("/proc/self/exe").unwrap();
        assert!(ElfSymbols::of_file(own(), &Room::of(1000)).unwrap().functions.is_empty());
        let room = plenty();
        let symbols = ElfSymbols::of_file(own(), &room).unwrap();
        let taken = (size_of_val(&*symbols.functions) + symbols.names.len()) as u64;
        let half_of_the_rest = ((64 << 20) - taken) / 2;
        assert!(taken > 0 && room.claim(half_of_the_rest + 1).is_none());
        assert!(room.claim(half_of_the_rest).is_some());
        drop(symbols);
        assert!(room.claim(32 << 20).is_some());
    }

    #[test]
    fn our_own_functions_are_found() {
        let symbols = ElfSymbols::of_file(File::open("/proc/self/exe").unwrap(), &plenty()).unwrap();
        let place = |function: &Function| {
            let (from, _, address) =
                symbols.segments.iter().rev().find(|segment| segment.2 <= function.address).unwrap();
            from + function.address - address
        };
        let sized: Vec<&Function> = symbols.functions.iter().filter(|function| function.size > 1).collect();
        assert!(sized.len() > 100);
        for function in sized.iter().step_by(50) {
            let offset = place(function);
            assert!(symbols.function(offset).is_some());
            assert_eq!(symbols.function(offset), symbols.function(offset + u64::from(function.size) - 1));
        }
        assert_eq!(symbols.function(u64::MAX), None);
    }

    #[test]
    fn the_kernels_gift_has_functions() {
        let vdso = vdso(&plenty()).unwrap();
        let mut names = vdso.functions.iter().filter_map(|function| vdso.name(function));
        assert!(names.any(|name| name.contains("clock_gettime")));
    }

    #[test]
    fn functions_can_be_within_others() {
        let function = |address, size, name| Function { address, size, name };
        let symbols = ElfSymbols {
            segments: vec![(0, 0x1000, 0x4000)],
            sections: vec![0x4000..0x4008, 0x4010..0x4800],
            functions: vec![
                function(0x4000, 0, 0),
                function(0x4010, 0x30, 6),
                function(0x4020, 8, 12),
                function(0x4050, 0, 18),
            ],
            names: b"start\0outer\0inner\0last@@V_2\0".as_slice().into(),
            ..ElfSymbols::default()
        };
        let at = |offset| symbols.function(offset);
        assert_eq!([at(0), at(7), at(8)], [Some("start".into()), Some("start".into()), None]);
        assert_eq!([at(0x10), at(0x28), at(0x3f)], [const { Some(Cow::Borrowed("outer")) }; 3]);
        assert_eq!([at(0x20), at(0x27)], [const { Some(Cow::Borrowed("inner")) }; 2]);
        assert_eq!([at(0x40), at(0x4f), at(0x1000)], [const { None }; 3]);
        assert_eq!([at(0x7ff), at(0x800)], [Some("last".into()), None]);
    }

    proptest! {
        #[test]
        fn any_file_is_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..2000), is_elf: bool) {
            if is_elf && bytes.len() > 16 {
                bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
            }
            let symbols = ElfSymbols::of_bytes(&bytes, &plenty());
            prop_assert!(symbols.is_none_or(|symbols| symbols.function(64).is_none()));
        }

        #[test]
        fn any_change_of_a_library_is_survived(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..16),
            length in any::<prop::sample::Index>(),
        ) {
            let mut bytes = vdso_image().unwrap();
            // Half of the changes are in the file's header, which is short.
            for (number, (at, byte)) in changes.into_iter().enumerate() {
                let at = at.index(if number % 2 == 0 { 64 } else { bytes.len() });
                bytes[at] = byte;
            }
            for bytes in [&bytes[..], &bytes[..length.index(bytes.len())]] {
                if let Some(symbols) = ElfSymbols::of_bytes(bytes, &plenty()) {
                    (0..bytes.len() as u64).step_by(16).for_each(|offset| _ = symbols.function(offset));
                }
            }
        }
    }
}
