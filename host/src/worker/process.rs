//! A forked process, and what sets it apart from the supervisor.

use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid};

use super::{Orphan, within};
use crate::error::{Error, Result};
use crate::interrupts;

/// A child process, which ends with this value.
pub struct Process {
    pid: Pid,
    ended: Option<WaitStatus>,
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
            ForkResult::Parent { child } => Ok(Self { pid: child, ended: None }),
            ForkResult::Child => {
                let status = i32::from(catch_unwind(AssertUnwindSafe(work)).is_err());
                // SAFETY: `_exit` ends the process at once. The exit handlers are the supervisor's, or a plugin's.
                unsafe { libc::_exit(status) }
            }
        }
    }

    /// How the process ended, in words: `was killed by SIGSEGV`.
    pub fn cause_of_death(&mut self) -> String {
        match self.end_within(Duration::from_millis(100)) {
            Some(WaitStatus::Signaled(_, signal, _)) => format!("was killed by {signal}"),
            Some(WaitStatus::Exited(_, status)) => format!("exited with status {status}"),
            _ => "went silent".to_owned(),
        }
    }

    /// Waits for the end, which is near: its channel is closed already.
    fn end_within(&mut self, limit: Duration) -> Option<WaitStatus> {
        let deadline = within(limit);
        while self.ended.is_none() && std::time::Instant::now() < deadline {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(1)),
                Ok(status) => self.ended = Some(status),
                Err(_) => break,
            }
        }
        self.ended
    }
}

impl Drop for Process {
    /// Nothing of ours outlives the supervisor's interest in it.
    fn drop(&mut self) {
        if self.ended.is_none() {
            // A child that has not been waited for keeps its process id, so this cannot hit anybody else.
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

/// In the child: cuts what it shares with the supervisor, but for the descriptors that are kept.
pub fn isolate(orphan: Orphan, kept: &[BorrowedFd<'_>]) {
    // First of all: from here on, nothing that goes wrong is said to the caller by anybody but the supervisor.
    replace_standard_streams();
    interrupts::ignore();
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

/// The caller waits for its pipes to close, and reads what is in them: a worker holds none of them.
fn replace_standard_streams() {
    let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") else {
        return close_range(libc::STDIN_FILENO, libc::STDERR_FILENO);
    };
    let _ = nix::unistd::dup2_stdin(&null);
    let _ = nix::unistd::dup2_stdout(&null);
    let _ = nix::unistd::dup2_stderr(&null);
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
