//! The lines about calls and returns.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;

use trace_hook_api::{EventLine, LineBuffer, Origin, log};
use tracefs::format::{EventFormat, Field};
use tracefs::ring::Gap;

use tracefs_session::{Record, Renderer, with_origin};

use super::found_functions::{Found, FoundFunctions};
use super::pending_calls::PendingCalls;
use super::probe_set::{Event, FUNCTION_FIELD, Function, GUARD_FIELD, ProbeKind};
use super::value::FAULT;

/// Writes a line for each call and each return.
pub struct CallRenderer {
    functions: Vec<Function>,
    /// By event id.
    layouts: HashMap<u16, Layout>,
    /// The name of the system of the events.
    system: String,
    /// Where the functions and events come from.
    found: FoundFunctions,
    /// Only if returns are recorded.
    pending: Option<PendingCalls>,
}

/// The fields of an event's records.
struct Layout {
    kind: ProbeKind,
    function: Field,
    values: Vec<Field>,
    guard: Option<Field>,
}

impl CallRenderer {
    /// For calls of the functions that are found, in events of this system.
    pub fn new(found: FoundFunctions, with_returns: bool, system: &str) -> Self {
        Self {
            functions: Vec::new(),
            layouts: HashMap::new(),
            system: system.to_owned(),
            found,
            pending: with_returns.then(PendingCalls::default),
        }
    }

    fn add(&mut self, Found { functions, events }: Found, record: &mut Record<'_>) {
        self.functions.extend(functions);
        for event in events {
            match record.format_of(&self.system, &event.name) {
                // The kernel can give an event the id of one that was refused.
                Ok(format) => {
                    self.layouts.extend(Layout::of(&event, format).map(|layout| (format.id, layout)));
                }
                Err(error) => log::debug!("a refused event: {error}"),
            }
        }
    }
}

impl Layout {
    fn of(event: &Event, format: &EventFormat) -> Option<Self> {
        let field = |name: &str| format.field(name).cloned();
        let values = event.value_fields().filter_map(|name| field(&name)).collect();
        let guard = event.is_guarded().then(|| field(GUARD_FIELD)).flatten();
        Some(Self { kind: event.kind, function: field(FUNCTION_FIELD)?, values, guard })
    }

    /// Whether the kernel could not record a string. Either it was too long, and has used the room of all strings after it; or
    /// the pointer to it could not be read, and its field covers the room of those after it.
    fn is_fault(&self, field: &Field, record: &Record<'_>) -> bool {
        let Some(guard) = self.guard.as_ref().filter(|_| field.is_text()) else { return false };
        let strings = self.values.iter().filter(|value| value.is_text()).chain([guard]);
        let after = strings.skip_while(|other| *other != field).skip(1);
        let target = |field: &Field| field.bytes(record.data()).unwrap_or_default().as_ptr_range();
        let place_after = after.map(target).find(|target| !target.is_empty());
        place_after.is_none_or(|after| after.start < target(field).end)
    }
}

impl Renderer for CallRenderer {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        if let Some(found) = self.found.take() {
            self.add(found, record);
        }
        let layout = self.layouts.get(&record.id());
        let number = layout.map_or(u32::MAX, |layout| record.number(&layout.function) as u32);
        let (Some(layout), Some(function)) = (layout, self.functions.get(number as usize)) else {
            // Of no probe of this session, so without fields that a condition could be about.
            if lines.has_condition() || lines.has_columns() {
                return with_origin(record, record.task(), |_, origin| drop(lines.event(origin, "unknown")));
            }
            lines.write_event(record.time(), |text| record.write_text(text));
            return;
        };
        let (thread, now) = (record.task(), record.time());
        let duration = self.pending.as_mut().and_then(|pending| match layout.kind {
            ProbeKind::Call => {
                pending.call(thread, number, now);
                None
            }
            ProbeKind::Return => pending.returns(thread, number, now),
        });
        with_origin(record, thread, |record, origin| match layout.kind {
            ProbeKind::Call => show_call(function, layout, record, origin, lines),
            ProbeKind::Return => show_return(function, layout, duration, record, origin, lines),
        });
    }

    fn lost(&mut self, _gap: Gap) {
        self.pending.iter_mut().for_each(PendingCalls::clear);
    }
}

fn show_call(
    function: &Function,
    layout: &Layout,
    record: &Record<'_>,
    origin: &Origin<'_>,
    lines: &mut LineBuffer,
) {
    let format = lines.format();
    lines.add_event(origin, "call", |line| {
        let line = show_function(line, function);
        if function.arguments.is_empty() {
            return line;
        }
        let mut rest = layout.values.as_slice();
        line.group("arguments", |line| {
            function.arguments.iter().fold(line, |line, (name, value)| {
                let (fields, after) = rest.split_at_checked(value.field_count()).unwrap_or_default();
                rest = after;
                match fields.iter().any(|field| layout.is_fault(field, record)) {
                    true => line.word(name, FAULT),
                    false => value.show(line, name, record, fields, format),
                }
            })
        })
    });
}

fn show_return(
    function: &Function,
    layout: &Layout,
    duration: Option<u64>,
    record: &Record<'_>,
    origin: &Origin<'_>,
    lines: &mut LineBuffer,
) {
    let format = lines.format();
    lines.add_event(origin, "return", |line| {
        let line = show_function(line, function);
        let line = function.result.show(line, "result", record, &layout.values, format);
        line.optional(duration, |line, duration| line.duration("duration", duration))
    });
}

fn show_function<'a>(line: EventLine<'a>, function: &Function) -> EventLine<'a> {
    let line = line.text("function", function.name.as_bytes());
    line.text("binary", function.binary.as_os_str().as_bytes())
}
