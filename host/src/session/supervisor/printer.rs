//! The supervisor prints the trace that the worker passes on in a pipe.

use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use crate::error::{Error, Result};
use crate::output::ATOMIC_WRITE;
use crate::session::destination::Output;
use crate::session::trace_pipe::PIPE_SIZE;
use crate::session::unread_bytes::unread_bytes;

/// How much text is copied at a time.
const CAPACITY: usize = 64 << 10;

/// The trace on its way from the worker to its destination.
pub struct Printer {
    pipe: PipeReader,
    output: Output,
    /// Whether the kernel moves the text, so that this process need not copy it.
    splices: bool,
    text: Vec<u8>,
    printed: usize,
    at_end: bool,
    bytes: u64,
}

impl Printer {
    /// Prints what arrives in the pipe, on a terminal after this heading.
    pub fn new(pipe: PipeReader, output: Output, heading: Option<String>) -> Self {
        // A write to a terminal may have to wait, and then only a small one can be interrupted.
        let splices = output.is_pipe() || output.is_regular_file();
        let heading = heading.filter(|_| output.is_terminal()).map(|heading| heading + "\n");
        let text = heading.map(String::into_bytes).unwrap_or_default();
        Self { pipe, output, splices, text, printed: 0, at_end: false, bytes: 0 }
    }

    /// Where the trace goes.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The number of bytes that were printed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What to poll: room for text that is waiting, else the pipe.
    pub fn poll_fd(&self) -> PollFd<'_> {
        match self.has_text() {
            true => PollFd::new(self.output.as_fd(), PollFlags::POLLOUT),
            false => PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN),
        }
    }

    /// What to poll to notice at once that the destination has lost its reader, even if there is no line to print.
    pub fn reader_fd(&self) -> PollFd<'_> {
        // No event is asked for: errors and hang-ups are always reported.
        PollFd::new(self.output.as_fd(), PollFlags::empty())
    }

    /// Returns whether a pipe, socket or terminal has no other side any more.
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

    /// The number of lines that were taken from the worker and not printed.
    pub fn unprinted_lines(&self) -> usize {
        let mut text = self.text[self.printed..].to_vec();
        // Without a writer this ends.
        let _ = (&self.pipe).read_to_end(&mut text);
        text.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Continues after [`Self::poll_fd`] has become ready. `false`: the destination was closed by its reader.
    ///
    /// # Errors
    ///
    /// The trace cannot be read from the worker, or not be printed.
    pub fn advance(&mut self) -> Result<bool> {
        match () {
            () if self.printed < self.text.len() => self.print(),
            () if self.splices => self.move_text(),
            () => self.take().map(|()| true),
        }
    }

    fn has_text(&self) -> bool {
        self.printed < self.text.len() || (self.splices && unread_bytes(&self.pipe) > 0)
    }

    fn move_text(&mut self) -> Result<bool> {
        match splice(
            &self.pipe,
            None,
            self.output.as_fd(),
            None,
            PIPE_SIZE as usize,
            SpliceFFlags::SPLICE_F_NONBLOCK,
        ) {
            Ok(0) => self.at_end = true,
            Ok(count) => self.bytes += count as u64,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(Errno::EPIPE) => return Ok(false),
            // A file that was opened for appending, or of a file system that cannot do it (splice(2)).
            Err(Errno::EINVAL) => self.splices = false,
            Err(errno) => return Err(self.output.error(errno.into())),
        }
        Ok(true)
    }

    fn print(&mut self) -> Result<bool> {
        let waiting = &self.text[self.printed..];
        let most = if self.output.is_regular_file() { CAPACITY } else { ATOMIC_WRITE };
        match write(self.output.as_fd(), &waiting[..waiting.len().min(most)]) {
            Ok(count) => {
                self.printed += count;
                self.bytes += count as u64;
            }
            Err(Errno::EPIPE) => return Ok(false),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(self.output.error(errno.into())),
        }
        Ok(true)
    }

    fn take(&mut self) -> Result<()> {
        self.printed = 0;
        self.text.resize(CAPACITY, 0);
        let read = self.pipe.read(&mut self.text);
        self.text.truncate(read.as_ref().map_or(0, |length| *length));
        match read {
            Ok(length) => self.at_end = length == 0,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(source) => return Err(cannot_read(source)),
        }
        Ok(())
    }
}

fn cannot_read(source: io::Error) -> Error {
    Error::System { action: "read the trace from the worker", source }
}
