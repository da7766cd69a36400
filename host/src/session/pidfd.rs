use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// A descriptor of a process (pidfd_open(2)). It never refers to a later process with the same id.
pub struct PidFd(OwnedFd);

impl PidFd {
    /// The process that has this id now.
    ///
    /// # Errors
    ///
    /// `ESRCH`: there is no such process.
    pub fn open(pid: Pid) -> nix::Result<Self> {
        // SAFETY: the call takes and returns plain numbers.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
        // SAFETY: the kernel has just created this descriptor, and no other value owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    /// What to poll: readable when the process has ended.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// `ESRCH`: it has ended. `EPERM`: it belongs to another user.
    pub fn signal(&self, signal: Signal) -> nix::Result<()> {
        let no_information = std::ptr::null::<libc::siginfo_t>();
        let fd = self.0.as_raw_fd();
        // SAFETY: the descriptor is open, and without a `siginfo_t` the call takes plain numbers.
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, fd, signal as libc::c_int, no_information, 0)
        };
        Errno::result(sent).map(drop)
    }
}
