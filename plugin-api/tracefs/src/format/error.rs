use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// An error of reading the description of an event.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read; `source` holds the errno.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// A `format` file is not a valid description of an event.
    #[error("{}: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The error in it.
        source: BadFormat,
    },
}

/// An error in the text of a `format` file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadFormat {
    /// A required line is missing.
    #[error("no line `{0}`")]
    Missing(&'static str),
    /// A field line cannot be parsed.
    #[error("unknown field line `{0}`")]
    Field(String),
}

/// Why a print format cannot be evaluated outside the kernel, so that its event is printed field by field.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unprintable {
    /// A name that is defined only in the kernel: an enum value, a macro, a variable.
    #[error("unknown name `{0}`")]
    Name(String),
    /// A function of the kernel.
    #[error("unknown function `{0}`")]
    Function(String),
    /// A type of unknown size.
    #[error("unknown type `{0}`")]
    Type(String),
    /// A conversion that is unknown, or that reads kernel memory.
    #[error("unknown conversion `%{0}`")]
    Conversion(String),
    /// A construct that is not supported, or a syntax error.
    #[error("unexpected `{0}`")]
    Syntax(String),
    /// Too many nested expressions, operators or uses of variables.
    #[error("nested too deeply")]
    Depth,
    /// Fewer arguments than conversions.
    #[error("an argument is missing")]
    Argument,
}
