//! What a plugin prints, for `-v`: the end of it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::unistd::pipe2;

use crate::error::{Error, Result};

/// How much is kept: a Rust panic that ends its process prints up to 20 KiB of backtrace after its message.
const TAIL: usize = 64 << 10;
/// How much is taken in one go: whoever prints without end keeps nobody else waiting.
const AT_ONCE: usize = 1 << 20;

/// The reading end of a worker's standard output and standard error. It is read all the time, so that a plugin never
/// waits for room; only the end of it is kept.
pub struct Printed {
    pipe: File,
    tail: VecDeque<u8>,
    count: u64,
    /// The worker has closed its end, so there is nothing to wait for.
    is_closed: bool,
}

impl Printed {
    /// One, and the writing end.
    ///
    /// # Errors
    ///
    /// There can be no further pipe.
    pub fn new() -> Result<(Self, OwnedFd)> {
        let cannot = "make a pipe for what a plugin prints";
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(Error::system(cannot))?;
        // This end only: whoever prints is to wait rather than to fail.
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(Error::system(cannot))?;
        Ok((Self { pipe: reader.into(), tail: VecDeque::new(), count: 0, is_closed: false }, writer))
    }

    /// What to wait for.
    pub fn poll_fd(&self) -> Option<PollFd<'_>> {
        (!self.is_closed).then(|| PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN))
    }

    /// Takes what is there.
    pub fn take(&mut self) {
        let mut buffer = [0; 64 << 10];
        let enough = self.count + AT_ONCE as u64;
        while self.count < enough
            && let Ok(length) = self.pipe.read(&mut buffer)
        {
            if length == 0 {
                self.is_closed = true;
                break;
            }
            self.count += length as u64;
            self.tail.extend(&buffer[length.saturating_sub(TAIL)..length]);
            self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        }
    }

    /// Tells the end of what a plugin printed.
    pub fn tell(mut self, plugin: &str) {
        self.take();
        if self.count > TAIL as u64 {
            log::info!(target: plugin, "printed {} bytes; these are the last:", self.count);
        }
        let tail = String::from_utf8_lossy(self.tail.make_contiguous());
        tail.lines().for_each(|line| log::info!(target: plugin, "printed: {line}"));
    }
}
