//! The lines of the records.

use trace_ebpf::RecordRenderer;
use trace_hook_api::LineBuffer;

use super::record::{DeliveredSignal, Event, Record, lost_before};
use super::senders::Senders;
use crate::trace_process::events::Delivered;

#[derive(Debug, Default)]
pub struct ProcessRenderer {
    senders: Senders,
}

impl RecordRenderer for ProcessRenderer {
    fn lost_before(bytes: &[u8]) -> Option<(u32, u64)> {
        lost_before(bytes)
    }

    fn record(&mut self, bytes: &[u8], lines: &mut LineBuffer) -> bool {
        let Some(record) = Record::of(bytes) else { return false };
        let origin = &record.origin;
        match &record.event {
            Event::Fork(fork) => fork.show(origin, lines),
            Event::Exec(exec) => exec.show(origin, lines),
            Event::FailedExec(exec) => exec.show(origin, lines),
            Event::Exit(exit) => exit.show(origin, lines),
            Event::Generated(signal) => {
                self.senders.sent(record.pid, origin.comm, signal);
                signal.show(origin, lines);
            }
            Event::Delivered(signal) => self.with_sender(&record, *signal).show(origin, lines),
        }
        true
    }

    fn lost(&mut self) {
        self.senders.lost();
    }
}

impl ProcessRenderer {
    fn with_sender(&self, record: &Record<'_>, delivered: DeliveredSignal) -> Delivered<'_> {
        let DeliveredSignal { signal, code, handler, flags } = delivered;
        let sent = self.senders.of(record.tid, record.pid, signal);
        let sender = sent.and_then(|sent| sent.sender.as_ref());
        Delivered {
            signal,
            // Of a signal that kills a process, what is delivered does not have it.
            code: sent.map_or(code, |sent| sent.code),
            handler,
            flags,
            sender: sender.map(|(pid, comm)| (*pid, &comm[..])),
        }
    }
}
