//! How a traced command has ended, passed on to the caller.

use std::process::ExitCode;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, raise, signal, sigprocmask};
use nix::sys::wait::WaitStatus;

/// What the shell adds to the number of a fatal signal.
const OF_SIGNAL: u8 = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandEnd {
    Exited(u8),
    Killed(Signal),
}

impl CommandEnd {
    /// The end of a process that was waited for. `None` while it is alive.
    pub fn of(status: WaitStatus) -> Option<Self> {
        match status {
            WaitStatus::Exited(_, status) => Some(Self::Exited(status as u8)),
            WaitStatus::Signaled(_, signal, _) => Some(Self::Killed(signal)),
            _ => None,
        }
    }

    /// Ends this process in the same way, as strace does: a caller sees which signal has killed the command. Returns the exit
    /// status where it does not end by the signal.
    pub fn pass_on(self) -> ExitCode {
        match self {
            Self::Exited(status) => ExitCode::from(status),
            Self::Killed(fatal) => {
                // The core dump, if any, is that of the command.
                let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
                // SAFETY: `SIG_DFL` installs no handler.
                let _ = unsafe { signal(fatal, SigHandler::SigDfl) };
                let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&SigSet::from(fatal)), None);
                let _ = raise(fatal);
                ExitCode::from(OF_SIGNAL.saturating_add(fatal as u8))
            }
        }
    }
}
