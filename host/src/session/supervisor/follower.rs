//! With `--follow`: the supervisor reads the trace file itself, and prints it to standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, Result};
use crate::output::{self, ATOMIC_WRITE};
use crate::session::trace_file::PACKET;

/// How much text is taken at a time.
const CAPACITY: usize = 64 << 10;

/// The reading end of the trace file, on its way to standard output.
pub struct Follower {
    fifo: File,
    stdout: io::Stdout,
    text: Vec<u8>,
    shown: usize,
    at_end: bool,
}

impl Follower {
    /// Becomes the trace file's reader.
    pub fn open(path: &Path) -> Result<Self> {
        output::check_open()?;
        let fifo = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let fifo = fifo.map_err(Error::io("open the trace file", path))?;
        Ok(Self { fifo, stdout: io::stdout(), text: Vec::with_capacity(CAPACITY), shown: 0, at_end: false })
    }

    /// What to poll: room on standard output while there is text, else the trace file.
    pub fn poll_fd(&self) -> PollFd<'_> {
        match self.has_text() {
            true => PollFd::new(self.stdout.as_fd(), PollFlags::POLLOUT),
            false => PollFd::new(self.fifo.as_fd(), PollFlags::POLLIN),
        }
    }

    /// What to poll to notice at once that standard output has lost its reader, even if there is no line to print.
    pub fn reader_fd(&self) -> PollFd<'_> {
        // No event is asked for: errors and hang-ups are always reported.
        PollFd::new(self.stdout.as_fd(), PollFlags::empty())
    }

    /// Returns whether a pipe, socket or terminal on standard output has no other side any more.
    pub fn has_lost_reader(&self) -> bool {
        let mut fds = [self.reader_fd()];
        let polled = poll(&mut fds, PollTimeout::ZERO);
        let seen = fds[0].revents().unwrap_or(PollFlags::empty());
        matches!(polled, Ok(1)) && seen.intersects(PollFlags::POLLERR | PollFlags::POLLHUP)
    }

    /// Returns whether the whole trace has been printed.
    pub fn is_done(&self) -> bool {
        self.at_end && !self.has_text()
    }

    /// The number of lines that were taken from the trace file and not printed.
    pub fn unprinted_lines(&self) -> usize {
        self.text[self.shown..].iter().filter(|byte| **byte == b'\n').count()
    }

    /// Continues after [`Self::poll_fd`] has become ready. `false`: standard output was closed by its reader.
    ///
    /// # Errors
    ///
    /// The trace file cannot be read, or standard output written.
    pub fn advance(&mut self) -> Result<bool> {
        match self.has_text() {
            true => self.show(),
            false => self.take().map(|()| true),
        }
    }

    fn has_text(&self) -> bool {
        self.shown < self.text.len()
    }

    fn show(&mut self) -> Result<bool> {
        let waiting = &self.text[self.shown..];
        match output::write_some(&waiting[..waiting.len().min(ATOMIC_WRITE)]) {
            Ok(count) => self.shown += count,
            Err(Errno::EPIPE) => return Ok(false),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(Error::Output(errno.desc().to_owned())),
        }
        Ok(true)
    }

    /// Reads packets. The kernel discards the part of a packet that does not fit, so there must be room for a whole
    /// one.
    fn take(&mut self) -> Result<()> {
        self.text.clear();
        self.shown = 0;
        while self.text.len() + PACKET <= CAPACITY {
            let mut packet = [0; PACKET];
            match self.fifo.read(&mut packet) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(length) => self.text.extend_from_slice(&packet[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(Error::System { action: "read the trace file", source });
                }
            }
        }
        Ok(())
    }
}

impl AsFd for Follower {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }
}
