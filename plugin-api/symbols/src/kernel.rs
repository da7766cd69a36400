use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::JoinHandle;

/// How much of the list is read at a time, in bytes.
const BUFFER: usize = 64 << 10;

/// The functions of the kernel, as `/proc/kallsyms` lists them. They are read in a thread, because that takes a while.
///
/// The default has none.
#[derive(Debug, Default)]
pub struct KernelSymbols {
    reading: Option<JoinHandle<Functions>>,
    functions: OnceLock<Functions>,
}

#[derive(Debug, Default)]
struct Functions {
    /// By address: where in the names the name begins, and its length.
    entries: Vec<(u64, u32, u32)>,
    names: String,
}

impl KernelSymbols {
    /// Starts to read them from this procfs.
    pub fn read(procfs: &Path) -> Self {
        let path = procfs.join("kallsyms");
        let reading = std::thread::Builder::new().name("kallsyms".to_owned()).spawn(|| Functions::read(path));
        Self { reading: reading.ok(), functions: OnceLock::new() }
    }

    /// The function at this address. Waits until all of them are read.
    pub fn function(&mut self, address: u64) -> Option<&str> {
        let reading = &mut self.reading;
        let functions = self
            .functions
            .get_or_init(|| reading.take().and_then(|reading| reading.join().ok()).unwrap_or_default());
        functions.at(address)
    }
}

impl Functions {
    /// Empty, if the kernel hides its addresses (kernel.kptr_restrict).
    fn read(path: PathBuf) -> Self {
        let mut functions = Self::default();
        // The whole list is three times as long as what is kept of it.
        let lines = File::open(&path).map(|list| BufReader::with_capacity(BUFFER, list).lines());
        for line in lines.into_iter().flatten().map_while(Result::ok) {
            functions.add(&line);
        }
        functions.entries.shrink_to_fit();
        functions.names.shrink_to_fit();
        functions.entries.sort_unstable();
        if functions.entries.is_empty() {
            log::warn!(
                "functions of the kernel are not named: {} hides their addresses or cannot be read; \
                 that takes CAP_SYSLOG, and kernel.kptr_restrict below 2",
                path.display()
            );
        }
        functions
    }

    /// Adds the function of a line such as `ffffffff81000000 T _stext`, where a tab and a module may follow.
    fn add(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        let address = u64::from_str_radix(address, 16).unwrap_or(0);
        // On aarch64, `$x` and `$d` mark code and data in modules.
        if address != 0 && matches!(kind, "t" | "T" | "w" | "W") && !name.starts_with('$') {
            self.entries.push((address, self.names.len() as u32, name.len() as u32));
            self.names.push_str(name);
        }
    }

    fn at(&self, address: u64) -> Option<&str> {
        let after = self.entries.partition_point(|entry| entry.0 <= address);
        let (_, begin, length) = *self.entries[..after].last()?;
        self.names.get(begin as usize..(begin + length) as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Functions;

    #[test]
    fn an_address_belongs_to_the_nearest_function_before_it() {
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
        fn any_lines_are_accepted(lines in prop::collection::vec("[0-9a-f]{0,17}[ \t][tTd][ \t]\\PC{0,9}|\\PC{0,20}", 0..9)) {
            let mut functions = Functions::default();
            lines.iter().for_each(|line| functions.add(line));
            functions.entries.sort_unstable();
            prop_assert!([0, 1, u64::MAX].iter().all(|address| functions.at(*address).is_none_or(|name| !name.is_empty())));
        }
    }
}
