use serde::{Deserialize, Serialize};

/// A parameter of a hook, as declared.
///
/// The host parses and checks the arguments against the declaration, describes it to users, and hands the values over
/// in [`Arguments`](crate::Arguments).
///
/// ```
/// use trace_hook_api::Param;
///
/// Param::text("syscall", "NAME", "trace only these system calls").short('s').repeated();
/// Param::integer("depth", "N", "frames of a stack at most").range(1, 127).default("32");
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
    /// What stands for the value in the help: `NAME`.
    #[serde(default)]
    pub value_name: String,
    /// What it does, in one line.
    pub help: String,
    /// The letter of its short form.
    #[serde(default)]
    pub short: Option<char>,
    /// The value that holds when none is given.
    #[serde(default)]
    pub default: Option<String>,
    /// The only values that are right; empty where any is.
    #[serde(default)]
    pub choices: Vec<String>,
    /// Whether it must be given. Then there is no default.
    #[serde(default)]
    pub required: bool,
    /// Whether it takes several values: `-s openat read`, `-s openat -s read`.
    #[serde(default)]
    pub repeated: bool,
}

/// What a parameter takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum Kind {
    /// Nothing: it is there or not.
    Flag,
    /// Any text.
    Text,
    /// A whole number within these bounds.
    Integer {
        /// The least number that is right.
        min: i64,
        /// The greatest number that is right.
        max: i64,
    },
    /// Something that only a newer host knows.
    #[serde(other)]
    Unknown,
}

impl Kind {
    /// Returns the name of the kind: `flag`, `text`, `integer`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Text => "text",
            Self::Integer { .. } => "integer",
            Self::Unknown => "a kind that this version does not know",
        }
    }
}

impl Param {
    /// A parameter that is there or not.
    pub fn flag(name: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(name, Kind::Flag, "", help)
    }

    /// A parameter that takes text.
    pub fn text(name: impl Into<String>, value_name: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(name, Kind::Text, value_name, help)
    }

    /// A parameter that takes a whole number.
    pub fn integer(name: impl Into<String>, value_name: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(name, Kind::Integer { min: i64::MIN, max: i64::MAX }, value_name, help)
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
        }
    }

    /// Gives it a short form. `-p`, `-t` and `-h` are the host's.
    pub fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    /// The value that holds when none is given.
    pub fn default(mut self, value: impl Into<String>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// The only values that are right.
    pub fn choices<T: Into<String>>(mut self, choices: impl IntoIterator<Item = T>) -> Self {
        self.choices = choices.into_iter().map(Into::into).collect();
        self
    }

    /// The bounds of a whole number, both included.
    pub fn range(mut self, min: i64, max: i64) -> Self {
        self.kind = Kind::Integer { min, max };
        self
    }

    /// It must be given. So it has no default.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// It takes several values.
    pub fn repeated(mut self) -> Self {
        self.repeated = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_reads_what_a_newer_plugin_says() {
        let newer = r#"{"name":"size","kind":{"type":"Size","unit":"KiB"},"help":"a size","colour":"red"}"#;
        let param: Param = serde_json::from_str(newer).unwrap();
        assert_eq!(param.kind, Kind::Unknown);
        assert_eq!(param.name, "size");
    }
}
