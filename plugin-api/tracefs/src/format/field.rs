use super::types;

/// A field of an event's record, as its `format` file declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// The C name, such as `common_pid`.
    pub name: String,
    /// The C type without name and array bounds, such as `const char *` or `__data_loc char[]`.
    pub type_name: String,
    /// Bytes from the start of the record.
    pub offset: usize,
    /// Size in bytes; 0 for an array that extends to the end of the record.
    pub size: usize,
    /// Whether the number, or each element, is signed.
    pub signed: bool,
    /// How the bytes are to be interpreted.
    pub shape: Shape,
}

/// The representation of a field in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A number or a pointer.
    Scalar,
    /// An array within the record.
    Array {
        /// The size of an element in bytes; 0 if unknown.
        element: usize,
    },
    /// A 32-bit word with the location of the data (`__data_loc`): the offset from the start of the record in the
    /// lower half, the length in bytes in the upper half.
    DataLoc,
    /// The same, but the offset is relative to the end of the word (`__rel_loc`).
    RelLoc,
}

impl Field {
    /// Parses a line such as `field:char comm[16]; offset:8; size:16; signed:0;`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut parts = line.trim().strip_prefix("field:")?.split(';');
        let declaration = parts.next()?.trim();
        let mut value = |key: &str| parts.next()?.trim().strip_prefix(key)?.parse::<u32>().ok();
        let offset = value("offset:")? as usize;
        let size = value("size:")? as usize;
        let signed = value("signed:").unwrap_or(0) != 0;
        let (declared, bound) = match declaration.rsplit_once('[') {
            // In `__data_loc char[] name`, the brackets are part of the type.
            Some((before, bound)) if bound.ends_with(']') => (before, Some(bound.trim_end_matches(']'))),
            _ => (declaration, None),
        };
        let start = declared.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len();
        let (type_name, name) = declared.split_at(start);
        if name.is_empty() || type_name.trim().is_empty() {
            return None;
        }
        let type_name = type_name.trim().to_owned();
        let shape = shape(&type_name, bound, size);
        Some(Self { name: name.to_owned(), type_name, offset, size, signed, shape })
    }

    /// The number in `record`, sign-extended if the field is signed. `None` if the field is not a number of 1, 2, 4
    /// or 8 bytes, or the record is too short.
    #[inline]
    pub fn number(&self, record: &[u8]) -> Option<i64> {
        if self.shape != Shape::Scalar {
            return None;
        }
        read_number(record, self.offset, self.size, self.signed).map(|value| value as i64)
    }

    /// The bytes that the field contains or points to. `None` if they extend beyond the record.
    #[inline]
    pub fn bytes<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        match self.shape {
            Shape::Array { .. } if self.size == 0 => record.get(self.offset..),
            Shape::Array { .. } | Shape::Scalar => record.get(self.offset..self.offset + self.size),
            Shape::DataLoc => located(record, self.offset, 0),
            Shape::RelLoc => located(record, self.offset, self.offset + 4),
        }
    }

    /// Whether the bytes are text.
    pub fn is_text(&self) -> bool {
        let base = self.type_name.trim_start_matches("__data_loc ").trim_start_matches("__rel_loc ");
        self.shape != Shape::Scalar && matches!(base.trim_end_matches("[]"), "char" | "const char")
    }
}

fn shape(type_name: &str, bound: Option<&str>, size: usize) -> Shape {
    if type_name.starts_with("__data_loc") {
        Shape::DataLoc
    } else if type_name.starts_with("__rel_loc") {
        Shape::RelLoc
    } else if let Some(bound) = bound {
        // A bound may be missing (`u8 list[]`), or a name that is defined only in the kernel.
        let known = types::named(&type_name.split_ascii_whitespace().collect::<Vec<_>>());
        let counted = || bound.trim().parse().ok().and_then(|count| size.checked_div(count));
        let element = known.map(|scalar| usize::from(scalar.size)).or_else(counted);
        Shape::Array { element: element.unwrap_or(0) }
    } else if !matches!(size, 1 | 2 | 4 | 8) {
        Shape::Array { element: 0 }
    } else {
        Shape::Scalar
    }
}

/// The bytes that the word at `word` points to, relative to `base`.
#[inline]
fn located(record: &[u8], word: usize, base: usize) -> Option<&[u8]> {
    let location = read_number(record, word, 4, false)? as usize;
    let start = base + (location & 0xffff);
    record.get(start..start + (location >> 16))
}

/// The number of `size` bytes at `offset`, extended to 64 bits.
#[inline]
pub(super) fn read_number(record: &[u8], offset: usize, size: usize, signed: bool) -> Option<u64> {
    let bytes = record.get(offset..offset.checked_add(size)?)?;
    Some(match (size, signed) {
        (1, false) => u64::from(*bytes.first()?),
        (1, true) => *bytes.first()? as i8 as u64,
        (2, false) => u64::from(u16::from_ne_bytes(bytes.try_into().ok()?)),
        (2, true) => i16::from_ne_bytes(bytes.try_into().ok()?) as u64,
        (4, false) => u64::from(u32::from_ne_bytes(bytes.try_into().ok()?)),
        (4, true) => i32::from_ne_bytes(bytes.try_into().ok()?) as u64,
        (8, _) => u64::from_ne_bytes(bytes.try_into().ok()?),
        _ => return None,
    })
}
