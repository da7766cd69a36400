//! An eventfd that signals between threads that there is something to read.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Polls as readable from [`notify`](Self::notify) until [`acknowledge`](Self::acknowledge).
#[derive(Debug)]
pub struct Notifier(EventFd);

impl Notifier {
    /// A notifier that does not poll as readable.
    ///
    /// # Errors
    ///
    /// The eventfd cannot be created.
    pub fn new() -> std::io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_value_and_flags(0, flags)?))
    }

    /// Signals that there is something to read.
    pub fn notify(&self) {
        // Fails only if the counter is full; the descriptor is readable then anyway.
        let _ = self.0.write(1);
    }

    /// Clears the signal. Call it before reading, so that no later notification is missed.
    pub fn acknowledge(&self) {
        // Fails if there was no notification.
        let _ = self.0.read();
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn descriptor_is_readable_until_acknowledged() {
        let notifier = Notifier::new().unwrap();
        let is_readable =
            || poll(&mut [PollFd::new(notifier.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1);
        notifier.acknowledge();
        assert!(!is_readable());
        notifier.notify();
        notifier.notify();
        assert!(is_readable());
        notifier.acknowledge();
        assert!(!is_readable());
    }
}
