use std::fs;
use std::path::Path;

/// Where the one function is that each symbol stands for.
const FUNCTION: u64 = 0x100;
const FUNCTION_SIZE: u64 = 0x40;
/// Where further functions begin, each of this many bytes.
const FURTHER: u64 = 0x200;
const FURTHER_SIZE: u64 = 16;

/// The machine code of an instruction that does nothing.
#[cfg(target_arch = "x86_64")]
const NOTHING: &[u8] = &[0x90];
#[cfg(target_arch = "aarch64")]
const NOTHING: &[u8] = &[0x1f, 0x20, 0x03, 0xd5];

/// The machine code of a function that counts down from its argument.
#[cfg(target_arch = "x86_64")]
const COUNTS_DOWN: &[u8] = &[0x48, 0xff, 0xcf, 0x75, 0xfb, 0xc3];
#[cfg(target_arch = "aarch64")]
const COUNTS_DOWN: &[u8] = &[0x00, 0x04, 0x00, 0xf1, 0xe1, 0xff, 0xff, 0x54, 0xc0, 0x03, 0x5f, 0xd6];

/// The beginning of a function at which the kernel refuses a probe, though not because of its opcode: with this prefix, there is no such
/// instruction; or it is not aligned.
#[cfg(target_arch = "x86_64")]
const REFUSED: (&[u8], u64) = (&[0xc5, 0xf8, 0x05, 0xc0], 0);
#[cfg(target_arch = "aarch64")]
const REFUSED: (&[u8], u64) = (NOTHING, 2);

/// A library (ELF) with one function of any number of names, or with many functions. The first is at offset 0x100, and counts down from its
/// argument.
pub struct SyntheticLibrary {
    /// Where in the strings the names begin.
    names: Vec<u32>,
    strings: Vec<u8>,
    /// Set if each name has a function of its own: the machine code that is repeated there, and where each begins.
    further: Option<(&'static [u8], u64)>,
}

impl SyntheticLibrary {
    /// With this many symbols.
    pub fn with_symbols(count: u32) -> Self {
        Self::with_names((0..count).map(|number| format!("function_{number:06}")))
    }

    /// With one function of these names.
    pub fn with_names(names: impl IntoIterator<Item = String>) -> Self {
        let mut library = Self { names: Vec::new(), strings: Vec::new(), further: None };
        for name in names {
            library.names.push(library.strings.len().try_into().expect("the names are not that long"));
            library.strings.extend(name.as_bytes());
            library.strings.push(0);
        }
        library
    }

    /// With a function of each of these names.
    pub fn with_functions(names: impl IntoIterator<Item = String>) -> Self {
        Self { further: Some((NOTHING, 0)), ..Self::with_names(names) }
    }

    /// The same, and the kernel can put a probe at none of them.
    pub fn with_functions_without_probes(names: impl IntoIterator<Item = String>) -> Self {
        Self { further: Some(REFUSED), ..Self::with_names(names) }
    }

    /// With this many symbols, whose names overlap: the first has `length` bytes, and each is one byte shorter.
    pub fn with_overlapping_names(count: u32, length: usize) -> Self {
        let strings = [vec![b't'; length], vec![0]].concat();
        Self { names: (0..count).collect(), strings, further: None }
    }

    /// Where the function of this name begins, and its size.
    fn function(&self, name: u64) -> [u64; 2] {
        match self.further {
            Some((_, begin)) => [FURTHER + name * FURTHER_SIZE + begin, FURTHER_SIZE - begin],
            None => [FUNCTION, FUNCTION_SIZE],
        }
    }

    /// The machine code of all further functions.
    fn further_code(&self) -> Vec<u8> {
        let length = self.names.len() * FURTHER_SIZE as usize;
        self.further.map(|(code, _)| code.repeat(length / code.len())).unwrap_or_default()
    }

    /// Writes it to a file.
    pub fn write(&self, path: &Path) {
        let mut table = vec![0; 24];
        for (number, name) in self.names.iter().enumerate() {
            table.extend(name.to_le_bytes());
            // A global function, in section 1.
            table.extend([1 << 4 | 2, 0, 1, 0]);
            table.extend(self.function(number as u64).map(u64::to_le_bytes).concat());
        }
        let code = self.further_code();
        let symbols_at = FURTHER + code.len() as u64;
        let strings_at = symbols_at + table.len() as u64;
        let sections_at = strings_at + self.strings.len() as u64;
        let mut file = headers(sections_at);
        file.extend(&code);
        file.extend(&table);
        file.extend(&self.strings);
        file.extend(section(0, 0, 0, 0, 0));
        file.extend(section(2, symbols_at, table.len(), 2, 24));
        file.extend(section(3, strings_at, self.strings.len(), 0, 0));
        fs::write(path, file).expect("the directory is ours");
    }
}

/// What comes before the further functions.
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
    file.resize(FURTHER as usize, 0x90);
    file
}

fn section(kind: u32, at: u64, length: usize, link: u32, entry: u64) -> Vec<u8> {
    let words = |words: [u32; 2]| words.map(u32::to_le_bytes).concat();
    let numbers = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let place: Vec<u8> = numbers(&[0, 0, at, length as u64]);
    let rest: Vec<u8> = numbers(&[0, entry]);
    [words([0, kind]), place, words([link, 0]), rest].concat()
}
