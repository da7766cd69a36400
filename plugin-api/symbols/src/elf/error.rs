use std::io;

/// Why the symbols of a file cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// The file is truncated, damaged, or not an ELF file.
    #[error("not a readable ELF file")]
    Malformed,
    /// The file is for other machines.
    #[error("not a 64-bit program of this machine")]
    ForeignMachine,
    /// The file cannot be read.
    #[error("cannot read the file: {0}")]
    Io(io::ErrorKind),
    /// A part of the file exceeds the limits or the memory budget.
    #[error("its symbols take more memory than is allowed")]
    TooLarge,
    /// Names of symbols are too long, or overlap so that they are too long together.
    #[error("some of its symbols have names that are too long, and are skipped")]
    NamesTooLong,
}

impl From<object::read::Error> for ElfError {
    fn from(_: object::read::Error) -> Self {
        Self::Malformed
    }
}

impl From<io::Error> for ElfError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Malformed,
            kind => Self::Io(kind),
        }
    }
}
