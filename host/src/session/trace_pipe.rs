//! The pipe in which the worker passes the trace to the supervisor, which prints it.
//!
//! Where no caller reads a trace file, its packets of one line would cost more than the lines themselves.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use super::backlog::Backlog;
use super::lines::{Lines, Part};
use super::unread_bytes::unread_bytes;
use crate::error::{Error, Result};

/// The size of the pipe, in bytes. Optional: that of a user's pipes may be limited (pipe-user-pages-soft).
pub const PIPE_SIZE: i32 = 1 << 20;

/// The writing end, in the worker.
#[derive(Debug)]
pub struct TracePipe {
    pipe: PipeWriter,
    sent: SentParts,
}

/// Creates the pipe.
///
/// # Errors
///
/// There is no descriptor left.
pub fn create() -> Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe().map_err(cannot_create)?;
    for end in [reader.as_fd(), writer.as_fd()] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(Error::system("set up the pipe of the trace"))?;
    }
    let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
    Ok((reader, writer))
}

fn cannot_create(source: io::Error) -> Error {
    Error::System { action: "create a pipe for the trace", source }
}

impl TracePipe {
    /// Writes to the pipe.
    ///
    /// # Errors
    ///
    /// There is no descriptor left.
    pub fn open(pipe: &PipeWriter) -> Result<Self> {
        Ok(Self { pipe: pipe.try_clone().map_err(cannot_create)?, sent: SentParts::default() })
    }

    /// Sends as many lines as there is room for. Returns whether there was any.
    ///
    /// # Errors
    ///
    /// The write failed for a reason other than a full pipe or a missing reader.
    pub fn send(&mut self, backlog: &mut Backlog) -> nix::Result<bool> {
        let mut has_sent = false;
        while !backlog.is_empty() {
            match write(&self.pipe, backlog.text()) {
                Ok(length) => backlog.take_bytes(length, |part| self.sent.add(part)),
                Err(Errno::EAGAIN | Errno::EINTR | Errno::EPIPE) => break,
                Err(errno) => return Err(errno),
            }
            has_sent = true;
        }
        Ok(has_sent)
    }

    /// The number of bytes in the pipe.
    pub fn unread(&self) -> usize {
        unread_bytes(&self.pipe)
    }

    /// Takes the unread lines back, followed by `later` ones. A line whose beginning was read is completed for its reader.
    ///
    /// # Errors
    ///
    /// The pipe cannot be read or written.
    pub fn take_back(&mut self, later: Lines) -> io::Result<Lines> {
        let mut text = Vec::new();
        match self.reopened_for_reading()?.read_to_end(&mut text) {
            // Its end is not reached, since there is a writer.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        let (mut lines, begins_within_line) = self.sent.last_ones(&text);
        lines.append(later);
        if begins_within_line && self.has_reader() {
            let mut remainder = Backlog::default();
            remainder.add_line(&lines.take_first());
            self.send(&mut remainder)?;
        }
        Ok(lines)
    }

    fn reopened_for_reading(&self) -> io::Result<File> {
        let path = format!("/proc/self/fd/{}", self.pipe.as_raw_fd());
        OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
    }

    /// Returns whether the supervisor still reads.
    pub fn has_reader(&self) -> bool {
        let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::empty())];
        // Errors are reported unasked.
        !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
    }
}

impl AsFd for TracePipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// The last parts of lines that were sent, at least as many as the pipe can hold.
#[derive(Debug, Default)]
struct SentParts {
    parts: VecDeque<Part>,
    length: usize,
}

impl SentParts {
    fn add(&mut self, part: Part) {
        self.parts.push_back(part);
        self.length += part.line.length;
        while let Some(first) = self.parts.front()
            && self.length - first.line.length > PIPE_SIZE as usize
        {
            self.length -= first.line.length;
            self.parts.pop_front();
        }
    }

    /// The lines of this text, which was sent last, and whether the line before it has not ended.
    fn last_ones(&mut self, text: &[u8]) -> (Lines, bool) {
        let mut read = self.length.saturating_sub(text.len());
        let mut begins_within_line = false;
        let mut lines = Lines::default();
        let mut text = text;
        for part in self.parts.drain(..) {
            let was_read = part.line.length.min(read);
            read -= was_read;
            if was_read == part.line.length {
                begins_within_line = !part.ends_line;
                continue;
            }
            begins_within_line |= was_read > 0;
            let (unread, after) = text.split_at((part.line.length - was_read).min(text.len()));
            lines.add(unread, part.line.is_event);
            text = after;
        }
        self.length = 0;
        (lines, begins_within_line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trace_hook_api::LineBuffer;

    use super::*;

    fn opened() -> (PipeReader, TracePipe) {
        let (reader, writer) = create().unwrap();
        (reader, TracePipe::open(&writer).unwrap())
    }

    fn backlog(lines: &[&str]) -> Backlog {
        let mut read = LineBuffer::with_room(1 << 22);
        lines.iter().for_each(|line| read.push(line));
        let mut backlog = Backlog::default();
        backlog.add(&read);
        backlog
    }

    fn read(reader: &mut PipeReader, length: usize) -> Vec<u8> {
        let mut text = vec![0; length];
        let length = reader.read(&mut text).unwrap_or(0);
        text.truncate(length);
        text
    }

    #[test]
    fn unread_lines_are_taken_back() {
        let (mut reader, mut pipe) = opened();
        assert!(pipe.send(&mut backlog(&["one", "two", "three"])).unwrap());
        assert_eq!(read(&mut reader, 4), b"one\n");
        assert_eq!(pipe.unread(), 10);
        let lines = pipe.take_back(Lines::default()).unwrap();
        assert_eq!((lines.text(), lines.events()), (&b"two\nthree\n"[..], 2));
        assert_eq!(pipe.unread(), 0);
    }

    #[test]
    fn a_line_that_was_read_in_part_is_completed() {
        let (mut reader, mut pipe) = opened();
        pipe.send(&mut backlog(&["one", "two"])).unwrap();
        assert_eq!(read(&mut reader, 5), b"one\nt");
        assert_eq!(pipe.take_back(Lines::default()).unwrap().events(), 0);
        assert_eq!(read(&mut reader, 100), b"wo\n");

        pipe.send(&mut backlog(&["three"])).unwrap();
        assert_eq!(read(&mut reader, 2), b"th");
        drop(reader);
        assert_eq!(pipe.take_back(Lines::default()).unwrap().events(), 1, "no reader has the whole line");
    }

    #[test]
    fn a_full_pipe_takes_a_part() {
        let (mut reader, mut pipe) = opened();
        let line = "x".repeat(300_000);
        let mut waiting = backlog(&[line.as_str(); 5]);
        assert!(pipe.send(&mut waiting).unwrap());
        assert!(!pipe.send(&mut waiting).unwrap() && !waiting.is_empty());
        let first = read(&mut reader, 400_000).len();
        let rest = pipe.take_back(waiting.take_all()).unwrap();
        assert_eq!(rest.events(), 5 - first.div_ceil(300_001) as u64);
    }

    #[test]
    fn a_pipe_without_a_reader_takes_nothing() {
        let (reader, mut pipe) = opened();
        assert!(pipe.has_reader());
        drop(reader);
        assert!(!pipe.has_reader());
        assert!(!pipe.send(&mut backlog(&["one"])).unwrap());
    }

    proptest! {
        #[test]
        fn every_event_is_read_or_taken_back(
            lengths in prop::collection::vec(0..200_usize, 1..200),
            reads in prop::collection::vec(1..3000_usize, 0..20),
        ) {
            let lines: Vec<String> = lengths.iter().map(|length| "y".repeat(*length)).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let (mut reader, mut pipe) = opened();
            let mut waiting = backlog(&lines);
            let mut seen = Vec::new();
            pipe.send(&mut waiting).unwrap();
            reads.iter().for_each(|length| seen.extend(read(&mut reader, *length)));
            let rest = pipe.take_back(waiting.take_all()).unwrap();
            seen.extend(read(&mut reader, 4096));
            let read_lines = seen.iter().filter(|byte| **byte == b'\n').count() as u64;
            prop_assert!(seen.is_empty() || seen.ends_with(b"\n"));
            prop_assert_eq!(read_lines + rest.events(), lines.len() as u64);
        }
    }
}
