//! Finds the fields that an expression or a column names, in the descriptions of a hook's events.

use super::evaluation::ANY_GROUP;
use crate::event_info::matches;
use crate::{EventInfo, FieldInfo, FieldKind, did_you_mean};

/// Finds a field of any of the events by the name that a user gives: that in text, that in JSON, or for a field of a group also
/// its own name alone. Returns its full name, and the types that it has in the events.
///
/// # Errors
///
/// No event has such a field; the message has the most similar name.
pub fn find_field(events: &[EventInfo], name: &str) -> Result<(String, Vec<FieldKind>), String> {
    let all = all_fields(events);
    let exact = |field: &&(String, FieldInfo)| is_named(&field.0, &field.1, name);
    let of_group = |field: &&(String, FieldInfo)| {
        field.0.split_once('.').is_some_and(|(_, own)| own == name || is_named(own, &field.1, name))
    };
    // A pattern may stand for a field of this name.
    let pattern = |field: &&(String, FieldInfo)| field.0.contains('*') && matches(&field.0, name);
    let pattern_of_group = |field: &&(String, FieldInfo)| {
        field.0.split_once('.').is_some_and(|(_, own)| own.contains('*') && matches(own, name))
    };
    let kinds = |full: &str| {
        let mut kinds: Vec<FieldKind> =
            all.iter().filter(|(other, _)| other == full).map(|(_, field)| field.kind).collect();
        kinds.dedup();
        kinds
    };
    if let Some((full, _)) = all.iter().find(exact).or_else(|| all.iter().find(of_group)) {
        return Ok((full.clone(), kinds(full)));
    }
    if all.iter().any(|field| pattern(&field)) {
        return Ok((name.to_owned(), vec![FieldKind::Any]));
    }
    if all.iter().any(|field| pattern_of_group(&field)) {
        return Ok((format!("{ANY_GROUP}.{name}"), vec![FieldKind::Any]));
    }
    Err(format!("unknown field '{name}'{}", did_you_mean(name, &described_names(&all))))
}

/// Returns a hint with described fields of a similar name if a hook, some of whose fields may have any name, describes none of
/// this name: it may be a mistake. Otherwise, the text is empty.
pub fn similar_fields(events: &[EventInfo], name: &str) -> String {
    let all = all_fields(events);
    let own = |full: &str| full.split_once('.').map_or(full.to_owned(), |(_, own)| own.to_owned());
    let is_described = |(full, field): &(String, FieldInfo)| {
        is_named(full, field, name) || is_named(&own(full), field, name)
    };
    match all.iter().any(is_described) {
        true => String::new(),
        false => did_you_mean(name, &described_names(&all)),
    }
}

fn described_names(fields: &[(String, FieldInfo)]) -> Vec<&str> {
    fields.iter().map(|(full, _)| full.as_str()).filter(|full| !full.contains('*')).collect()
}

/// The fields of all events with their full names, each name and type once, the common ones first.
fn all_fields(events: &[EventInfo]) -> Vec<(String, FieldInfo)> {
    let mut all: Vec<(String, FieldInfo)> = Vec::new();
    let mut add = |full: String, field: &FieldInfo| {
        if !all.iter().any(|(other, known)| *other == full && known.kind == field.kind) {
            all.push((full, field.clone()));
        }
    };
    let common = EventInfo::common_fields();
    for field in common.iter().chain(events.iter().flat_map(|event| &event.fields)) {
        match field.kind {
            FieldKind::Group => {
                field.fields.iter().for_each(|own| add(format!("{}.{}", field.name, own.name), own));
            }
            _ => add(field.name.clone(), field),
        }
    }
    all
}

fn is_named(full: &str, field: &FieldInfo, name: &str) -> bool {
    full == name || (field.kind == FieldKind::Duration && name.strip_suffix("_ns") == Some(full))
}

/// Whether a full name is that of this field, or of a field of this group.
pub fn is_field_or_group(full: &str, name: &str) -> bool {
    full == name || full.split_once('.').is_some_and(|(group, _)| group == name)
}
