//! Records as they are.

use trace_hook_api::{EventLine, Format, LineBuffer};
use tracefs::Record;
use tracefs::format::{EventFormat, Field};

use super::{View, with_origin};

/// As text the line that the kernel writes, as JSON the record's own fields.
pub struct AsRecorded;

impl View for AsRecorded {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> u64 {
        match lines.format() {
            Format::Text => record.write_text(lines.text_mut()),
            Format::Json => write_fields(record, lines),
        }
        1
    }
}

fn write_fields(record: &mut Record<'_>, lines: &mut LineBuffer) {
    // Seldom asked for, and small.
    let format = record.event().cloned();
    with_origin(record, record.task(), |record, origin| {
        let name = format.as_ref().map_or("unknown", |format| &format.name);
        let fields = format.as_ref().map(EventFormat::own_fields).unwrap_or_default();
        lines
            .event(origin, name)
            .group("fields", |line| fields.iter().fold(line, |line, field| write_field(line, field, record)));
    });
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
