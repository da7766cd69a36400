//! The end of what a plugin prints, for the log.

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
/// The most to read at once: a plugin that prints without end must not keep the supervisor from other work.
const AT_ONCE: usize = 1 << 20;

/// The reading end of a worker's standard output and standard error. It is read all the time, so that a plugin never
/// waits for room; only the end of it is kept.
pub struct CapturedOutput {
    pipe: File,
    tail: VecDeque<u8>,
    count: u64,
    /// The worker has closed its end.
    is_closed: bool,
}

impl CapturedOutput {
    /// A new pipe: its reading end, and the writing end for the worker.
    ///
    /// # Errors
    ///
    /// The pipe could not be created.
    pub fn new() -> Result<(Self, OwnedFd)> {
        let action = "create a pipe for the output of a plugin";
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(Error::system(action))?;
        // This end only: the plugin waits for room rather than failing.
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(Error::system(action))?;
        Ok((Self { pipe: reader.into(), tail: VecDeque::new(), count: 0, is_closed: false }, writer))
    }

    /// What to poll; `None` once the worker has closed its end.
    pub fn poll_fd(&self) -> Option<PollFd<'_>> {
        (!self.is_closed).then(|| PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN))
    }

    /// Reads the available output.
    pub fn read(&mut self) {
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

    /// Logs the end of what the plugin printed.
    pub fn log(mut self, plugin: &str) {
        self.read();
        if self.count > TAIL as u64 {
            log::info!(target: plugin, "printed {} bytes; the last of them:", self.count);
        }
        let tail = String::from_utf8_lossy(self.tail.make_contiguous());
        tail.lines().for_each(|line| log::info!(target: plugin, "printed: {line}"));
    }
}
