//! Signals that are sent and delivered.

use trace_hook_api::{LineBuffer, Result};
use trace_tasks::Pid;
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use crate::trace_process::events::{DELIVERED, Delivered, Generated};
use crate::tracepoint::Tracepoint;

pub const GENERATE: Tracepoint = Tracepoint::new("signal", "signal_generate");
pub const DELIVER: Tracepoint = Tracepoint::new("signal", "signal_deliver");

/// The fields of [`GENERATE`].
pub struct Generate {
    pub id: u16,
    signal: Field,
    code: Field,
    to: Field,
    to_comm: Field,
    group: Field,
    result: Field,
}

/// The fields of [`DELIVER`].
pub struct Deliver {
    pub id: u16,
    signal: Field,
    code: Field,
    handler: Field,
    flags: Field,
}

impl Generate {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        let layout = GENERATE.layout(stream)?;
        Ok(Self {
            id: layout.id(),
            signal: layout.field("sig")?,
            code: layout.field("code")?,
            to: layout.field("pid")?,
            to_comm: layout.field("comm")?,
            group: layout.field("group")?,
            result: layout.field("result")?,
        })
    }

    pub fn signal(&self, record: &Record<'_>) -> i32 {
        record.number(&self.signal) as i32
    }

    /// Whether the signal became pending by this.
    pub fn is_pending(&self, record: &Record<'_>) -> bool {
        record.number(&self.result) == DELIVERED
    }

    pub fn to(&self, record: &Record<'_>) -> Pid {
        record.number(&self.to) as Pid
    }

    pub fn show(&self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        with_origin(record, record.task(), |record, origin| {
            let event = Generated {
                signal: self.signal(record),
                code: record.number(&self.code) as i32,
                to_tid: self.to(record),
                to_pid: None,
                to_comm: record.text(&self.to_comm),
                result: record.number(&self.result),
                is_for_group: record.number(&self.group) != 0,
                in_interrupt: record.in_interrupt(),
            };
            event.show(origin, lines);
        });
    }
}

impl Deliver {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        let layout = DELIVER.layout(stream)?;
        Ok(Self {
            id: layout.id(),
            signal: layout.field("sig")?,
            code: layout.field("code")?,
            handler: layout.field("sa_handler")?,
            flags: layout.field("sa_flags")?,
        })
    }

    pub fn signal(&self, record: &Record<'_>) -> i32 {
        record.number(&self.signal) as i32
    }

    /// Whether the default action is taken: `SIG_DFL` (sigaction(2)).
    pub fn is_default(&self, record: &Record<'_>) -> bool {
        record.number(&self.handler) as u64 == 0
    }

    /// Adds the line. For a signal that ends the process, the record has SIGKILL instead.
    pub fn show(&self, signal: i32, record: &mut Record<'_>, lines: &mut LineBuffer) {
        with_origin(record, record.task(), |record, origin| {
            let event = Delivered {
                signal,
                code: record.number(&self.code) as i32,
                handler: record.number(&self.handler) as u64,
                flags: record.number(&self.flags) as u64,
                sender: None,
            };
            event.show(origin, lines);
        });
    }
}
