//! The line of a call.

use trace_hook_api::{Composite, EventLine, LineBuffer, Origin};
use trace_syscalls::{error_name, error_of, never_returns, returns_address};

use super::decode::Decoder;
use super::plan::Calls;
use super::record::CallRecord;

/// Adds the line of a call.
pub fn show(record: &CallRecord<'_>, calls: &Calls, string_size: usize, lines: &mut LineBuffer) {
    let call = calls.get(record.number, record.is_compat);
    let decoder = Decoder::new(record, call, string_size);
    let origin = Origin::at(record.time).cpu(record.cpu).pid(record.pid).tid(record.tid).comm(record.comm);
    let unknown;
    let name = match call.name {
        Some(name) => name,
        None => {
            unknown = format!("syscall_{:#x}", record.number);
            &unknown
        }
    };
    let arguments = decoder.arguments();
    lines.add_event(&origin, name, |line| {
        let line = line.group("arguments", |line| {
            arguments.iter().fold(line, |line, (name, value)| line.composite(name, value))
        });
        show_result(line, record, name, &decoder)
            .optional(record.duration, |line, duration| line.duration("duration", duration))
            .optional(record.is_resumed.then_some(true), |line, _| line.flag("resumed", true))
            .optional(is_unfinished(record, name).then_some(true), |line, _| line.flag("unfinished", true))
            .optional(record.is_cut.then_some(true), |line, _| line.flag("cut", true))
            .flag("compat", record.is_compat)
    });
}

fn show_result<'a>(
    line: EventLine<'a>,
    record: &CallRecord<'_>,
    name: &str,
    decoder: &Decoder<'_, '_>,
) -> EventLine<'a> {
    let Some(result) = record.result else { return line };
    if let Some(error) = error_of(result) {
        return line.number("result", result).word("error", &error_name(error));
    }
    match decoder.returned_descriptor() {
        Some(is) => {
            let number = Box::new(Composite::Number(result.into()));
            line.composite("result", &Composite::Reference { number, is: Box::new(is) })
        }
        None if returns_address(name) => line.address("result", result as u64),
        None => line.number("result", result),
    }
}

fn is_unfinished(record: &CallRecord<'_>, name: &str) -> bool {
    record.result.is_none() && !never_returns(name)
}
