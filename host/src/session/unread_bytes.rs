use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// The number of bytes in a pipe.
pub fn unread_bytes(pipe: &impl AsFd) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, to `count`, which lives until the call returns (pipe(7)).
    match unsafe { libc::ioctl(pipe.as_fd().as_raw_fd(), libc::FIONREAD, &mut count) } {
        0 => usize::try_from(count).unwrap_or(0),
        _ => 0,
    }
}
