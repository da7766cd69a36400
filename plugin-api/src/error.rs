use std::fmt;

use serde::{Deserialize, Serialize};

/// The result of what a hook does.
pub type Result<T, E = HookError> = std::result::Result<T, E>;

/// Why a hook could not do what it was asked.
///
/// Any error turns into one with `?`, its causes included. The message is shown to a person, on one line, after the
/// name of the plugin: say what was wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookError {
    kind: ErrorKind,
    message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    excerpt: Vec<String>,
}

/// More lines than that do not help anybody.
const LONGEST_EXCERPT: usize = 8;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The arguments are wrong; other arguments would work.
    Usage,
    /// The plugin panicked: that is its author's fault.
    Panic,
    /// It could not be done.
    #[serde(other)]
    Failure,
}

impl HookError {
    /// It could not be done.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { kind: ErrorKind::Failure, message: message.to_string(), excerpt: Vec::new() }
    }

    /// The caller's arguments are wrong: `unknown system call 'opnat'; did you mean 'openat'?`
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { kind: ErrorKind::Usage, message: message.to_string(), excerpt: Vec::new() }
    }

    /// Shows text below the message, line by line: what was given, with a caret under the place that is wrong. Eight lines
    /// at most.
    pub fn excerpt(mut self, text: &str) -> Self {
        self.excerpt = text.lines().take(LONGEST_EXCERPT).map(str::to_owned).collect();
        self
    }

    /// The lines to show below the message: no more than [`excerpt`](Self::excerpt) takes, whatever a plugin has sent.
    pub fn excerpt_lines(&self) -> &[String] {
        &self.excerpt[..self.excerpt.len().min(LONGEST_EXCERPT)]
    }

    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to tell the user.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The plugin panicked, at this place in its source, with this message.
    pub(crate) fn panic(place: Option<&str>, message: &str) -> Self {
        let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
        Self { kind: ErrorKind::Panic, ..Self::new(format!("the plugin panicked{place}: {message}")) }
    }

    /// The same error, with so many bytes of its message at most.
    pub(crate) fn shortened_to(mut self, length: usize) -> Self {
        self.message.truncate(self.message.floor_char_boundary(length));
        self
    }
}

impl fmt::Display for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// `HookError` is no `std::error::Error` itself: that is what makes this conversion from all of them possible.
impl<E: std::error::Error> From<E> for HookError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            // Many an error says its cause itself.
            let cause_message = cause.to_string();
            if !message.contains(&cause_message) {
                message = format!("{message}: {cause_message}");
            }
            source = cause.source();
        }
        Self::new(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_only_a_newer_plugin_knows_is_a_failure() {
        let error: HookError = serde_json::from_str(r#"{"kind":"Weather","message":"rain"}"#).unwrap();
        assert_eq!(error, HookError::new("rain"));
    }

    #[test]
    fn an_error_carries_its_causes() {
        #[derive(Debug)]
        struct Outer(std::io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("outer")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = HookError::from(Outer(std::io::Error::other("inner")));
        assert_eq!(error.message(), "outer: inner");
        assert_eq!(error.kind(), ErrorKind::Failure);
    }
}
