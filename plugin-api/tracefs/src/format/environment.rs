use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::symbols::Symbols;
use super::write;
use crate::dir::Dir;

/// The kernel's symbols and strings, which a print format may need besides the record. They are read on first use.
#[derive(Debug)]
pub(super) struct Environment {
    tracefs: Arc<Dir>,
    procfs: PathBuf,
    symbols: OnceCell<Symbols>,
    texts: OnceCell<HashMap<u64, Box<[u8]>>>,
}

impl Environment {
    pub(super) fn new(tracefs: Arc<Dir>, procfs: &Path) -> Self {
        Self { tracefs, procfs: procfs.to_owned(), symbols: OnceCell::new(), texts: OnceCell::new() }
    }

    pub(super) fn symbols(&self) -> &Symbols {
        self.symbols.get_or_init(|| Symbols::read(&self.procfs.join("kallsyms")))
    }

    pub(super) fn symbols_are_hidden(&self) -> bool {
        Symbols::are_hidden(&self.procfs.join("kallsyms"))
    }

    /// Appends the string at an address in kernel memory, or the address if the string is not known.
    pub(super) fn kernel_text(&self, address: u64, out: &mut Vec<u8>) {
        if address == 0 {
            return out.extend_from_slice(b"(null)");
        }
        match self.known_text(address) {
            Some(text) => out.extend_from_slice(text),
            None => {
                out.extend_from_slice(b"0x");
                write::hex(out, address);
            }
        }
    }

    pub(super) fn known_text(&self, address: u64) -> Option<&[u8]> {
        let texts = self.texts.get_or_init(|| {
            let listed = self.tracefs.contents("printk_formats").unwrap_or_default();
            listed.split(|byte| *byte == b'\n').filter_map(listed_text).collect()
        });
        texts.get(&address).map(|text| &**text)
    }
}

/// Parses a line such as `0xffffffff8281972f : "thaw_processes"` (`t_show` in `kernel/trace/trace_printk.c`).
fn listed_text(line: &[u8]) -> Option<(u64, Box<[u8]>)> {
    let line = std::str::from_utf8(line).ok()?;
    let (address, text) = line.split_once(" : ")?;
    let address = u64::from_str_radix(address.trim().strip_prefix("0x")?, 16).ok()?;
    let text = text.strip_prefix('"')?.strip_suffix('"')?;
    Some((address, unescaped(text)))
}

fn unescaped(text: &str) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(other) => other,
                None => b'\\',
            },
            other => other,
        });
    }
    bytes.into_boxed_slice()
}
