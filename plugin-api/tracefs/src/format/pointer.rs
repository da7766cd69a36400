//! The `%p` conversions (`Documentation/core-api/printk-formats.rst`). Those that read memory are applied to bytes of
//! the record.

use super::Unprintable;
use super::write;

/// The `%p` conversions that format the bytes at the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// `%pM`, `%pMF`, `%pm`: a hardware address.
    Mac { separator: Option<u8>, reversed: bool },
    /// `%pI4`, `%pi4`.
    Ip4 { zeros: bool, little: bool },
    /// `%pI6`, `%pi6`, `%pI6c`.
    Ip6 { compressed: bool, joined: bool },
    /// `%pIS`, `%pISpc`: a socket address of any family.
    Socket { joined: bool, compressed: bool, port: bool, flow: bool, scope: bool },
    /// `%pUb`, `%pUl`: a UUID.
    Uuid { little: bool, upper: bool },
    /// `%*ph`: bytes in hex; the width is their number.
    Hex { separator: Option<u8> },
    /// `%*pb`, `%*pbl`: a bitmap; the width is its number of bits.
    Bitmap { list: bool },
    /// `%pa`, `%pad`: a physical address.
    Physical,
}

/// A `%p` conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pointer {
    Memory(Memory),
    /// `%p` and `%px`: the address itself.
    Address,
    /// `%pK`: an address that the kernel always hides.
    Hidden,
    /// `%pS`, `%ps`, `%pB`: the symbol at the address.
    Symbol {
        offset: bool,
        backtrace: bool,
    },
}

impl Pointer {
    /// Parses the letters after `%p`. As in the kernel, letters after a known extension are ignored.
    pub(super) fn parse(extension: &str) -> Result<Self, Unprintable> {
        let letters = extension.as_bytes();
        let has = |letter: u8| letters.contains(&letter);
        let memory = match letters {
            [] | [b'x', ..] => return Ok(Self::Address),
            [b'K', ..] => return Ok(Self::Hidden),
            [b'S' | b'F', ..] => return Ok(Self::Symbol { offset: true, backtrace: false }),
            [b's' | b'f', ..] => return Ok(Self::Symbol { offset: false, backtrace: false }),
            [b'B', ..] => return Ok(Self::Symbol { offset: true, backtrace: true }),
            [b'M', rest @ ..] => Memory::Mac {
                separator: Some(if rest.first() == Some(&b'F') { b'-' } else { b':' }),
                reversed: rest.first() == Some(&b'R'),
            },
            [b'm', rest @ ..] => Memory::Mac { separator: None, reversed: rest.first() == Some(&b'R') },
            [case @ (b'I' | b'i'), b'4', rest @ ..] => Memory::Ip4 {
                zeros: *case == b'i',
                little: rest.first() == Some(&b'l')
                    || rest.first() == Some(&b'h') && cfg!(target_endian = "little"),
            },
            [case @ (b'I' | b'i'), b'6', rest @ ..] => Memory::Ip6 {
                compressed: *case == b'I' && rest.first() == Some(&b'c'),
                joined: *case == b'i',
            },
            [case @ (b'I' | b'i'), b'S', ..] => Memory::Socket {
                joined: *case == b'i',
                compressed: has(b'c'),
                port: has(b'p'),
                flow: has(b'f'),
                scope: has(b's'),
            },
            [b'U', rest @ ..] => Memory::Uuid {
                little: matches!(rest.first(), Some(b'l' | b'L')),
                upper: matches!(rest.first(), Some(b'L' | b'B')),
            },
            [b'h', rest @ ..] => Memory::Hex {
                separator: match rest.first() {
                    Some(b'C') => Some(b':'),
                    Some(b'D') => Some(b'-'),
                    Some(b'N') => None,
                    _ => Some(b' '),
                },
            },
            [b'b', rest @ ..] => Memory::Bitmap { list: rest.first() == Some(&b'l') },
            [b'a', ..] => Memory::Physical,
            _ => return Err(Unprintable::Conversion(format!("p{extension}"))),
        };
        Ok(Self::Memory(memory))
    }
}

impl Memory {
    /// Appends `bytes` as the kernel formats them. `width` is the width of the conversion.
    pub(super) fn write(self, bytes: &[u8], width: usize, out: &mut Vec<u8>) {
        match self {
            Self::Mac { separator, reversed } => mac(bytes, separator, reversed, out),
            Self::Ip4 { zeros, little } => ip4(bytes, zeros, little, out),
            Self::Ip6 { compressed, joined } => ip6(bytes, compressed, joined, out),
            Self::Socket { .. } => self.socket(bytes, out),
            Self::Uuid { little, upper } => uuid(bytes, little, upper, out),
            Self::Hex { separator } => {
                let most = width.clamp(1, 64).min(bytes.len());
                hex_string(bytes.get(..most).unwrap_or_default(), separator, out);
            }
            Self::Bitmap { list: false } => bitmap(bytes, width, out),
            Self::Bitmap { list: true } => bit_list(bytes, width, out),
            Self::Physical => {
                out.extend_from_slice(b"0x");
                let value = super::field::read_number(bytes, 0, bytes.len().min(8), false).unwrap_or(0);
                write::hex_padded(out, value, 2 * bytes.len().min(8));
            }
        }
    }

    fn socket(self, bytes: &[u8], out: &mut Vec<u8>) {
        let Self::Socket { joined, compressed, port, flow, scope } = self else { return };
        let family = super::field::read_number(bytes, 0, 2, false).unwrap_or(0);
        let big_endian = |range: std::ops::Range<usize>| {
            bytes
                .get(range)
                .unwrap_or_default()
                .iter()
                .fold(0u64, |value, byte| value << 8 | u64::from(*byte))
        };
        match family {
            // AF_INET
            2 => {
                ip4(bytes.get(4..8).unwrap_or_default(), joined, false, out);
                if port {
                    out.push(b':');
                    write::decimal(out, big_endian(2..4));
                }
            }
            // AF_INET6
            10 => {
                let bracketed = port || flow || scope;
                if bracketed {
                    out.push(b'[');
                }
                ip6(bytes.get(8..24).unwrap_or_default(), compressed && !joined, joined, out);
                if bracketed {
                    out.push(b']');
                }
                if port {
                    out.push(b':');
                    write::decimal(out, big_endian(2..4));
                }
                if flow {
                    out.push(b'/');
                    write::decimal(out, big_endian(4..8) & 0x0fff_ffff);
                }
                if scope {
                    out.push(b'%');
                    write::decimal(out, super::field::read_number(bytes, 24, 4, false).unwrap_or(0));
                }
            }
            _ => out.extend_from_slice(b"(einval)"),
        }
    }
}

/// Appends two hex digits for each byte.
pub(super) fn hex_string(bytes: &[u8], separator: Option<u8>, out: &mut Vec<u8>) {
    for (index, byte) in bytes.iter().enumerate() {
        if let (Some(separator), true) = (separator, index > 0) {
            out.push(separator);
        }
        write::hex_padded(out, u64::from(*byte), 2);
    }
}

fn mac(bytes: &[u8], separator: Option<u8>, reversed: bool, out: &mut Vec<u8>) {
    let mut address = [0; 6];
    for (to, from) in address.iter_mut().zip(bytes) {
        *to = *from;
    }
    if reversed {
        address.reverse();
    }
    hex_string(&address, separator, out);
}

fn ip4(bytes: &[u8], zeros: bool, little: bool, out: &mut Vec<u8>) {
    let mut address = [0; 4];
    for (to, from) in address.iter_mut().zip(bytes) {
        *to = *from;
    }
    if little {
        address.reverse();
    }
    for (index, byte) in address.iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        write::decimal_padded(out, u64::from(*byte), if zeros { 3 } else { 1 }, b'0');
    }
}

fn ip6(bytes: &[u8], compressed: bool, joined: bool, out: &mut Vec<u8>) {
    let mut groups = [0u16; 8];
    for (group, pair) in groups.iter_mut().zip(bytes.chunks_exact(2)) {
        *group = pair.iter().fold(0, |value, byte| value << 8 | u16::from(*byte));
    }
    if compressed {
        return ip6_compressed(&groups, out);
    }
    for (index, group) in groups.iter().enumerate() {
        if index > 0 && !joined {
            out.push(b':');
        }
        write::hex_padded(out, u64::from(*group), 4);
    }
}

/// RFC 5952, as implemented by `ip6_compressed_string`.
fn ip6_compressed(groups: &[u16; 8], out: &mut Vec<u8>) {
    let [_, _, _, _, _, marker, ..] = *groups;
    let mapped = groups.iter().take(5).all(|group| *group == 0) && marker == 0xffff;
    let isatap = matches!(*groups, [_, _, _, _, 0 | 0x0200, 0x5efe, _, _]);
    let range = if mapped || isatap { 6 } else { 8 };
    let (start, length) = longest_zeros(groups.get(..range).unwrap_or(groups));
    let mut needs_colon = false;
    let mut index = 0;
    while index < range {
        if length > 1 && index == start {
            out.extend_from_slice(if needs_colon || index == 0 { b"::" } else { b":" });
            needs_colon = false;
            index += length;
            continue;
        }
        if needs_colon {
            out.push(b':');
        }
        write::hex(out, u64::from(groups.get(index).copied().unwrap_or(0)));
        needs_colon = true;
        index += 1;
    }
    if range == 6 {
        if needs_colon {
            out.push(b':');
        }
        let [.., high, low] = *groups;
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        ip4(&[a, b, c, d], false, false, out);
    }
}

/// The start and the length of the longest run of zero groups, or the first of them.
fn longest_zeros(groups: &[u16]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut run = 0;
    for (index, group) in groups.iter().enumerate() {
        run = if *group == 0 { run + 1 } else { 0 };
        if run > best.1 {
            best = (index + 1 - run, run);
        }
    }
    best
}

fn uuid(bytes: &[u8], little: bool, upper: bool, out: &mut Vec<u8>) {
    const BIG: [usize; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const LITTLE: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let start = out.len();
    for (index, from) in (if little { LITTLE } else { BIG }).into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        write::hex_padded(out, u64::from(bytes.get(from).copied().unwrap_or(0)), 2);
    }
    if upper && let Some(written) = out.get_mut(start..) {
        written.make_ascii_uppercase();
    }
}

/// `bitmap_string`: words of 32 bits, the highest first. The first has only as many digits as the number of bits requires.
pub(super) fn bitmap(bytes: &[u8], bits: usize, out: &mut Vec<u8>) {
    let bits = bits.min(bytes.len() * 8);
    let mut upper = bits.next_multiple_of(32);
    let mut first = true;
    while upper > 0 {
        let low = upper - 32;
        let count = if first && !bits.is_multiple_of(32) { bits % 32 } else { 32 };
        let mut value = 0u64;
        for bit in 0..count {
            value |= u64::from(bit_at(bytes, low + bit)) << bit;
        }
        if !first {
            out.push(b',');
        }
        write::hex_padded(out, value, count.div_ceil(4));
        first = false;
        upper = low;
    }
}

/// `bitmap_list_string`: `0-3,8`.
fn bit_list(bytes: &[u8], bits: usize, out: &mut Vec<u8>) {
    let bits = bits.min(bytes.len() * 8);
    let mut first = true;
    let mut bit = 0;
    while bit < bits {
        if !bit_at(bytes, bit) {
            bit += 1;
            continue;
        }
        let start = bit;
        while bit < bits && bit_at(bytes, bit) {
            bit += 1;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        write::decimal(out, start as u64);
        if bit - start > 1 {
            out.push(b'-');
            write::decimal(out, bit as u64 - 1);
        }
    }
}

/// The bits are numbered in units of the kernel's `long`. On little-endian machines this is the same as in units of bytes.
fn bit_at(bytes: &[u8], bit: usize) -> bool {
    let long = usize::from(super::types::LONG);
    let byte = bit / 8;
    let at = if cfg!(target_endian = "big") { byte / long * long + (long - 1 - byte % long) } else { byte };
    bytes.get(at).is_some_and(|byte| byte >> (bit % 8) & 1 != 0)
}
