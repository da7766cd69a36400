//! The rules for the description of a plugin.
//!
//! They are checked before any of it is printed: a name could contain control sequences of a terminal.

use trace_hook_api::{HookInfo, Kind, Param, PluginInfo, find_field, is_plain, parse_duration};

use super::event_rules;
use crate::arguments;

/// In characters. Users type names.
const LONGEST_NAME: usize = 64;
/// In bytes, of a text that must be one line.
const LONGEST_LINE: usize = 1_000;
/// In bytes, of a text in paragraphs.
const LONGEST_TEXT: usize = 64 << 10;
const MOST_HOOKS: usize = 256;
const MOST_PARAMS: usize = 64;
/// Enough for all system calls.
const MOST_CHOICES: usize = 1_024;

/// Checks the description of the plugin, without its hooks, and the number of hooks.
///
/// # Errors
///
/// The broken rule. None of the hooks can be used.
pub fn check_plugin(info: &PluginInfo, hooks: usize) -> Result<(), String> {
    if hooks == 0 {
        return Err("it has no hooks".to_owned());
    }
    at_most(MOST_HOOKS, hooks, "hooks").map_err(|problem| format!("it {problem}"))?;
    check_line(&info.version).map_err(|problem| format!("its version {problem}"))?;
    check_line(&info.api_version).map_err(|problem| format!("the version of its interface {problem}"))
}

/// Checks the description of a hook. `others` are the hooks of the same plugin that come before it.
///
/// # Errors
///
/// The broken rule. Other hooks can be used.
pub fn check_hook(hook: &HookInfo, others: &[HookInfo]) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !is_name(&hook.name, good) {
        return Err(format!("a hook's name has 1 to {LONGEST_NAME} letters, digits, '_', '.' or '-'"));
    }
    if others.iter().any(|other| other.name == hook.name) {
        return Err("another of its hooks has the same name".to_owned());
    }
    check_line(&hook.summary).map_err(|problem| format!("its summary {problem}"))?;
    check_text(&hook.details).map_err(|problem| format!("its details {problem}"))?;
    at_most(MOST_PARAMS, hook.examples.len(), "examples").map_err(|problem| format!("it {problem}"))?;
    for text in hook.examples.iter().flat_map(|example| [&example.arguments, &example.meaning]) {
        check_line(text).map_err(|problem| format!("one of its examples {problem}"))?;
    }
    if hook.formats.is_empty() {
        return Err("it declares no format that this manager supports".to_owned());
    }
    event_rules::check_events(&hook.events)?;
    at_most(MOST_PARAMS, hook.params.len(), "parameters").map_err(|problem| format!("it {problem}"))?;
    for (index, param) in hook.params.iter().enumerate() {
        check_param(param, &hook.params[..index])?;
        check_table(param, hook)?;
    }
    Ok(())
}

fn check_table(param: &Param, hook: &HookInfo) -> Result<(), String> {
    let name = shortened(&param.name);
    if !param.table.is_empty() && (param.kind != Kind::Flag || !hook.honours_view) {
        return Err(format!("--{name} has a table, which only flags of hooks that honour views can have"));
    }
    // Where hooks are only listed, their events are not asked for.
    let columns = param.table.iter().filter(|_| !hook.events.is_empty());
    let unknown = columns.map(|column| find_field(&hook.events, column)).find_map(Result::err);
    unknown.map_or(Ok(()), |problem| Err(format!("the table of --{name}: {problem}")))
}

fn check_param(param: &Param, others: &[Param]) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let name = shortened(&param.name);
    if !is_name(&param.name, good) || param.name.starts_with('-') {
        return Err(format!(
            "a parameter's name has 1 to {LONGEST_NAME} letters, digits and '-', but one is called {name:?}"
        ));
    }
    if param.short.is_some_and(|letter| !letter.is_ascii_alphanumeric()) {
        return Err(format!("the short form of --{name} is not a letter"));
    }
    check_texts(param).map_err(|problem| format!("--{name}: {problem}"))?;
    match param.kind {
        Kind::Flag
            if param.required || param.repeated || param.comma_separated || param.default.is_some() =>
        {
            Err(format!("--{name} is a flag, so it cannot be required or repeated, or have a default"))
        }
        Kind::Integer { min, max } if min > max => {
            Err(format!("--{name} takes a number from {min} to {max}, which is an empty range"))
        }
        Kind::Duration { min_ns, max_ns, .. } if min_ns > max_ns => {
            Err(format!("--{name} takes a duration from {min_ns} ns to {max_ns} ns, which is an empty range"))
        }
        _ if param.required && param.default.is_some() => Err(format!(
            "--{name} must be given, so it cannot have a default; remove required() or default()"
        )),
        Kind::Flag | Kind::Text | Kind::Integer { .. } | Kind::Duration { .. } => Ok(()),
        _ => Err(format!("--{name} has a kind that this manager does not support; a newer one is needed")),
    }?;
    if let Some(choice) = param.choices.iter().find(|choice| !is_of_kind(param, choice)) {
        return Err(format!("a choice of --{name} is not a valid value: {:?}", shortened(choice)));
    }
    if let Some(default) = param.default.as_ref().filter(|default| !is_value(param, default)) {
        return Err(format!("the default of --{name} is not a valid value: {:?}", shortened(default)));
    }
    if arguments::is_reserved(&param.name, param.short) {
        return Err(format!("--{name} or its short form is one of the arguments that every hook has"));
    }
    let same =
        |other: &&Param| other.name == param.name || (param.short.is_some() && other.short == param.short);
    match others.iter().find(same) {
        Some(other) => Err(format!("--{name} has the same name or short form as --{}", other.name)),
        None => Ok(()),
    }
}

fn check_texts(param: &Param) -> Result<(), String> {
    check_line(&param.help).map_err(|problem| format!("its help {problem}"))?;
    check_line(&param.value_name).map_err(|problem| format!("the name of its value {problem}"))?;
    at_most(MOST_CHOICES, param.choices.len(), "choices").map_err(|problem| format!("it {problem}"))?;
    let mut values = param.choices.iter().chain(&param.default);
    values.try_for_each(|value| check_line(value)).map_err(|problem| format!("a value {problem}"))
}

pub(super) fn check_line(text: &str) -> Result<(), String> {
    check_characters(text, LONGEST_LINE, is_plain)
}

fn check_text(text: &str) -> Result<(), String> {
    check_characters(text, LONGEST_TEXT, |c| is_plain(c) || c == '\n')
}

fn check_characters(text: &str, longest: usize, good: impl Fn(char) -> bool) -> Result<(), String> {
    at_most(longest, text.len(), "bytes")?;
    match text.chars().find(|c| !good(*c)) {
        Some(c) => Err(format!("has a control character: {}", c.escape_default())),
        None => Ok(()),
    }
}

pub(super) fn at_most(limit: usize, count: usize, what: &str) -> Result<(), String> {
    if count > limit { Err(format!("has {count} {what}; at most {limit} are allowed")) } else { Ok(()) }
}

fn is_value(param: &Param, value: &str) -> bool {
    let is_choice = param.choices.is_empty() || param.choices.iter().any(|choice| choice == value);
    is_choice && is_of_kind(param, value)
}

fn is_of_kind(param: &Param, value: &str) -> bool {
    match param.kind {
        Kind::Integer { min, max } => value.parse().is_ok_and(|number: i64| (min..=max).contains(&number)),
        Kind::Duration { unit, min_ns, max_ns } => {
            let nanoseconds = parse_duration(value, unit).map(|duration| duration.as_nanos());
            nanoseconds.is_ok_and(|value| (min_ns.into()..=max_ns.into()).contains(&value))
        }
        _ => true,
    }
}

pub(super) fn is_name(name: &str, good: impl Fn(char) -> bool) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(good)
}

/// Truncates a name for a message.
pub fn shortened(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use trace_hook_api::{EventInfo, FieldInfo, Unit};

    use super::*;

    fn complaint(hook: &HookInfo) -> String {
        check_hook(hook, &[]).unwrap_err()
    }

    fn with(param: Param) -> HookInfo {
        HookInfo::new("h", "").param(Param::flag("known", "").short('k')).param(param)
    }

    #[test]
    fn names_are_plain() {
        for name in ["", "a b", "a\nb", "a/b", "\x1b", "ä", &"x".repeat(1 << 20)] {
            assert!(complaint(&HookInfo::new(name, "")).contains("letters"));
            assert!(complaint(&with(Param::flag(name, ""))).len() < 250);
        }
        let hook = HookInfo::new("h", "");
        assert!(check_hook(&hook, std::slice::from_ref(&hook)).unwrap_err().contains("same name"));
    }

    #[test]
    fn texts_are_short_and_without_control_characters() {
        for (text, problem) in [
            ("a\x1b[2Jb", "\\u{1b}"),
            ("two\nlines", "\\n"),
            ("a\u{202e}b", "\\u{202e}"),
            (&"x".repeat(LONGEST_LINE + 1), "at most"),
        ] {
            assert!(complaint(&HookInfo::new("h", text)).contains(problem));
            assert!(complaint(&with(Param::flag("x", text))).contains(problem));
            assert!(complaint(&with(Param::text("x", text, ""))).contains(problem));
            assert!(complaint(&with(Param::text("x", "X", "").default(text))).contains(problem));
            assert!(complaint(&with(Param::text("x", "X", "").choices([text]))).contains(problem));
            assert!(check_plugin(&PluginInfo::new(text, Vec::new()), 1).unwrap_err().contains(problem));
        }
        assert_eq!(check_hook(&HookInfo::new("h", "").details("two\nlines"), &[]), Ok(()));
        assert!(complaint(&HookInfo::new("h", "").details("\r")).contains("\\r"));
        assert!(complaint(&HookInfo::new("h", "").details("x".repeat(10 << 20))).contains("at most"));
    }

    #[test]
    fn counts_are_limited() {
        let checked = |hooks: usize| check_plugin(&PluginInfo::new("1", Vec::new()), hooks);
        assert!(checked(0).unwrap_err().contains("no hooks"));
        assert_eq!(checked(MOST_HOOKS), Ok(()));
        assert!(checked(10_000).unwrap_err().contains("10000"));
        let many = (0..=MOST_PARAMS)
            .fold(HookInfo::new("h", ""), |hook, n| hook.param(Param::flag(format!("p{n}"), "")));
        assert!(complaint(&many).contains("parameters"));
        let choices = (0..=MOST_CHOICES).map(|n| n.to_string());
        assert!(complaint(&with(Param::text("x", "X", "").choices(choices))).contains("choices"));
    }

    #[test]
    fn parameters_have_unique_unreserved_names() {
        for name in ["pid", "parent", "time", "exact", "format", "buffer-size", "spool-size", "drain", "help"]
        {
            assert!(complaint(&with(Param::flag(name, ""))).contains("every hook"), "{name}");
        }
        for short in ['p', 't', 'h'] {
            assert!(complaint(&with(Param::flag("x", "").short(short))).contains("every hook"), "{short}");
        }
        assert!(complaint(&with(Param::flag("known", ""))).contains("same name"));
        assert!(complaint(&with(Param::flag("x", "").short('k'))).contains("same name"));
        assert!(complaint(&with(Param::flag("x", "").short('-'))).contains("not a letter"));
        assert!(complaint(&with(Param::flag("--x", ""))).contains("letters"));
    }

    #[test]
    fn defaults_and_choices_are_valid_values() {
        assert!(complaint(&with(Param::integer("n", "N", "").range(1, 5).default("9"))).contains("default"));
        assert!(complaint(&with(Param::integer("n", "N", "").range(5, 1))).contains("an empty range"));
        assert!(complaint(&with(Param::text("c", "C", "").choices(["a"]).default("b"))).contains("default"));
        assert!(complaint(&with(Param::flag("f", "").required())).contains("flag"));
        let number = |choices| Param::integer("n", "N", "").range(1, 5).choices(choices);
        assert!(complaint(&with(number(["1", "6"]))).contains("a choice of --n is not a valid value: \"6\""));
        assert!(complaint(&with(number(["1", "2"]).default("3"))).contains("default"));
        assert_eq!(check_hook(&with(number(["1", "2"]).default("2")), &[]), Ok(()));
        let duration = || Param::duration("d", "D", "", Unit::Seconds).range(1, 60);
        assert_eq!(check_hook(&with(duration().default("500ms").range(0, 60)), &[]), Ok(()));
        assert!(complaint(&with(duration().default("2h"))).contains("default"));
        assert!(complaint(&with(duration().default("soon"))).contains("default"));
        assert!(complaint(&with(duration().choices(["1s", "0s"]))).contains("a choice of --d"));
        assert!(complaint(&with(duration().range(5, 1))).contains("an empty range"));
        assert!(complaint(&with(Param::flag("f", "").comma_separated())).contains("flag"));
        let table = |hook: HookInfo| check_hook(&hook.param(Param::flag("f", "").table(["time", "fd"])), &[]);
        assert!(table(HookInfo::new("h", "")).unwrap_err().contains("honour views"));
        let other = EventInfo::new("x", "an event").field(FieldInfo::number("fdx", "a number"));
        assert!(
            table(HookInfo::new("h", "").honours_view().event(other)).unwrap_err().contains("unknown field")
        );
        let event = EventInfo::new("x", "an event").field(FieldInfo::number("fd", "a number"));
        assert_eq!(table(HookInfo::new("h", "").honours_view().event(event)), Ok(()));
        let required = Param::text("t", "T", "").default("d").required();
        assert!(complaint(&with(required)).contains("remove required() or default()"));
        assert_eq!(check_hook(&with(Param::integer("n", "N", "").range(1, 5).default("5")), &[]), Ok(()));
    }
}
