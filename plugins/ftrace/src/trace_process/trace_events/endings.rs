//! How tasks end. The record of an exit does not contain the cause, but earlier records often do.

use nix::libc;

use crate::trace_process::events::Ending;
use crate::tracepoint::Tracepoint;
use trace_tasks::Pid;
use tracefs::RecentMap;

pub const EXIT_THREAD: Tracepoint = Tracepoint::new("syscalls", "sys_enter_exit");
pub const EXIT_PROCESS: Tracepoint = Tracepoint::new("syscalls", "sys_enter_exit_group");

/// The calls that end a task.
pub const TRACEPOINTS: [Tracepoint; 2] = [EXIT_THREAD, EXIT_PROCESS];

/// At least this many threads, and this many processes, are remembered. Not every kernel reports the end of a process.
pub const REMEMBERED: usize = 1 << 14;

/// What is known of tasks that are about to end.
#[derive(Debug)]
pub struct Endings {
    threads: RecentMap<Pid, Ending>,
    processes: RecentMap<Pid, Ending>,
    /// The last signal to each process that may end it.
    sent: RecentMap<Pid, Sent>,
    /// Until then, in nanoseconds, the cause of an end may be in lost records.
    unsure_until: u64,
}

impl Default for Endings {
    fn default() -> Self {
        let (threads, processes) = (RecentMap::new(REMEMBERED), RecentMap::new(REMEMBERED));
        Self { threads, processes, sent: RecentMap::new(REMEMBERED), unsure_until: 0 }
    }
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    signal: i32,
    /// In nanoseconds.
    at: u64,
}

/// The longest that a fatal signal takes from being sent to being delivered, which happens as soon as the process gets a CPU.
/// One that was sent longer ago is blocked, and something else has ended the process.
const DELIVERY_TIME: u64 = 20_000_000;

impl Endings {
    /// The thread has called exit(2) with this argument.
    pub fn thread_exits(&mut self, thread: Pid, code: i64) {
        self.threads.insert(thread, status(code));
    }

    /// A thread of the process has called exit_group(2) with this argument. The first cause of an end counts.
    pub fn process_exits(&mut self, process: Pid, code: i64) {
        self.process_ends(process, status(code));
    }

    /// A signal was sent to the process, which does not ignore it.
    pub fn signal_sent(&mut self, process: Pid, signal: i32, at: u64) {
        if ends_process(signal) && self.sent.get(&process).is_none_or(|sent| sent.signal != libc::SIGKILL) {
            self.sent.insert(process, Sent { signal, at });
        }
    }

    /// A signal is delivered to the process. If it ends the process, returns the signal that was sent, as far as it is known.
    ///
    /// A fatal signal without core dump becomes a SIGKILL for each thread (`complete_signal` in `kernel/signal.c`).
    /// exit_group(2) and execve(2) send SIGKILL to the other threads as well; right after a gap, these may be the cause.
    pub fn signal_delivered(&mut self, process: Pid, signal: i32, is_default: bool, at: u64) -> Option<i32> {
        let sent = self.sent.remove(&process);
        // SIGKILL cannot be blocked.
        let is_cause =
            |sent: &Sent| sent.signal == libc::SIGKILL || at.saturating_sub(sent.at) <= DELIVERY_TIME;
        if !is_default || !ends_process(signal) {
            return None;
        }
        let is_killed = signal == libc::SIGKILL;
        let signal = if is_killed { sent.filter(is_cause).map(|sent| sent.signal) } else { Some(signal) };
        if signal.is_some() || at >= self.unsure_until {
            self.process_ends(process, Ending::Killed(signal));
        }
        signal
    }

    /// Only the first cause counts.
    fn process_ends(&mut self, process: Pid, ending: Ending) {
        if self.processes.get(&process).is_none() {
            self.processes.insert(process, ending);
        }
    }

    /// The process is new, or runs a new program.
    pub fn begins(&mut self, process: Pid) {
        self.threads.remove(&process);
        self.processes.remove(&process);
        self.sent.remove(&process);
    }

    /// Some records from before `now` are missing. A task that was about to end may have ended, and another one have its id; or
    /// only its other threads have ended, and it runs a new program.
    pub fn lost(&mut self, now: u64) {
        *self = Self { unsure_until: now.saturating_add(DELIVERY_TIME), ..Self::default() };
    }

    /// How the thread that exits now has ended. `group_dead`: its process has ended, too.
    pub fn of(&mut self, thread: Pid, process: Pid, group_dead: bool) -> Option<Ending> {
        let own = self.threads.remove(&thread);
        let ending = own.or_else(|| self.processes.get(&process).copied());
        if group_dead {
            self.begins(process);
        }
        ending
    }
}

/// The part of the argument that wait(2) returns.
fn status(code: i64) -> Ending {
    Ending::Status(code as u8)
}

/// Whether the default action of the signal ends the process (signal(7)).
fn ends_process(signal: i32) -> bool {
    use nix::libc::{SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH};
    !matches!(signal, SIGCHLD | SIGCONT | SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU | SIGURG | SIGWINCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_end_as_their_process_does() {
        let mut endings = Endings::default();
        endings.process_exits(10, 0x103);
        endings.signal_delivered(10, libc::SIGKILL, true, 0);
        assert_eq!(endings.of(11, 10, false), Some(Ending::Status(3)));
        assert_eq!(endings.of(10, 10, true), Some(Ending::Status(3)));
        assert_eq!(endings.of(10, 10, true), None);
    }

    #[test]
    fn thread_that_exits_alone_has_its_own_status() {
        let mut endings = Endings::default();
        endings.thread_exits(11, 5);
        assert_eq!(endings.of(11, 10, false), Some(Ending::Status(5)));
        assert_eq!(endings.of(12, 10, false), None);
    }

    #[test]
    fn signal_is_the_one_that_was_sent() {
        let mut endings = Endings::default();
        endings.signal_sent(10, libc::SIGTERM, 5);
        endings.signal_delivered(10, libc::SIGKILL, true, 5 + DELIVERY_TIME);
        assert_eq!(endings.of(10, 10, true), Some(Ending::Killed(Some(libc::SIGTERM))));
        endings.signal_delivered(20, libc::SIGSEGV, true, 0);
        assert_eq!(endings.of(20, 20, true), Some(Ending::Killed(Some(libc::SIGSEGV))));
    }

    #[test]
    fn signal_sent_long_before_is_not_the_cause() {
        let mut endings = Endings::default();
        endings.signal_sent(10, libc::SIGTERM, 5);
        endings.signal_delivered(10, libc::SIGKILL, true, 6 + DELIVERY_TIME);
        assert_eq!(endings.of(10, 10, true), Some(Ending::Killed(None)));
        endings.signal_sent(20, libc::SIGTERM, 5);
        endings.signal_sent(20, libc::SIGKILL, 6);
        endings.signal_sent(20, libc::SIGINT, 7);
        endings.signal_delivered(20, libc::SIGKILL, true, 10 * DELIVERY_TIME);
        assert_eq!(endings.of(20, 20, true), Some(Ending::Killed(Some(libc::SIGKILL))));
    }

    #[test]
    fn signal_may_be_unknown() {
        let mut endings = Endings::default();
        endings.signal_sent(10, libc::SIGTERM, 0);
        endings.signal_delivered(10, libc::SIGTERM, false, 0);
        endings.signal_sent(10, libc::SIGCHLD, 0);
        endings.signal_delivered(10, libc::SIGKILL, true, 0);
        assert_eq!(endings.of(10, 10, true), Some(Ending::Killed(None)));
    }

    #[test]
    fn execve_replaces_threads_without_ending_the_process() {
        let mut endings = Endings::default();
        endings.signal_delivered(10, libc::SIGKILL, true, 0);
        assert_eq!(endings.of(10, 10, false), Some(Ending::Killed(None)));
        endings.begins(10);
        assert_eq!(endings.of(10, 10, true), None);
    }

    #[test]
    fn after_a_gap_earlier_causes_are_forgotten() {
        let mut endings = Endings::default();
        endings.process_exits(10, 3);
        endings.thread_exits(21, 5);
        endings.signal_sent(30, libc::SIGTERM, 100);
        endings.lost(100);
        assert_eq!(endings.of(10, 10, true), None);
        assert_eq!(endings.of(21, 20, false), None);
        endings.signal_delivered(30, libc::SIGKILL, true, 100 + DELIVERY_TIME);
        assert_eq!(endings.of(30, 30, true), Some(Ending::Killed(None)));
    }

    #[test]
    fn right_after_a_gap_sigkill_may_come_from_exit_group() {
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

    #[test]
    fn number_of_remembered_tasks_is_bounded() {
        let mut endings = Endings::default();
        for pid in 0..10 * REMEMBERED as Pid {
            endings.thread_exits(pid, 0);
            endings.process_exits(pid, 0);
            endings.signal_sent(pid, libc::SIGKILL, 0);
        }
        let sizes = [endings.threads.len(), endings.processes.len(), endings.sent.len()];
        assert!(sizes.into_iter().all(|size| size <= 2 * REMEMBERED), "{sizes:?}");
    }
}
