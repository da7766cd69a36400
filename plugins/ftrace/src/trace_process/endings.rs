//! How tasks end. The kernel's record of an exit does not say it; what comes before often does.

use std::collections::HashMap;

use nix::libc;
use trace_tasks::Pid;

use crate::tracepoint::Tracepoint;

pub const EXIT_THREAD: Tracepoint = Tracepoint::new("syscalls", "sys_enter_exit");
pub const EXIT_PROCESS: Tracepoint = Tracepoint::new("syscalls", "sys_enter_exit_group");

/// Who calls these does not come back.
pub const TRACEPOINTS: [Tracepoint; 2] = [EXIT_THREAD, EXIT_PROCESS];

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By exit(2), with this status.
    Status(u8),
    /// By a signal; by which, where that is known.
    Killed(Option<i32>),
}

/// What is known of tasks that are about to end.
#[derive(Debug, Default)]
pub struct Endings {
    threads: HashMap<Pid, Ending>,
    processes: HashMap<Pid, Ending>,
    /// What was last sent to a process that may end it.
    sent: HashMap<Pid, Sent>,
    /// Before that time, in nanoseconds, a process may end for what was lost.
    unsure_until: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    signal: i32,
    /// In nanoseconds.
    at: u64,
}

/// A process that a signal ends takes notice of that as soon as it gets a CPU. What was sent longer ago is blocked, or waited
/// for, and something else has ended the process.
const ON_ITS_WAY: u64 = 20_000_000;

impl Endings {
    /// The thread has called exit(2) itself, with this argument.
    pub fn thread_exits(&mut self, thread: Pid, code: i64) {
        self.threads.insert(thread, status(code));
    }

    /// A thread of the process has called exit_group(2) with this argument. What ends a process first, counts.
    pub fn process_exits(&mut self, process: Pid, code: i64) {
        self.processes.entry(process).or_insert(status(code));
    }

    /// A signal was sent to the process, which does not ignore it.
    pub fn signal_sent(&mut self, process: Pid, signal: i32, at: u64) {
        if ends_process(signal) && self.sent.get(&process).is_none_or(|sent| sent.signal != libc::SIGKILL) {
            self.sent.insert(process, Sent { signal, at });
        }
    }

    /// The process takes notice of a signal.
    ///
    /// One that ends it without a core dump the kernel turns into a SIGKILL for each thread (`complete_signal` in
    /// `kernel/signal.c`). So do exit_group(2) and execve(2) with the other threads. Right after a
    /// gap, it may have been those.
    pub fn signal_delivered(&mut self, process: Pid, signal: i32, is_default: bool, at: u64) {
        let sent = self.sent.remove(&process);
        // Nobody can keep SIGKILL waiting.
        let is_it = |sent: &Sent| sent.signal == libc::SIGKILL || at.saturating_sub(sent.at) <= ON_ITS_WAY;
        if is_default && ends_process(signal) {
            let is_killed = signal == libc::SIGKILL;
            let signal = if is_killed { sent.filter(is_it).map(|sent| sent.signal) } else { Some(signal) };
            if signal.is_some() || at >= self.unsure_until {
                self.processes.entry(process).or_insert(Ending::Killed(signal));
            }
        }
    }

    /// The process is a new one, or runs a new program.
    pub fn begins(&mut self, process: Pid) {
        self.threads.remove(&process);
        self.processes.remove(&process);
        self.sent.remove(&process);
    }

    /// Some records from before `now` are missing. Who was about to end may have gone, and another has its number; or its
    /// other threads alone have gone, and it runs a new program.
    pub fn lost(&mut self, now: u64) {
        *self = Self { unsure_until: now.saturating_add(ON_ITS_WAY), ..Self::default() };
    }

    /// How the thread has ended, which is over now; `group_dead` with its process.
    pub fn of(&mut self, thread: Pid, process: Pid, group_dead: bool) -> Option<Ending> {
        let own = self.threads.remove(&thread);
        let ending = own.or_else(|| self.processes.get(&process).copied());
        if group_dead {
            self.begins(process);
        }
        ending
    }
}

/// What wait(2) lets through.
fn status(code: i64) -> Ending {
    Ending::Status(code as u8)
}

/// Whether the signal ends a process that has not asked for anything else (signal(7)).
fn ends_process(signal: i32) -> bool {
    use nix::libc::{SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH};
    !matches!(signal, SIGCHLD | SIGCONT | SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU | SIGURG | SIGWINCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_end_as_their_process_does() {
        let mut endings = Endings::default();
        endings.process_exits(10, 0x103);
        endings.signal_delivered(10, libc::SIGKILL, true, 0);
        assert_eq!(endings.of(11, 10, false), Some(Ending::Status(3)));
        assert_eq!(endings.of(10, 10, true), Some(Ending::Status(3)));
        assert_eq!(endings.of(10, 10, true), None);
    }

    #[test]
    fn a_thread_that_ends_alone_has_a_status_of_its_own() {
        let mut endings = Endings::default();
        endings.thread_exits(11, 5);
        assert_eq!(endings.of(11, 10, false), Some(Ending::Status(5)));
        assert_eq!(endings.of(12, 10, false), None);
    }

    #[test]
    fn the_signal_is_the_one_that_was_sent() {
        let mut endings = Endings::default();
        endings.signal_sent(10, libc::SIGTERM, 5);
        endings.signal_delivered(10, libc::SIGKILL, true, 5 + ON_ITS_WAY);
        assert_eq!(endings.of(10, 10, true), Some(Ending::Killed(Some(libc::SIGTERM))));
        endings.signal_delivered(20, libc::SIGSEGV, true, 0);
        assert_eq!(endings.of(20, 20, true), Some(Ending::Killed(Some(libc::SIGSEGV))));
    }

    #[test]
    fn what_was_sent_long_before_is_not_what_ended_it() {
        let mut endings = Endings::default();
        endings.signal_sent(10, libc::SIGTERM, 5);
        endings.signal_delivered(10, libc::SIGKILL, true, 6 + ON_ITS_WAY);
        assert_eq!(endings.of(10, 10, true), Some(Ending::Killed(None)));
        endings.signal_sent(20, libc::SIGTERM, 5);
        endings.signal_sent(20, libc::SIGKILL, 6);
        endings.signal_sent(20, libc::SIGINT, 7);
        endings.signal_delivered(20, libc::SIGKILL, true, 10 * ON_ITS_WAY);
        assert_eq!(endings.of(20, 20, true), Some(Ending::Killed(Some(libc::SIGKILL))));
    }

    #[test]
    fn who_sent_it_may_be_unknown() {
        let mut endings = Endings::default();
        endings.signal_sent(10, libc::SIGTERM, 0);
        endings.signal_delivered(10, libc::SIGTERM, false, 0);
        endings.signal_sent(10, libc::SIGCHLD, 0);
        endings.signal_delivered(10, libc::SIGKILL, true, 0);
        assert_eq!(endings.of(10, 10, true), Some(Ending::Killed(None)));
    }

    #[test]
    fn a_program_that_replaces_threads_lives_on() {
        let mut endings = Endings::default();
        endings.signal_delivered(10, libc::SIGKILL, true, 0);
        assert_eq!(endings.of(10, 10, false), Some(Ending::Killed(None)));
        endings.begins(10);
        assert_eq!(endings.of(10, 10, true), None);
    }

    #[test]
    fn after_a_gap_nothing_before_has_ended_anyone() {
        let mut endings = Endings::default();
        endings.process_exits(10, 3);
        endings.thread_exits(21, 5);
        endings.signal_sent(30, libc::SIGTERM, 100);
        endings.lost(100);
        assert_eq!(endings.of(10, 10, true), None);
        assert_eq!(endings.of(21, 20, false), None);
        endings.signal_delivered(30, libc::SIGKILL, true, 100 + ON_ITS_WAY);
        assert_eq!(endings.of(30, 30, true), Some(Ending::Killed(None)));
    }

    #[test]
    fn right_after_a_gap_a_sigkill_may_be_one_of_exit_group() {
        let mut endings = Endings::default();
        endings.lost(100);
        endings.signal_delivered(10, libc::SIGKILL, true, 100);
        assert_eq!(endings.of(11, 10, false), None);
        endings.signal_sent(20, libc::SIGTERM, 101);
        endings.signal_delivered(20, libc::SIGKILL, true, 102);
        assert_eq!(endings.of(20, 20, true), Some(Ending::Killed(Some(libc::SIGTERM))));
        endings.signal_delivered(30, libc::SIGSEGV, true, 103);
        assert_eq!(endings.of(30, 30, true), Some(Ending::Killed(Some(libc::SIGSEGV))));
    }
}
