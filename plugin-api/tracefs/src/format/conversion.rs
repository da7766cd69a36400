use super::Unprintable;

/// A `%` conversion of a format string, in the kernel's dialect (`lib/vsprintf.c`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conversion {
    pub(super) flags: Flags,
    pub(super) width: Amount,
    pub(super) precision: Amount,
    /// The size of the argument in bytes.
    pub(super) length: u8,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) left: bool,
    pub(super) plus: bool,
    pub(super) space: bool,
    pub(super) special: bool,
    pub(super) zero: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amount {
    None,
    Fixed(i32),
    /// `*`: the value is an argument.
    Argument,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number(Radix),
    Character,
    Text,
    /// `%p` with the letters and digits after it.
    Pointer(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Radix {
    Signed,
    Decimal,
    Octal,
    Hex,
    HexUpper,
}

/// A piece of a format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Vec<u8>),
    Conversion(Conversion),
}

/// The limit of widths; larger ones are reduced to it. No line is longer, and no machine has more CPUs (`%*pbl`).
pub(super) const WIDEST: i32 = 16384;

/// Splits a format string into text and conversions.
pub(super) fn pieces(format: &[u8]) -> Result<Vec<Piece>, Unprintable> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut rest = format;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            text.push(byte);
        } else if let Some(after) = rest.strip_prefix(b"%") {
            text.push(b'%');
            rest = after;
        } else {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            let (conversion, after) = conversion(rest)?;
            pieces.push(Piece::Conversion(conversion));
            rest = after;
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// Parses what follows a `%`.
fn conversion(text: &[u8]) -> Result<(Conversion, &[u8]), Unprintable> {
    let unknown =
        || Unprintable::Conversion(String::from_utf8_lossy(text.get(..8).unwrap_or(text)).into_owned());
    let (flags, rest) = flags(text);
    let (width, rest) = amount(rest);
    let (precision, rest) = match rest.strip_prefix(b".") {
        // A point without a number is a precision of 0.
        Some(rest) => match amount(rest) {
            (Amount::None, rest) => (Amount::Fixed(0), rest),
            given => given,
        },
        None => (Amount::None, rest),
    };
    let (length, rest) = length(rest);
    let (letter, rest) = rest.split_first().ok_or_else(unknown)?;
    let mut rest = rest;
    let kind = match letter {
        b'd' | b'i' => Kind::Number(Radix::Signed),
        b'u' => Kind::Number(Radix::Decimal),
        b'o' => Kind::Number(Radix::Octal),
        b'x' => Kind::Number(Radix::Hex),
        b'X' => Kind::Number(Radix::HexUpper),
        b'c' => Kind::Character,
        b's' => Kind::Text,
        b'p' => {
            let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let (extension, after) = rest.split_at(end);
            rest = after;
            Kind::Pointer(String::from_utf8_lossy(extension).into_owned())
        }
        _ => return Err(unknown()),
    };
    Ok((Conversion { flags, width, precision, length, kind }, rest))
}

fn flags(mut text: &[u8]) -> (Flags, &[u8]) {
    let mut flags = Flags::default();
    while let Some((byte, rest)) = text.split_first() {
        match byte {
            b'-' => flags.left = true,
            b'+' => flags.plus = true,
            b' ' => flags.space = true,
            b'#' => flags.special = true,
            b'0' => flags.zero = true,
            _ => break,
        }
        text = rest;
    }
    (flags, text)
}

fn amount(text: &[u8]) -> (Amount, &[u8]) {
    if let Some(rest) = text.strip_prefix(b"*") {
        return (Amount::Argument, rest);
    }
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return (Amount::None, text);
    }
    let (digits, rest) = text.split_at(end);
    let value = digits
        .iter()
        .fold(0i32, |value, digit| value.saturating_mul(10).saturating_add(i32::from(digit - b'0')));
    (Amount::Fixed(value.min(WIDEST)), rest)
}

fn length(text: &[u8]) -> (u8, &[u8]) {
    let long = super::types::LONG;
    for (modifier, size) in [
        ("hh", 1),
        ("h", 2),
        ("ll", 8),
        ("l", long),
        ("L", 8),
        ("z", long),
        ("Z", long),
        ("t", long),
        ("j", 8),
    ] {
        if let Some(rest) = text.strip_prefix(modifier.as_bytes()) {
            return (size, rest);
        }
    }
    (4, text)
}
