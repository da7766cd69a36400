//! Who has sent the signals that are pending.

use trace_tasks::Pid;
use tracefs::RecentMap;

use crate::trace_process::events::{DELIVERED, Generated};

/// At least this many pending signals are remembered.
const REMEMBERED: usize = 1 << 14;

/// The first of the real-time signals (signal(7)), of which several can be pending.
const FIRST_REAL_TIME: i32 = 32;

/// The task that a signal is pending for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Receiver {
    Thread(Pid),
    Process(Pid),
}

/// How a signal was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub code: i32,
    /// Set unless the kernel sent it in an interrupt.
    pub sender: Option<(Pid, Vec<u8>)>,
}

/// How the pending signals were sent. Of each signal but those of real time, at most one is pending for a thread or a process.
#[derive(Debug)]
pub struct Senders(RecentMap<(Receiver, i32), Sent>);

impl Default for Senders {
    fn default() -> Self {
        Self(RecentMap::new(REMEMBERED))
    }
}

impl Senders {
    /// A process with this name has sent a signal.
    pub fn sent(&mut self, pid: Pid, comm: &[u8], event: &Generated<'_>) {
        if event.result != DELIVERED || event.signal >= FIRST_REAL_TIME {
            return;
        }
        let receiver = match event.to_pid.filter(|_| event.is_for_group) {
            Some(process) => Receiver::Process(process),
            None => Receiver::Thread(event.to_tid),
        };
        let sender = (!event.in_interrupt).then(|| (pid, comm.to_vec()));
        self.0.insert((receiver, event.signal), Sent { code: event.code, sender });
    }

    /// How the signal was sent that is delivered to a thread of a process. Each thread of a process that is killed has it delivered.
    pub fn of(&self, thread: Pid, process: Pid, signal: i32) -> Option<&Sent> {
        let of = |receiver| self.0.get(&(receiver, signal));
        of(Receiver::Thread(thread)).or_else(|| of(Receiver::Process(process)))
    }

    /// Records are missing: other signals may have been sent since.
    pub fn lost(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(signal: i32, is_for_group: bool, result: i64) -> Generated<'static> {
        Generated {
            signal,
            code: 0,
            to_tid: 11,
            to_pid: Some(10),
            to_comm: b"",
            result,
            is_for_group,
            in_interrupt: false,
        }
    }

    fn sender(senders: &Senders, thread: Pid, signal: i32) -> Option<Pid> {
        senders.of(thread, 10, signal)?.sender.as_ref().map(|(pid, _)| *pid)
    }

    #[test]
    fn signal_for_a_process_may_be_delivered_to_any_of_its_threads() {
        let mut senders = Senders::default();
        senders.sent(7, b"kill", &generated(15, true, DELIVERED));
        senders.sent(8, b"kill", &generated(10, false, DELIVERED));
        assert_eq!((sender(&senders, 12, 15), sender(&senders, 11, 15)), (Some(7), Some(7)));
        assert_eq!((sender(&senders, 12, 10), sender(&senders, 11, 10)), (None, Some(8)));
        senders.lost();
        assert_eq!(sender(&senders, 12, 15), None);
    }

    #[test]
    fn first_of_several_signals_is_the_pending_one() {
        let mut senders = Senders::default();
        senders.sent(7, b"kill", &generated(15, true, DELIVERED));
        senders.sent(8, b"kill", &generated(15, true, 2));
        assert_eq!(sender(&senders, 11, 15), Some(7));
    }

    #[test]
    fn sender_of_a_real_time_signal_is_not_guessed() {
        let mut senders = Senders::default();
        senders.sent(7, b"kill", &generated(FIRST_REAL_TIME, true, DELIVERED));
        assert_eq!(sender(&senders, 11, FIRST_REAL_TIME), None);
    }
}
