//! Small synthetic ELF files, for tests.

use std::io::Write;

use lzma_rust2::{XzOptions, XzWriter};

/// Where the code of a synthetic file is: the place in the file, the address, and the length.
pub const CODE: (u64, u64, u64) = (0x200, 0x40_1200, 0x100);

/// The size of each function.
const SIZE: u64 = 16;

/// A symbol: its name, its type, whether it is defined, and its address.
pub type Symbol = (&'static str, u8, bool, u64);

/// Section types of elf(5).
const NULL: u32 = 0;
const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
const DYNSYM: u32 = 11;

/// The content of a synthetic file.
#[derive(Default)]
pub struct SyntheticElf<'a> {
    pub symtab: &'a [Symbol],
    pub dynsym: &'a [Symbol],
    /// Further sections.
    pub others: Vec<(&'static str, Vec<u8>)>,
}

/// Compresses bytes with xz.
pub fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

struct Section {
    name: &'static str,
    kind: u32,
    link: u32,
    content: Vec<u8>,
}

impl SyntheticElf<'_> {
    pub fn bytes(self) -> Vec<u8> {
        let mut sections = vec![Section { name: "", kind: NULL, link: 0, content: Vec::new() }];
        for (name, kind, symbols) in [(".symtab", SYMTAB, self.symtab), (".dynsym", DYNSYM, self.dynsym)] {
            if !symbols.is_empty() {
                let (content, strings) = table(symbols);
                let link = sections.len() as u32 + 1;
                sections.push(Section { name, kind, link, content });
                sections.push(Section { name: ".strings", kind: STRTAB, link: 0, content: strings });
            }
        }
        let others = self.others.into_iter();
        sections.extend(others.map(|(name, content)| Section { name, kind: PROGBITS, link: 0, content }));
        assemble(sections)
    }
}

fn table(symbols: &[Symbol]) -> (Vec<u8>, Vec<u8>) {
    let (mut content, mut strings) = (vec![0; 24], vec![0]);
    for (name, kind, defined, address) in symbols {
        content.extend((strings.len() as u32).to_le_bytes());
        content.extend([1 << 4 | kind, 0]);
        content.extend(u16::from(*defined).to_le_bytes());
        content.extend(address.to_le_bytes());
        content.extend(SIZE.to_le_bytes());
        strings.extend(name.as_bytes());
        strings.push(0);
    }
    (content, strings)
}

fn assemble(mut sections: Vec<Section>) -> Vec<u8> {
    let names =
        sections.iter().fold(vec![0], |names, section| [&names, section.name.as_bytes(), b"\0"].concat());
    let names = [&names[..], b".shstrtab\0"].concat();
    sections.push(Section { name: ".shstrtab", kind: STRTAB, link: 0, content: names.clone() });

    let (offset, address, size) = CODE;
    let mut headers = Vec::new();
    let mut body = vec![0x90; size as usize];
    for section in &sections {
        let name = names.windows(section.name.len() + 1).position(|window| {
            window.strip_suffix(b"\0").is_some_and(|window| window == section.name.as_bytes())
        });
        headers.extend((name.expect("it was added") as u32).to_le_bytes());
        headers.extend(section.kind.to_le_bytes());
        headers.extend([0; 16]);
        headers.extend((offset + body.len() as u64).to_le_bytes());
        headers.extend((section.content.len() as u64).to_le_bytes());
        headers.extend(section.link.to_le_bytes());
        headers.extend([0; 12]);
        headers.extend(if matches!(section.kind, SYMTAB | DYNSYM) { 24_u64 } else { 0 }.to_le_bytes());
        body.extend(&section.content);
    }
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([2_u16, machine].map(u16::to_le_bytes).concat());
    file.extend(1_u32.to_le_bytes());
    file.extend([address, 64, offset + body.len() as u64].map(u64::to_le_bytes).concat());
    file.extend(0_u32.to_le_bytes());
    let count = sections.len() as u16;
    file.extend([64_u16, 56, 1, 64, count, count - 1].map(u16::to_le_bytes).concat());
    // PT_LOAD, readable and executable.
    file.extend([1_u32, 5].map(u32::to_le_bytes).concat());
    file.extend([offset, address, address, size, size, 0x1000].map(u64::to_le_bytes).concat());
    file.resize(offset as usize, 0);
    [file, body, headers].concat()
}
