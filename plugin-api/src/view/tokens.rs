//! The words of an expression.

use std::time::Duration;

use super::condition::{Literal, Operator};
use crate::{Unit, parse_duration};

/// A word of an expression, and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub at: usize,
    pub kind: TokenKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum TokenKind {
    /// A name of a field, or a text without quotes.
    Word(String),
    Literal(Literal),
    Compare(Operator),
    /// `!=` or `!~`.
    NotCompare(Operator),
    And,
    Or,
    Not,
    Open,
    Close,
}

/// Symbols, the longer ones first.
const SYMBOLS: [(&str, TokenKind); 14] = [
    ("&&", TokenKind::And),
    ("||", TokenKind::Or),
    ("==", TokenKind::Compare(Operator::Equal)),
    ("!=", TokenKind::NotCompare(Operator::Equal)),
    ("!~", TokenKind::NotCompare(Operator::Matches)),
    ("<=", TokenKind::Compare(Operator::LessOrEqual)),
    (">=", TokenKind::Compare(Operator::GreaterOrEqual)),
    ("=", TokenKind::Compare(Operator::Equal)),
    ("~", TokenKind::Compare(Operator::Matches)),
    ("<", TokenKind::Compare(Operator::Less)),
    (">", TokenKind::Compare(Operator::Greater)),
    ("!", TokenKind::Not),
    ("(", TokenKind::Open),
    (")", TokenKind::Close),
];

/// Splits an expression.
///
/// # Errors
///
/// What is wrong, and at which byte.
pub fn tokens(expression: &str) -> Result<Vec<Token>, (String, usize)> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = expression[at..].chars().next() {
        let rest = &expression[at..];
        let symbol = SYMBOLS.iter().find(|(symbol, _)| rest.starts_with(symbol));
        let (kind, length) = match (first, symbol) {
            _ if first.is_whitespace() => {
                at += first.len_utf8();
                continue;
            }
            (_, Some((symbol, kind))) => (kind.clone(), symbol.len()),
            ('"' | '\'', None) => {
                let (text, length) =
                    quoted(rest, first).ok_or_else(|| (format!("{first} is not closed"), at))?;
                (TokenKind::Literal(Literal::Text(text)), length)
            }
            _ => {
                let length = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                if length == 0 {
                    return Err((format!("unexpected '{first}'"), at));
                }
                (word(&rest[..length]).map_err(|problem| (problem, at))?, length)
            }
        };
        tokens.push(Token { at, kind });
        at += length;
    }
    Ok(tokens)
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || "_.-+:/*?@%".contains(c)
}

/// The text in quotes, and its length with them. A backslash stands before a quote or a backslash that is meant.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((value, at + c.len_utf8())),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

/// A number, a duration, or a text.
fn word(word: &str) -> Result<TokenKind, String> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(TokenKind::Word(word.to_owned()));
    }
    if let Some(hexadecimal) = word.strip_prefix("0x") {
        let number = i128::from_str_radix(hexadecimal, 16).map_err(|_| format!("'{word}' is no number"))?;
        return Ok(TokenKind::Literal(Literal::Number(number)));
    }
    if let Ok(number) = word.parse() {
        return Ok(TokenKind::Literal(Literal::Number(number)));
    }
    if let Ok(number) = word.parse() {
        return Ok(TokenKind::Literal(Literal::Fraction(number)));
    }
    let duration: Duration =
        parse_duration(word, Unit::Seconds).map_err(|error| format!("'{word}': {error}"))?;
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Ok(TokenKind::Literal(Literal::Duration(nanoseconds)))
}
