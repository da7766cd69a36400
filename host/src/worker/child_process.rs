//! A forked process.

use std::cell::OnceCell;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use super::starvation::CpuUse;
use super::{descendants, timeout_until, within};
use crate::error::{Error, Result};
use crate::patience::patient;
use crate::process_stat;

/// A worker that has closed its connection is about to end. The kernel may then need a second to close the files of a
/// tracing instance; the cause of death is fixed already, and another signal does not change it.
const EXIT_TIME: Duration = Duration::from_millis(100);

/// A child process. It is killed when this value is dropped.
pub struct ChildProcess {
    pid: Pid,
    /// Polls as readable when the process has ended (pidfd_open(2)), even if another process holds its descriptors.
    /// `None` if the kernel does not support it, or a limit is reached.
    end: Option<OwnedFd>,
    /// Its directory in `/proc`, once it was looked up.
    directory: OnceCell<PathBuf>,
    status: Option<WaitStatus>,
}

impl ChildProcess {
    /// Forks a process that does this work.
    ///
    /// # Errors
    ///
    /// The process could not be created.
    pub fn fork(work: impl FnOnce()) -> Result<Self> {
        // SAFETY: this process has one thread (it starts none), so no thread that the child lacks holds a lock.
        match unsafe { fork() }.map_err(Error::no_process("start a worker"))? {
            ForkResult::Parent { child } => {
                descendants::child_started(child);
                Ok(Self { pid: child, end: open_pidfd(child), directory: OnceCell::new(), status: None })
            }
            ForkResult::Child => {
                let status = i32::from(catch_unwind(AssertUnwindSafe(work)).is_err());
                // SAFETY: `_exit` ends the process immediately. The exit handlers are the supervisor's, or a plugin's.
                unsafe { libc::_exit(status) }
            }
        }
    }

    /// What to poll: readable when the process has ended.
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

    /// What the process does now, and for how long it has had a CPU, and waited for one
    /// (Documentation/scheduler/sched-stats.rst): zero where the kernel does not count that.
    pub fn cpu_use(&self) -> CpuUse {
        let directory = self.procfs_directory();
        let counts = fs::read_to_string(directory.join("schedstat")).unwrap_or_default();
        let mut counts = counts.split_whitespace().map_while(|number| number.parse().ok());
        let mut next = || Duration::from_nanos(counts.next().unwrap_or_default());
        let stat = fs::read(directory.join("stat")).unwrap_or_default();
        CpuUse { ran: next(), waited: next(), state: process_stat::state(&stat) }
    }

    /// Whether a thread of the process is in uninterruptible sleep, from which not even SIGKILL wakes it. The others may be waiting for
    /// it.
    pub fn is_in_kernel(&self) -> bool {
        let threads = fs::read_dir(self.procfs_directory().join("task")).into_iter().flatten().flatten();
        let state = |thread: fs::DirEntry| process_stat::state(&fs::read(thread.path().join("stat")).ok()?);
        threads.filter_map(state).any(|state| state == b'D')
    }

    /// The directory of the process in `/proc`, which may be that of an outer pid namespace: there it has another id (`Pid`
    /// of a pidfd in proc_pid_fdinfo(5)).
    pub fn procfs_directory(&self) -> &Path {
        self.directory.get_or_init(|| {
            let id = self.end.as_ref().and_then(|end| {
                let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", end.as_raw_fd())).ok()?;
                info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
            });
            Path::new("/proc").join(id.unwrap_or(self.pid.as_raw()).to_string())
        })
    }

    /// How many threads the process has.
    pub fn threads(&self) -> Option<usize> {
        process_stat::threads(&fs::read(self.procfs_directory().join("stat")).ok()?)
    }

    /// How the process ended, as text: `was killed by SIGSEGV`.
    pub fn cause_of_death(&mut self) -> String {
        self.wait_for_end(within(patient(EXIT_TIME)));
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
            // A child that has not been waited for keeps its process id, so this cannot hit another process.
            let _ = kill(self.pid, Signal::SIGKILL);
            self.status = loop {
                match waitpid(self.pid, None) {
                    // Interrupted by a signal to the supervisor.
                    Err(Errno::EINTR) => {}
                    ended => break ended.ok(),
                }
            };
        }
    }

    fn wait_for_end(&mut self, deadline: Instant) {
        while !self.has_ended() && Instant::now() < deadline {
            let Some(end) = self.poll_fd() else { return };
            // The loop checks again, regardless of the result.
            let _ = poll(&mut [end], timeout_until(deadline));
        }
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.end();
        descendants::child_ended(self.pid);
    }
}

fn open_pidfd(pid: Pid) -> Option<OwnedFd> {
    // SAFETY: the call takes plain numbers, and returns a new descriptor, owned by no other value, or an error.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0);
        RawFd::try_from(fd).ok().filter(|fd| *fd >= 0).map(|fd| OwnedFd::from_raw_fd(fd))
    }
}
