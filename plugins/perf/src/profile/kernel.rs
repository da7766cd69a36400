//! The functions of the kernel.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread::JoinHandle;

/// What `/proc/kallsyms` tells, which takes a while to read.
#[derive(Debug)]
pub struct KernelSymbols {
    reading: Option<JoinHandle<Functions>>,
    functions: OnceLock<Functions>,
}

/// By address, with where the name begins and how long it is.
#[derive(Debug, Default)]
struct Functions {
    places: Vec<(u64, u32, u32)>,
    names: String,
}

impl KernelSymbols {
    /// Begins to read them.
    pub fn read(procfs: &std::path::Path) -> Self {
        let path = procfs.join("kallsyms");
        let reading = std::thread::Builder::new().name("kallsyms".to_owned()).spawn(|| Functions::of(path));
        Self { reading: reading.ok(), functions: OnceLock::new() }
    }

    /// The function at this address.
    pub fn function(&mut self, address: u64) -> Option<&str> {
        let reading = &mut self.reading;
        let functions = self
            .functions
            .get_or_init(|| reading.take().and_then(|reading| reading.join().ok()).unwrap_or_default());
        functions.at(address)
    }
}

impl Functions {
    /// None, where the kernel hides its addresses (kernel.kptr_restrict).
    fn of(path: PathBuf) -> Self {
        let mut functions = Self::default();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            functions.add(line);
        }
        functions.places.sort_unstable();
        functions
    }

    /// Reads `ffffffff81000000 T _stext`, with a tab and the module after it where it has one.
    fn add(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        let address = u64::from_str_radix(address, 16).unwrap_or(0);
        // On aarch64, `$x` and `$d` tell code from data in modules.
        if address != 0 && matches!(kind, "t" | "T" | "w" | "W") && !name.starts_with('$') {
            self.places.push((address, self.names.len() as u32, name.len() as u32));
            self.names.push_str(name);
        }
    }

    fn at(&self, address: u64) -> Option<&str> {
        let after = self.places.partition_point(|place| place.0 <= address);
        let (_, begin, length) = *self.places[..after].last()?;
        self.names.get(begin as usize..(begin + length) as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Functions;

    #[test]
    fn the_nearest_function_before_an_address() {
        let mut functions = Functions::default();
        for line in [
            "10 T first",
            "20 t second\t[module]",
            "18 d data",
            "0 T hidden",
            "garbage",
            "20 t $x\t[module]",
            "30 W third",
        ] {
            functions.add(line);
        }
        assert_eq!(functions.at(0xf), None);
        assert_eq!(functions.at(0x1f), Some("first"));
        assert_eq!(functions.at(0x20), Some("second"));
        assert_eq!(functions.at(u64::MAX), Some("third"));
    }
    proptest! {
        #[test]
        fn any_line_is_survived(lines in prop::collection::vec("[0-9a-f]{0,17}[ \t][tTd][ \t]\\PC{0,9}|\\PC{0,20}", 0..9)) {
            let mut functions = Functions::default();
            lines.iter().for_each(|line| functions.add(line));
            functions.places.sort_unstable();
            prop_assert!([0, 1, u64::MAX].iter().all(|address| functions.at(*address).is_none_or(|name| !name.is_empty())));
        }
    }
}
