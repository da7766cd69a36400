//! Appends numbers and text as the kernel's `vsnprintf` formats them.

use super::conversion::{Flags, Radix};

/// The flags, the width and the precision of a conversion, for one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) flags: Flags,
    pub(super) width: usize,
    pub(super) precision: Option<usize>,
}

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// The two decimal digits of each number below 100.
const PAIRS: &[u8; 200] =
    b"0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849\
5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/// The digits of a number, right-aligned in a buffer. The longest number has 22 digits, in octal.
struct Digits {
    buffer: [u8; 24],
    start: usize,
}

impl Digits {
    #[inline]
    fn decimal(mut value: u64) -> Self {
        let mut digits = Self { buffer: [0; 24], start: 24 };
        while value >= 100 {
            let pair = (value % 100) as usize * 2;
            value /= 100;
            digits.start -= 2;
            digits.buffer[digits.start] = PAIRS[pair];
            digits.buffer[digits.start + 1] = PAIRS[pair + 1];
        }
        if value >= 10 {
            let pair = value as usize * 2;
            digits.start -= 2;
            digits.buffer[digits.start] = PAIRS[pair];
            digits.buffer[digits.start + 1] = PAIRS[pair + 1];
        } else {
            digits.start -= 1;
            digits.buffer[digits.start] = b'0' + value as u8;
        }
        digits
    }

    #[inline]
    fn binary(mut value: u64, shift: u32, figures: &[u8; 16]) -> Self {
        let mut digits = Self { buffer: [0; 24], start: 24 };
        loop {
            digits.start -= 1;
            digits.buffer[digits.start] = figures[(value & ((1 << shift) - 1)) as usize];
            value >>= shift;
            if value == 0 {
                return digits;
            }
        }
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

/// `%llu`.
#[inline]
pub(super) fn decimal(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(Digits::decimal(value).as_slice());
}

/// `%lld`.
#[inline]
pub(super) fn signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    decimal(out, value.unsigned_abs());
}

/// `%llx`.
#[inline]
pub(super) fn hex(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(Digits::binary(value, 4, LOWER).as_slice());
}

/// A decimal number, padded on the left with `fill` to at least `width` columns.
#[inline]
pub(super) fn decimal_padded(out: &mut Vec<u8>, value: u64, width: usize, fill: u8) {
    let digits = Digits::decimal(value);
    pad(out, fill, width.saturating_sub(digits.as_slice().len()));
    out.extend_from_slice(digits.as_slice());
}

/// A hexadecimal number of at least `width` digits.
#[inline]
pub(super) fn hex_padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let digits = Digits::binary(value, 4, LOWER);
    pad(out, b'0', width.saturating_sub(digits.as_slice().len()));
    out.extend_from_slice(digits.as_slice());
}

#[inline]
pub(super) fn pad(out: &mut Vec<u8>, fill: u8, count: usize) {
    out.resize(out.len() + count, fill);
}

/// The function `number` of `lib/vsprintf.c`. `value` must be truncated to the size of the argument and, for
/// [`Radix::Signed`], sign-extended.
pub(super) fn number(out: &mut Vec<u8>, value: u64, radix: Radix, spec: Spec) {
    let (negative, magnitude) = match radix {
        Radix::Signed => ((value as i64) < 0, (value as i64).unsigned_abs()),
        _ => (false, value),
    };
    let digits = match radix {
        Radix::Signed | Radix::Decimal => Digits::decimal(magnitude),
        Radix::Octal => Digits::binary(magnitude, 3, LOWER),
        Radix::Hex => Digits::binary(magnitude, 4, LOWER),
        Radix::HexUpper => Digits::binary(magnitude, 4, UPPER),
    };
    let sign: &[u8] = match radix {
        Radix::Signed if negative => b"-",
        Radix::Signed if spec.flags.plus => b"+",
        Radix::Signed if spec.flags.space => b" ",
        _ => b"",
    };
    let prefix: &[u8] = match radix {
        // The kernel prints 0x0, unlike the C library, which prints 0.
        Radix::Hex if spec.flags.special => b"0x",
        Radix::HexUpper if spec.flags.special => b"0X",
        Radix::Octal if spec.flags.special && magnitude != 0 => b"0",
        _ => b"",
    };
    let digits = digits.as_slice();
    let zeros = spec.precision.unwrap_or(0).saturating_sub(digits.len());
    let fill = spec.width.saturating_sub(sign.len() + prefix.len() + zeros + digits.len());
    let zero_fill = spec.flags.zero && !spec.flags.left;
    if !zero_fill && !spec.flags.left {
        pad(out, b' ', fill);
    }
    out.extend_from_slice(sign);
    out.extend_from_slice(prefix);
    if zero_fill {
        pad(out, b'0', fill);
    }
    pad(out, b'0', zeros);
    out.extend_from_slice(digits);
    if spec.flags.left {
        pad(out, b' ', fill);
    }
}

/// Truncates and pads `out[start..]`, as `%s` with a width and a precision does.
#[inline]
pub(super) fn fit(out: &mut Vec<u8>, start: usize, spec: Spec) {
    if let Some(precision) = spec.precision {
        out.truncate(start.saturating_add(precision));
    }
    let fill = spec.width.saturating_sub(out.len().saturating_sub(start));
    if fill == 0 {
        return;
    }
    pad(out, b' ', fill);
    if !spec.flags.left
        && let Some(field) = out.get_mut(start..)
    {
        field.rotate_right(fill);
    }
}

/// Appends text that a task can choose. A newline in it would split the line and let the task forge a line, so it is
/// replaced by `?`. Everything else is appended unchanged, as in the kernel.
#[inline]
pub(super) fn untrusted_text(out: &mut Vec<u8>, text: &[u8]) {
    let start = out.len();
    out.extend_from_slice(text);
    if let Some(written) = out.get_mut(start..) {
        for byte in written.iter_mut().filter(|byte| **byte == b'\n') {
            *byte = b'?';
        }
    }
}

/// The text up to its first NUL.
#[inline]
pub(super) fn until_nul(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}
