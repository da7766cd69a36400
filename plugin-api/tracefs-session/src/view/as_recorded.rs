//! Records as they are.

use std::borrow::Cow;
use std::collections::HashMap;

use trace_hook_api::{EventLine, Format, LineBuffer, Origin};
use tracefs::Record;
use tracefs::format::{EventFormat, Field};

use super::{View, with_origin};

/// As text the line that the kernel writes, with a `?` for each control character; as JSON the record's own fields.
#[derive(Debug, Default)]
pub struct AsRecorded {
    formats: HashMap<u16, Option<EventFormat>>,
    stack: Vec<u8>,
}

impl View for AsRecorded {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> u64 {
        match lines.format() {
            Format::Text => {
                let text = lines.text_mut();
                let start = text.len();
                record.write_text(text);
                make_harmless(&mut text[start..]);
            }
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

/// Names of tasks and files are written as they are. With control characters, those beyond ASCII included (U+0080 to
/// U+009F), they would drive the terminal of whoever looks at the lines.
fn make_harmless(lines: &mut [u8]) {
    let is_control = |byte: u8| byte.is_ascii_control() && byte != b'\n';
    // Without a branch for each byte: nearly all lines have none.
    if !lines.iter().fold(false, |any, byte| any | is_control(*byte) | (*byte == 0xc2)) {
        return;
    }
    let mut before = 0;
    for byte in lines {
        let harms = is_control(*byte) || (before == 0xc2 && (0x80..=0x9f).contains(byte));
        before = *byte;
        if harms {
            *byte = b'?';
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
    let frames =
        text.split(|byte| *byte == b'\n').skip(1).filter_map(|line| line.strip_prefix(b" => ")).map(frame);
    with_origin(record, record.task(), |_, origin| {
        lines.event(origin, name).list("stack", frames);
    });
}

/// A function, or an address in the way of all addresses: the kernel writes ` <00007f96a2b3c4d5>`.
fn frame(written: &[u8]) -> Cow<'_, [u8]> {
    let digits = written.strip_prefix(b" <").and_then(|rest| rest.strip_suffix(b">"));
    let address = digits.and_then(|digits| u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
    address.map_or(Cow::Borrowed(written), |address| Cow::Owned(format!("{address:#x}").into_bytes()))
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

#[cfg(test)]
mod tests {
    use super::{frame, make_harmless};

    #[test]
    fn control_characters_are_shown_as_question_marks() {
        let shown = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            make_harmless(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        };
        assert_eq!(shown("a => b\nc\n"), "a => b\nc\n");
        assert_eq!(shown("\u{1b}[2J\t\r\u{7f}\u{0}żó\u{a0}"), "?[2J????żó\u{a0}");
        assert!(!shown("\u{9b}2J").contains('\u{9b}'));
    }

    #[test]
    fn an_address_in_a_stack_is_one_as_all_others() {
        assert_eq!(&*frame(b" <00007f96a2b3c4d5>"), b"0x7f96a2b3c4d5");
        assert_eq!(&*frame(b"do_syscall_64"), b"do_syscall_64");
    }
}
