use std::cell::Cell;
use std::fs;
use std::path::Path;

use super::write;

/// The kernel's symbols by address, from `/proc/kallsyms`.
///
/// Empty where the file shows no addresses (`kernel.kptr_restrict`); addresses are then written as numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Symbols {
    /// By address; of several symbols at one address only the first, which is the one the kernel prints.
    symbols: Vec<Symbol>,
    /// All names, one after the other.
    names: String,
    /// Addresses looked up lately and how many symbols lie at or below them: few places make most events.
    recent: Box<[Cell<(u64, u32)>]>,
    bounds: Bounds,
}

#[derive(Clone, Debug)]
struct Symbol {
    address: u64,
    name: (u32, u32),
    /// `[module]`, empty for the kernel proper.
    module: (u32, u32),
}

/// Addresses of the kernel proper. Beyond them only modules and their like have symbols (`is_ksym_addr` in
/// `kernel/kallsyms.c`).
#[derive(Clone, Debug, Default)]
struct Bounds {
    text: (u64, u64),
    init_text: (u64, u64),
    /// 0 where the kernel was built without symbols of data.
    end: u64,
}

/// A symbol with the address looked up.
struct Found<'a> {
    name: &'a str,
    module: &'a str,
    offset: u64,
    size: u64,
}

/// Not a power of two, since addresses of code share their low bits.
const RECENT: usize = 509;

impl Bounds {
    fn note(&mut self, name: &str, address: u64) {
        match name {
            "_stext" => self.text.0 = address,
            "_etext" => self.text.1 = address,
            "_sinittext" => self.init_text.0 = address,
            "_einittext" => self.init_text.1 = address,
            "_end" => self.end = address,
            _ => {}
        }
    }

    fn contain(&self, address: u64) -> bool {
        let within = |(start, end): (u64, u64)| start <= address && address < end;
        within(self.text) || within(self.init_text) || within((self.text.0, self.end))
    }
}

impl Symbols {
    pub(super) fn read(kallsyms: &Path) -> Self {
        fs::read(kallsyms).map(|bytes| Self::parse(&String::from_utf8_lossy(&bytes))).unwrap_or_default()
    }

    fn parse(text: &str) -> Self {
        let mut found = Self { recent: vec![Cell::default(); RECENT].into_boxed_slice(), ..Self::default() };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let address = words.next().and_then(|word| u64::from_str_radix(word, 16).ok());
            let (Some(address), Some(_kind), Some(name)) = (address, words.next(), words.next()) else {
                continue;
            };
            if address == 0 {
                continue;
            }
            found.bounds.note(name, address);
            let module = found.keep(words.next().unwrap_or_default());
            let name = found.keep(name);
            found.symbols.push(Symbol { address, name, module });
        }
        found.symbols.sort_by_key(|symbol| symbol.address);
        found.symbols.dedup_by_key(|symbol| symbol.address);
        found
    }

    fn keep(&mut self, text: &str) -> (u32, u32) {
        let start = self.names.len() as u32;
        self.names.push_str(text);
        (start, self.names.len() as u32)
    }

    fn name(&self, (start, end): (u32, u32)) -> &str {
        self.names.get(start as usize..end as usize).unwrap_or_default()
    }

    fn find(&self, address: u64) -> Option<Found<'_>> {
        let after = self.count_up_to(address);
        let symbol = self.symbols.get(after.checked_sub(1)?)?;
        let module = self.name(symbol.module);
        if module.is_empty() && !self.bounds.contain(address) {
            return None;
        }
        let end = self.symbols.get(after).map_or(symbol.address, |next| next.address);
        let (offset, size) = (address - symbol.address, end.saturating_sub(symbol.address));
        Some(Found { name: self.name(symbol.name), module, offset, size })
    }

    /// How many symbols lie at `address` or below.
    #[inline]
    fn count_up_to(&self, address: u64) -> usize {
        let count = || self.symbols.partition_point(|symbol| symbol.address <= address);
        let Some(slot) = self.recent.get(address as usize % RECENT) else { return count() };
        let (known, found) = slot.get();
        if known == address {
            return found as usize;
        }
        let found = count();
        slot.set((address, found as u32));
        found
    }

    /// `%ps`, or `%pS` if `offset` (`__sprint_symbol` in `kernel/kallsyms.c`). `backtrace` looks one byte
    /// earlier, for return addresses behind a call that never returns.
    pub(super) fn write(&self, address: u64, offset: bool, backtrace: bool, out: &mut Vec<u8>) {
        let back = u64::from(backtrace);
        let Some(found) = self.find(address.wrapping_sub(back)) else {
            out.extend_from_slice(b"0x");
            return write::hex(out, address);
        };
        out.extend_from_slice(found.name.as_bytes());
        if offset {
            out.extend_from_slice(b"+0x");
            write::hex(out, found.offset + back);
            out.extend_from_slice(b"/0x");
            write::hex(out, found.size);
        }
        if !found.module.is_empty() {
            out.push(b' ');
            out.extend_from_slice(found.module.as_bytes());
        }
    }

    /// The bare name, as stack traces show it; `None` where unknown (`seq_print_sym` in
    /// `kernel/trace/trace_output.c`).
    pub(super) fn bare(&self, address: u64) -> Option<&str> {
        self.find(address).map(|found| found.name)
    }
}
