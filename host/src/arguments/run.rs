//! The words of `run`: the arguments of the hook and the options of `run`, in any order.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use trace_hook_api::{Format, HookInfo, Param};

use super::every_hook::{OPTIONS, TIME};
use super::{HostOptions, RunArguments, command, run_arguments, usage, usage_of};
use crate::error::{Error, Result};

/// The words that follow `run HOOK`.
#[derive(Debug, Default)]
pub struct RunWords {
    /// Those before `--`, without the options of every call.
    pub options: Vec<OsString>,
    /// Those after `--`.
    pub command: Option<Vec<OsString>>,
    /// Whether `run` was omitted, so that the name of the hook may be meant as that of a subcommand.
    pub omit_run: bool,
}

/// The options of `run` beside the arguments of the hook.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of run")]
pub struct RunOptions {
    /// Write the trace to this file, - is standard output; without it the trace goes to standard output, or beside a command to
    /// standard error
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Run the command as this user
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,

    /// Whether names of events and errors are colored; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub color: Color,

    /// End with the command, even if processes that it has started are still alive
    #[arg(long)]
    pub until_exit: bool,
}

/// When text is colored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// Whether text is colored that goes to a terminal, or not (NO_COLOR at no-color.org).
    pub fn applies(self, is_terminal: bool) -> bool {
        let is_unwanted = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => is_terminal && !is_unwanted(),
        }
    }
}

/// The definition of `run` for any hook, for the help and for what packages install.
pub fn run_command() -> Command {
    let hook =
        Arg::new("hook").index(1).value_name("HOOK").required(true).help("The hook; trace_ can be omitted");
    let options = OPTIONS.iter().filter_map(|option| option.arg(&HookInfo::new("", "")));
    let command = Arg::new("command")
        .index(2)
        .value_name("COMMAND")
        .num_args(1..)
        .last(true)
        .help("Trace this command from its start");
    let run = Command::new("run")
        .about("Run a hook on processes, containers or a command, and print its trace; run HOOK --help describes the hook")
        .arg(hook)
        .arg(command)
        .args(options.map(|arg| arg.help_heading("What to trace, and how")));
    HostOptions::augment_args(RunOptions::augment_args(run))
}

/// The definition of `run` for this hook, for completions.
pub fn run_command_of(hook: &HookInfo) -> Command {
    let own = command(hook);
    let positional = run_command();
    let positional = positional.get_arguments().filter(|arg| arg.is_positional());
    let run = Command::new("run").args(own.get_arguments()).args(positional);
    HostOptions::augment_args(RunOptions::augment_args(run))
}

/// Returns whether `run` has an option of this name or short form.
pub fn is_option(name: &str, short: Option<char>) -> bool {
    // Asked for each parameter of each hook.
    static OPTIONS: LazyLock<Command> =
        LazyLock::new(|| HostOptions::augment_args(RunOptions::augment_args(Command::new("run"))));
    let has = |arg: &Arg| arg.get_long() == Some(name) || (short.is_some() && arg.get_short() == short);
    OPTIONS.get_arguments().any(has)
}

/// Checks the words against what the hook declares.
///
/// # Errors
///
/// The first word that is wrong, as a usage error.
pub fn parse(hook: &HookInfo, words: &RunWords) -> Result<(RunArguments, RunOptions)> {
    let command = RunOptions::augment_args(command(hook));
    let matches = command
        .try_get_matches_from(&words.options)
        .map_err(|error| complaint(hook, &words.options, &error))?;
    let options = RunOptions::from_arg_matches(&matches).map_err(|error| usage(&error))?;
    let mut arguments = run_arguments(hook, &matches)?;
    if arguments.format == Format::Text && arguments.view.columns.is_empty() {
        arguments.view.columns = table(hook, &arguments);
    }
    check_choice(hook, &arguments, words)?;
    check_companions(hook, &options, words.command.is_some())?;
    warn_of_milliseconds(hook, &matches);
    Ok((arguments, options))
}

/// The columns of the flags that were given.
fn table(hook: &HookInfo, arguments: &RunArguments) -> Vec<String> {
    let is_given = |param: &&Param| arguments.own.flag(&param.name) == Ok(true);
    let given = hook.params.iter().filter(|param| !param.table.is_empty()).find(is_given);
    given.map(|param| param.table.clone()).unwrap_or_default()
}

/// The words after `--` need not be, but a word that is no option's value can only be meant as a command.
fn complaint(hook: &HookInfo, options: &[OsString], error: &clap::Error) -> Error {
    let unexpected = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) if error.kind() == ErrorKind::UnknownArgument => Some(word),
        _ => None,
    };
    let of_callers = unexpected.and_then(|word| match word.as_str() {
        "--follow" => Some("run prints the trace anyway; omit --follow"),
        "--args" | "-a" => Some("run takes the arguments of the hook as they are; omit --args"),
        _ => None,
    });
    if let Some(advice) = of_callers {
        return Error::Usage(format!("{}: {advice}", hook.name));
    }
    match unexpected.filter(|word| !word.starts_with('-')) {
        Some(word) if !word.contains(char::is_alphanumeric) => Error::Usage(format!(
            "{}: unexpected argument '{word}'; quote a condition as one word: --where 'FIELD == VALUE'",
            hook.name
        )),
        Some(word) => Error::Usage(format!(
            "{name}: unexpected argument '{word}'; a command follows --: run {name} -- {word}",
            name = hook.name
        )),
        None => match unexpected.and_then(|option| command_with(option, options)) {
            Some(word) => Error::Usage(format!(
                "{name}: '{word}' is taken for a value of the option before it; a command follows --: run {name} ... -- {word} ...",
                name = hook.name
            )),
            None => usage_of(hook, error, ""),
        },
    }
}

/// The command that this option may be meant for.
fn command_with<'a>(option: &str, options: &'a [OsString]) -> Option<Cow<'a, str>> {
    let place = options.iter().position(|word| word == option)?;
    possible_command(&options[..place])
}

/// What to trace is chosen in one way: with a command, nothing else is traced.
fn check_choice(hook: &HookInfo, arguments: &RunArguments, words: &RunWords) -> Result<()> {
    let name = &hook.name;
    let problem = match words.command.as_deref() {
        Some([]) => "no command is given after --".to_owned(),
        Some(_) if !arguments.tasks.is_empty() => {
            "a command is traced alone; omit the other choice of what to trace, or the command".to_owned()
        }
        None if arguments.tasks.is_empty() => match possible_command(&words.options) {
            Some(word) => format!(
                "nothing to trace is given, and '{word}' is taken for a value of the option before it; a command follows --: run \
                 {name} ... -- {word}"
            ),
            None => format!(
                "nothing to trace is given; add -p PID, --container ID, --cgroup PATH or --all, or a command: run {name} -- \
                 COMMAND"
            ),
        },
        _ => return Ok(()),
    };
    Err(Error::Usage(format!("{name}: {problem}")))
}

/// The second word behind the last option: an option that takes a list has taken it.
fn possible_command(options: &[OsString]) -> Option<Cow<'_, str>> {
    let is_option = |word: &OsString| word.as_bytes().starts_with(b"-");
    let last = options.iter().rposition(is_option)?;
    options.get(last + 2).map(|word| word.to_string_lossy())
}

/// Callers give the time without a unit. A person may mean seconds.
fn warn_of_milliseconds(hook: &HookInfo, matches: &ArgMatches) {
    let given = matches.get_raw(TIME).into_iter().flatten().next().and_then(|word| word.to_str());
    if let Some(number) = given.filter(|word| word.bytes().all(|byte| byte.is_ascii_digit())) {
        log::warn!("{}: --{TIME} {number} is in milliseconds; for seconds write {number}s", hook.name);
    }
}

fn check_companions(hook: &HookInfo, options: &RunOptions, has_command: bool) -> Result<()> {
    let given = [("--user", options.user.is_some()), ("--until-exit", options.until_exit)];
    match given.iter().find(|(_, is_given)| *is_given && !has_command) {
        Some((option, _)) => {
            Err(Error::Usage(format!("{}: {option} requires a command after --", hook.name)))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use trace_hook_api::{Param, Selection};

    use super::*;

    fn hook() -> HookInfo {
        HookInfo::new("trace_x", "a hook")
            .selects([Selection::Exact, Selection::All])
            .param(Param::text("syscall", "NAME", "these").short('s').comma_separated())
            .param(Param::flag("failed", "only failed ones"))
    }

    fn parsed(words: &str) -> Result<(RunArguments, RunOptions)> {
        let (options, command) = match words.split_once("--- ") {
            Some((options, command)) => (options, Some(command)),
            None => (words, None),
        };
        let split = |words: &str| words.split_whitespace().map(OsString::from).collect();
        parse(&hook(), &RunWords { options: split(options), command: command.map(split), omit_run: false })
    }

    fn complaint(words: &str) -> String {
        match parsed(words) {
            Err(Error::Usage(message)) => message,
            other => panic!("no usage error: {other:?}"),
        }
    }

    #[test]
    fn clap_accepts_the_definitions() {
        RunOptions::augment_args(command(&hook())).debug_assert();
        run_command().debug_assert();
        run_command_of(&hook()).debug_assert();
    }

    #[test]
    fn options_of_the_hook_and_of_run_come_in_any_order() {
        for words in [
            "-p 1,2 -o f -s open,close --failed",
            "--failed -s open,close -p 1 2 -o f",
            "-o f --failed -s open close -p 1,2",
        ] {
            let (arguments, options) = parsed(words).unwrap();
            assert_eq!(arguments.tasks.pids, [1, 2], "{words}");
            assert_eq!(arguments.own.texts("syscall").unwrap(), ["open", "close"], "{words}");
            assert_eq!(arguments.own.flag("failed"), Ok(true), "{words}");
            assert_eq!(options.output, Some(PathBuf::from("f")), "{words}");
        }
    }

    #[test]
    fn what_to_trace_is_chosen_once() {
        assert!(parsed("--- make all").is_ok());
        assert!(parsed("--all").is_ok());
        assert!(complaint("--failed").contains("run trace_x -- COMMAND"));
        assert!(complaint("--failed -s open make all").contains("run trace_x ... -- make"));
        assert!(complaint("-s open ls -l").contains("run trace_x ... -- ls ..."));
        assert!(complaint("-s open").contains("run trace_x -- COMMAND"));
        assert!(complaint("-p 1 --- make").contains("a command is traced alone"));
        assert!(complaint("--all --- make").contains("a command is traced alone"));
        assert_eq!(complaint("--- "), "trace_x: no command is given after --");
    }

    #[test]
    fn a_word_without_an_option_is_taken_for_a_command() {
        assert_eq!(
            complaint("make"),
            "trace_x: unexpected argument 'make'; a command follows --: run trace_x -- make"
        );
        assert_eq!(complaint("-p 1 --follow"), "trace_x: run prints the trace anyway; omit --follow");
        assert!(complaint("--args --pid 1").contains("omit --args"));
        assert!(complaint("-p 1 --failed == 1").contains("--where 'FIELD == VALUE'"));
        assert!(complaint("--fialed -p 1").contains("a similar argument exists: '--failed'"));
    }

    #[test]
    fn options_for_a_command_require_one() {
        assert!(parsed("-u nobody --until-exit --- true").is_ok());
        assert_eq!(complaint("-p 1 -u nobody"), "trace_x: --user requires a command after --");
        assert_eq!(complaint("-p 1 --until-exit"), "trace_x: --until-exit requires a command after --");
    }

    #[test]
    fn names_of_options_are_known() {
        assert!(is_option("output", None) && is_option("x", Some('u')) && is_option("plugins", None));
        assert!(!is_option("syscall", Some('s')) && !is_option("x", None));
    }
}
