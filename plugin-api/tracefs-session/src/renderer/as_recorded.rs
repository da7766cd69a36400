//! Records in the format of the kernel.

use std::borrow::Cow;
use std::collections::HashMap;
use std::iter::repeat_n;

use crate::stream::Record;
use trace_hook_api::{EventLine, Format, LineBuffer};
use tracefs::format::{EventFormat, Field};

use super::{Renderer, with_origin};

/// Stands for the outermost frames of a stack that is cut at a limit.
const TRUNCATED: &str = "[truncated]";

/// What the kernel prints for a string of a probe that it could not read.
const FAULT: &str = "(fault)";

/// Text is the line of the kernel, with a `?` for each byte of a control or format character or of invalid UTF-8; JSON has the fields of
/// the record.
#[derive(Debug, Default)]
pub struct AsRecorded {
    formats: HashMap<u16, Option<EventFormat>>,
    stack: Vec<u8>,
}

impl Renderer for AsRecorded {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        if lines.format() == Format::Json || lines.has_columns() {
            return self.write_object(record, lines);
        }
        if lines.has_condition() && !self.passes(record, lines) {
            return;
        }
        let time = lines.shown_time(record.time());
        lines.write_event(record.time(), |text| {
            let start = text.len();
            match &time {
                Some(time) => record.write_text_at(time, text),
                None => record.write_text(text),
            }
            if !is_plain(&text[start..]) {
                let is_stack = record.event().is_some_and(is_stack);
                if is_stack && is_truncated(record) {
                    text.extend_from_slice(format!(" => {TRUNCATED}\n").as_bytes());
                }
                neutralize(&mut text[start..], is_stack);
            }
        });
    }
}

impl AsRecorded {
    /// Whether the record meets the condition of the view. A stack belongs to the event before it.
    fn passes(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> bool {
        let format = self.formats.entry(record.id()).or_insert_with(|| record.event().cloned());
        match format {
            Some(format) if is_stack(format) => !lines.is_left_out_with_last(),
            Some(format) => with_origin(record, record.task(), |record, origin| {
                lines.passes(origin, &format.name, |line| with_fields(line, record, format))
            }),
            None => true,
        }
    }

    fn write_object(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        let format = self.formats.entry(record.id()).or_insert_with(|| record.event().cloned());
        match format {
            Some(format) if is_stack(format) => write_stack(record, &format.name, &mut self.stack, lines),
            Some(format) => with_origin(record, record.task(), |record, origin| {
                drop(with_fields(lines.event(origin, &format.name), record, format));
            }),
            None => with_origin(record, record.task(), |_, origin| drop(lines.event(origin, "unknown"))),
        }
    }
}

/// Whether a line has only printable ASCII before its end, as nearly all lines do.
fn is_plain(line: &[u8]) -> bool {
    let before_end = line.strip_suffix(b"\n").unwrap_or(line);
    // Without a branch for each byte, so that the compiler can vectorize it.
    before_end.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'))
}

/// The kernel does not escape names of tasks and files, or markers. Control characters could control the terminal, including
/// U+0080 to U+009F, which some terminals also accept as single bytes; format characters could reorder or hide text. A newline would split an event into two lines; only a
/// stack trace has several lines.
fn neutralize(text: &mut [u8], is_stack: bool) {
    let last = text.len().saturating_sub(1);
    let mut neutral = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            let ends_line = char == '\n' && (is_stack || neutral.len() == last);
            match !trace_hook_api::is_plain(char) && !ends_line {
                true => neutral.extend(repeat_n(b'?', char.len_utf8())),
                false => neutral.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        neutral.extend(repeat_n(b'?', chunk.invalid().len()));
    }
    text.copy_from_slice(&neutral);
}

/// Stack traces are not events with fields, but the entries `ftrace/kernel_stack` and
/// `ftrace/user_stack`.
fn is_stack(format: &EventFormat) -> bool {
    matches!(format.name.as_str(), "kernel_stack" | "user_stack") && format.field("caller").is_some()
}

/// Whether there may be more frames than the record has room for: 8 for the stack of a program (`FTRACE_STACK_ENTRIES` in
/// kernel/trace/trace_entries.h). The list of a shorter stack ends with zeros.
fn is_truncated(record: &mut Record<'_>) -> bool {
    let format = record.event().filter(|format| format.name == "user_stack");
    let field = format.and_then(|format| format.field("caller").cloned());
    let callers = field.as_ref().and_then(|field| field.bytes(record.data()));
    callers
        .and_then(<[u8]>::last_chunk::<{ size_of::<usize>() }>)
        .is_some_and(|last| *last != [0; size_of::<usize>()])
}

/// The frames as the kernel writes them below the line: ` => name`.
fn write_stack(record: &mut Record<'_>, name: &str, text: &mut Vec<u8>, lines: &mut LineBuffer) {
    text.clear();
    record.write_text(text);
    let truncated = is_truncated(record).then_some(Cow::Borrowed(TRUNCATED.as_bytes()));
    let written = text.split(|byte| *byte == b'\n').skip(1).filter_map(|line| line.strip_prefix(b" => "));
    let frames = written.map(frame).chain(truncated);
    with_origin(record, record.task(), |_, origin| {
        lines.event_of_last(origin, name).list("stack", frames);
    });
}

/// A function, or an address in the format of all other fields: the kernel writes ` <00007f96a2b3c4d5>`.
fn frame(written: &[u8]) -> Cow<'_, [u8]> {
    let digits = written.strip_prefix(b" <").and_then(|rest| rest.strip_suffix(b">"));
    let address = digits.and_then(|digits| u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
    address.map_or(Cow::Borrowed(written), |address| Cow::Owned(format!("{address:#x}").into_bytes()))
}

fn with_fields<'a>(line: EventLine<'a>, record: &Record<'_>, format: &EventFormat) -> EventLine<'a> {
    let fields = format.own_fields();
    let write = |line: EventLine<'a>, field: &Field| match is_unread(field, record, format) {
        true => line.word(&field.name, FAULT),
        false => write_field(line, field, record),
    };
    line.group("fields", |line| fields.iter().fold(line, write))
}

/// Whether a field has a string that the kernel could not read: of a probe, or of a system call (since Linux 6.19).
fn is_unread(field: &Field, record: &Record<'_>, format: &EventFormat) -> bool {
    let is_fetched = format.is_probe() || (field.name.starts_with("__") && field.name.ends_with("_val"));
    is_fetched && field.is_text() && field.bytes(record.data()).is_none_or(<[u8]>::is_empty)
}

/// Writes numbers, pointers as addresses, text, and everything else as bytes in hex.
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
    use super::{frame, is_plain, neutralize};

    fn neutralized(text: &[u8], is_stack: bool) -> String {
        let mut bytes = text.to_vec();
        if !is_plain(&bytes) {
            neutralize(&mut bytes, is_stack);
        }
        assert_eq!(bytes.len(), text.len(), "the columns must not move");
        String::from_utf8(bytes).expect("valid UTF-8")
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(neutralized(b"a-1 [000] x: ~\n", false), "a-1 [000] x: ~\n");
        assert_eq!(neutralized("\u{1b}[2J\t\r\u{7f}\u{0}żó\u{a0}\n".as_bytes(), false), "?[2J????żó\u{a0}\n");
        assert_eq!(neutralized("\u{9b}2J\u{80}\u{9f}\n".as_bytes(), false), "??2J????\n");
        assert_eq!(neutralized("a\u{202e}b\u{200b}\n".as_bytes(), false), "a???b???\n");
        assert_eq!(neutralized(b"\x9b2J \xff \xe2\x82 \xc2\n", false), "?2J ? ?? ?\n");
    }

    #[test]
    fn newlines_are_replaced_except_in_stacks() {
        assert_eq!(neutralized(b"one\ntwo\n => three\n", false), "one?two? => three\n");
        assert_eq!(neutralized(b"one\n\n", false), "one?\n");
        assert_eq!(neutralized(b"<stack trace>\n => b\n => c\n", true), "<stack trace>\n => b\n => c\n");
    }

    #[test]
    fn stack_addresses_are_formatted_as_addresses() {
        assert_eq!(&*frame(b" <00007f96a2b3c4d5>"), b"0x7f96a2b3c4d5");
        assert_eq!(&*frame(b"do_syscall_64"), b"do_syscall_64");
    }
}
