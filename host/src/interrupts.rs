//! The signals that end a call in an orderly way.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use signal_hook::flag;
use signal_hook::low_level::pipe;

use crate::error::{Error, Result};

const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// SIGINT, SIGTERM and SIGHUP, as something to poll.
pub struct Interrupts {
    received: UnixStream,
    /// Set with every signal, for the kernel may have no memory for what is to be received.
    came: Arc<AtomicBool>,
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
        Ok(Self { received: pair.0, came: Arc::default(), _sender: Some(pair.1) })
    }

    fn register() -> std::io::Result<Self> {
        let (received, sender) = UnixStream::pair()?;
        received.set_nonblocking(true)?;
        let came = Arc::<AtomicBool>::default();
        for signal in SIGNALS {
            flag::register(signal as i32, Arc::clone(&came))?;
            pipe::register(signal as i32, sender.try_clone()?)?;
        }
        sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&SigSet::from_iter(SIGNALS)), None)?;
        Ok(Self { received, came, _sender: None })
    }

    /// Whether a signal came since the last time that this was asked.
    pub fn take(&self) -> bool {
        let mut bytes = [0; 64];
        let received = matches!((&self.received).read(&mut bytes), Ok(count) if count > 0);
        self.came.swap(false, Ordering::Relaxed) || received
    }

    /// Waits for so long.
    ///
    /// # Errors
    ///
    /// A signal came.
    pub fn rest(&self, time: Duration) -> Result<()> {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        // A failure is a rest that was too short.
        let _ = poll(&mut fds, PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
        if self.pending() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Whether a signal has come that was not taken yet.
    pub fn pending(&self) -> bool {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        self.came.load(Ordering::Relaxed) || matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
    }
}

impl AsFd for Interrupts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.received.as_fd()
    }
}

/// Has a file that may not grow (`RLIMIT_FSIZE`) be an error, as a full disk is. This holds for the workers, too.
pub fn survive_large_files() {
    // SAFETY: `SIG_IGN` runs no code of ours, so there is nothing in it that could be unsafe in a handler.
    let ignored = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
    debug_assert!(ignored.is_ok(), "this signal can be ignored");
}

/// In a worker: Ctrl-C reaches the whole process group, but a worker obeys its supervisor only.
pub fn ignore() {
    for sig in SIGNALS {
        // SAFETY: `SIG_IGN` runs no code of ours, so there is nothing in it that could be unsafe in a handler.
        let ignored = unsafe { signal(sig, SigHandler::SigIgn) };
        debug_assert!(ignored.is_ok(), "these signals can be ignored");
    }
}
