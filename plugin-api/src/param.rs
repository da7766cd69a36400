use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{DurationError, Unit, parse_duration};

/// A parameter of a hook, as the hook declares it.
///
/// The host parses and checks the arguments against the declaration, shows it to users, and passes the values on in
/// [`Arguments`](crate::Arguments).
///
/// ```
/// use trace_hook_api::{Param, Unit};
///
/// Param::text("syscall", "NAME", "trace only these system calls").short('s').comma_separated();
/// Param::integer("depth", "N", "frames of a stack at most").range(1, 127).default("32");
/// Param::duration("over", "TIME", "only waits longer than this", Unit::Microseconds);
/// Param::text("order", "ORDER", "what comes first").choices(["time", "name"]).default("time");
/// Param::flag("exit", "trace the returns as well");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Param {
    /// The long name: `syscall` is given as `--syscall`.
    pub name: String,
    /// What it takes.
    pub kind: Kind,
    /// The placeholder of the value in the help: `NAME`.
    #[serde(default)]
    pub value_name: String,
    /// What it does, in one line.
    pub help: String,
    /// The letter of its short form.
    #[serde(default)]
    pub short: Option<char>,
    /// The value if none is given.
    #[serde(default)]
    pub default: Option<String>,
    /// The only valid values; empty if there is no such list.
    #[serde(default)]
    pub choices: Vec<String>,
    /// Whether it must be given. Then it has no default.
    #[serde(default)]
    pub required: bool,
    /// Whether it takes several values: `-s openat read`, `-s openat -s read`.
    #[serde(default)]
    pub repeated: bool,
    /// Whether a comma separates values as well: `-s openat,read`.
    #[serde(default)]
    pub comma_separated: bool,
    /// The fields that the lines show as a table if this flag is given, unless other columns are chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub table: Vec<String>,
}

/// What a parameter takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum Kind {
    /// No value: it is given or not.
    Flag,
    /// Any text.
    Text,
    /// A whole number within these bounds.
    Integer {
        /// The least valid number.
        min: i64,
        /// The greatest valid number.
        max: i64,
    },
    /// A duration within these bounds, such as `500ms`.
    Duration {
        /// The unit of a number without one.
        unit: Unit,
        /// The shortest valid duration, in nanoseconds.
        min_ns: u64,
        /// The longest valid duration, in nanoseconds.
        max_ns: u64,
    },
    /// A kind that a newer version added.
    #[serde(other)]
    Unknown,
}

impl Kind {
    /// Returns the name of the kind: `flag`, `text`, `integer`, `duration`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Text => "text",
            Self::Integer { .. } => "integer",
            Self::Duration { .. } => "duration",
            Self::Unknown => "a kind that this version does not support",
        }
    }

    /// Parses a value of a duration parameter. `None` for any other kind.
    pub(crate) fn duration(&self, value: &str) -> Option<Result<Duration, DurationError>> {
        match self {
            Self::Duration { unit, .. } => Some(parse_duration(value, *unit)),
            _ => None,
        }
    }
}

impl Param {
    /// Creates a parameter that is given or not.
    pub fn flag(name: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(name, Kind::Flag, "", help)
    }

    /// Creates a parameter that takes text.
    pub fn text(name: impl Into<String>, value_name: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(name, Kind::Text, value_name, help)
    }

    /// Creates a parameter that takes a whole number.
    pub fn integer(name: impl Into<String>, value_name: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(name, Kind::Integer { min: i64::MIN, max: i64::MAX }, value_name, help)
    }

    /// Creates a parameter that takes a duration. A number without a unit is in `unit`.
    pub fn duration(
        name: impl Into<String>,
        value_name: impl Into<String>,
        help: impl Into<String>,
        unit: Unit,
    ) -> Self {
        Self::new(name, Kind::Duration { unit, min_ns: 0, max_ns: u64::MAX }, value_name, help)
    }

    fn new(
        name: impl Into<String>,
        kind: Kind,
        value_name: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            kind,
            value_name: value_name.into(),
            help: help.into(),
            short: None,
            default: None,
            choices: Vec::new(),
            required: false,
            repeated: false,
            comma_separated: false,
            table: Vec::new(),
        }
    }

    /// Sets the short form. `-p`, `-t` and `-h` are the host's.
    pub fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    /// Sets the value if none is given, as a user would write it.
    pub fn default(mut self, value: impl Into<String>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// Sets the only valid values.
    pub fn choices<T: Into<String>>(mut self, choices: impl IntoIterator<Item = T>) -> Self {
        self.choices = choices.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the bounds of a whole number, or of a duration in its unit. Both are included.
    ///
    /// # Panics
    ///
    /// If the parameter takes neither, or if a bound is not valid for a duration. A panic in [`Hook::info`](crate::Hook::info)
    /// is reported to the user as an error of the hook.
    #[track_caller]
    pub fn range(mut self, min: i64, max: i64) -> Self {
        self.kind = match self.kind {
            Kind::Integer { .. } => Kind::Integer { min, max },
            Kind::Duration { unit, .. } => {
                let bound = |number: i64| u64::try_from(number).ok()?.checked_mul(unit.nanoseconds());
                match (bound(min), bound(max)) {
                    (Some(min_ns), Some(max_ns)) => Kind::Duration { unit, min_ns, max_ns },
                    _ => panic!(
                        "--{}: {min} to {max} {} is not a range of durations",
                        self.name,
                        unit.symbol()
                    ),
                }
            }
            kind => {
                panic!(
                    "--{}: range() applies to integers and durations only, but this is {}",
                    self.name,
                    kind.name()
                )
            }
        };
        self
    }

    /// Declares that it must be given. Then it has no default.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Declares that it takes several values: `-s openat read`, `-s openat -s read`.
    pub fn repeated(mut self) -> Self {
        self.repeated = true;
        self
    }

    /// Declares that it takes several values, and that commas separate them as well: `-s openat,read`.
    ///
    /// For parameters whose values contain no commas.
    pub fn comma_separated(mut self) -> Self {
        self.repeated = true;
        self.comma_separated = true;
        self
    }

    /// Declares that with this flag the lines of text are a table for a person (`run`), who may choose other columns.
    ///
    /// For flags of hooks that [honour views](crate::HookInfo::honours_view).
    pub fn table<T: Into<String>>(mut self, columns: impl IntoIterator<Item = T>) -> Self {
        self.table = columns.into_iter().map(Into::into).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_fields_of_newer_plugins_are_read() {
        let newer = r#"{"name":"size","kind":{"type":"Size","unit":"KiB"},"help":"a size","colour":"red"}"#;
        let param: Param = serde_json::from_str(newer).unwrap();
        assert_eq!(param.kind, Kind::Unknown);
        assert_eq!(param.name, "size");
        assert!(!param.comma_separated && !param.repeated && param.default.is_none());
    }

    #[test]
    fn range_of_a_duration_is_in_its_unit() {
        let param = Param::duration("interval", "TIME", "", Unit::Milliseconds).range(1, 2000);
        assert_eq!(
            param.kind,
            Kind::Duration { unit: Unit::Milliseconds, min_ns: 1_000_000, max_ns: 2_000_000_000 }
        );
    }

    #[test]
    #[should_panic(expected = "--name: range() applies to integers and durations only, but this is text")]
    fn range_of_text_panics() {
        let _ = Param::text("name", "NAME", "").range(1, 2);
    }

    #[test]
    #[should_panic(expected = "--time: -1 to 2 s is not a range of durations")]
    fn negative_range_of_a_duration_panics() {
        let _ = Param::duration("time", "TIME", "", Unit::Seconds).range(-1, 2);
    }
}
