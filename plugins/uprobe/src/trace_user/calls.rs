//! What a session shows of calls and returns.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;

use trace_hook_api::{EventLine, LineBuffer, Origin, Result};
use tracefs::format::Field;
use tracefs::ring::Gap;
use tracefs_session::{EventStream, Record, Renderer, with_origin};

use super::open_calls::OpenCalls;
use super::plan::{Event, FUNCTION_FIELD, Function, GUARD_FIELD, Moment};
use super::value::FAULT;

/// A line a call, and a line a return.
pub struct Calls {
    functions: Vec<Function>,
    /// By the ids of their events.
    layouts: HashMap<u16, Layout>,
    /// Only where returns are recorded: nothing else ends a call.
    open: Option<OpenCalls>,
}

/// Where an event's records hold what.
struct Layout {
    moment: Moment,
    function: Field,
    values: Vec<Field>,
    guard: Option<Field>,
}

impl Calls {
    /// # Errors
    ///
    /// The kernel does not tell how it records the events.
    pub fn new(
        functions: Vec<Function>,
        events: &[Event],
        system: &str,
        stream: &mut EventStream,
    ) -> Result<Self> {
        let mut layouts = HashMap::new();
        for event in events {
            let format = stream.format_of(system, &event.name)?;
            let field = |name: &str| format.field(name).cloned();
            let values = event.value_fields().filter_map(|name| field(&name)).collect();
            if let Some(function) = field(FUNCTION_FIELD) {
                let guard = event.is_guarded().then(|| field(GUARD_FIELD)).flatten();
                layouts.insert(format.id, Layout { moment: event.moment, function, values, guard });
            }
        }
        let has_returns = events.iter().any(|event| event.moment == Moment::Return);
        Ok(Self { functions, layouts, open: has_returns.then(OpenCalls::default) })
    }
}

impl Layout {
    /// Whether a string was too long, and has taken the room of all after it; or whether a pointer to its pointer could not be
    /// followed: then the kernel has left the room for all that follow it as its place.
    fn is_no_string(&self, field: &Field, record: &Record<'_>) -> bool {
        let Some(guard) = self.guard.as_ref().filter(|_| field.is_text()) else { return false };
        let strings = self.values.iter().filter(|value| value.is_text()).chain([guard]);
        let after = strings.skip_while(|other| *other != field).skip(1);
        let place = |field: &Field| field.bytes(record.data()).unwrap_or_default().as_ptr_range();
        let place_after = after.map(place).find(|place| !place.is_empty());
        place_after.is_none_or(|after| after.start < place(field).end)
    }
}

impl Renderer for Calls {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> u64 {
        let layout = self.layouts.get(&record.id());
        let number = layout.map_or(u32::MAX, |layout| record.number(&layout.function) as u32);
        let (Some(layout), Some(function)) = (layout, self.functions.get(number as usize)) else {
            lines.write_event(record.stamp(), |text| record.write_text(text));
            return 1;
        };
        let (thread, now) = (record.task(), record.stamp());
        let duration = self.open.as_mut().and_then(|open| match layout.moment {
            Moment::Call => {
                open.call(thread, number, now);
                None
            }
            Moment::Return => open.returns(thread, number, now),
        });
        with_origin(record, thread, |record, origin| match layout.moment {
            Moment::Call => show_call(function, layout, record, origin, lines),
            Moment::Return => show_return(function, layout, duration, record, origin, lines),
        });
        1
    }

    fn lost(&mut self, _gap: Gap) {
        self.open.iter_mut().for_each(OpenCalls::forget);
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
                match fields.iter().any(|field| layout.is_no_string(field, record)) {
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
