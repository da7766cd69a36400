//! How the lines are presented, by the fields that the hook describes.

use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;
use trace_hook_api::{
    Comparison, Condition, FieldKind, HookInfo, Literal, Operator, TimeFormat, View, find_field,
    parse_condition, similar_fields,
};

use super::every_hook::{COLUMNS, FAILED, OVER, TIME_FORMAT, WHERE};
use crate::error::{Error, Result};

const OPTIONS: [&str; 5] = [WHERE, COLUMNS, TIME_FORMAT, FAILED, OVER];

/// The field of an event that failed.
const ERROR: &str = "error";
/// The durations that `--over` may be about. The first that a hook has counts.
const DURATIONS: [&str; 3] = ["duration", "waited", "max"];
/// The flag of what had not ended when the session did. It may have taken any time.
const UNFINISHED: &str = "unfinished";

/// Returns whether the option is about the view, and the hook does not honour views, or has no field for it.
pub fn is_unsupported(hook: &HookInfo, option: &str) -> bool {
    match option {
        _ if !hook.honours_view => OPTIONS.contains(&option),
        FAILED => !has_field(hook, ERROR, FieldKind::Word),
        OVER => duration_of(hook).is_none(),
        _ => false,
    }
}

fn has_field(hook: &HookInfo, name: &str, kind: FieldKind) -> bool {
    hook.events.iter().flat_map(|event| &event.fields).any(|field| field.name == name && field.kind == kind)
}

fn duration_of(hook: &HookInfo) -> Option<&'static str> {
    DURATIONS.into_iter().find(|name| has_field(hook, name, FieldKind::Duration))
}

/// The view that was asked for.
///
/// # Errors
///
/// The hook does not honour views, or an expression or a column is wrong.
pub fn view(hook: &HookInfo, matches: &ArgMatches) -> Result<View> {
    // A hook's own parameter of the name is not this option.
    let is_given = |option: &&&str| {
        matches.try_contains_id(option).unwrap_or(false)
            && matches.value_source(option) == Some(ValueSource::CommandLine)
    };
    if let Some(option) = OPTIONS.iter().find(|option| is_given(option) && is_unsupported(hook, option)) {
        return Err(Error::Usage(format!("{}: it does not support --{option}; omit it", hook.name)));
    }
    let mut view = View::default();
    view.condition = condition(hook, matches)?;
    for name in matches.get_many::<String>(COLUMNS).into_iter().flatten() {
        let column = column(hook, name.trim())?;
        if !view.columns.contains(&column) {
            view.columns.push(column);
        }
    }
    view.time = match matches.get_one::<String>(TIME_FORMAT).map(String::as_str) {
        Some("wall") => TimeFormat::Wall,
        Some("delta") => TimeFormat::Delta,
        _ => TimeFormat::Boot,
    };
    Ok(view)
}

/// All conditions that were given.
fn condition(hook: &HookInfo, matches: &ArgMatches) -> Result<Option<Condition>> {
    let mut all = Vec::new();
    if let Some(expression) = matches.get_one::<String>(WHERE) {
        let condition = parse_condition(expression, &hook.events).map_err(|error| Error::Expression {
            hook: hook.name.clone(),
            option: WHERE,
            expression: expression.clone(),
            problem: error.problem,
            at: error.at,
        })?;
        for comparison in condition.comparisons() {
            warn_of_literal_wildcards(hook, comparison);
            warn_of_similar_field(hook, WHERE, comparison.field.trim_start_matches("*."));
        }
        all.push(condition);
    }
    if let Ok(Some(true)) = matches.try_get_one::<bool>(FAILED) {
        all.push(has(ERROR));
    }
    if let (Ok(Some(over)), Some(field)) = (matches.try_get_one::<Duration>(OVER), duration_of(hook)) {
        let over = Literal::Duration(u64::try_from(over.as_nanos()).unwrap_or(u64::MAX));
        let took_longer = Condition::Field(Comparison::new(field, Operator::Greater, over));
        all.push(Condition::Any(vec![took_longer, has(UNFINISHED)]));
    }
    Ok(match all.len() {
        0 => None,
        1 => all.pop(),
        _ => Some(Condition::All(all)),
    })
}

/// Texts are compared byte by byte, but hardly any has an asterisk.
fn warn_of_literal_wildcards(hook: &HookInfo, comparison: &Comparison) {
    let Comparison { field, operator, literal, .. } = comparison;
    if matches!((operator, literal), (Operator::Equal, Literal::Text(text)) if text.contains('*')) {
        log::warn!("{}: --{WHERE}: == takes '*' literally; for a pattern write {field} ~ ...", hook.name);
    }
}

fn has(field: &str) -> Condition {
    Condition::Field(Comparison::new(field, Operator::Present, Literal::Number(0)))
}

/// The full name of the field of a column.
fn column(hook: &HookInfo, name: &str) -> Result<String> {
    if name.is_empty() {
        return Err(Error::Usage(format!(
            "{}: --{COLUMNS} takes names of fields, such as time,comm",
            hook.name
        )));
    }
    match find_field(&hook.events, name) {
        Ok((field, _)) => {
            warn_of_similar_field(hook, COLUMNS, name);
            Ok(field)
        }
        Err(problem) => Err(Error::Usage(format!("{}: --{COLUMNS}: {problem}", hook.name))),
    }
}

/// Some hooks have fields of any name. What is nearly the name of a described one may be a mistake all the same.
fn warn_of_similar_field(hook: &HookInfo, option: &str, name: &str) {
    let hint = similar_fields(&hook.events, name);
    if !hint.is_empty() {
        log::warn!("{}: --{option}: the field '{name}' is not described{hint}", hook.name);
    }
}

#[cfg(test)]
mod tests {
    use trace_hook_api::{EventInfo, FieldInfo, Format, Param, Unit};

    use crate::arguments::{HookArguments, RunArguments, parse};
    use crate::error::{Error, Result};

    use super::*;

    fn hook() -> HookInfo {
        let event = EventInfo::new("open", "")
            .field(FieldInfo::text("path", ""))
            .field(FieldInfo::word("error", "").optional())
            .field(FieldInfo::duration("duration", ""));
        HookInfo::new("trace_x", "a hook").formats([Format::Text]).event(event).honours_view()
    }

    fn parsed(hook: &HookInfo, words: &[&str]) -> Result<RunArguments> {
        let words = ["--pid", "1"].iter().chain(words).map(|word| (*word).to_owned()).collect();
        parse(hook, &HookArguments(words))
    }

    fn view_of(words: &[&str]) -> View {
        parsed(&hook(), words).unwrap().view
    }

    #[test]
    fn what_is_asked_for_is_passed_on() {
        assert!(view_of(&[]).is_default());
        let view = view_of(&["--columns", "time,comm", "path", "--time-format", "wall", "--where", "error"]);
        assert_eq!(view.columns, ["time", "comm", "path"]);
        assert_eq!(view.time, TimeFormat::Wall);
        assert_eq!(view.condition, Some(parse_condition("error", &hook().events).unwrap()));
        assert_eq!(view_of(&["--columns", "duration_ns", "duration, comm"]).columns, ["duration", "comm"]);
    }

    #[test]
    fn mistakes_are_explained() {
        let complaint = |words: &[&str]| parsed(&hook(), words).unwrap_err();
        let error = complaint(&["--where", "error && eror"]);
        assert_eq!(
            error.lines(),
            [
                "trace_x: --where: unknown field 'eror'; did you mean 'error'?",
                "  error && eror",
                "           ^"
            ]
        );
        assert_eq!(error.exit_status(), 2);
        for (words, mention) in [
            (["--columns", "tme"], "did you mean 'time'?"),
            (["--columns", ""], "--columns takes names of fields"),
            (["--time-format", "utc"], "[possible values: boot, wall, delta]"),
        ] {
            assert!(complaint(&words).to_string().contains(mention), "{}", complaint(&words));
        }
    }

    #[test]
    fn failures_and_long_durations_are_conditions() {
        let condition = |words: &[&str]| view_of(words).condition.unwrap();
        assert_eq!(condition(&["--failed"]), parse_condition("error", &hook().events).unwrap());
        let over = Comparison::new("duration", Operator::Greater, Literal::Duration(2_000_000));
        let over = Condition::Any(vec![Condition::Field(over), has(UNFINISHED)]);
        assert_eq!(condition(&["--over", "2ms"]), over);
        assert_eq!(condition(&["--over", "2000"]), over);
        assert_eq!(condition(&["--failed", "--over", "2ms"]), Condition::All(vec![has(ERROR), over]));
    }

    #[test]
    fn options_without_a_field_for_them_are_refused() {
        let hook = HookInfo::new("trace_x", "").event(EventInfo::new("x", "")).honours_view();
        for words in [&["--failed"][..], &["--over", "1ms"]] {
            assert!(parsed(&hook, words).unwrap_err().to_string().contains("does not support"), "{words:?}");
        }
        let common = crate::arguments::listing(&hook).common;
        assert!(!common.contains("--failed") && !common.contains("--over") && common.contains("--where"));
    }

    #[test]
    fn a_hooks_own_parameter_takes_precedence() {
        let hook = hook().param(Param::flag("failed", "the hook's own")).param(Param::duration(
            "over",
            "TIME",
            "the hook's own",
            Unit::Seconds,
        ));
        let run = parsed(&hook, &["--failed", "--over", "2"]).unwrap();
        assert!(run.view.is_default());
        assert_eq!(run.own.duration("over"), Ok(Some(Duration::from_secs(2))));
    }

    #[test]
    fn hooks_that_do_not_honour_views_refuse_them() {
        let mut hook = hook();
        hook.honours_view = false;
        for words in [["--where", "error"], ["--columns", "time"], ["--time-format", "wall"]] {
            let error = parsed(&hook, &words);
            assert!(
                matches!(error, Err(Error::Usage(message)) if message.contains("does not support")),
                "{words:?}"
            );
        }
        assert!(!crate::arguments::listing(&hook).common.contains("--where"));
    }
}
