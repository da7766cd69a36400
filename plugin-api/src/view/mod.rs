//! How the lines of a session are presented, beyond their format.

mod columns;
mod condition;
mod error_names;
mod evaluation;
mod expression;
mod fields;
mod time;
mod tokens;
mod value;
mod viewer;

use serde::{Deserialize, Serialize};

use columns::ColumnValues;
pub(crate) use columns::write_name;
pub use condition::{Comparison, Condition, Literal, Operator};
pub(crate) use evaluation::Evaluation;
pub use expression::{ExpressionError, parse_condition};
use fields::is_field_or_group;
pub use fields::{find_field, similar_fields};
pub(crate) use time::LineClock;
pub use time::TimeFormat;
pub(crate) use value::Value;
pub(crate) use viewer::Viewer;

/// How the lines are presented, as the user chose.
///
/// [`LineBuffer::event`](crate::LineBuffer::event) takes care of it. A hook that declares that it
/// [honours](crate::HookInfo::honours_view) views must write all of its lines with it; see
/// [`LineBuffer::passes`](crate::LineBuffer::passes) for lines that are written otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct View {
    /// Only events that meet this condition become lines. The others are counted as left out.
    pub condition: Option<Condition>,
    /// Only these fields are shown, in this order. All of them, if there are none.
    pub columns: Vec<String>,
    /// How times are shown.
    pub time: TimeFormat,
    /// Whether names and errors are colored in text.
    pub color: bool,
}

impl View {
    /// Returns whether it is the default one, which every hook honours.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The names of the columns as a line of text, to print above the rows. `None` if lines have all fields.
    pub fn heading(&self) -> Option<String> {
        (!self.columns.is_empty()).then(|| ColumnValues::heading(&self.columns))
    }

    /// Returns whether the condition or a column is about a field of this name, or of this group.
    pub fn mentions(&self, name: &str) -> bool {
        self.condition.as_ref().is_some_and(|condition| condition.mentions(name))
            || self.columns.iter().any(|column| is_field_or_group(column, name))
    }
}
