use std::cell::Cell;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::write;

/// The kernel's symbols by address, from `/proc/kallsyms`.
///
/// Empty if the addresses in the file are hidden (`kernel.kptr_restrict`). Addresses are then printed as numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Symbols {
    /// By address. Of several symbols at one address only the first is kept, which is the one that the kernel prints.
    symbols: Vec<Symbol>,
    /// All names, concatenated.
    names: String,
    /// Recently looked-up addresses, with the number of symbols at or below each. Most events come from few places.
    recent: Box<[Cell<(u64, u32)>]>,
    bounds: Bounds,
}

#[derive(Clone, Debug)]
struct Symbol {
    address: u64,
    name: (u32, u32),
    /// `[module]`; empty for the core kernel.
    module: (u32, u32),
}

/// The address ranges of the core kernel. Outside them, only modules and similar code have symbols (`is_ksym_addr` in
/// `kernel/kallsyms.c`).
#[derive(Clone, Debug, Default)]
struct Bounds {
    text: (u64, u64),
    init_text: (u64, u64),
    /// 0 if the kernel was built without symbols of data.
    end: u64,
}

/// A symbol with the address looked up.
struct Found<'a> {
    name: &'a str,
    module: &'a str,
    offset: u64,
    size: u64,
}

/// Not a power of two, because addresses of code have their low bits in common.
const RECENT: usize = 509;

impl Bounds {
    fn update(&mut self, name: &str, address: u64) {
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
        let symbols =
            fs::read(kallsyms).map(|bytes| Self::parse(&String::from_utf8_lossy(&bytes))).unwrap_or_default();
        if symbols.symbols.is_empty() {
            log::warn!(
                "functions of the kernel are shown as addresses: {} hides theirs or cannot be read; \
                 that takes CAP_SYSLOG, and kernel.kptr_restrict below 2",
                kallsyms.display()
            );
        }
        symbols
    }

    /// Whether the file has no address. Otherwise it is read up to the first one.
    pub(super) fn are_hidden(kallsyms: &Path) -> bool {
        let is_address = |line: &Vec<u8>| {
            line.iter().take_while(|byte| byte.is_ascii_hexdigit()).any(|digit| *digit != b'0')
        };
        let lines = File::open(kallsyms).map(|file| BufReader::new(file).split(b'\n').map_while(Result::ok));
        !lines.into_iter().flatten().any(|line| is_address(&line))
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
            found.bounds.update(name, address);
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

    /// The number of symbols at or below `address`.
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

    /// `%ps`, or `%pS` if `offset` (`__sprint_symbol` in `kernel/kallsyms.c`). With `backtrace` the byte before the
    /// address is looked up, for return addresses after a call that never returns.
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

    /// The name alone, as printed in stack traces. `None` if there is no symbol (`seq_print_sym` in
    /// `kernel/trace/trace_output.c`).
    pub(super) fn bare(&self, address: u64) -> Option<&str> {
        self.find(address).map(|found| found.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hidden_if_all_are_zero() {
        let are_hidden = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(&file, text).unwrap();
            Symbols::are_hidden(file.path())
        };
        let first = "0000000000000000 A fixed_percpu_data\n";
        assert!(are_hidden(first) && are_hidden("") && Symbols::are_hidden(Path::new("/nonexistent")));
        assert!(!are_hidden(&format!("{first}ffffffff81000000 T _stext\n")));
    }
}
