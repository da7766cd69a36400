use std::fmt;

use serde::{Deserialize, Serialize};

/// The result of a hook's methods.
pub type Result<T, E = HookError> = std::result::Result<T, E>;

/// An error of a hook.
///
/// `?` converts any error, and appends its causes. The host shows the message to the user on one line, after the name of the
/// plugin: say what failed, on what, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookError {
    kind: ErrorKind,
    message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    excerpt: Vec<String>,
}

/// In lines.
const LONGEST_EXCERPT: usize = 8;

/// The cause of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The arguments are wrong; other arguments would work.
    Usage,
    /// The plugin panicked. This is a fault of the plugin.
    Panic,
    /// Anything else.
    #[serde(other)]
    Failure,
}

impl HookError {
    /// Creates an error for what failed.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { kind: ErrorKind::Failure, message: message.to_string(), excerpt: Vec::new() }
    }

    /// Creates an error for wrong arguments of the user: `unknown system call 'opnat'; did you mean 'openat'?`
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { kind: ErrorKind::Usage, message: message.to_string(), excerpt: Vec::new() }
    }

    /// Adds lines to show below the message, such as the argument with a caret under the wrong part. Eight lines at most.
    pub fn excerpt(mut self, text: &str) -> Self {
        self.excerpt = text.lines().take(LONGEST_EXCERPT).map(str::to_owned).collect();
        self
    }

    /// Returns the lines to show below the message, at most eight.
    pub fn excerpt_lines(&self) -> &[String] {
        &self.excerpt[..self.excerpt.len().min(LONGEST_EXCERPT)]
    }

    /// Returns the cause of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the message for the user.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Creates the error of a panic at this place in the source.
    pub(crate) fn panic(place: Option<&str>, message: &str) -> Self {
        let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
        Self { kind: ErrorKind::Panic, ..Self::new(format!("the plugin panicked{place}: {message}")) }
    }

    /// Cuts the message to at most `length` bytes.
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

// Possible only because `HookError` does not implement `std::error::Error` itself.
impl<E: std::error::Error> From<E> for HookError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            // Some errors include their cause.
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
    fn kind_of_a_newer_plugin_is_a_failure() {
        let error: HookError = serde_json::from_str(r#"{"kind":"Weather","message":"rain"}"#).unwrap();
        assert_eq!(error, HookError::new("rain"));
    }

    #[test]
    fn error_includes_its_causes() {
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
