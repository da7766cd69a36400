//! The arguments of a hook: those that every hook has, and those that it declares.

mod usage;
mod words;

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use trace_hook_api::{
    Arguments, Environment, Format, HookInfo, Kind, Param, Request, Selection, TaskSelection,
};

pub use usage::usage;
pub use words::HookArguments;

use crate::error::{Error, Result};

/// The kernel's upper bound for process ids (`PID_MAX_LIMIT`).
const GREATEST_PID: u32 = 1 << 22;

const FORMAT: &str = "format";

/// What any hook's lines may be.
const LOST: &str = "A line `CPU:1 [LOST 17 EVENTS]` tells of events that came too fast to be kept.";

/// What the lines of all hooks have in common in JSON.
const JSON: &str = "\
With --format json a line is an object with the same names. First come `time` in seconds since boot, `cpu`, `pid` (the process), \
`tid` (the thread), `comm` (its name) and `event`, as far as there is one. Times are whole numbers of nanoseconds, and their \
names end in `_ns`: duration_ns. Addresses are texts, as \"0x7ffd0a10\"; what is there or not is true or false. Where events were lost: \
{\"event\":\"lost\",\"cpu\":1,\"count\":17}.";

/// What a run is asked to do.
#[derive(Debug)]
pub struct RunArguments {
    /// The tasks as given, not checked to be alive.
    pub tasks: TaskSelection,
    /// When to end, if not by a signal.
    pub time: Option<Duration>,
    /// What the lines are to look like.
    pub format: Format,
    /// The size of the kernel's buffer in KiB per CPU.
    pub buffer_size: Option<u64>,
    /// How many bytes to keep for a slow reader.
    pub spool_size: u64,
    /// How long to wait at the end for a reader that makes progress.
    pub drain: Duration,
    /// The hook's own.
    pub own: Arguments,
}

impl RunArguments {
    /// The request for a session of this name.
    pub fn request(self, hook: &HookInfo, session: &str, environment: &Environment) -> Request {
        let mut request = Request::new(&hook.name, session, self.tasks);
        request.environment = environment.clone();
        request.arguments = self.own;
        request.format = self.format;
        request.buffer_size = self.buffer_size;
        request.spool_size = self.spool_size;
        request
    }
}

/// The names that hooks cannot use for parameters of their own.
pub fn is_common(name: &str, short: Option<char>) -> bool {
    let taken = |arg: &Arg| arg.get_long() == Some(name) || (short.is_some() && arg.get_short() == short);
    name == "help" || short == Some('h') || common().iter().any(taken)
}

/// The arguments of a hook, as a command line of their own.
pub fn command(hook: &HookInfo) -> Command {
    let own_heading = format!("Arguments of {}", hook.name);
    let mut command = Command::new(hook.name.clone())
        .no_binary_name(true)
        .disable_help_flag(true)
        .override_usage(format!("--run {} --args \"--pid PID... [ARGUMENTS]\"", hook.name))
        .about(hook.summary.clone())
        .args(hook.params.iter().map(|param| declared(param).help_heading(own_heading.clone())))
        .args(common().into_iter().map(|arg| arg.help_heading("Arguments of every hook")));
    for (selection, name, _) in SELECTIONS {
        command = command.mut_arg(name, |arg| arg.hide(!hook.selects.contains(&selection)));
    }
    let formats = hook.formats.iter().map(|format| format.name());
    command = command.mut_arg(FORMAT, |arg| {
        arg.value_parser(PossibleValuesParser::new(formats)).hide(hook.formats == [Format::Text])
    });
    let json = if hook.formats.contains(&Format::Json) { JSON } else { "" };
    let said = [hook.details.as_str(), LOST, json];
    let said: Vec<&str> = said.into_iter().filter(|text| !text.is_empty()).collect();
    command.after_help(said.join("\n\n"))
}

/// Checks the words against what the hook declares.
///
/// # Errors
///
/// What is wrong with the words.
pub fn parse(hook: &HookInfo, words: &HookArguments) -> Result<RunArguments> {
    let matches = command(hook).try_get_matches_from(&words.0).map_err(|error| match usage(&error) {
        Error::Usage(message) => Error::Usage(format!("{}: {message}", hook.name)),
        other => other,
    })?;
    check_selections(hook, &matches)?;
    let tasks = TaskSelection::of(pids(&matches, "pid"))
        .parents(pids(&matches, "parent"))
        .exact(matches.get_flag("exact"));
    if tasks.pids.is_empty() && tasks.parents.is_empty() {
        return Err(Error::Usage(format!("{}: no process is given; add --pid PID", hook.name)));
    }
    Ok(RunArguments {
        tasks,
        time: number(&matches, "time").map(Duration::from_millis),
        format: format(hook, &matches),
        buffer_size: number(&matches, "buffer-size"),
        spool_size: number(&matches, "spool-size").unwrap_or_default() << 20,
        drain: Duration::from_secs(number(&matches, "drain").unwrap_or_default()),
        own: own(hook, &matches),
    })
}

/// Choices of tasks, the option of each, and how a message names it.
const SELECTIONS: [(Selection, &str, &str); 2] = [
    (Selection::Exact, "exact", "select exact processes"),
    (Selection::Parents, "parent", "select by parent"),
];

/// Rejects choices of tasks that the hook does not declare, which it would ignore.
fn check_selections(hook: &HookInfo, matches: &ArgMatches) -> Result<()> {
    let undeclared = |(selection, name, _): &&(Selection, &str, &str)| {
        let is_given = matches.value_source(name) == Some(ValueSource::CommandLine);
        is_given && !hook.selects.contains(selection)
    };
    match SELECTIONS.iter().find(undeclared) {
        Some((_, name, act)) => Err(Error::Usage(format!("{} cannot {act}; omit --{name}", hook.name))),
        None => Ok(()),
    }
}

/// The format that was given, or else the first that the hook declares.
fn format(hook: &HookInfo, matches: &ArgMatches) -> Format {
    let given = matches.get_one::<String>(FORMAT);
    let is_given = |format: &&Format| given.is_some_and(|name| name == format.name());
    hook.formats.iter().find(is_given).or(hook.formats.first()).copied().unwrap_or_default()
}

fn common() -> [Arg; 8] {
    [
        pid_list("pid", "trace these processes, their threads, and their descendants").short('p'),
        pid_list("parent", "trace the descendants of these processes, but not the processes themselves"),
        option("time", "MS", "end after so many milliseconds")
            .short('t')
            .value_parser(|word: &str| integer(word, 1, i64::from(u32::MAX))),
        Arg::new("exact").long("exact").action(ArgAction::SetTrue).help("leave the descendants of --pid out"),
        option(FORMAT, "FORMAT", "what the lines look like; json: an object a line")
            .value_parser(PossibleValuesParser::new(["text", "json"])),
        option("buffer-size", "KIB", "size of the kernel's buffer per CPU")
            .value_parser(|word: &str| integer(word, 1, i64::MAX >> 10)),
        option("spool-size", "MIB", "how much is kept for a slow reader before events are lost")
            .value_parser(|word: &str| integer(word, 0, 1 << 20))
            .default_value("256"),
        option("drain", "SECONDS", "at the end, wait so long for a reader that makes progress")
            .value_parser(|word: &str| integer(word, 0, 86_400))
            .default_value("10"),
    ]
}

fn option(name: &'static str, value_name: &'static str, help: &'static str) -> Arg {
    // So that -1 is a wrong value rather than an unknown option.
    Arg::new(name).long(name).value_name(value_name).help(help).allow_negative_numbers(true)
}

fn pid_list(name: &'static str, help: &'static str) -> Arg {
    option(name, "PID", help).num_args(1..).action(ArgAction::Append).value_parser(|word: &str| {
        match word.parse::<u32>() {
            Ok(pid) if (1..=GREATEST_PID).contains(&pid) => Ok(pid),
            _ => Err(format!("a process id is a number from 1 to {GREATEST_PID}")),
        }
    })
}

fn declared(param: &Param) -> Arg {
    let mut arg = Arg::new(param.name.clone()).long(param.name.clone()).help(explained(param));
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
        arg = arg.default_value(default.clone());
    }
    arg = arg.allow_negative_numbers(matches!(param.kind, Kind::Integer { .. }));
    match param.kind {
        _ if !param.choices.is_empty() => arg.value_parser(PossibleValuesParser::new(param.choices.clone())),
        Kind::Integer { min, max } => {
            arg.value_parser(move |word: &str| integer(word, min, max).map(|n| n.to_string()))
        }
        _ => arg,
    }
}

/// Its help, with what clap does not add of itself, in the same form.
fn explained(param: &Param) -> String {
    let bounds = match param.kind {
        _ if !param.choices.is_empty() => None,
        Kind::Integer { min: i64::MIN, max: i64::MAX } => None,
        Kind::Integer { min, max: i64::MAX } => Some(format!(" [{min} or more]")),
        Kind::Integer { min: i64::MIN, max } => Some(format!(" [{max} or less]")),
        Kind::Integer { min, max } => Some(format!(" [{min} to {max}]")),
        _ => None,
    };
    let required = if param.required { " [required]" } else { "" };
    format!("{}{}{required}", param.help, bounds.unwrap_or_default())
}

fn integer(word: &str, min: i64, max: i64) -> Result<i64, String> {
    match word.parse::<i64>() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ if (min, max) == (i64::MIN, i64::MAX) => Err("it takes a whole number".to_owned()),
        _ => Err(format!("it takes a whole number from {min} to {max}")),
    }
}

fn number(matches: &ArgMatches, name: &str) -> Option<u64> {
    matches.get_one::<i64>(name).map(|number| number.unsigned_abs())
}

/// Each process once, in the order given.
fn pids(matches: &ArgMatches, name: &str) -> Vec<u32> {
    let mut pids = Vec::new();
    for pid in matches.get_many(name).into_iter().flatten().copied() {
        if !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    pids
}

fn own(hook: &HookInfo, matches: &ArgMatches) -> Arguments {
    let mut arguments = Arguments::of(&hook.params);
    for param in &hook.params {
        match param.kind {
            Kind::Flag if matches.get_flag(&param.name) => arguments.set(&param.name, [""; 0]),
            Kind::Flag => {}
            _ => {
                if let Some(values) = matches.get_many::<String>(&param.name) {
                    arguments.set(&param.name, values);
                }
            }
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook() -> HookInfo {
        HookInfo::new("h", "a hook")
            .selects([Selection::Exact, Selection::Parents])
            .formats([Format::Text, Format::Json])
            .param(Param::text("syscall", "NAME", "these").short('s').repeated())
            .param(Param::integer("depth", "N", "frames").range(1, 127).default("32"))
            .param(Param::text("order", "ORDER", "which first").choices(["time", "name"]))
            .param(Param::integer("level", "N", "how much").choices(["-1", "1", "2"]))
            .param(Param::flag("exit", "returns too"))
    }

    fn parsed(words: &str) -> Result<RunArguments> {
        parse(&hook(), &HookArguments(words.split_whitespace().map(str::to_owned).collect()))
    }

    fn complaint(words: &str) -> String {
        parsed(words).unwrap_err().to_string()
    }

    #[test]
    fn the_command_is_well_formed() {
        command(&hook()).debug_assert();
    }

    #[test]
    fn what_is_given_arrives() {
        let run = parsed(
            "--pid 1 2 -s openat read -p 3 2 -s close --exit -t 500 --exact --order name --format json",
        )
        .unwrap();
        assert_eq!(run.tasks.pids, [1, 2, 3]);
        assert!(run.tasks.exact);
        assert_eq!(run.time, Some(Duration::from_millis(500)));
        assert_eq!(run.drain, Duration::from_secs(10));
        assert_eq!(run.own.texts("syscall").unwrap(), ["openat", "read", "close"]);
        assert_eq!(run.own.integer("depth"), Ok(Some(32)));
        assert_eq!(run.own.text("order"), Ok(Some("name")));
        assert_eq!(run.format, Format::Json);
        assert_eq!(parsed("--pid 1").unwrap().format, Format::Text);
        assert_eq!(run.own.flag("exit"), Ok(true));
        assert_eq!(parsed("--pid 1").unwrap().own.flag("exit"), Ok(false));
    }

    #[test]
    fn wrong_process_ids_are_named() {
        for pid in ["abc", "0", "-1", "99999999999", "1.5", "+"] {
            let message = complaint(&format!("--pid {pid}"));
            assert!(
                message.contains(&format!("'{pid}'")) && message.contains("a process id is"),
                "{message}"
            );
        }
        assert_eq!(complaint(""), "h: no process is given; add --pid PID");
        assert!(complaint("--pid").contains("a value is required"));
    }

    #[test]
    fn wrong_values_are_named() {
        assert!(complaint("--pid 1 --depth 128").contains("from 1 to 127"));
        assert_eq!(parsed("--pid 1 --level -1").unwrap().own.integer("level"), Ok(Some(-1)));
        assert!(complaint("--pid 1 --level 3").contains("possible values: -1, 1, 2"));
        assert!(complaint("--pid 1 --order size").contains("possible values: time, name"));
        assert!(complaint("--pid 1 --colour").contains("unexpected argument '--colour'"));
        assert!(complaint("--pid 1 --time 0").contains("--time"));
    }

    #[test]
    fn undeclared_selections_are_usage_errors() {
        let hook = |selections: &[Selection]| HookInfo::new("trace_x", "a hook").selects(selections);
        let words = |words: &str| HookArguments(words.split_whitespace().map(str::to_owned).collect());
        let complaint = |hook: &HookInfo, given: &str| match parse(hook, &words(given)) {
            Err(Error::Usage(message)) => message,
            other => panic!("no usage error: {other:?}"),
        };
        let neither = hook(&[]);
        assert_eq!(complaint(&neither, "--parent 1"), "trace_x cannot select by parent; omit --parent");
        assert_eq!(
            complaint(&neither, "--pid 1 --exact"),
            "trace_x cannot select exact processes; omit --exact"
        );
        assert!(parse(&neither, &words("--pid 1")).is_ok());
        let help = |hook: &HookInfo| command(hook).render_help().to_string();
        assert!(!help(&neither).contains("--parent") && !help(&neither).contains("--exact"));
        let both = hook(&[Selection::Exact, Selection::Parents]);
        assert!(parse(&both, &words("--pid 1 --parent 2 --exact")).is_ok());
        assert!(help(&both).contains("--parent") && help(&both).contains("--exact"));
        assert!(complaint(&hook(&[Selection::Exact]), "--exact --parent 1").contains("by parent"));
    }

    #[test]
    fn who_has_no_json_is_not_asked_for_it() {
        let help = |hook: &HookInfo| command(hook).render_help().to_string();
        assert!(help(&self::hook()).contains("With --format json"));
        let hook = HookInfo::new("plain", "a hook");
        assert!(!help(&hook).contains("json"));
        let words = |words: &str| HookArguments(words.split_whitespace().map(str::to_owned).collect());
        assert!(parse(&hook, &words("--pid 1 --format text")).is_ok());
        let error = parse(&hook, &words("--pid 1 --format json")).unwrap_err().to_string();
        assert!(error.contains("invalid value 'json' for '--format <FORMAT>'"), "{error}");
        assert!(!command(&hook).render_long_help().to_string().contains("--format"));
    }

    #[test]
    fn what_must_be_given_and_which_numbers_can_be_is_told() {
        let number = |name| Param::integer(name, "N", "a number");
        let hook = HookInfo::new("h", "a hook")
            .param(Param::text("word", "WORD", "a word").required())
            .param(number("depth").range(1, 127).default("32"))
            .param(number("size").range(0, i64::MAX))
            .param(number("any"))
            .param(number("step").range(1, 3).choices(["1", "3"]));
        let help = command(&hook).render_help().to_string();
        for line in [
            "--word <WORD>  a word [required]\n",
            "--depth <N>    a number [1 to 127] [default: 32]\n",
            "--size <N>     a number [0 or more]\n",
            "--any <N>      a number\n",
            "--step <N>     a number [possible values: 1, 3]\n",
        ] {
            assert!(help.contains(line), "no {line:?} in: {help}");
        }
    }

    #[test]
    fn common_names_are_taken() {
        assert!(is_common("pid", None) && is_common("x", Some('t')) && is_common("help", None));
        assert!(!is_common("syscall", Some('s')));
    }
}
