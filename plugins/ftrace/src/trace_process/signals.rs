//! Signals that are sent and delivered.

use trace_hook_api::{LineBuffer, Result};
use trace_syscalls::{SIGNAL_ACTION_FLAGS, flag_names, signal_code, signal_name};
use trace_tasks::Pid;
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use crate::tracepoint::Tracepoint;

pub const GENERATE: Tracepoint = Tracepoint::new("signal", "signal_generate");
pub const DELIVER: Tracepoint = Tracepoint::new("signal", "signal_deliver");

/// `SIG_DFL` and `SIG_IGN` (sigaction(2)), in place of the address of a handler.
const DEFAULT: u64 = 0;
const IGNORE: u64 = 1;

/// The results of sending a signal (`include/trace/events/signal.h`), by number.
const RESULTS: [&str; 5] = ["delivered", "ignored", "already_pending", "overflow_fail", "lose_info"];
const DELIVERED: i64 = 0;

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
            let signal = self.signal(record);
            let line = lines
                .event(origin, "signal_generate")
                .word("signal", &signal_name(signal))
                .number("to_tid", self.to(record))
                .text("to_comm", record.text(&self.to_comm))
                .word("code", &signal_code(signal, record.number(&self.code) as i32));
            let result = record.number(&self.result);
            let name = usize::try_from(result).ok().and_then(|result| RESULTS.get(result));
            let outcome = name.map_or_else(|| result.to_string(), |name| (*name).to_owned());
            line.word("outcome", &outcome)
                .flag("group", record.number(&self.group) != 0)
                .flag("interrupt", record.in_interrupt());
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

    /// Whether the default action is taken.
    pub fn is_default(&self, record: &Record<'_>) -> bool {
        record.number(&self.handler) as u64 == DEFAULT
    }

    /// Adds the line. For a signal that ends the process, the record has SIGKILL instead.
    pub fn show(&self, signal: i32, record: &mut Record<'_>, lines: &mut LineBuffer) {
        with_origin(record, record.task(), |record, origin| {
            let line = lines
                .event(origin, "signal_deliver")
                .word("signal", &signal_name(signal))
                .word("code", &signal_code(signal, record.number(&self.code) as i32));
            match record.number(&self.handler) as u64 {
                DEFAULT => line.word("action", "default"),
                IGNORE => line.word("action", "ignore"),
                handler => line
                    .word("action", "handler")
                    .address("handler", handler)
                    .word("flags", &flag_names(record.number(&self.flags) as u64, SIGNAL_ACTION_FLAGS)),
            };
        });
    }
}
