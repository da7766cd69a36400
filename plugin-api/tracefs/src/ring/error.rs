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
        /// What the kernel answered.
        source: io::Error,
    },
    /// `events/header_page` or `events/header_event` says something this reader does not understand.
    #[error("{}: unknown layout of the ring buffer ({what})", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// What is missing or odd.
        what: &'static str,
    },
    /// The instance has no CPU buffer at all.
    #[error("{}: no cpuN directory", path.display())]
    NoCpu {
        /// The `per_cpu` directory.
        path: PathBuf,
    },
}

/// What is wrong with a page that cannot be decoded, or not to its end.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// Fewer bytes than the page header has.
    #[error("the page is shorter than its header")]
    Header,
    /// The commit word claims more bytes than the page has.
    #[error("the page claims more data than it has")]
    Commit,
    /// A record reaches over the end of the data, or its length is impossible.
    #[error("a record has an impossible length")]
    Record,
}
