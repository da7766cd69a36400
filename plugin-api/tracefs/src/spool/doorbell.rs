use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// By which whoever fills a spool tells whoever empties it that there is something.
///
/// Polls as readable since it was rung, until it is answered.
#[derive(Debug)]
pub struct Doorbell(EventFd);

impl Doorbell {
    /// One that nobody has rung.
    ///
    /// # Errors
    ///
    /// There can be no further descriptor.
    pub fn new() -> std::io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_value_and_flags(0, flags)?))
    }

    /// Something has come.
    pub fn ring(&self) {
        // Refused where it was rung so often that it is readable already.
        let _ = self.0.write(1);
    }

    /// What has come until now is about to be looked at.
    pub fn answer(&self) {
        // Refused where nobody has rung.
        let _ = self.0.read();
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn it_is_heard_until_it_is_answered() {
        let bell = Doorbell::new().unwrap();
        let is_heard =
            || poll(&mut [PollFd::new(bell.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1);
        bell.answer();
        assert!(!is_heard());
        bell.ring();
        bell.ring();
        assert!(is_heard());
        bell.answer();
        assert!(!is_heard());
    }
}
