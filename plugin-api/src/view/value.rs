//! The value of a field, compared with a literal.

use std::cmp::Ordering;

use glob::{MatchOptions, Pattern};

use super::condition::{Literal, Operator};

/// The value of a field, as [`EventLine`](crate::EventLine) gets it.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    Text(&'a [u8]),
    Number(i128),
    Fraction(f64),
    /// In nanoseconds.
    Duration(u64),
    Flag(bool),
    /// Something that can only be present.
    Other,
}

/// A literal, prepared for many comparisons.
#[derive(Debug)]
pub enum Test {
    Present,
    Pattern(Pattern),
    Order(Operator, Literal),
}

impl Test {
    pub fn new(operator: Operator, literal: &Literal) -> Self {
        match (operator, literal) {
            (Operator::Present, _) => Self::Present,
            (Operator::Matches, Literal::Text(pattern)) => {
                // What is no pattern is taken literally.
                let pattern = Pattern::new(pattern).or_else(|_| Pattern::new(&Pattern::escape(pattern)));
                Self::Pattern(pattern.unwrap_or_default())
            }
            _ => Self::Order(operator, literal.clone()),
        }
    }

    /// Returns whether a value meets the comparison.
    pub fn is_met_by(&self, value: Value<'_>) -> bool {
        match self {
            Self::Present => !matches!(value, Value::Flag(false)),
            Self::Pattern(pattern) => match value {
                Value::Text(text) => {
                    let any = MatchOptions { require_literal_leading_dot: false, ..MatchOptions::new() };
                    pattern.matches_with(&String::from_utf8_lossy(text), any)
                }
                _ => false,
            },
            Self::Order(operator, literal) => {
                order(value, literal).is_some_and(|order| is_as_asked(*operator, order))
            }
        }
    }
}

fn is_as_asked(operator: Operator, order: Ordering) -> bool {
    match operator {
        Operator::Equal => order.is_eq(),
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEqual => order.is_ge(),
        Operator::Present | Operator::Matches => false,
    }
}

/// How a value compares with a literal. `None` if they are of different types.
fn order(value: Value<'_>, literal: &Literal) -> Option<Ordering> {
    match (value, literal) {
        (Value::Text(text), Literal::Text(other)) => Some(text.cmp(other.as_bytes())),
        (Value::Number(number), Literal::Number(other)) => Some(number.cmp(other)),
        (Value::Number(number), Literal::Fraction(other)) => (number as f64).partial_cmp(other),
        (Value::Fraction(number), Literal::Fraction(other)) => number.partial_cmp(other),
        (Value::Fraction(number), Literal::Number(other)) => number.partial_cmp(&(*other as f64)),
        (Value::Duration(duration), Literal::Duration(other)) => Some(duration.cmp(other)),
        // Without a unit, only zero has a meaning.
        (Value::Duration(duration), Literal::Number(0)) => Some(duration.cmp(&0)),
        _ => None,
    }
}
