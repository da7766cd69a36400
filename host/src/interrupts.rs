//! The signals that end a call in an orderly way.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use signal_hook::low_level::pipe;

use crate::error::{Error, Result};

const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// SIGINT, SIGTERM and SIGHUP, as something to poll.
pub struct Interrupts {
    received: UnixStream,
    /// Keeps the other end open where no handler does.
    _sender: Option<UnixStream>,
}

impl Interrupts {
    /// Catches the signals from now on, also where the caller had them ignored (a shell's `&`) or blocked.
    pub fn catch() -> Result<Self> {
        Self::register().map_err(|source| Error::System { action: "catch signals", source })
    }

    /// Signals that never come, for what must not be interrupted. They stay where they are: to be taken later.
    pub fn none() -> Result<Self> {
        let pair = UnixStream::pair().map_err(|source| Error::System { action: "catch signals", source })?;
        Ok(Self { received: pair.0, _sender: Some(pair.1) })
    }

    fn register() -> std::io::Result<Self> {
        let (received, sender) = UnixStream::pair()?;
        received.set_nonblocking(true)?;
        for signal in SIGNALS {
            pipe::register(signal as i32, sender.try_clone()?)?;
        }
        sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&SigSet::from_iter(SIGNALS)), None)?;
        Ok(Self { received, _sender: None })
    }

    /// Whether a signal came since the last time that this was asked.
    pub fn take(&self) -> bool {
        let mut bytes = [0; 64];
        matches!((&self.received).read(&mut bytes), Ok(count) if count > 0)
    }

    /// Whether a signal has come that was not taken yet.
    pub fn pending(&self) -> bool {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
    }
}

impl AsFd for Interrupts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.received.as_fd()
    }
}

/// In a worker: Ctrl-C reaches the whole process group, but a worker obeys its supervisor only.
pub fn ignore() {
    for sig in SIGNALS {
        // SAFETY: `SIG_IGN` runs no code of ours, so there is nothing in it that could be unsafe in a handler.
        let ignored = unsafe { signal(sig, SigHandler::SigIgn) };
        debug_assert!(ignored.is_ok(), "these signals can be ignored");
    }
}
