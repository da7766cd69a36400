//! The condition of a view.

use std::iter;

use serde::{Deserialize, Serialize};

use super::fields::is_field_or_group;

/// A condition on the fields of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Condition {
    /// All of these hold.
    All(Vec<Self>),
    /// One of these holds.
    Any(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// A field has such a value.
    Field(Comparison),
}

impl Condition {
    /// Returns whether it is about a field of this name, or of this group.
    pub fn mentions(&self, name: &str) -> bool {
        self.comparisons().any(|comparison| is_field_or_group(&comparison.field, name))
    }

    /// All comparisons that it consists of.
    pub fn comparisons(&self) -> Box<dyn Iterator<Item = &Comparison> + '_> {
        match self {
            Self::All(parts) | Self::Any(parts) => Box::new(parts.iter().flat_map(Self::comparisons)),
            Self::Not(part) => part.comparisons(),
            Self::Field(comparison) => Box::new(iter::once(comparison)),
        }
    }
}

/// What a field is compared with. The comparison holds if one of the field's values meets it, so never for an event without the
/// field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Comparison {
    /// The name of the field in text, or for one of a group `GROUP.FIELD`.
    pub field: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what; ignored by [`Operator::Present`].
    pub literal: Literal,
}

impl Comparison {
    /// Creates the comparison of a field.
    pub fn new(field: impl Into<String>, operator: Operator, literal: Literal) -> Self {
        Self { field: field.into(), operator, literal }
    }
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Operator {
    /// The event has the field; a flag is set.
    Present,
    /// `==`
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `~`: the text matches a pattern with `*` and `?`.
    Matches,
}

/// A value that a field is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Literal {
    /// A text, or a pattern.
    Text(String),
    /// A whole number.
    Number(i128),
    /// A number with a fraction.
    Fraction(f64),
    /// A duration in nanoseconds.
    Duration(u64),
}
