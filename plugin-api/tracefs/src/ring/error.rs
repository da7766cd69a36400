use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a ring buffer could not be opened or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the instance could not be opened or read; `source` holds the errno.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// This crate does not understand `events/header_page` or `events/header_event`.
    #[error("{}: unknown layout of the ring buffer ({what})", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// What is missing or unexpected.
        what: &'static str,
    },
    /// The instance has no CPU buffer.
    #[error("{}: no cpuN directory", path.display())]
    NoCpu {
        /// The `per_cpu` directory.
        path: PathBuf,
    },
}

/// Why a page cannot be decoded, or not to its end.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The page is shorter than its header.
    #[error("the page is shorter than its header")]
    Header,
    /// The commit word exceeds the size of the page.
    #[error("the page claims more data than it has")]
    Commit,
    /// A record extends beyond the data, or its length is invalid.
    #[error("a record has an invalid length")]
    Record,
}
