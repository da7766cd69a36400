//! What a session shows of calls and returns.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;

use trace_hook_api::{EventLine, LineBuffer, Origin, Result};
use tracefs::format::Field;
use tracefs::ring::Gap;
use tracefs::{EventStream, Record};
use tracefs_session::{View, with_origin};

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
    /// The string that was too long, and has taken the room of all after it.
    fn cut_string(&self, record: &Record<'_>) -> Option<&Field> {
        let is_there = |field: &Field| field.bytes(record.data()).is_some_and(|bytes| !bytes.is_empty());
        match &self.guard {
            Some(guard) if !is_there(guard) => {
                self.values.iter().rfind(|field| field.is_text() && is_there(field))
            }
            _ => None,
        }
    }
}

impl View for Calls {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> u64 {
        let layout = self.layouts.get(&record.id());
        let number = layout.map_or(u32::MAX, |layout| record.number(&layout.function) as u32);
        let (Some(layout), Some(function)) = (layout, self.functions.get(number as usize)) else {
            record.write_text(lines.text_mut());
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

    fn lost(&mut self, gap: Gap, lines: &mut LineBuffer) {
        self.open.iter_mut().for_each(OpenCalls::forget);
        lines.lost(gap.cpu, gap.count);
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
        let (arguments, cut) = (function.arguments.iter().zip(&layout.values), layout.cut_string(record));
        line.group("arguments", |line| {
            arguments.fold(line, |line, ((name, value), field)| match cut {
                Some(cut) if cut == field => line.word(name, FAULT),
                _ => value.show(line, name, record, field, format),
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
    let result = |line, field| function.result.show(line, "result", record, field, format);
    let line = layout.values.iter().fold(line, result);
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
