//! The parameters that a hook declares itself.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches};
use trace_hook_api::{Arguments, HookInfo, Kind, Param, format_duration, parse_duration};

use super::value::{duration_within, integer};

/// A parameter as an argument of the command line.
pub fn arg(param: &Param) -> Arg {
    let mut arg = Arg::new(id(param)).long(param.name.clone()).help(help(param));
    if let Some(letter) = param.short {
        arg = arg.short(letter);
    }
    if param.kind == Kind::Flag {
        return arg.action(ArgAction::SetTrue);
    }
    arg = arg.value_name(param.value_name.clone()).required(param.required);
    if param.repeated {
        arg = arg.num_args(1..).action(ArgAction::Append);
    }
    if let Some(default) = &param.default {
        arg = arg.default_value(readable(default, &param.kind));
    }
    let is_number = matches!(param.kind, Kind::Integer { .. } | Kind::Duration { .. });
    arg = with_parser(arg.allow_negative_numbers(is_number), param);
    if param.comma_separated { arg.value_delimiter(',') } else { arg }
}

/// Values are passed on as text. Durations get a unit, so that they mean the same on both sides.
fn with_parser(arg: Arg, param: &Param) -> Arg {
    match param.kind {
        _ if !param.choices.is_empty() => arg.value_parser(PossibleValuesParser::new(param.choices.clone())),
        Kind::Integer { min, max } => {
            arg.value_parser(move |word: &str| integer(word, min, max).map(|number| number.to_string()))
        }
        Kind::Duration { unit, min_ns, max_ns } => arg.value_parser(move |word: &str| {
            duration_within(word, unit, min_ns, max_ns).map(|duration| format!("{}ns", duration.as_nanos()))
        }),
        _ if param.comma_separated => arg.value_parser(|word: &str| match word {
            "" => Err("it is empty"),
            _ => Ok(word.to_owned()),
        }),
        _ => arg,
    }
}

/// The values that were given, and the defaults of the others.
pub fn arguments(hook: &HookInfo, matches: &ArgMatches) -> Arguments {
    let mut arguments = Arguments::of(&hook.params);
    for param in &hook.params {
        match param.kind {
            Kind::Flag if matches.get_flag(&id(param)) => arguments.set(&param.name, [""; 0]),
            Kind::Flag => {}
            _ => {
                if let Some(values) = matches.get_many::<String>(&id(param)) {
                    arguments.set(&param.name, values);
                }
            }
        }
    }
    arguments
}

/// An identifier that no common option has.
fn id(param: &Param) -> String {
    format!("own {}", param.name)
}

/// The help, and what clap does not add by itself, in the same form.
fn help(param: &Param) -> String {
    let bounds = match param.kind {
        _ if !param.choices.is_empty() => None,
        Kind::Integer { min: i64::MIN, max: i64::MAX } => None,
        Kind::Integer { min, max: i64::MAX } => Some(format!("{min} or more")),
        Kind::Integer { min: i64::MIN, max } => Some(format!("{max} or less")),
        Kind::Integer { min, max } => Some(format!("{min} to {max}")),
        Kind::Duration { unit, min_ns, max_ns } => {
            let bare = format!("in {} without a unit", unit.symbol());
            Some(match duration_bounds(min_ns, max_ns) {
                Some(bounds) => format!("{bounds}; {bare}"),
                None => bare,
            })
        }
        _ => None,
    };
    let bounds = bounds.map(|bounds| format!(" [{bounds}]")).unwrap_or_default();
    let required = if param.required { " [required]" } else { "" };
    format!("{}{bounds}{required}", param.help)
}

fn duration_bounds(min_ns: u64, max_ns: u64) -> Option<String> {
    let [min, max] = [min_ns, max_ns].map(|bound| format_duration(Duration::from_nanos(bound)));
    match (min_ns, max_ns) {
        (0, u64::MAX) => None,
        (_, u64::MAX) => Some(format!("{min} or more")),
        (0, _) => Some(format!("{max} or less")),
        _ => Some(format!("{min} to {max}")),
    }
}

/// A default as the help shows it.
fn readable(value: &str, kind: &Kind) -> String {
    match kind {
        Kind::Duration { unit, .. } => {
            parse_duration(value, *unit).map_or_else(|_| value.to_owned(), format_duration)
        }
        _ => value.to_owned(),
    }
}
