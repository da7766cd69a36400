use super::Unprintable;
use super::types::{LONG, Scalar};

/// A token of C.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Name(&'a str),
    Number(u64, Scalar),
    Text(Vec<u8>),
    Mark(&'static str),
}

/// Longer ones first, so that `<<` is not parsed as two `<`.
const MARKS: [&str; 31] = [
    "->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "(", ")", "{", "}", "[", "]", ",", ";", "?", ":",
    "=", "<", ">", "+", "-", "*", "/", "%", "&", "|", "^", "~",
];

/// Splits a print format into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Unprintable> {
    let mut rest = text.trim_start();
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '"' => string(rest)?,
            '\'' => character(rest)?,
            '0'..='9' => number(rest)?,
            'a'..='z' | 'A'..='Z' | '_' => name(rest),
            _ => mark(rest).ok_or_else(|| Unprintable::Syntax(first.to_string()))?,
        };
        tokens.push(token);
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    Ok(tokens)
}

fn name(text: &str) -> (Token<'_>, usize) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    (Token::Name(&text[..end]), end)
}

fn mark(text: &str) -> Option<(Token<'_>, usize)> {
    let all = MARKS.iter().chain(&["!", "."]);
    all.into_iter().find(|mark| text.starts_with(**mark)).map(|mark| (Token::Mark(mark), mark.len()))
}

fn number(text: &str) -> Result<(Token<'_>, usize), Unprintable> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    let whole = &text[..end];
    let digits = whole.trim_end_matches(['u', 'U', 'l', 'L']);
    let suffix = whole[digits.len()..].to_ascii_lowercase();
    let (radix, figures) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    let value = u64::from_str_radix(figures, radix).map_err(|_| Unprintable::Syntax(whole.to_owned()))?;
    Ok((Token::Number(value, literal_type(value, radix, &suffix)), end))
}

/// The first type that can represent the value (C11 6.4.4.1).
fn literal_type(value: u64, radix: u32, suffix: &str) -> Scalar {
    let unsigned = suffix.contains('u');
    let smallest = match suffix.matches('l').count() {
        0 => 4,
        1 => LONG,
        _ => 8,
    };
    for size in [4, 8] {
        let bits = u32::from(size) * 8;
        let fits = |bits: u32| bits >= 64 || value >> bits == 0;
        if size >= smallest && fits(bits) {
            let positive = fits(bits - 1);
            if !unsigned && positive {
                return Scalar { size, signed: true };
            }
            if unsigned || radix != 10 {
                return Scalar { size, signed: false };
            }
        }
    }
    Scalar { size: 8, signed: !unsigned && value >> 63 == 0 }
}

fn string(text: &str) -> Result<(Token<'_>, usize), Unprintable> {
    let (bytes, end) = quoted(text, b'"')?;
    Ok((Token::Text(bytes), end))
}

fn character(text: &str) -> Result<(Token<'_>, usize), Unprintable> {
    let (bytes, end) = quoted(text, b'\'')?;
    match bytes.as_slice() {
        [byte] => Ok((Token::Number(*byte as i8 as u64, Scalar::INT), end)),
        _ => Err(Unprintable::Syntax("'".to_owned())),
    }
}

/// The text between the quotes with its escapes resolved, and the position after it.
fn quoted(text: &str, quote: u8) -> Result<(Vec<u8>, usize), Unprintable> {
    let source = text.as_bytes();
    let mut bytes = Vec::new();
    let mut at = 1;
    while let Some(&byte) = source.get(at) {
        at += 1;
        if byte == quote {
            return Ok((bytes, at));
        }
        if byte == b'\\' {
            bytes.push(escape(source, &mut at));
        } else {
            bytes.push(byte);
        }
    }
    Err(Unprintable::Syntax(char::from(quote).to_string()))
}

fn escape(source: &[u8], at: &mut usize) -> u8 {
    let Some(&byte) = source.get(*at) else { return b'\\' };
    *at += 1;
    match byte {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'a' => 7,
        b'b' => 8,
        b'v' => 11,
        b'f' => 12,
        b'e' => 27,
        b'x' => digits(source, at, 16, usize::MAX, 0),
        b'0'..=b'7' => digits(source, at, 8, 2, byte - b'0'),
        other => other,
    }
}

fn digits(source: &[u8], at: &mut usize, radix: u32, most: usize, first: u8) -> u8 {
    let mut value = first;
    let mut taken = 0;
    while let Some(digit) = source.get(*at).and_then(|byte| char::from(*byte).to_digit(radix))
        && taken < most
    {
        value = value.wrapping_mul(radix as u8).wrapping_add(digit as u8);
        *at += 1;
        taken += 1;
    }
    value
}
