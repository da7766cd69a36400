//! A session that traces a command: it ends with the command's processes, and signals are passed on.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;

use super::{LONGEST_WAIT, Supervisor};
use crate::error::{Error, Result};
use crate::interrupts::{Interrupt, Interrupts};
use crate::session::command_end::CommandEnd;
use crate::session::traced_command::TracedCommand;
use crate::worker::{timeout_until, within};

impl Supervisor<'_> {
    /// What to poll while the command is alive.
    pub(super) fn command_fd(&self) -> Option<PollFd<'_>> {
        self.command.as_ref().filter(|command| command.is_alive()).map(TracedCommand::poll_fd)
    }

    /// Notices the end of the command, without which its processes could not all end.
    pub(super) fn check_command(&mut self) {
        let Some(command) = &mut self.command else { return };
        let has_ended = command.is_alive() && command.status().is_some();
        if has_ended && self.until_exit && self.stopping.is_none() {
            self.stop();
        }
    }

    /// Returns whether the command gets the signal, and not the session.
    pub(super) fn is_for_command(&mut self, interrupt: Interrupt) -> bool {
        self.command.as_mut().is_some_and(|command| pass_on(interrupt, command))
    }
}

/// Passes a signal on to the command, if it is alive. A Ctrl-C has reached it already. SIGINT from another process is not for it,
/// but how a session is ended, by `--clear` for example.
fn pass_on(interrupt: Interrupt, command: &mut TracedCommand) -> bool {
    match interrupt {
        _ if !command.is_alive() => false,
        Interrupt::CtrlC => true,
        Interrupt::Sent(Signal::SIGINT) => false,
        Interrupt::Sent(signal) => {
            command.signal(signal);
            true
        }
    }
}

/// Waits for the command, whose session may have ended before it, and returns how it has ended.
///
/// # Errors
///
/// It cannot be waited for.
pub fn await_end(command: &mut TracedCommand, interrupts: &Interrupts) -> Result<Option<CommandEnd>> {
    loop {
        if let Some(status) = command.status() {
            return Ok(CommandEnd::of(status));
        }
        let mut fds = [PollFd::new(interrupts.as_fd(), PollFlags::POLLIN), command.poll_fd()];
        match poll(&mut fds, timeout_until(within(LONGEST_WAIT))) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::system("wait for the command")(errno)),
        }
        for interrupt in interrupts.take_each() {
            pass_on(interrupt, command);
        }
    }
}
