//! Errors as text, because they are only printed.

use std::fmt::Display;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Adds what failed to an error.
pub trait Explain<T> {
    /// Prefixes the error with `what`.
    fn explain<D: Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Display> Explain<T> for std::result::Result<T, E> {
    fn explain<D: Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|why| format!("{}: {why}", what()).into())
    }
}
