//! The lines of `trace_process`.

use trace_hook_api::{LineBuffer, Result};
use trace_tasks::Pid;
use tracefs::format::Field;
use tracefs::ring::Gap;
use tracefs_session::{EventStream, Record, Renderer};

use super::endings::{self, Endings};
use super::signals::{Deliver, Generate};
use super::tasks::{Exec, Exit, Fork};
use crate::tracepoint::Tracepoint;

pub struct ProcessRenderer {
    fork: Fork,
    exec: Exec,
    exit: Exit,
    generate: Generate,
    deliver: Deliver,
    exit_thread: Option<ExitCall>,
    exit_process: Option<ExitCall>,
    endings: Endings,
    /// Records are missing before the next one.
    after_gap: bool,
}

/// The fields of a call of exit(2) or exit_group(2).
struct ExitCall {
    id: u16,
    code: Field,
}

impl ProcessRenderer {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        Ok(Self {
            fork: Fork::new(stream)?,
            exec: Exec::new(stream)?,
            exit: Exit::new(stream)?,
            generate: Generate::new(stream)?,
            deliver: Deliver::new(stream)?,
            exit_thread: ExitCall::new(endings::EXIT_THREAD, stream),
            exit_process: ExitCall::new(endings::EXIT_PROCESS, stream),
            endings: Endings::default(),
            after_gap: false,
        })
    }

    /// Notes what a call says about how tasks will end. Returns whether the record is such a call, which has no line of its own.
    fn learn(&mut self, record: &mut Record<'_>) -> bool {
        let id = record.id();
        let (thread, process) = (record.task(), process_of(record, record.task()));
        if let Some(call) = self.exit_thread.as_ref().filter(|call| call.id == id) {
            self.endings.thread_exits(thread, record.number(&call.code));
            return true;
        } else if let Some(call) = self.exit_process.as_ref().filter(|call| call.id == id) {
            self.endings.process_exits(process, record.number(&call.code));
            return true;
        }
        false
    }
}

impl Renderer for ProcessRenderer {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        if std::mem::take(&mut self.after_gap) {
            self.endings.lost(record.time());
        }
        if self.learn(record) {
            return;
        }
        match record.id() {
            id if id == self.fork.id => {
                self.endings.begins(self.fork.child(record));
                self.fork.show(record, lines);
            }
            id if id == self.exec.id => {
                self.endings.begins(record.task());
                self.exec.show(record, lines);
            }
            id if id == self.exit.id => {
                let process = process_of(record, record.task());
                let group_dead = self.exit.group_dead(record).unwrap_or(false);
                let ending = self.endings.of(record.task(), process, group_dead);
                self.exit.show(ending, record, lines);
            }
            id if id == self.generate.id => {
                let receiver = self.generate.to(record);
                let is_received = record.is_traced(receiver);
                if is_received && self.generate.is_pending(record) {
                    let process = process_of(record, receiver);
                    self.endings.signal_sent(process, self.generate.signal(record), record.time());
                }
                // An interrupt is not related to the task that runs.
                if is_received || (!record.in_interrupt() && record.is_traced(record.task())) {
                    self.generate.show(record, lines);
                }
            }
            id if id == self.deliver.id => {
                let process = process_of(record, record.task());
                let (signal, is_default) = (self.deliver.signal(record), self.deliver.is_default(record));
                let sent = self.endings.signal_delivered(process, signal, is_default, record.time());
                self.deliver.show(sent.unwrap_or(signal), record, lines);
            }
            _ => {}
        }
    }

    fn lost(&mut self, _gap: Gap) {
        self.after_gap = true;
    }
}

impl ExitCall {
    /// `None` if the kernel has no such event; any other error has already failed the start.
    fn new(tracepoint: Tracepoint, stream: &mut EventStream) -> Option<Self> {
        let layout = tracepoint.layout(stream).ok()?;
        Some(Self { id: layout.id(), code: layout.field("error_code").ok()? })
    }
}

/// The process of a thread. If it is not known, the thread is assumed to be the only one of its process.
fn process_of(record: &mut Record<'_>, thread: Pid) -> Pid {
    record.process_of(thread).unwrap_or(thread)
}
