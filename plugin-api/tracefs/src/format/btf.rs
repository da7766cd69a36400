use std::cell::OnceCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use super::types::Scalar;

/// The enum constants and typedefs in the kernel's BTF.
///
/// In a print format, the kernel replaces only the enum constants in `TRACE_DEFINE_ENUM` by their numbers. The
/// others are in the BTF, if the kernel was built with it. Source: `Documentation/bpf/btf.rst`,
/// `include/uapi/linux/btf.h`.
#[derive(Debug, Default)]
pub(super) struct Btf {
    path: Option<PathBuf>,
    names: OnceCell<Names>,
}

#[derive(Debug, Default)]
struct Names {
    /// `None` if two enums have constants of this name with different values.
    enumerators: HashMap<Box<str>, Option<i64>>,
    typedefs: HashMap<Box<str>, Scalar>,
}

impl Btf {
    /// The BTF of the kernel whose tracefs is mounted on `tracefs`, within the same sysfs. It is read on first use.
    pub(super) fn beside(tracefs: &Path) -> Self {
        let path = tracefs.ancestors().map(|above| above.join("btf/vmlinux")).find(|path| path.exists());
        Self { path, names: OnceCell::new() }
    }

    /// The value of an enum's constant.
    pub(super) fn enumerator(&self, name: &str) -> Option<i64> {
        *self.names().enumerators.get(name)?
    }

    /// The integer type that a `typedef` stands for.
    pub(super) fn typedef(&self, name: &str) -> Option<Scalar> {
        self.names().typedefs.get(name).copied()
    }

    fn names(&self) -> &Names {
        self.names.get_or_init(|| {
            let bytes = self.path.as_ref().and_then(|path| fs::read(path).ok());
            bytes.and_then(|bytes| Reader::new(&bytes)?.names()).unwrap_or_default()
        })
    }
}

const MAGIC: u64 = 0xeb9f;
const INT: u64 = 1;
const ENUM: u64 = 6;
const TYPEDEF: u64 = 8;
const VOLATILE: u64 = 9;
const CONST: u64 = 10;
const RESTRICT: u64 = 11;
const ENUM64: u64 = 19;

struct Reader<'a> {
    types: &'a [u8],
    strings: &'a [u8],
}

/// The header of a type, and the offset of the words after it.
#[derive(Clone, Copy)]
struct Type {
    name: u64,
    kind: u64,
    count: usize,
    flag: bool,
    /// Its size, or the type that it refers to.
    value: u64,
    after_header: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let word = |at| number(bytes, at, 4);
        if number(bytes, 0, 2)? != MAGIC {
            return None;
        }
        let header = word(4)? as usize;
        let section = |offset: u64, length: u64| {
            let start = header.checked_add(offset as usize)?;
            bytes.get(start..start.checked_add(length as usize)?)
        };
        Some(Self { types: section(word(8)?, word(12)?)?, strings: section(word(16)?, word(20)?)? })
    }

    fn names(&self) -> Option<Names> {
        let types = self.all()?;
        let mut names = Names::default();
        for kind in &types {
            match kind.kind {
                ENUM | ENUM64 => self.enumerators(kind, &mut names)?,
                TYPEDEF => {
                    if let Some(scalar) = self.scalar(&types, kind) {
                        names.typedefs.insert(self.name(kind.name)?.into(), scalar);
                    }
                }
                _ => {}
            }
        }
        Some(names)
    }

    fn all(&self) -> Option<Vec<Type>> {
        let mut types = Vec::new();
        let mut at = 0;
        while at < self.types.len() {
            let info = self.word(at + 4)?;
            let count = (info & 0xffff) as usize;
            let kind = info >> 24 & 0x1f;
            let after_header = at + 12;
            let value = self.word(at + 8)?;
            types.push(Type {
                name: self.word(at)?,
                kind,
                count,
                flag: info >> 31 != 0,
                value,
                after_header,
            });
            at = after_header + size_after_header(kind, count)?;
        }
        Some(types)
    }

    fn enumerators(&self, kind: &Type, names: &mut Names) -> Option<()> {
        let step = if kind.kind == ENUM64 { 12 } else { 8 };
        for index in 0..kind.count {
            let at = kind.after_header + index * step;
            let low = self.word(at + 4)?;
            let value = match kind.kind {
                ENUM64 => (self.word(at + 8)? << 32 | low) as i64,
                _ if kind.flag => i64::from(low as i32),
                _ => low as i64,
            };
            match names.enumerators.entry(self.name(self.word(at)?)?.into()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Some(value));
                }
                Entry::Occupied(mut known) if *known.get() != Some(value) => {
                    known.insert(None);
                }
                Entry::Occupied(_) => {}
            }
        }
        Some(())
    }

    /// Follows a typedef to the integer it stands for.
    fn scalar(&self, types: &[Type], typedef: &Type) -> Option<Scalar> {
        let mut kind = *typedef;
        // A longer chain is a cycle.
        for _ in 0..32 {
            match kind.kind {
                TYPEDEF | VOLATILE | CONST | RESTRICT => {
                    // Type ids start at 1; 0 is `void`.
                    kind = *types.get((kind.value as usize).checked_sub(1)?)?;
                }
                INT => {
                    let signed = self.word(kind.after_header)? >> 24 & 1 != 0;
                    return Some(Scalar { size: size(kind.value)?, signed });
                }
                ENUM | ENUM64 => return Some(Scalar { size: size(kind.value)?, signed: kind.flag }),
                _ => return None,
            }
        }
        None
    }

    fn word(&self, at: usize) -> Option<u64> {
        number(self.types, at, 4)
    }

    fn name(&self, at: u64) -> Option<&'a str> {
        let text = self.strings.get(at as usize..)?;
        std::str::from_utf8(super::write::until_nul(text)).ok()
    }
}

fn size(value: u64) -> Option<u8> {
    matches!(value, 1 | 2 | 4 | 8).then_some(value as u8)
}

/// Bytes that follow the header of a type.
fn size_after_header(kind: u64, count: usize) -> Option<usize> {
    Some(match kind {
        1 | 14 | 17 => 4,
        2 | 7..=12 | 16 | 18 => 0,
        3 => 12,
        4 | 5 | 15 | 19 => count * 12,
        6 | 13 => count * 8,
        _ => return None,
    })
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    super::field::read_number(bytes, at, size, false)
}
