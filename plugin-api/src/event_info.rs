//! A hook's lines, described as data.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The description of an event: its name, its meaning, and the fields of its line.
///
/// Describe the fields in the order and with the types in which [`EventLine`](crate::EventLine) gets them. The fields that all
/// events share ([`common_fields`](Self::common_fields)) and the line that reports losses ([`lost`](Self::lost)) are described
/// by this crate.
///
/// ```
/// use trace_hook_api::{EventInfo, FieldInfo, HookInfo};
///
/// HookInfo::new("trace_open", "Every file that is opened").event(
///     EventInfo::new("open", "a file was opened, or could not be opened")
///         .field(FieldInfo::text("path", "path of the file"))
///         .field(FieldInfo::word("error", "name of the error").optional())
///         .field(FieldInfo::number("size", "size of the file").unit("bytes"))
///         .field(FieldInfo::duration("duration", "time from the call to its return")),
/// );
/// ```
///
/// In the names of events and fields, `*` stands for any characters: `sys_enter_*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventInfo {
    /// The name, as [`LineBuffer::event`](crate::LineBuffer::event) gets it.
    pub name: String,
    /// What has happened.
    pub meaning: String,
    /// The fields, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldInfo>,
    /// What the [continuation](crate::LineBuffer::continuation) lines below it show, if it has any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub continuation: String,
}

/// The description of a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FieldInfo {
    /// The name, as in the text of a line. See [`json_name`](Self::json_name).
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub kind: FieldKind,
    /// The meaning of the value.
    pub meaning: String,
    /// The unit of a number: `bytes`, `pages`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// Whether the field is missing in some lines.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// The only possible words; empty if there is no such list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// The fields of a group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldInfo>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The type of a field: the method of [`EventLine`](crate::EventLine) that writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FieldKind {
    /// Text from a traced program. In JSON a string.
    Text,
    /// A word of the hook's own. In JSON a string.
    Word,
    /// A whole number. In JSON a number.
    Number,
    /// A number with a fraction. In JSON a number.
    Fraction,
    /// An address. In JSON a string: `"0x7ffd0a10"`.
    Address,
    /// A duration. In JSON a number of nanoseconds, whose name ends in `_ns`.
    Duration,
    /// True or false. In text the name is there or not.
    Flag,
    /// Several texts. In JSON an array of strings.
    List,
    /// Fields. In JSON an object.
    Group,
    /// The buckets of a histogram, in JSON only: an array of objects with `from_ns`, `to_ns` and `count`.
    Buckets,
    /// A value whose type depends on its name, which contains a `*`.
    Any,
    /// A type that only a newer version knows.
    #[serde(other)]
    Unknown,
}

impl FieldKind {
    /// Returns the name of the type: `text`, `number`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Word => "word",
            Self::Number => "number",
            Self::Fraction => "fraction",
            Self::Address => "address",
            Self::Duration => "duration",
            Self::Flag => "flag",
            Self::List => "list",
            Self::Group => "group",
            Self::Buckets => "buckets",
            Self::Any => "any",
            Self::Unknown => "unknown",
        }
    }
}

impl EventInfo {
    /// Creates the description of an event without fields.
    pub fn new(name: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self { name: name.into(), meaning: meaning.into(), fields: Vec::new(), continuation: String::new() }
    }

    /// Adds a field.
    pub fn field(mut self, field: FieldInfo) -> Self {
        self.fields.push(field);
        self
    }

    /// Adds several fields, such as those that a hook's events share.
    pub fn fields(mut self, fields: impl IntoIterator<Item = FieldInfo>) -> Self {
        self.fields.extend(fields);
        self
    }

    /// Adds the fields that [`EventLine::distribution`](crate::EventLine::distribution) writes.
    pub fn distribution(self) -> Self {
        self.fields([
            FieldInfo::number("count", "number of values"),
            FieldInfo::duration("mean", "mean"),
            FieldInfo::duration("p50", "median"),
            FieldInfo::duration("p99", "99th percentile"),
            FieldInfo::duration("max", "maximum"),
            FieldInfo::new(
                "buckets",
                FieldKind::Buckets,
                "number of values in each power of two nanoseconds, only in JSON",
            ),
        ])
    }

    /// Describes the continuation lines below the event.
    pub fn continuation(mut self, meaning: impl Into<String>) -> Self {
        self.continuation = meaning.into();
        self
    }

    /// Returns the fields that every event has, as far as its [`Origin`](crate::Origin) has them.
    pub fn common_fields() -> Vec<FieldInfo> {
        vec![
            FieldInfo::fraction("time", "time of the event since boot (CLOCK_BOOTTIME)").unit("s"),
            FieldInfo::number("cpu", "CPU on which it happened").optional(),
            FieldInfo::number("pid", "process in which it happened, as the host numbers it").optional(),
            FieldInfo::number("tid", "thread in which it happened").optional(),
            FieldInfo::text("comm", "name of that thread").optional(),
            FieldInfo::word("event", "name of the event"),
        ]
    }

    /// Returns the description of the line that reports lost events, which any hook can have.
    pub fn lost() -> Self {
        Self::new("lost", "events of this CPU were lost: they were recorded faster than they were read")
            .field(FieldInfo::number("cpu", "CPU whose events were lost"))
            .field(FieldInfo::number("count", "number of lost events, if known").optional())
    }

    /// Returns whether events of this name are described by this.
    fn is_of(&self, name: &str) -> bool {
        matches(&self.name, name)
    }
}

impl FieldInfo {
    /// Describes a field that [`EventLine::text`](crate::EventLine::text) writes.
    pub fn text(name: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self::new(name, FieldKind::Text, meaning)
    }

    /// Describes a field that [`EventLine::word`](crate::EventLine::word) writes.
    pub fn word(name: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self::new(name, FieldKind::Word, meaning)
    }

    /// Describes a field that [`EventLine::number`](crate::EventLine::number) writes.
    pub fn number(name: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self::new(name, FieldKind::Number, meaning)
    }

    /// Describes a field that [`EventLine::fraction`](crate::EventLine::fraction) writes.
    pub fn fraction(name: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self::new(name, FieldKind::Fraction, meaning)
    }

    /// Describes a field that [`EventLine::address`](crate::EventLine::address) writes.
    pub fn address(name: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self::new(name, FieldKind::Address, meaning)
    }

    /// Describes a field that [`EventLine::duration`](crate::EventLine::duration) writes. Give the name without `_ns`.
    pub fn duration(name: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self::new(name, FieldKind::Duration, meaning)
    }

    /// Describes a field that [`EventLine::flag`](crate::EventLine::flag) writes.
    pub fn flag(name: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self::new(name, FieldKind::Flag, meaning)
    }

    /// Describes a field that [`EventLine::list`](crate::EventLine::list) or [`EventLine::texts`](crate::EventLine::texts) writes.
    pub fn list(name: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self::new(name, FieldKind::List, meaning)
    }

    /// Describes fields that [`EventLine::group`](crate::EventLine::group) writes.
    pub fn group(
        name: impl Into<String>,
        meaning: impl Into<String>,
        fields: impl IntoIterator<Item = Self>,
    ) -> Self {
        Self { fields: fields.into_iter().collect(), ..Self::new(name, FieldKind::Group, meaning) }
    }

    /// Describes fields whose names and types are known only at run time. `*` stands for any characters of the name.
    ///
    /// They may be missing. Described fields of exact names take precedence.
    ///
    /// ```
    /// use trace_hook_api::FieldInfo;
    ///
    /// FieldInfo::group("fields", "fields of the event", [FieldInfo::any("*", "as the kernel names it")]);
    /// ```
    pub fn any(name: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self::new(name, FieldKind::Any, meaning).optional()
    }

    fn new(name: impl Into<String>, kind: FieldKind, meaning: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind,
            meaning: meaning.into(),
            unit: String::new(),
            optional: false,
            words: Vec::new(),
            fields: Vec::new(),
        }
    }

    /// Sets the unit of a number.
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = unit.into();
        self
    }

    /// Declares that the field is missing in some lines.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Sets the only possible words.
    pub fn words<T: Into<String>>(mut self, words: impl IntoIterator<Item = T>) -> Self {
        self.words = words.into_iter().map(Into::into).collect();
        self
    }

    /// Returns the name of the field in JSON: that of a duration ends in `_ns`.
    pub fn json_name(&self) -> String {
        match self.kind {
            FieldKind::Duration => format!("{}_ns", self.name),
            _ => self.name.clone(),
        }
    }
}

/// Checks a line in JSON against the descriptions of a hook's events. Any line is right if there are none.
///
/// ```
/// use trace_hook_api::{EventInfo, FieldInfo, check_json_line};
///
/// let events = [EventInfo::new("open", "").field(FieldInfo::text("path", ""))];
/// check_json_line(&events, br#"{"time":1.0,"event":"open","path":"/etc/passwd"}"#)?;
/// let error = check_json_line(&events, br#"{"time":1.0,"event":"open","path":7}"#).unwrap_err();
/// assert_eq!(error, "open: 'path' is described as text, but is 7");
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
///
/// The first difference between the line and its description.
pub fn check_json_line(events: &[EventInfo], line: &[u8]) -> Result<(), String> {
    if events.is_empty() {
        return Ok(());
    }
    let line: Map<String, Value> =
        serde_json::from_slice(line).map_err(|error| format!("the line is not a JSON object: {error}"))?;
    let name = line.get("event").and_then(Value::as_str).ok_or("'event' is missing")?;
    let exact = events.iter().find(|event| event.name == name);
    // A pattern is for the hook's events, not for the line that reports losses.
    let by_pattern = || events.iter().find(|event| name != "lost" && event.is_of(name));
    let (fields, common) = match exact.or_else(by_pattern) {
        Some(event) => (&event.fields, EventInfo::common_fields()),
        None if name == "lost" => (&EventInfo::lost().fields, vec![FieldInfo::word("event", "")]),
        None => return Err(format!("the event '{name}' is not described")),
    };
    check_object(&line, fields, &common).map_err(|problem| format!("{name}: {problem}"))
}

/// Checks the members of an object. `common` fields may be there, too, unless they are described again.
fn check_object(
    object: &Map<String, Value>,
    fields: &[FieldInfo],
    common: &[FieldInfo],
) -> Result<(), String> {
    let described = |name: &str| {
        let exact = fields.iter().chain(common).find(|field| field.json_name() == name);
        exact.or_else(|| fields.iter().find(|field| matches(&field.json_name(), name)))
    };
    for (name, value) in object {
        let field = described(name).ok_or_else(|| format!("'{name}' is not described"))?;
        check_value(field, value).map_err(|problem| format!("'{name}' {problem}"))?;
    }
    let is_missing = |field: &&FieldInfo| !field.optional && !object.contains_key(&field.json_name());
    match fields.iter().chain(common).find(is_missing) {
        Some(field) => Err(format!("'{}' is missing, and not described as optional", field.json_name())),
        None => Ok(()),
    }
}

fn check_value(field: &FieldInfo, value: &Value) -> Result<(), String> {
    let is_right = match field.kind {
        FieldKind::Text => value.is_string(),
        FieldKind::Word => {
            let is_known = |word| field.words.is_empty() || field.words.iter().any(|known| known == word);
            value.as_str().is_some_and(is_known)
        }
        // A number beyond 64 bits is read as a floating-point number.
        FieldKind::Number => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        FieldKind::Fraction => value.is_number(),
        FieldKind::Address => value.as_str().is_some_and(is_address),
        FieldKind::Duration => value.is_u64(),
        FieldKind::Flag => value.is_boolean(),
        FieldKind::List => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        FieldKind::Buckets => value.as_array().is_some_and(|items| items.iter().all(Value::is_object)),
        FieldKind::Group => {
            let Some(object) = value.as_object() else {
                return Err(format!("is described as group, but is {value}"));
            };
            return check_object(object, &field.fields, &[])
                .map_err(|problem| format!("has a field: {problem}"));
        }
        FieldKind::Any | FieldKind::Unknown => true,
    };
    match is_right {
        true => Ok(()),
        false if field.words.is_empty() => {
            Err(format!("is described as {}, but is {value}", field.kind.name()))
        }
        false => Err(format!("is described as one of {}, but is {value}", field.words.join(", "))),
    }
}

fn is_address(text: &str) -> bool {
    text.strip_prefix("0x").is_some_and(|digits| u64::from_str_radix(digits, 16).is_ok())
}

/// Whether a name is of this pattern, in which `*` stands for any characters.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts = rest.split('*');
    // The last part has to be at the end; each of the others anywhere before it.
    let last = parts.next_back().unwrap_or_default();
    for part in parts {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Histogram, LineBuffer, Origin};

    fn events() -> Vec<EventInfo> {
        vec![
            EventInfo::new("open", "")
                .field(FieldInfo::text("path", ""))
                .field(FieldInfo::word("call", "").words(["open", "openat"]))
                .field(FieldInfo::number("result", ""))
                .field(FieldInfo::address("caller", "").optional())
                .field(FieldInfo::duration("waited", "").optional())
                .field(FieldInfo::flag("compat", ""))
                .field(FieldInfo::fraction("share", "").optional())
                .field(FieldInfo::list("stack", "").optional())
                .field(
                    FieldInfo::group("fields", "", [FieldInfo::number("pid", ""), FieldInfo::any("*", "")])
                        .optional(),
                ),
            EventInfo::new("sys_enter_*", "").field(FieldInfo::any("arg*", "")),
            EventInfo::new("waits", "").distribution(),
        ]
    }

    fn check(line: &str) -> Result<(), String> {
        check_json_line(&events(), line.as_bytes())
    }

    #[test]
    fn what_event_lines_write_matches_its_description() {
        let mut lines = LineBuffer::with_room(4096).in_format(Format::Json);
        let origin = Origin::at(5).cpu(1).pid(2).tid(3).comm(b"x");
        lines
            .event(&origin, "open")
            .text("path", b"p")
            .word("call", "open")
            .number("result", i128::from(u64::MAX) * 4)
            .address("caller", u64::MAX)
            .duration("waited", 7)
            .flag("compat", false)
            .fraction("share", 0.5)
            .list("stack", ["a"])
            .group("fields", |line| line.number("pid", 7).text("name", b"x"));
        lines
            .event(&Origin::at(6), "open")
            .text("path", b"")
            .word("call", "openat")
            .number("result", -2)
            .flag("compat", true);
        lines.event(&origin, "sys_enter_openat").number("arg0", 3).text("arg1", b"x");
        lines.event(&origin, "waits").distribution(&Histogram::default());
        lines.lost(1, 7);
        lines.lost(1, None);
        for (_, line) in lines.iter() {
            assert_eq!(check_json_line(&events(), line), Ok(()), "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn differences_are_explained() {
        let open = r#""time":1.5,"event":"open","path":"p","call":"open","result":3,"compat":false"#;
        assert_eq!(check(&format!("{{{open}}}")), Ok(()));
        for (more, problem) in [
            (r#""size":3"#, "open: 'size' is not described"),
            (r#""waited":3"#, "open: 'waited' is not described"),
            (r#""waited_ns":-3"#, "open: 'waited_ns' is described as duration, but is -3"),
            (r#""caller":"main""#, "open: 'caller' is described as address, but is \"main\""),
            (r#""stack":[1]"#, "open: 'stack' is described as list, but is [1]"),
            (r#""cpu":"one""#, "open: 'cpu' is described as number, but is \"one\""),
            (
                r#""fields":{"name":"x"}"#,
                "open: 'fields' has a field: 'pid' is missing, and not described as optional",
            ),
        ] {
            assert_eq!(check(&format!("{{{open},{more}}}")), Err(problem.to_owned()));
        }
        assert_eq!(
            check(&format!("{{{}}}", open.replace(r#""call":"open""#, r#""call":"creat""#))),
            Err("open: 'call' is described as one of open, openat, but is \"creat\"".to_owned())
        );
        assert_eq!(
            check(r#"{"time":1.5,"event":"open","path":"p","result":3,"compat":false}"#),
            Err("open: 'call' is missing, and not described as optional".to_owned())
        );
        assert_eq!(
            check(r#"{"event":"sys_enter_x"}"#),
            Err("sys_enter_x: 'time' is missing, and not described as optional".to_owned())
        );
        assert_eq!(
            check(r#"{"time":1,"event":"close"}"#),
            Err("the event 'close' is not described".to_owned())
        );
        assert_eq!(check("{}"), Err("'event' is missing".to_owned()));
        assert_eq!(
            check(r#"{"event":"lost","cpu":1,"time":3}"#),
            Err("lost: 'time' is not described".to_owned())
        );
        assert!(check("[]").unwrap_err().contains("not a JSON object"));
        assert_eq!(check_json_line(&[], b"anything"), Ok(()));
    }

    #[test]
    fn star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("open", "open", true),
            ("open", "openat", false),
            ("*", "", true),
            ("sys_*", "sys_", true),
            ("*_exit", "do_exit", true),
            ("sys_*_x", "sys_x", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn types_of_newer_plugins_are_read() {
        let newer = r#"{"name":"x","meaning":"m","fields":[{"name":"f","type":"colour","meaning":"","shade":1}],"since":2}"#;
        let event: EventInfo = serde_json::from_str(newer).unwrap();
        assert_eq!(event.fields[0].kind, FieldKind::Unknown);
        let oldest: EventInfo = serde_json::from_str(r#"{"name":"x","meaning":"m"}"#).unwrap();
        assert_eq!(oldest, EventInfo::new("x", "m"));
    }

    #[test]
    fn pattern_does_not_describe_the_line_of_losses() {
        let events = [EventInfo::new("*", "").field(FieldInfo::number("result", ""))];
        check_json_line(&events, br#"{"event":"lost","cpu":1,"count":5}"#).unwrap();
        assert!(check_json_line(&events, br#"{"time":1.0,"event":"found","cpu":1}"#).is_err());
    }
}
