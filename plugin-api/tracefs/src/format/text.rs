use super::environment::Environment;
use super::expr::{Expr, Place};
use super::write;

/// Values, each with its name.
pub(super) type Names = Box<[(u64, Box<[u8]>)]>;

/// An expression of a print format whose value is text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Text {
    Literal(Box<[u8]>),
    /// Text in the record, up to its NUL.
    Place(Place),
    /// A string in kernel memory. It is known only if `printk_formats` lists it.
    Kernel(Expr),
    /// `__print_flags`.
    Flags {
        value: Expr,
        delimiter: Box<[u8]>,
        names: Names,
    },
    /// `__print_symbolic`.
    Symbolic {
        value: Expr,
        names: Names,
    },
    /// `__print_hex`, and `__print_hex_str` if `joined`.
    Hex {
        place: Place,
        length: Expr,
        joined: bool,
    },
    /// `__print_array`.
    Array {
        place: Place,
        count: Expr,
        size: u64,
    },
    /// `__print_dynamic_array`.
    Whole {
        place: Place,
        size: u64,
    },
    /// `__get_bitmask`.
    Bitmask(Place),
    Choose {
        condition: Expr,
        yes: Box<Text>,
        no: Box<Text>,
    },
}

impl Text {
    /// Appends the text for `record`. Of text in the record, at most `limit` bytes are read, so that it need not end with a
    /// NUL.
    pub(super) fn write(
        &self,
        record: &[u8],
        limit: Option<usize>,
        environment: &Environment,
        out: &mut Vec<u8>,
    ) {
        match self {
            Self::Literal(text) => out.extend_from_slice(text),
            Self::Place(place) => {
                let bytes = place.bytes(record).unwrap_or_default();
                let bytes = limit.and_then(|limit| bytes.get(..limit)).unwrap_or(bytes);
                write::untrusted_text(out, write::until_nul(bytes));
            }
            Self::Kernel(address) => environment.kernel_text(address.number(record), out),
            Self::Flags { value, delimiter, names } => flags(value.number(record), delimiter, names, out),
            Self::Symbolic { value, names } => symbolic(value.number(record), names, out),
            Self::Hex { place, length, joined } => {
                let bytes = place.bytes(record).unwrap_or_default();
                let length = usize::try_from(length.number(record)).unwrap_or(usize::MAX);
                hex(bytes.get(..length).unwrap_or(bytes), *joined, out);
            }
            Self::Array { place, count, size } => {
                let bytes = place.bytes(record).unwrap_or_default();
                let length = count.number(record).saturating_mul(*size);
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                array(bytes.get(..length).unwrap_or(bytes), *size as usize, out);
            }
            Self::Whole { place, size } => {
                array(place.bytes(record).unwrap_or_default(), *size as usize, out)
            }
            Self::Bitmask(place) => {
                let bytes = place.bytes(record).unwrap_or_default();
                super::pointer::bitmap(bytes, bytes.len() * 8, out);
            }
            Self::Choose { condition, yes, no } => {
                let chosen = if condition.number(record) != 0 { yes } else { no };
                chosen.write(record, limit, environment, out);
            }
        }
    }
}

/// `trace_print_flags_seq`.
pub(super) fn flags(value: u64, delimiter: &[u8], names: &[(u64, Box<[u8]>)], out: &mut Vec<u8>) {
    let mut left = value;
    let mut first = true;
    let mut separate = |out: &mut Vec<u8>| {
        if !std::mem::take(&mut first) {
            out.extend_from_slice(delimiter);
        }
    };
    for (mask, name) in names {
        if left == 0 {
            break;
        }
        if left & mask == *mask {
            left &= !mask;
            separate(out);
            out.extend_from_slice(name);
        }
    }
    if left != 0 {
        separate(out);
        out.extend_from_slice(b"0x");
        write::hex(out, left);
    }
}

/// `trace_print_symbols_seq`. As in the kernel, an empty name is treated as missing.
fn symbolic(value: u64, names: &[(u64, Box<[u8]>)], out: &mut Vec<u8>) {
    match names.iter().find(|(known, _)| *known == value) {
        Some((_, name)) if !name.is_empty() => out.extend_from_slice(name),
        _ => {
            out.extend_from_slice(b"0x");
            write::hex(out, value);
        }
    }
}

/// `trace_print_hex_seq`. The kernel writes batches of 16 bytes, without a blank between batches.
fn hex(bytes: &[u8], joined: bool, out: &mut Vec<u8>) {
    for batch in bytes.chunks(16) {
        super::pointer::hex_string(batch, if joined { None } else { Some(b' ') }, out);
    }
}

/// `trace_print_array_seq`.
pub(super) fn array(bytes: &[u8], size: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    let step = if matches!(size, 1 | 2 | 4 | 8) { size } else { 1 };
    for offset in (0..bytes.len()).step_by(step) {
        if offset > 0 {
            out.push(b',');
        }
        if step != size && offset == 0 {
            out.extend_from_slice(b"BAD SIZE:");
            write::decimal(out, size as u64);
            out.push(b' ');
        }
        out.extend_from_slice(b"0x");
        write::hex(out, super::field::read_number(bytes, offset, step, false).unwrap_or(0));
    }
    out.push(b'}');
}
