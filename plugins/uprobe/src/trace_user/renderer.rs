//! The lines about calls and returns.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;

use trace_hook_api::{EventLine, LineBuffer, Origin, Result, log};
use tracefs::format::{EventFormat, Field};
use tracefs::ring::Gap;

use tracefs_session::{EventStream, Record, Renderer, with_origin};

use super::later_programs::FoundLater;
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
    /// What was found in programs that were started later.
    found: FoundLater,
    /// Events among them whose formats have not been read yet.
    found_events: Vec<Event>,
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
    /// `found`: what is found in programs that are started later.
    ///
    /// # Errors
    ///
    /// The format of an event cannot be read.
    pub fn new(
        functions: Vec<Function>,
        events: &[Event],
        found: FoundLater,
        with_returns: bool,
        system: &str,
        stream: &mut EventStream,
    ) -> Result<Self> {
        let mut layouts = HashMap::new();
        for event in events {
            let format = stream.format_of(system, &event.name)?;
            layouts.extend(Layout::of(event, &format).map(|layout| (format.id, layout)));
        }
        let (system, pending) = (system.to_owned(), with_returns.then(PendingCalls::default));
        Ok(Self { functions, layouts, system, found, found_events: Vec::new(), pending })
    }

    fn add_found(&mut self, record: &mut Record<'_>) {
        for (functions, events) in self.found.take() {
            self.functions.extend(functions);
            self.found_events.extend(events);
        }
        let (system, layouts) = (&self.system, &mut self.layouts);
        self.found_events.retain(|event| match record.format_of(system, &event.name) {
            Ok(format) => {
                layouts.extend(Layout::of(event, format).map(|layout| (format.id, layout)));
                false
            }
            // It is being defined.
            Err(error) => {
                log::debug!("{error}");
                true
            }
        });
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
        if !self.layouts.contains_key(&record.id()) {
            self.add_found(record);
        }
        let layout = self.layouts.get(&record.id());
        let number = layout.map_or(u32::MAX, |layout| record.number(&layout.function) as u32);
        let (Some(layout), Some(function)) = (layout, self.functions.get(number as usize)) else {
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
    let line = begin(function, "call", origin, lines);
    if !function.arguments.is_empty() {
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
        });
    }
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
    let line = begin(function, "return", origin, lines);
    let line = function.result.show(line, "result", record, &layout.values, format);
    if let Some(duration) = duration {
        line.duration("duration", duration);
    }
}

fn begin<'a>(
    function: &Function,
    event: &str,
    origin: &Origin<'_>,
    lines: &'a mut LineBuffer,
) -> EventLine<'a> {
    let line = lines.event(origin, event).text("function", function.name.as_bytes());
    line.text("binary", function.binary.as_os_str().as_bytes())
}
