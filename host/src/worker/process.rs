//! A forked process, and what sets it apart from the supervisor.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid};

use super::{Orphan, descendants, timeout_until, within};
use crate::error::{Error, Result};
use crate::interrupts;

/// A worker whose connection is closed is about to end. The kernel may need a second to close the files of a tracing
/// instance after that; meanwhile its cause of death is fixed, and another signal does not change it.
const SHORT_WHILE: Duration = Duration::from_millis(100);

/// A child process, which ends with this value.
pub struct Process {
    pid: Pid,
    /// Polls as readable when the process has ended (pidfd_open(2)), whoever holds its descriptors. None: the kernel, or
    /// a limit, does not allow it.
    end: Option<OwnedFd>,
    status: Option<WaitStatus>,
}

impl Process {
    /// Forks a process for this work.
    ///
    /// # Errors
    ///
    /// There can be no further process.
    pub fn fork(work: impl FnOnce()) -> Result<Self> {
        // SAFETY: this process has one thread (it starts none), so the child finds no lock held by a lost one.
        match unsafe { fork() }.map_err(Error::system("start a worker"))? {
            ForkResult::Parent { child } => {
                descendants::is_worker(child);
                Ok(Self { pid: child, end: open_pidfd(child), status: None })
            }
            ForkResult::Child => {
                let status = i32::from(catch_unwind(AssertUnwindSafe(work)).is_err());
                // SAFETY: `_exit` ends the process at once. The exit handlers are the supervisor's, or a plugin's.
                unsafe { libc::_exit(status) }
            }
        }
    }

    /// What polls as readable when the process has ended.
    pub fn poll_fd(&self) -> Option<PollFd<'_>> {
        self.end.as_ref().map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN))
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        if self.status.is_none() {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(_) => {}
                Ok(status) => self.status = Some(status),
            }
        }
        self.status.is_some()
    }

    /// How the process ended, in words: `was killed by SIGSEGV`.
    pub fn cause_of_death(&mut self) -> String {
        self.wait_for_end(within(SHORT_WHILE));
        let was_alive = !self.has_ended();
        self.end();
        match self.status {
            Some(WaitStatus::Signaled(_, Signal::SIGKILL, _)) if was_alive => {
                "closed its connection".to_owned()
            }
            Some(WaitStatus::Signaled(_, signal, _)) => format!("was killed by {signal}"),
            Some(WaitStatus::Exited(_, status)) => format!("exited with status {status}"),
            _ => "closed its connection".to_owned(),
        }
    }

    /// Ends the process, and waits for its end.
    pub fn end(&mut self) {
        if !self.has_ended() {
            // A child that has not been waited for keeps its process id, so this cannot hit anybody else.
            let _ = kill(self.pid, Signal::SIGKILL);
            self.status = loop {
                match waitpid(self.pid, None) {
                    // A signal that is meant for the supervisor.
                    Err(Errno::EINTR) => {}
                    ended => break ended.ok(),
                }
            };
        }
    }

    fn wait_for_end(&mut self, deadline: Instant) {
        while !self.has_ended() && Instant::now() < deadline {
            let Some(end) = self.poll_fd() else { return };
            // Whatever comes of it, the loop looks.
            let _ = poll(&mut [end], timeout_until(deadline));
        }
    }
}

impl Drop for Process {
    /// Nothing of ours outlives the supervisor's interest in it.
    fn drop(&mut self) {
        self.end();
        descendants::has_ended(self.pid);
    }
}

fn open_pidfd(pid: Pid) -> Option<OwnedFd> {
    // SAFETY: the call takes plain numbers, and returns a new descriptor that nobody else owns, or an error.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0);
        RawFd::try_from(fd).ok().filter(|fd| *fd >= 0).map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

/// In the child: cuts what it shares with the supervisor, but for the descriptors that are kept, and `printed`, which takes
/// what the plugin prints.
pub fn isolate(orphan: Orphan, kept: &[BorrowedFd<'_>], printed: Option<BorrowedFd<'_>>) {
    // First of all: from here on, nothing that goes wrong is said to the caller by anybody but the supervisor.
    replace_standard_streams(printed);
    interrupts::ignore();
    forgo_backtraces();
    descendants::adopt_in_worker();
    match orphan {
        Orphan::Dies => die_with_parent(),
        // One that is stopped would not see that it is alone, and its session would go on.
        Orphan::Finishes => drop(set_pdeathsig(Signal::SIGCONT)),
    }
    close_all_but(kept);
}

fn die_with_parent() {
    let parent = getppid();
    let _ = set_pdeathsig(Signal::SIGKILL);
    // A parent that died before the line above sends nothing any more.
    if getppid() != parent {
        // SAFETY: `_exit` ends the process at once.
        unsafe { libc::_exit(1) }
    }
}

/// The backtrace of a panic in a large library takes more than a second, which the host does not have, and hides the
/// message behind pages of names.
fn forgo_backtraces() {
    // SAFETY: this process has one thread, so nobody reads the environment meanwhile.
    unsafe { std::env::remove_var("RUST_BACKTRACE") };
}

/// The caller waits for its pipes to close, and reads what is in them: a worker holds none of them.
fn replace_standard_streams(printed: Option<BorrowedFd<'_>>) {
    let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") else {
        return close_range(libc::STDIN_FILENO, libc::STDERR_FILENO);
    };
    let _ = nix::unistd::dup2_stdin(&null);
    let printed = printed.unwrap_or(null.as_fd());
    let _ = nix::unistd::dup2_stdout(printed);
    let _ = nix::unistd::dup2_stderr(printed);
}

/// A plugin may close them, and close them again: what the host opens must not get their numbers meanwhile.
pub fn fill_standard_streams() {
    while [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO].into_iter().any(is_closed) {
        // It gets the lowest number that is free.
        match OpenOptions::new().read(true).write(true).open("/dev/null") {
            Ok(null) if null.as_raw_fd() <= libc::STDERR_FILENO => _ = null.into_raw_fd(),
            _ => return,
        }
    }
}

fn is_closed(fd: RawFd) -> bool {
    // SAFETY: F_GETFD only asks, and takes no further argument.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_GETFD) }) == Err(Errno::EBADF)
}

/// A descriptor that stays open by mistake keeps a reader waiting, or the other end of a channel alive.
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
