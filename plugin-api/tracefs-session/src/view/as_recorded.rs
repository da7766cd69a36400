//! Records as they are.

use std::collections::HashMap;

use trace_hook_api::{EventLine, Format, LineBuffer, Origin};
use tracefs::Record;
use tracefs::format::{EventFormat, Field};

use super::{View, with_origin};

/// As text the line that the kernel writes, as JSON the record's own fields.
#[derive(Debug, Default)]
pub struct AsRecorded {
    formats: HashMap<u16, Option<EventFormat>>,
    stack: Vec<u8>,
}

impl View for AsRecorded {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> u64 {
        match lines.format() {
            Format::Text => record.write_text(lines.text_mut()),
            Format::Json => self.write_object(record, lines),
        }
        1
    }
}

impl AsRecorded {
    fn write_object(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        let format = self.formats.entry(record.id()).or_insert_with(|| record.event().cloned());
        match format {
            Some(format) if is_stack(format) => write_stack(record, &format.name, &mut self.stack, lines),
            Some(format) => with_origin(record, record.task(), |record, origin| {
                write_fields(record, origin, format, lines);
            }),
            None => with_origin(record, record.task(), |_, origin| drop(lines.event(origin, "unknown"))),
        }
    }
}

/// The entries by which the kernel tells of a stack are no events with fields, but `ftrace/kernel_stack` and
/// `ftrace/user_stack`.
fn is_stack(format: &EventFormat) -> bool {
    matches!(format.name.as_str(), "kernel_stack" | "user_stack") && format.field("caller").is_some()
}

/// The frames as the kernel writes them below the line: ` => name`.
fn write_stack(record: &mut Record<'_>, name: &str, text: &mut Vec<u8>, lines: &mut LineBuffer) {
    text.clear();
    record.write_text(text);
    let frames = text.split(|byte| *byte == b'\n').skip(1).filter_map(|line| line.strip_prefix(b" => "));
    with_origin(record, record.task(), |_, origin| {
        lines.event(origin, name).list("stack", frames);
    });
}

fn write_fields(record: &Record<'_>, origin: &Origin<'_>, format: &EventFormat, lines: &mut LineBuffer) {
    let fields = format.own_fields();
    let line = lines.event(origin, &format.name);
    line.group("fields", |line| fields.iter().fold(line, |line, field| write_field(line, field, record)));
}

/// A number is a number, a pointer an address, text is text, and anything else its bytes in hex.
fn write_field<'a>(line: EventLine<'a>, field: &Field, record: &Record<'_>) -> EventLine<'a> {
    let name = field.name.as_str();
    match field.number(record.data()) {
        Some(number) if field.type_name.contains('*') => line.address(name, number as u64),
        Some(number) if field.signed => line.number(name, number),
        Some(number) => line.number(name, number as u64),
        None if field.is_text() => line.text(name, record.text(field)),
        None => {
            let bytes = field.bytes(record.data()).unwrap_or_default();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            line.word(name, &hex)
        }
    }
}
