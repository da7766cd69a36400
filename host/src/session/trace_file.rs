//! The trace file: a FIFO in packet mode.
//!
//! In packet mode (`O_DIRECT`, pipe(2)) a read returns one write at most. With one line per write, a reader that keeps
//! only the first line of each read still gets every line. The kernel discards the part of a packet that does not fit
//! into a read, so a reader needs a buffer of [`PACKET`] bytes. `cat` has one, a shell's `read` does not.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{mkfifo, write};

use super::lines::Lines;
use super::unread_bytes::unread_bytes;
use crate::error::{Error, Result};

/// The longest packet (`PIPE_BUF`). A longer line takes several.
pub const PACKET: usize = 4096;

/// Room for 256 packets: each takes a page of the pipe, regardless of its length.
const PIPE_SIZE: i32 = 1 << 20;
const PACKETS: usize = PIPE_SIZE as usize / PACKET;

/// The result of sending a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Yes,
    /// There is no room until the reader takes a packet.
    Full,
    /// No process has the file open for reading.
    NoReader,
}

/// Creates the file.
pub fn create(path: &Path) -> Result<()> {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(Error::path("create the trace file", path))
}

/// Removes the file, unless it was replaced by the file with unread output.
///
/// A reader that has the file open still gets the remaining lines. One that is just opening it reads the end of the
/// file.
pub fn remove(path: &Path) -> Result<()> {
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return Ok(());
    }
    // A reader that is opening the file waits for a writer. This provides one briefly.
    let _writer = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The writing end. The reader sees the end of the file when this is dropped.
#[derive(Debug)]
pub struct TraceWriter {
    fifo: File,
    /// The last packets that were sent, at least as many as the file can hold, from the beginning of a line.
    sent: VecDeque<Packet>,
}

/// A packet that was sent.
#[derive(Debug)]
struct Packet {
    ends_line: bool,
    /// Whether its line begins an event.
    is_event: bool,
    /// The text, if the line takes several packets, so that the line can be reassembled.
    text: Vec<u8>,
}

/// Unread lines, reclaimed from the file.
#[derive(Debug, PartialEq)]
pub struct ReclaimedLines {
    /// The part of a line that a reader has already taken; usually empty. The next part of that line is the first in
    /// `lines`.
    pub torn: Lines,
    pub lines: Lines,
}

impl ReclaimedLines {
    /// All lines, the torn one reassembled.
    pub fn whole_lines(self) -> Lines {
        let mut lines = self.torn;
        lines.append(self.lines);
        lines
    }
}

impl TraceWriter {
    /// Opens the file for writing, whether or not it has a reader.
    pub fn open(path: &Path) -> Result<Self> {
        let cannot_open = || Error::io("open the trace file", path);
        // Opening a FIFO for writing fails without a reader (ENXIO). This provides one briefly.
        let _reader = OpenOptions::new().read(true).write(true).open(path).map_err(cannot_open())?;
        let nonblocking = OFlag::O_NONBLOCK.bits();
        let fifo =
            OpenOptions::new().write(true).custom_flags(nonblocking).open(path).map_err(cannot_open())?;
        let packet_mode = OFlag::O_DIRECT | OFlag::O_NONBLOCK;
        fcntl(&fifo, FcntlArg::F_SETFL(packet_mode)).map_err(Error::path("set packet mode on", path))?;
        // Optional: the size of a user's pipes may be limited (pipe-user-pages-soft).
        let _ = fcntl(&fifo, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        Ok(Self { fifo, sent: VecDeque::with_capacity(PACKETS + 1) })
    }

    /// Sends a packet as a whole, or not at all. `is_event`: its line begins an event.
    ///
    /// # Errors
    ///
    /// The write failed for a reason other than a full file or a missing reader.
    pub fn send(&mut self, packet: &[u8], is_event: bool) -> nix::Result<Sent> {
        match write(&self.fifo, packet) {
            Ok(_) => {
                self.remember(packet, is_event);
                Ok(Sent::Yes)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Sent::Full),
            Err(Errno::EPIPE) => Ok(Sent::NoReader),
            Err(errno) => Err(errno),
        }
    }

    fn remember(&mut self, packet: &[u8], is_event: bool) {
        let ends_line = packet.ends_with(b"\n");
        let is_whole_line = ends_line && !self.is_within_line();
        let text = if is_whole_line { Vec::new() } else { packet.to_vec() };
        self.sent.push_back(Packet { ends_line, is_event, text });
        // Keeps all of the line whose packet may be the oldest one in the file.
        while let Some(first_line) = self.sent.iter().position(|packet| packet.ends_line)
            && self.sent.len() > PACKETS + 1 + first_line
        {
            self.sent.drain(..=first_line);
        }
    }

    /// Returns whether the last packet that was sent did not end its line.
    fn is_within_line(&self) -> bool {
        self.sent.back().is_some_and(|packet| !packet.ends_line)
    }

    /// Returns whether the content of the file may begin within a line: one of the last lines took several packets.
    pub fn may_be_torn(&self) -> bool {
        self.sent.iter().any(|packet| !packet.ends_line)
    }

    /// The number of bytes in the file that were not read yet.
    pub fn unread(&self) -> usize {
        unread_bytes(&self.fifo)
    }

    /// Removes the unread lines from the file, and returns them.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn reclaim(&mut self) -> io::Result<ReclaimedLines> {
        let path = format!("/proc/self/fd/{}", self.fifo.as_raw_fd());
        let fifo = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
        let (mut packets, pipe) = io::pipe()?;
        let _ = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        let mut text = Vec::new();
        let mut lengths = Vec::new();
        loop {
            // Moves all packets in one step, so that a reader cannot take one of them in between.
            let mut moved =
                match splice(&fifo, None, &pipe, None, PIPE_SIZE as usize, SpliceFFlags::SPLICE_F_NONBLOCK) {
                    Ok(0) | Err(Errno::EAGAIN) => break,
                    Ok(moved) => moved,
                    Err(Errno::EINTR) => 0,
                    Err(errno) => return Err(errno.into()),
                };
            while moved > 0 {
                let mut packet = [0; PACKET];
                let length = packets.read(&mut packet)?;
                text.extend_from_slice(&packet[..length]);
                lengths.push(length);
                moved -= length;
            }
        }
        // The packets in the file are the last ones that were sent.
        let unread = self.sent.split_off(self.sent.len().saturating_sub(lengths.len()));
        let mut torn = Lines::default();
        if self.is_within_line() {
            let begin = self.sent.iter().rposition(|packet| packet.ends_line).map_or(0, |end| end + 1);
            self.sent.drain(begin..).for_each(|packet| torn.add(&packet.text, packet.is_event));
        }
        // The file is empty now.
        self.sent.clear();
        let mut lines = Lines::default();
        let mut text = text.as_slice();
        for (length, packet) in lengths.into_iter().zip(unread) {
            let (part, after) = text.split_at(length);
            lines.add(part, packet.is_event);
            text = after;
        }
        Ok(ReclaimedLines { torn, lines })
    }

    /// Sends the remainder of a line to the reader that has its beginning, if that reader still exists.
    ///
    /// # Errors
    ///
    /// The write failed for a reason other than a full file or a missing reader.
    pub fn send_remainder(&mut self, remainder: &[u8]) -> nix::Result<()> {
        for packet in remainder.chunks(PACKET) {
            self.send(packet, false)?;
        }
        Ok(())
    }

    /// Ends and removes the file, unless it was already replaced.
    ///
    /// # Errors
    ///
    /// It cannot be removed.
    pub fn end(self, path: &Path) -> Result<EndedTrace> {
        let own = format!("/proc/self/fd/{}", self.fifo.as_raw_fd());
        let handle = OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(own).ok();
        // Removed first, so that a process that opens the path finds either a file with a writer or no file.
        remove(path)?;
        Ok(EndedTrace { handle })
    }

    /// Returns whether a process has the file open for reading.
    pub fn has_reader(&self) -> bool {
        let mut fds = [PollFd::new(self.fifo.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(0) => true,
            Ok(_) => !fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR)),
            Err(_) => false,
        }
    }
}

/// A trace file that has been removed and has no writer any more.
#[derive(Debug)]
pub struct EndedTrace {
    handle: Option<File>,
}

impl EndedTrace {
    /// Lets readers continue that resolved the path before it was removed, but opened the file only after it had ended.
    /// They would wait for a writer for ever.
    pub fn release_late_readers(self) {
        if let Some(handle) = self.handle {
            let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
            // Fails if there is no such reader.
            let _ = OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_returns_one_line_and_the_end_follows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        create(&path).unwrap();
        let mut writer = TraceWriter::open(&path).unwrap();
        assert!(!writer.has_reader());
        assert_eq!(writer.send(b"early\n", true), Ok(Sent::NoReader));

        let mut reader = OpenOptions::new().read(true).open(&path).unwrap();
        assert!(writer.has_reader());
        assert_eq!(writer.send(b"one\n", true), Ok(Sent::Yes));
        assert_eq!(writer.send(b"two\n", true), Ok(Sent::Yes));
        drop(writer);
        let mut buffer = [0; PACKET];
        let reads: Vec<usize> = (0..3).map(|_| reader.read(&mut buffer).unwrap()).collect();
        assert_eq!(reads, [4, 4, 0]);
    }

    #[test]
    fn a_late_reader_reads_the_end_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        create(&path).unwrap();
        let writer = TraceWriter::open(&path).unwrap();
        let found = OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(&path).unwrap();
        let ended = writer.end(&path).unwrap();
        assert!(!path.exists());
        let reader = std::thread::spawn(move || fs::read(format!("/proc/self/fd/{}", found.as_raw_fd())));
        // Only a reader that is already waiting is released, so this repeats until it was.
        while !reader.is_finished() {
            EndedTrace { handle: ended.handle.as_ref().map(|handle| handle.try_clone().unwrap()) }
                .release_late_readers();
        }
        assert_eq!(reader.join().unwrap().unwrap(), b"");
    }

    #[test]
    fn unread_lines_can_be_reclaimed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        create(&path).unwrap();
        let mut writer = TraceWriter::open(&path).unwrap();
        let mut reader = OpenOptions::new().read(true).open(&path).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            assert_eq!(writer.send(line.as_bytes(), line != "two\n"), Ok(Sent::Yes));
        }
        let mut buffer = [0; PACKET];
        assert_eq!(reader.read(&mut buffer).unwrap(), 4);
        assert_eq!(writer.unread(), 10);
        let taken = writer.reclaim().unwrap();
        assert_eq!(taken.torn, Lines::default());
        assert_eq!((taken.lines.text(), taken.lines.events()), (&b"two\nthree\n"[..], 1));
        assert_eq!(writer.unread(), 0);
    }

    #[test]
    fn a_partly_read_line_is_torn_and_its_remainder_can_be_sent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        create(&path).unwrap();
        let mut writer = TraceWriter::open(&path).unwrap();
        let mut reader = OpenOptions::new().read(true).open(&path).unwrap();
        let long = [b'x'; PACKET];
        for packet in [b"one\n", &long[..], &long, b"end\n", b"two\n"] {
            assert_eq!(writer.send(packet, true), Ok(Sent::Yes));
        }
        let mut buffer = [0; PACKET];
        assert_eq!(reader.read(&mut buffer).unwrap(), 4);
        assert_eq!(reader.read(&mut buffer).unwrap(), PACKET);
        let taken = writer.reclaim().unwrap();
        assert_eq!((taken.torn.text(), taken.torn.events()), (&long[..], 1));
        assert_eq!(taken.lines.text(), [&long[..], b"end\ntwo\n"].concat());
        writer.send_remainder(&taken.lines.text()[..PACKET + 4]).unwrap();
        assert_eq!(taken.whole_lines().events(), 2);
        drop(writer);
        let reads: Vec<usize> = (0..3).map(|_| reader.read(&mut buffer).unwrap()).collect();
        assert_eq!(reads, [PACKET, 4, 0]);
    }

    #[test]
    fn a_full_file_accepts_no_packet() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        create(&path).unwrap();
        let mut writer = TraceWriter::open(&path).unwrap();
        let _reader = OpenOptions::new().read(true).open(&path).unwrap();
        let sent = (0..1000).take_while(|_| writer.send(b"line\n", true) == Ok(Sent::Yes)).count();
        assert!((16..=256).contains(&sent), "{sent}");
        assert!(writer.has_reader());
    }
}
