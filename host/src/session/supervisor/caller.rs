//! The caller of a session, as far as it can be seen: the readers of standard output and standard error.
//!
//! A caller that dies cannot stop its sessions. Its ends of the pipes die with it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::isatty;

/// The streams that show whether the caller is alive.
///
/// A pipe does: its writing end polls as `POLLERR` once it has no reader (poll(2)). So does a terminal, until it hangs
/// up: `read path < <(manager …)` closes the pipe of standard output, and the user is still there. Files and `/dev/null`
/// have no reader. Sockets are not watched: one may lead to a server that is restarted, such as the journal's.
pub struct Caller {
    streams: Vec<Stream>,
}

struct Stream {
    stream: Box<dyn AsFd>,
    /// What polling it returns when its other side is gone.
    gone: PollFlags,
    is_gone: bool,
}

impl Caller {
    /// Watches standard output and standard error. If neither is a pipe, the caller never counts as gone.
    pub fn of_this_process() -> Self {
        Self::of([Box::new(io::stdout()), Box::new(io::stderr())])
    }

    fn of(streams: [Box<dyn AsFd>; 2]) -> Self {
        let streams: Vec<Stream> = streams.into_iter().filter_map(Stream::watched).collect();
        let has_pipe = streams.iter().any(Stream::is_pipe);
        Self { streams: if has_pipe { streams } else { Vec::new() } }
    }

    /// What to poll, to notice that a reader is gone. A pipe without a reader is left out: it would end every poll.
    pub fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.streams.iter().filter(|stream| !stream.is_gone).map(Stream::poll_fd)
    }

    /// Returns whether all readers are gone.
    pub fn is_gone(&mut self) -> bool {
        // All of them, because another process may have opened a named pipe again.
        self.streams.iter_mut().for_each(Stream::observe);
        !self.streams.is_empty() && self.streams.iter().all(|stream| stream.is_gone)
    }
}

impl Stream {
    fn watched(stream: Box<dyn AsFd>) -> Option<Self> {
        let gone = match stream.as_fd() {
            fd if !is_writable(fd) => return None,
            fd if is_pipe(fd) => PollFlags::POLLERR,
            fd if isatty(fd) == Ok(true) => PollFlags::POLLHUP,
            _ => return None,
        };
        Some(Self { stream, gone, is_gone: false })
    }

    fn is_pipe(&self) -> bool {
        self.gone == PollFlags::POLLERR
    }

    /// No event is asked for: errors and hang-ups are always reported.
    fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(self.stream.as_fd(), PollFlags::empty())
    }

    fn observe(&mut self) {
        let mut fds = [self.poll_fd()];
        let polled = poll(&mut fds, PollTimeout::ZERO);
        let seen = fds[0].revents().unwrap_or(PollFlags::empty());
        self.is_gone = matches!(polled, Ok(1)) && seen.intersects(self.gone);
    }
}

/// The reading end of a pipe, as `2>&0` may pass, would end every poll when it has no writer.
fn is_writable(fd: BorrowedFd<'_>) -> bool {
    let flags = fcntl(fd, FcntlArg::F_GETFL).map(OFlag::from_bits_retain);
    flags.is_ok_and(|flags| flags & OFlag::O_ACCMODE != OFlag::O_RDONLY)
}

fn is_pipe(fd: BorrowedFd<'_>) -> bool {
    fstat(fd).is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::unix::net::UnixStream;

    use nix::pty::openpty;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    fn caller(stdout: impl AsFd + 'static, stderr: impl AsFd + 'static) -> Caller {
        Caller::of([Box::new(stdout), Box::new(stderr)])
    }

    fn null() -> File {
        File::open("/dev/null").unwrap()
    }

    #[test]
    fn a_caller_is_gone_when_both_pipes_have_lost_their_readers() {
        let ((stdout, out), (stderr, err)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let mut caller = caller(out, err);
        assert!(!caller.is_gone());
        drop(stdout);
        assert!(!caller.is_gone());
        assert_eq!(caller.poll_fds().count(), 1, "the lost pipe would end every poll");
        drop(stderr);
        assert!(caller.is_gone());
        assert_eq!(caller.poll_fds().count(), 0);
    }

    #[test]
    fn streams_that_are_no_pipes_have_no_reader() {
        let (reader, writer) = io::pipe().unwrap();
        let mut with_file = caller(writer, null());
        assert!(!with_file.is_gone());
        drop(reader);
        assert!(with_file.is_gone());

        let (peer, socket) = UnixStream::pair().unwrap();
        let mut without_pipe = caller(socket, null());
        drop(peer);
        assert!(!without_pipe.is_gone());
    }

    #[test]
    fn the_reading_end_of_a_pipe_is_not_watched() {
        let ((reader, writer), (stdin, none)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let mut caller = caller(writer, stdin);
        drop(none);
        assert!(!caller.is_gone());
        assert_eq!(caller.poll_fds().count(), 1);
        drop(reader);
        assert!(caller.is_gone());
    }

    #[test]
    fn both_streams_can_be_the_same_pipe() {
        let (reader, writer) = io::pipe().unwrap();
        let mut caller = caller(writer.try_clone().unwrap(), writer);
        assert!(!caller.is_gone());
        drop(reader);
        assert!(caller.is_gone());
    }

    #[test]
    fn a_terminal_has_a_reader_until_it_hangs_up() {
        let ((reader, writer), terminal) = (io::pipe().unwrap(), openpty(None, None).unwrap());
        let mut caller = caller(writer, terminal.slave);
        drop(reader);
        assert!(!caller.is_gone());
        drop(terminal.master);
        assert!(caller.is_gone());
    }

    #[test]
    fn a_named_pipe_can_be_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let both = || OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let first = both();
        let fifo = OpenOptions::new().write(true).open(&path).unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let mut caller = caller(fifo, writer);
        drop(first);
        assert!(!caller.is_gone());
        let _second = both();
        drop(reader);
        assert!(!caller.is_gone());
        assert_eq!(caller.poll_fds().count(), 1);
    }
}
