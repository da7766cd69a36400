//! The section of a description that explains the hook's lines.

use trace_hook_api::{EventInfo, FieldInfo, FieldKind};

/// The section, or nothing if the hook does not describe its lines.
pub fn section(events: &[EventInfo]) -> String {
    if events.is_empty() {
        return String::new();
    }
    let events: String = events.chunk_by(are_alike).map(described).collect();
    let common = fields(&EventInfo::common_fields(), 4);
    format!(
        "Lines, by event, with their fields in order ([name]: not in every line; in JSON the name of a duration ends in _ns):\n\
         {events}\n  Each event begins with those of these fields that apply to it:\n{common}"
    )
}

/// Returns whether two events differ in their names only.
fn are_alike(one: &EventInfo, other: &EventInfo) -> bool {
    one.meaning == other.meaning && one.fields == other.fields && one.continuation == other.continuation
}

/// Describes events that differ in their names only.
fn described(events: &[EventInfo]) -> String {
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    let Some(event) = events.first() else { return String::new() };
    let mut text = format!("  {}: {}\n{}", names.join(", "), event.meaning, fields(&event.fields, 4));
    if !event.continuation.is_empty() {
        text += &format!("    below it, after ` => `: {}\n", event.continuation);
    }
    text
}

fn fields(fields: &[FieldInfo], indent: usize) -> String {
    let width = fields.iter().map(|field| label(field).chars().count()).max().unwrap_or_default();
    fields.iter().map(|field| self::field(field, indent, width)).collect()
}

fn field(field: &FieldInfo, indent: usize, width: usize) -> String {
    let (label, meaning) = (label(field), meaning(field));
    let own = format!("{:indent$}{label:width$}  {meaning}\n", "");
    own + &fields(&field.fields, indent + 2)
}

fn label(field: &FieldInfo) -> String {
    let (name, kind) = (&field.name, field.kind.name());
    if field.optional { format!("[{name}] ({kind})") } else { format!("{name} ({kind})") }
}

fn meaning(field: &FieldInfo) -> String {
    let mut text = field.meaning.clone();
    if !field.unit.is_empty() && field.kind != FieldKind::Duration {
        text += &format!(", in {}", field.unit);
    }
    if !field.words.is_empty() {
        text += &format!(": {}", field.words.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_listed_below_their_event() {
        let events = [
            EventInfo::new("open", "a file was opened")
                .field(FieldInfo::text("path", "path of the file"))
                .field(FieldInfo::number("size", "size of the file").unit("bytes").optional())
                .field(FieldInfo::word("call", "system call").words(["open", "openat"]))
                .field(FieldInfo::group("fields", "more", [FieldInfo::any("*", "as the kernel names it")])),
            EventInfo::new("close", "alike"),
            EventInfo::new("dup", "alike"),
            EventInfo::new("waits", "waits of a thread").continuation("a row for each bucket"),
        ];
        let text = section(&events);
        for line in [
            "  open: a file was opened\n",
            "    path (text)      path of the file\n",
            "    [size] (number)  size of the file, in bytes\n",
            "    call (word)      system call: open, openat\n",
            "    fields (group)   more\n",
            "      [*] (any)  as the kernel names it\n",
            "  close, dup: alike\n",
            "  waits: waits of a thread\n",
            "    below it, after ` => `: a row for each bucket\n",
            "    time (fraction)  time of the event since boot (CLOCK_BOOTTIME), in s\n",
        ] {
            assert!(text.contains(line), "no {line:?} in: {text}");
        }
        assert_eq!(section(&[]), "");
    }
}
