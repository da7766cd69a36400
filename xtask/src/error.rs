//! Errors, as sentences: a chore has nobody to tell them to but a person.

use std::fmt::Display;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Says what could not be done, in front of why.
pub trait Explain<T> {
    /// Puts `what` in front of the error.
    fn explain<D: Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Display> Explain<T> for std::result::Result<T, E> {
    fn explain<D: Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|why| format!("{}: {why}", what()).into())
    }
}
