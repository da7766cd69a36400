//! Separates a worker from its supervisor.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};

use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use super::{Orphan, descendants};
use crate::interrupts;

/// In the child: drops what it shares with the supervisor, except the descriptors that are kept. What the plugin prints
/// goes to `output`.
pub fn isolate(orphan: Orphan, kept: &[BorrowedFd<'_>], output: Option<BorrowedFd<'_>>) {
    // First: from here on, only the supervisor reports errors to the caller.
    replace_standard_streams(output);
    interrupts::ignore();
    disable_backtraces();
    descendants::adopt_in_worker();
    match orphan {
        Orphan::Dies => die_with_parent(),
        // A stopped worker would not notice the end of its supervisor, and its session would go on.
        Orphan::Finishes => drop(set_pdeathsig(Signal::SIGCONT)),
    }
    close_all_but(kept);
}

fn die_with_parent() {
    let parent = getppid();
    let _ = set_pdeathsig(Signal::SIGKILL);
    // If the parent died before the call above, no signal is sent.
    if getppid() != parent {
        // SAFETY: `_exit` ends the process immediately.
        unsafe { libc::_exit(1) }
    }
}

/// Disables backtraces. That of a panic in a large library takes more than a second, too long for a stop, and hides the
/// message.
fn disable_backtraces() {
    // SAFETY: this process has one thread, so no other reads the environment meanwhile.
    unsafe { std::env::remove_var("RUST_BACKTRACE") };
}

/// The caller reads its pipes until they are closed, so a worker must hold none of them.
fn replace_standard_streams(output: Option<BorrowedFd<'_>>) {
    let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") else {
        return close_range(libc::STDIN_FILENO, libc::STDERR_FILENO);
    };
    let _ = nix::unistd::dup2_stdin(&null);
    let output = output.unwrap_or(null.as_fd());
    let _ = nix::unistd::dup2_stdout(output);
    let _ = nix::unistd::dup2_stderr(output);
}

/// Reopens the standard streams that a plugin has closed, so that no file that the host opens gets their numbers.
pub fn fill_standard_streams() {
    while is_any_closed([libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO]) {
        // The kernel returns the lowest free number.
        match OpenOptions::new().read(true).write(true).open("/dev/null") {
            Ok(null) if null.as_raw_fd() <= libc::STDERR_FILENO => _ = null.into_raw_fd(),
            _ => return,
        }
    }
}

/// In one system call, since this is checked after each call into a plugin.
fn is_any_closed(fds: [RawFd; 3]) -> bool {
    let mut fds = fds.map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the array has three elements, and lives as long as the call, which does not wait.
    unsafe { libc::poll(fds.as_mut_ptr(), 3, 0) };
    fds.iter().any(|fd| fd.revents & libc::POLLNVAL != 0)
}

/// Closes all other descriptors. One that stays open would keep the other end of a pipe or channel waiting.
fn close_all_but(kept: &[BorrowedFd<'_>]) {
    let mut kept: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    kept.sort_unstable();
    let mut first = libc::STDERR_FILENO + 1;
    for fd in kept {
        close_range(first, fd - 1);
        first = fd + 1;
    }
    close_range(first, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    if first <= last {
        // SAFETY: the values that own these descriptors are the supervisor's. This process leaves by `_exit`, without
        // using or dropping any of them.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}
