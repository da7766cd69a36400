use std::fs;
use std::path::Path;

/// Where the one function is that each symbol stands for.
const FUNCTION: u64 = 0x100;
const FUNCTION_SIZE: u64 = 0x40;
/// Where the symbols begin.
const SYMBOLS: u64 = 0x200;

/// The machine code of a function that counts down from its argument.
#[cfg(target_arch = "x86_64")]
const COUNTS_DOWN: &[u8] = &[0x48, 0xff, 0xcf, 0x75, 0xfb, 0xc3];
#[cfg(target_arch = "aarch64")]
const COUNTS_DOWN: &[u8] = &[0x00, 0x04, 0x00, 0xf1, 0xe1, 0xff, 0xff, 0x54, 0xc0, 0x03, 0x5f, 0xd6];

/// A library (ELF) with one function of any number of names. The function is at offset 0x100, and counts down from its argument.
pub struct SyntheticLibrary {
    /// Where in the strings the names begin.
    names: Vec<u32>,
    strings: Vec<u8>,
}

impl SyntheticLibrary {
    /// With this many symbols.
    pub fn with_symbols(count: u32) -> Self {
        let names: Vec<String> = (0..count).map(|number| format!("function_{number:06}\0")).collect();
        let length = names.first().map_or(0, String::len) as u32;
        Self { names: (0..count).map(|number| number * length).collect(), strings: names.concat().into() }
    }

    /// With this many symbols, whose names overlap: the first has `length` bytes, and each is one byte shorter.
    pub fn with_overlapping_names(count: u32, length: usize) -> Self {
        Self { names: (0..count).collect(), strings: [vec![b't'; length], vec![0]].concat() }
    }

    /// Writes it to a file.
    pub fn write(&self, path: &Path) {
        let mut table = vec![0; 24];
        for name in &self.names {
            table.extend(name.to_le_bytes());
            // A global function, in section 1.
            table.extend([1 << 4 | 2, 0, 1, 0]);
            table.extend([FUNCTION, FUNCTION_SIZE].map(u64::to_le_bytes).concat());
        }
        let strings_at = SYMBOLS + table.len() as u64;
        let sections_at = strings_at + self.strings.len() as u64;
        let mut file = headers(sections_at);
        file.extend(&table);
        file.extend(&self.strings);
        file.extend(section(0, 0, 0, 0, 0));
        file.extend(section(2, SYMBOLS, table.len(), 2, 24));
        file.extend(section(3, strings_at, self.strings.len(), 0, 0));
        fs::write(path, file).expect("the directory is ours");
    }
}

/// What comes before the symbols.
fn headers(sections_at: u64) -> Vec<u8> {
    let machine = if cfg!(target_arch = "aarch64") { 183_u16 } else { 62 };
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([3_u16, machine].map(u16::to_le_bytes).concat());
    file.extend(1_u32.to_le_bytes());
    file.extend([0, 64, sections_at].map(u64::to_le_bytes).concat());
    file.extend(0_u32.to_le_bytes());
    file.extend([64_u16, 56, 1, 64, 3, 2].map(u16::to_le_bytes).concat());
    // All of it is loaded.
    file.extend([1_u32, 5].map(u32::to_le_bytes).concat());
    file.extend([0, 0, 0, sections_at, sections_at, 0x1000].map(u64::to_le_bytes).concat());
    file.resize(FUNCTION as usize, 0x90);
    file.extend(COUNTS_DOWN);
    file.resize(SYMBOLS as usize, 0x90);
    file
}

fn section(kind: u32, at: u64, length: usize, link: u32, entry: u64) -> Vec<u8> {
    let words = |words: [u32; 2]| words.map(u32::to_le_bytes).concat();
    let numbers = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let place: Vec<u8> = numbers(&[0, 0, at, length as u64]);
    let rest: Vec<u8> = numbers(&[0, entry]);
    [words([0, kind]), place, words([link, 0]), rest].concat()
}
