//! Where a trace that is printed goes: standard output, standard error, or a file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::isatty;

use crate::error::{Error, Result};
use crate::output;

/// The name of standard output as a file.
const STDOUT: &str = "-";

/// Who takes the trace.
#[derive(Debug)]
pub enum Destination {
    /// The caller, from the trace file, whose path is printed.
    TraceFile,
    /// This process prints it.
    Output(Output),
}

impl Destination {
    /// Returns whether the trace goes into a file that was named.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::Output(Output::File { .. }))
    }
}

/// What the trace is printed to.
#[derive(Debug)]
pub enum Output {
    Stdout(io::Stdout),
    Stderr(io::Stderr),
    File { file: File, path: PathBuf },
}

impl Output {
    /// Opens a file, or standard output for `-`. An existing file is emptied only once there is a trace.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or is a directory or a device.
    pub fn open(path: &Path) -> Result<Self> {
        if path == Path::new(STDOUT) {
            return Self::stdout();
        }
        refuse_unlikely(path)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            // A FIFO without a reader is an error, rather than a wait.
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(|error| cannot_open(path, error))?;
        Ok(Self::File { file, path: path.to_owned() })
    }

    /// Standard output.
    ///
    /// # Errors
    ///
    /// It is closed.
    pub fn stdout() -> Result<Self> {
        output::check_open().map(|()| Self::Stdout(io::stdout()))
    }

    /// Empties a file that was there before.
    ///
    /// # Errors
    ///
    /// The file system does not allow it.
    pub fn begin(&self) -> Result<()> {
        match self {
            Self::File { file, path } if self.is_regular_file() => {
                file.set_len(0).map_err(Error::io("empty", path))
            }
            _ => Ok(()),
        }
    }

    /// Returns whether it is a regular file, which takes writes of any size at once.
    pub fn is_regular_file(&self) -> bool {
        self.kind() == SFlag::S_IFREG
    }

    pub fn is_terminal(&self) -> bool {
        isatty(self.as_fd()).unwrap_or(false)
    }

    /// Returns whether it is a pipe, which takes the pages of another pipe without a copy.
    pub fn is_pipe(&self) -> bool {
        self.kind() == SFlag::S_IFIFO
    }

    fn kind(&self) -> SFlag {
        fstat(self.as_fd())
            .map_or(SFlag::empty(), |stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT)
    }

    /// An error of writing to it.
    pub fn error(&self, error: io::Error) -> Error {
        match self {
            Self::Stdout(_) => Error::Output(error.to_string()),
            Self::Stderr(_) => Error::System { action: "print to standard error", source: error },
            Self::File { path, .. } => Error::io("write to", path)(error),
        }
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stdout(stdout) => stdout.as_fd(),
            Self::Stderr(stderr) => stderr.as_fd(),
            Self::File { file, .. } => file.as_fd(),
        }
    }
}

/// Refuses what is more likely a mistake. Opening a device may already have an effect.
fn refuse_unlikely(path: &Path) -> Result<()> {
    let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
    let kind = metadata.file_type();
    let is_device = kind.is_block_device() || (kind.is_char_device() && !is_harmless(path));
    let problem = match () {
        () if kind.is_dir() => "is a directory; give the name of a file in it",
        () if is_device => "is a device; the trace would overwrite it",
        () if kind.is_socket() => "is a socket, which cannot be opened",
        () => return Ok(()),
    };
    Err(Error::Directory { path: path.to_owned(), problem: problem.to_owned() })
}

/// Terminals and `/dev/null` only take what is printed.
fn is_harmless(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    path == Path::new("/dev/null") || path == Path::new("/dev/tty") || path.starts_with("/dev/pts")
}

fn cannot_open(path: &Path, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENXIO) => {
            Error::Directory { path: path.to_owned(), problem: "is a FIFO without a reader".to_owned() }
        }
        _ => Error::io("open", path)(error),
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn an_existing_file_is_emptied_once_there_is_a_trace() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "before").unwrap();
        let output = Output::open(&path).unwrap();
        assert!(output.is_regular_file());
        assert_eq!(fs::read(&path).unwrap(), b"before");
        output.begin().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn what_is_likely_a_mistake_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        for (path, problem) in [
            (directory.path(), "is a directory"),
            (Path::new("/dev/zero"), "is a device"),
            (&fifo, "is a FIFO without a reader"),
            (&directory.path().join("none/file"), "No such file"),
        ] {
            let error = Output::open(path).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains(path.to_str().unwrap()), "{error}");
        }
        assert!(Output::open(Path::new("/dev/null")).is_ok());
        assert!(matches!(Output::open(Path::new("-")), Ok(Output::Stdout(_))));
    }
}
