//! Processes of other sessions, which are not to be taken for those that get their ids later.

use std::fmt;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::str::FromStr;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// A process that was there when it was opened (pidfd_open(2)).
pub struct Process(OwnedFd);

impl Process {
    /// The process that has this id now.
    ///
    /// # Errors
    ///
    /// `ESRCH`: there is none.
    pub fn open(pid: Pid) -> nix::Result<Self> {
        // SAFETY: the call takes and returns plain numbers.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// `ESRCH`: it has ended. `EPERM`: it is not ours.
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

/// What tells a process from all others that ever have its id: its id, and when it was started, in clock ticks since
/// boot (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pid: u32,
    started: u64,
}

impl Identity {
    /// That of this process, as this procfs numbers it.
    pub fn own(procfs: &Path) -> Option<Self> {
        let stat = Stat::read(procfs, "self")?;
        Some(Self { pid: stat.pid, started: stat.started })
    }

    /// Whether the process has ended, with all its threads, so that the kernel has closed everything that it had open.
    pub fn is_gone(&self, procfs: &Path) -> bool {
        Stat::read(procfs, &self.pid.to_string())
            .is_none_or(|stat| stat.started != self.started || (stat.is_zombie && stat.threads <= 1))
    }

    /// Whether the process is in the middle of something that the kernel does for it and that cannot be interrupted, not
    /// even by SIGKILL: the removal of a tracing instance, say, behind those of others.
    pub fn is_in_kernel(&self, procfs: &Path) -> bool {
        let stat = Stat::read(procfs, &self.pid.to_string());
        stat.is_some_and(|stat| stat.started == self.started && stat.is_uninterruptible)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.started)
    }
}

impl FromStr for Identity {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (pid, started) = text.split_once(' ').unwrap_or_default();
        Ok(Self { pid: pid.parse()?, started: started.parse()? })
    }
}

struct Stat {
    pid: u32,
    is_zombie: bool,
    is_uninterruptible: bool,
    threads: u32,
    started: u64,
}

impl Stat {
    fn read(procfs: &Path, process: &str) -> Option<Self> {
        Self::parse(&std::fs::read(procfs.join(process).join("stat")).ok()?)
    }

    /// The fields are counted from the end of the name, which may hold anything, parentheses too.
    fn parse(stat: &[u8]) -> Option<Self> {
        let name_end = stat.iter().rposition(|byte| *byte == b')')?;
        let pid = String::from_utf8_lossy(stat).split(' ').next()?.parse().ok()?;
        let rest = String::from_utf8_lossy(stat.get(name_end + 2..)?).into_owned();
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let state = *fields.first()?;
        Some(Self {
            pid,
            is_zombie: matches!(state, "Z" | "X" | "x"),
            is_uninterruptible: state == "D",
            threads: fields.get(17)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_hide_the_other_fields() {
        let stat = b"12 (a) Z 1) S 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 3 0 4711 1 1\n";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.pid, stat.is_zombie, stat.threads, stat.started), (12, false, 3, 4711));
    }

    #[test]
    fn this_process_is_not_gone_and_another_that_had_its_id_is() {
        let procfs = Path::new("/proc");
        let own = Identity::own(procfs).unwrap();
        assert!(!own.is_gone(procfs));
        assert!(Identity { started: own.started - 1, ..own }.is_gone(procfs));
        assert_eq!(own.to_string().parse(), Ok(own));
    }
}
