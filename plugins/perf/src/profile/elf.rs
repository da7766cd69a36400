//! The functions of a program or a library.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use object::read::{File as Elf, ReadCache, ReadRef};
use object::{Object, ObjectSegment, ObjectSymbol, SymbolKind};

/// The most that is read at a time: a program can claim to have tables of any size.
const LARGEST_TABLE: u64 = 256 << 20;

/// Where the functions are.
#[derive(Debug)]
pub struct ElfSymbols {
    /// Where parts of the file come to lie: place in the file, length, address.
    segments: Vec<(u64, u64, u64)>,
    /// By address.
    functions: Vec<Function>,
    names: String,
}

#[derive(Debug, Clone, Copy)]
struct Function {
    address: u64,
    /// 0: to the next.
    size: u64,
    /// Where in the names it begins, and how long it is.
    name: (u32, u32),
}

impl ElfSymbols {
    /// Those of a file. None, if it is no program or cannot be read.
    ///
    /// It is read and not mapped: who owns it may cut it short at any time.
    pub fn of_file(file: File) -> Option<Self> {
        let cache = ReadCache::new(file);
        Self::of(Modest(&cache))
    }

    fn of<'a>(data: impl ReadRef<'a>) -> Option<Self> {
        let elf = Elf::parse(data).ok()?;
        let mut symbols = Self { segments: Vec::new(), functions: Vec::new(), names: String::new() };
        for segment in elf.segments() {
            let (offset, length) = segment.file_range();
            symbols.segments.push((offset, length, segment.address()));
        }
        elf.symbols().for_each(|symbol| symbols.add(&symbol));
        // The dynamic ones are among the others, unless those were stripped.
        if symbols.functions.is_empty() {
            elf.dynamic_symbols().for_each(|symbol| symbols.add(&symbol));
        }
        // Of several names, the last is taken: one with a size.
        symbols.functions.sort_by_key(|function| (function.address, function.size));
        Some(symbols)
    }

    fn add<'a>(&mut self, symbol: &impl ObjectSymbol<'a>) {
        if symbol.kind() != SymbolKind::Text || !symbol.is_definition() {
            return;
        }
        let Some(name) = symbol.name().ok().filter(|name| !name.is_empty()) else { return };
        let (Ok(begin), Ok(length)) = (self.names.len().try_into(), name.len().try_into()) else { return };
        self.names.push_str(name);
        self.functions.push(Function {
            address: symbol.address(),
            size: symbol.size(),
            name: (begin, length),
        });
    }

    /// The function at this place in the file.
    pub fn function(&self, offset: u64) -> Option<&str> {
        let (from, _, address) = self
            .segments
            .iter()
            .find(|(from, length, _)| (*from..from.saturating_add(*length)).contains(&offset))?;
        let address = (offset - from).wrapping_add(*address);
        let after = self.functions.partition_point(|function| function.address <= address);
        let function = self.functions[..after].last()?;
        let is_within = function.size == 0 || address - function.address < function.size;
        let (begin, length) = (function.name.0 as usize, function.name.1 as usize);
        self.names.get(begin..begin + length).filter(|_| is_within)
    }
}

/// The functions of the code that the kernel gives to every program, us included.
pub fn vdso() -> Option<ElfSymbols> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
    let (begin, end) = line.split(' ').next()?.split_once('-')?;
    let (begin, end) = (u64::from_str_radix(begin, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let mut image = vec![0; usize::try_from(end.checked_sub(begin)?).ok()?];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut image, begin).ok()?;
    ElfSymbols::of(&image[..])
}

/// Refuses to read more at a time than a real program would ask for.
#[derive(Clone, Copy)]
struct Modest<R>(R);

impl<'a, R: ReadRef<'a>> ReadRef<'a> for Modest<R> {
    fn len(self) -> Result<u64, ()> {
        self.0.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if size > LARGEST_TABLE { Err(()) } else { self.0.read_bytes_at(offset, size) }
    }

    fn read_bytes_at_until(self, range: std::ops::Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.0.read_bytes_at_until(range, delimiter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_own_functions_are_found() {
        let symbols = ElfSymbols::of_file(File::open("/proc/self/exe").unwrap()).unwrap();
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
            assert_eq!(symbols.function(offset), symbols.function(offset + function.size - 1));
        }
        assert_eq!(symbols.function(u64::MAX), None);
    }

    #[test]
    fn the_kernels_gift_has_functions() {
        assert!(vdso().unwrap().names.contains("clock_gettime"));
    }

    proptest! {
        #[test]
        fn any_file_is_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..2000), is_elf: bool) {
            if is_elf && bytes.len() > 16 {
                bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
            }
            let symbols = ElfSymbols::of(&bytes[..]);
            prop_assert!(symbols.is_none_or(|symbols| symbols.function(64).is_none()));
        }
    }
}
