use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why an event cannot be looked up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read; `source` holds the errno.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A `format` file says something that is no event description.
    #[error("{}: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BadFormat,
    },
}

/// What is wrong with the text of a `format` file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadFormat {
    /// A line every event has is not there.
    #[error("no line `{0}`")]
    Missing(&'static str),
    /// A field line that cannot be understood.
    #[error("unknown field line `{0}`")]
    Field(String),
}

/// Why a print format cannot be evaluated outside the kernel, so that its event is printed field by field.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unprintable {
    /// A name only the kernel knows: an enum value, a macro, a variable.
    #[error("unknown name `{0}`")]
    Name(String),
    /// A function only the kernel can call.
    #[error("unknown function `{0}`")]
    Function(String),
    /// A type of unknown size.
    #[error("unknown type `{0}`")]
    Type(String),
    /// A conversion that is unknown, or that needs the kernel's memory.
    #[error("unknown conversion `%{0}`")]
    Conversion(String),
    /// Not the C that print formats are made of.
    #[error("unexpected `{0}`")]
    Syntax(String),
    /// Nested deeper than any print format is.
    #[error("nested too deeply")]
    Depth,
    /// Fewer arguments than conversions.
    #[error("an argument is missing")]
    Argument,
}
