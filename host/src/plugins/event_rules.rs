//! The rules for the descriptions of a hook's events.

use trace_hook_api::{EventInfo, FieldInfo, FieldKind};

use super::rules::{at_most, check_line, is_name, shortened};

const MOST_EVENTS: usize = 256;
/// For each event, and for each group.
const MOST_FIELDS: usize = 256;
/// How deep groups can be nested.
const DEEPEST_GROUP: usize = 4;
/// Enough for all signals.
const MOST_WORDS: usize = 1_024;

/// Checks the descriptions of a hook's events.
///
/// # Errors
///
/// The first rule that is broken.
pub fn check_events(events: &[EventInfo]) -> Result<(), String> {
    at_most(MOST_EVENTS, events.len(), "events").map_err(|problem| format!("it {problem}"))?;
    for (index, event) in events.iter().enumerate() {
        let name = shortened(&event.name);
        if !is_name(&event.name, is_good) {
            return Err(format!(
                "the name of an event consists of letters, digits, '_', '-', '.' and '*', but one is called {name:?}"
            ));
        }
        if events[..index].iter().any(|other| other.name == event.name) {
            return Err(format!("the event {name} is described twice"));
        }
        check_event(event).map_err(|problem| format!("the event {name}: {problem}"))?;
    }
    Ok(())
}

fn check_event(event: &EventInfo) -> Result<(), String> {
    check_line(&event.meaning).map_err(|problem| format!("its meaning {problem}"))?;
    check_line(&event.continuation)
        .map_err(|problem| format!("the meaning of its continuation lines {problem}"))?;
    // A task's name is a common field only of events that have a thread.
    let common =
        EventInfo::common_fields().into_iter().map(|field| field.json_name()).filter(|name| name != "comm");
    check_fields(&event.fields, &common.collect::<Vec<_>>(), DEEPEST_GROUP)
}

/// Checks fields that occur together with others of these names.
fn check_fields(fields: &[FieldInfo], others: &[String], depth: usize) -> Result<(), String> {
    at_most(MOST_FIELDS, fields.len(), "fields").map_err(|problem| format!("it {problem}"))?;
    let mut names = others.to_vec();
    for field in fields {
        let name = shortened(&field.name);
        if !is_name(&field.name, is_good) {
            return Err(format!(
                "the name of a field consists of letters, digits, '_', '-', '.' and '*', but one is called {name:?}"
            ));
        }
        if names.contains(&field.json_name()) {
            return Err(format!("it has two fields named {}", shortened(&field.json_name())));
        }
        names.push(field.json_name());
        check_field(field, depth).map_err(|problem| format!("the field {name}: {problem}"))?;
    }
    Ok(())
}

fn check_field(field: &FieldInfo, depth: usize) -> Result<(), String> {
    check_line(&field.meaning).map_err(|problem| format!("its meaning {problem}"))?;
    check_line(&field.unit).map_err(|problem| format!("its unit {problem}"))?;
    at_most(MOST_WORDS, field.words.len(), "words").map_err(|problem| format!("it {problem}"))?;
    field
        .words
        .iter()
        .try_for_each(|word| check_line(word))
        .map_err(|problem| format!("a word {problem}"))?;
    match field.kind {
        FieldKind::Group if depth == 0 => Err(format!("groups are nested more than {DEEPEST_GROUP} deep")),
        FieldKind::Group => check_fields(&field.fields, &[], depth - 1),
        _ if !field.fields.is_empty() => Err("only a group has fields".to_owned()),
        _ if !field.words.is_empty() && field.kind != FieldKind::Word => {
            Err("only a word has a list of values".to_owned())
        }
        _ => Ok(()),
    }
}

fn is_good(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.*".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> EventInfo {
        EventInfo::new("open", "a file was opened")
    }

    fn complaint(event: EventInfo) -> String {
        check_events(&[event]).unwrap_err()
    }

    #[test]
    fn described_events_are_accepted() {
        let events = [
            open()
                .field(FieldInfo::text("path", "path"))
                .field(FieldInfo::duration("took", "time").optional()),
            EventInfo::new("sys_enter_*", "a call").field(FieldInfo::group(
                "fields",
                "arguments",
                [FieldInfo::any("*", "by the kernel's name"), FieldInfo::number("pid", "its own")],
            )),
            EventInfo::new("stack", "a stack").field(FieldInfo::text("comm", "name of the task")),
            EventInfo::new("waits", "waits").distribution().continuation("a row for each bucket"),
        ];
        assert_eq!(check_events(&events), Ok(()));
    }

    #[test]
    fn texts_are_plain_and_short() {
        for (text, problem) in
            [("a\x1b[2Jb", "\\u{1b}"), ("two\nlines", "\\n"), (&"x".repeat(2_000), "at most")]
        {
            assert!(complaint(EventInfo::new("e", text)).contains(problem));
            assert!(complaint(open().continuation(text)).contains(problem));
            assert!(complaint(open().field(FieldInfo::text("f", text))).contains(problem));
            assert!(complaint(open().field(FieldInfo::number("f", "").unit(text))).contains(problem));
            assert!(complaint(open().field(FieldInfo::word("f", "").words([text]))).contains(problem));
        }
    }

    #[test]
    fn names_are_plain_and_unique() {
        for name in ["", "a b", "a\nb", "\x1b", "ä", "a\"b", &"x".repeat(1 << 16)] {
            assert!(complaint(EventInfo::new(name, "")).contains("letters"));
            assert!(complaint(open().field(FieldInfo::text(name, ""))).contains("letters"));
            assert!(complaint(open().field(FieldInfo::text(name, ""))).len() < 300);
        }
        assert!(check_events(&[open(), open()]).unwrap_err().contains("described twice"));
        for name in ["time", "cpu", "pid", "tid", "event"] {
            assert!(complaint(open().field(FieldInfo::text(name, ""))).contains("two fields"), "{name}");
        }
        let twice = open().field(FieldInfo::duration("took", "")).field(FieldInfo::number("took_ns", ""));
        assert!(complaint(twice).contains("two fields named took_ns"));
    }

    #[test]
    fn counts_are_limited() {
        let many = |count: usize| (0..count).map(|n| n.to_string());
        let events: Vec<EventInfo> = many(MOST_EVENTS + 1).map(|name| EventInfo::new(name, "")).collect();
        assert!(check_events(&events).unwrap_err().contains("257 events"));
        assert!(
            complaint(open().fields(many(MOST_FIELDS + 1).map(|name| FieldInfo::text(name, ""))))
                .contains("fields")
        );
        assert!(
            complaint(open().field(FieldInfo::word("w", "").words(many(MOST_WORDS + 1)))).contains("words")
        );
        let nested =
            (0..=DEEPEST_GROUP).fold(FieldInfo::text("f", ""), |inner, _| FieldInfo::group("g", "", [inner]));
        assert!(complaint(open().field(nested)).contains("nested"));
    }

    #[test]
    fn only_words_have_lists_and_only_groups_have_fields() {
        assert!(complaint(open().field(FieldInfo::number("n", "").words(["1"]))).contains("only a word"));
        let newer = r#"{"name":"x","meaning":"","fields":[{"name":"f","type":"colour","meaning":""}]}"#;
        assert_eq!(check_events(&[serde_json::from_str(newer).unwrap()]), Ok(()));
        let odd = r#"{"name":"x","meaning":"","fields":[{"name":"f","type":"text","meaning":"","fields":[
            {"name":"g","type":"text","meaning":""}]}]}"#;
        assert!(complaint(serde_json::from_str(odd).unwrap()).contains("only a group"));
    }
}
