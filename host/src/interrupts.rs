//! The signals that end a call in an orderly way.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use signal_hook::low_level::pipe;
use signal_hook_registry::register_sigaction;

use crate::error::{Error, Result};

const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Why a call is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// Ctrl-C, which reaches all processes in the foreground of the terminal.
    CtrlC,
    /// A signal that was sent to this process.
    Sent(Signal),
}

/// How often each interrupt was received, in the order of [`INTERRUPTS`].
type Counts = [AtomicU64; 4];

const INTERRUPTS: [Interrupt; 4] = [
    Interrupt::CtrlC,
    Interrupt::Sent(Signal::SIGINT),
    Interrupt::Sent(Signal::SIGTERM),
    Interrupt::Sent(Signal::SIGHUP),
];

/// Counts SIGINT, SIGTERM and SIGHUP, and can be polled for them.
///
/// The count alone determines whether a signal was received. The socket only wakes a poll: it may still contain the
/// byte of a signal that was already taken, and may lack the byte of a new one if the kernel had no memory for it.
pub struct Interrupts {
    wakes: UnixStream,
    waker: UnixStream,
    received: Arc<Counts>,
    taken: Counts,
}

impl Interrupts {
    /// Catches the signals from now on, even if they were ignored (a shell's `&`) or blocked at spawn.
    pub fn catch() -> Result<Self> {
        Self::register().map_err(|source| Error::System { action: "catch signals", source })
    }

    /// Never reports a signal, for work that must not be interrupted. Signals remain pending, to be taken later.
    pub fn none() -> Result<Self> {
        Self::unregistered().map_err(|source| Error::System { action: "catch signals", source })
    }

    fn unregistered() -> std::io::Result<Self> {
        let (wakes, waker) = UnixStream::pair()?;
        wakes.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        Ok(Self { wakes, waker, received: Arc::default(), taken: Counts::default() })
    }

    fn register() -> std::io::Result<Self> {
        let interrupts = Self::unregistered()?;
        for signal in SIGNALS {
            let received = Arc::clone(&interrupts.received);
            let count = move |info: &libc::siginfo_t| {
                received[position(signal, info)].fetch_add(1, Ordering::SeqCst);
            };
            // Counted first, so that a poll which is woken finds the count.
            // SAFETY: reading the information and adding to an atomic are async-signal-safe, and the handler does nothing else.
            unsafe { register_sigaction(signal as i32, count) }?;
            pipe::register(signal as i32, interrupts.waker.try_clone()?)?;
        }
        sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&SigSet::from_iter(SIGNALS)), None)?;
        Ok(interrupts)
    }

    /// Takes all signals received so far, each once.
    pub fn take_each(&self) -> Vec<Interrupt> {
        self.clear_wakes();
        let is_new = |position: &usize| {
            let received = self.received[*position].load(Ordering::SeqCst);
            self.taken[*position].swap(received, Ordering::SeqCst) != received
        };
        (0..INTERRUPTS.len()).filter(is_new).map(|position| INTERRUPTS[position]).collect()
    }

    /// Waits for this long.
    ///
    /// # Errors
    ///
    /// A signal was received.
    pub fn wait(&self, time: Duration) -> Result<()> {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        // A failure only shortens the wait.
        let _ = poll(&mut fds, PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
        if self.pending() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Returns whether a signal was received that was not taken yet.
    pub fn pending(&self) -> bool {
        if !self.is_counted() {
            // A byte of a signal that was taken would wake every poll.
            self.clear_wakes();
            if self.is_counted() {
                self.wake();
            }
        }
        self.is_counted()
    }

    fn is_counted(&self) -> bool {
        let load = |count: &AtomicU64| count.load(Ordering::SeqCst);
        self.received.iter().map(load).ne(self.taken.iter().map(load))
    }

    fn clear_wakes(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.wakes).read(&mut bytes), Ok(count) if count == bytes.len()) {}
    }

    fn wake(&self) {
        // Fails if the buffer is full, which is enough to wake a poll.
        let _ = (&self.waker).write(&[0]);
    }
}

/// The position of its count. The kernel itself sends the SIGINT of a terminal (`si_code` in sigaction(2)).
fn position(signal: Signal, info: &libc::siginfo_t) -> usize {
    match signal {
        Signal::SIGINT if info.si_code == libc::SI_KERNEL => 0,
        Signal::SIGINT => 1,
        Signal::SIGTERM => 2,
        _ => 3,
    }
}

impl AsFd for Interrupts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wakes.as_fd()
    }
}

/// Makes a write beyond the limit of the file size (`RLIMIT_FSIZE`) fail, as on a full disk, in this process and the
/// workers.
pub fn ignore_file_size_signal() {
    // SAFETY: `SIG_IGN` installs no handler.
    let ignored = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
    debug_assert!(ignored.is_ok(), "this signal can be ignored");
}

/// In a worker: ignores the signals. Ctrl-C reaches the whole process group, but only the supervisor stops a worker.
pub fn ignore() {
    for sig in SIGNALS {
        // SAFETY: `SIG_IGN` installs no handler.
        let ignored = unsafe { signal(sig, SigHandler::SigIgn) };
        debug_assert!(ignored.is_ok(), "these signals can be ignored");
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    fn polls_as_readable(interrupts: &Interrupts) -> bool {
        poll(&mut [PollFd::new(interrupts.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
    }

    fn takes(interrupts: &Interrupts) -> bool {
        !interrupts.take_each().is_empty()
    }

    /// The counting half of a signal handler.
    fn count(interrupts: &Interrupts) {
        interrupts.received[0].fetch_add(1, Ordering::SeqCst);
    }

    #[test]
    fn byte_of_a_taken_signal_is_not_a_second_signal() {
        let interrupts = Interrupts::none().unwrap();
        // A signal that arrives between the two steps of `take` is counted, and its byte remains.
        count(&interrupts);
        assert!(takes(&interrupts));
        interrupts.wake();
        assert!(polls_as_readable(&interrupts));
        assert!(!interrupts.pending());
        assert!(!polls_as_readable(&interrupts), "the byte would wake every poll");
        interrupts.wake();
        assert!(!takes(&interrupts));
    }

    #[test]
    fn signal_without_a_byte_is_noticed() {
        let interrupts = Interrupts::none().unwrap();
        count(&interrupts);
        assert!(interrupts.pending());
        assert!(takes(&interrupts) && !interrupts.pending());
    }

    #[test]
    fn signals_are_taken_together() {
        let interrupts = Interrupts::catch().unwrap();
        assert!(!takes(&interrupts));
        for _ in 0..3 {
            raise(Signal::SIGHUP).unwrap();
        }
        assert!(interrupts.pending());
        raise(Signal::SIGINT).unwrap();
        assert_eq!(
            interrupts.take_each(),
            [Interrupt::Sent(Signal::SIGINT), Interrupt::Sent(Signal::SIGHUP)],
            "a process has sent them"
        );
        assert!(!takes(&interrupts) && !interrupts.pending());
    }
}
