//! The form of the command line for callers: one option is the action, and `--args` takes the arguments of the hook.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgGroup, Command, CommandFactory, Parser};

use super::{Action, Call, Listing, subcommands};
use crate::arguments::{HookArguments, HostOptions, is_option_of_hooks, usage};
use crate::error::{Error, Result};
use crate::output::program_name;

const EXAMPLES: &str = "\
Examples:
  manager run open -- make                       each file that a command opens
  manager run syscalls -p 1234 -s %network       system calls about sockets of a process
  manager run open --all --failed --columns comm,path
  manager run latency -p $(pgrep -d, nginx) -t 10s
  manager describe open                          what a hook records, and its options
  manager --run trace_syscalls --args \"--pid 1234 --syscall openat\"    for callers: prints the path of the trace

Environment:
  TRACER_PROCFS_PATH   mount point of the host's procfs [default: /proc]
  TRACER_SYSFS_PATH    mount point of the host's sysfs [default: /sys]
  TRACER_PLUGINS_PATH  directories of plugins, separated by colons
  TRACER_RUN_PATH      directory for trace files [default: /run/trace-hooks for root]
  TRACER_LEFTOVER_MIB  what all files with unread output may take together, in MiB [default: 2048]
  TRACER_PATIENCE      factor for all time limits, for a slow machine [default: 1]

Exit status: 0 success; 1 failure; 2 usage error.";

/// Runs kernel trace hooks, which are provided by plugins.
#[derive(Parser)]
#[command(name = "manager", version, after_help = EXAMPLES, disable_help_subcommand = true)]
#[command(group(ArgGroup::new("action").required(true).args(["get_all", "describe", "list", "check", "clear", "run"])))]
struct Words {
    /// Print the names of all hooks that can run here
    #[arg(short, long)]
    get_all: bool,

    /// Print what a hook does and which arguments it takes
    #[arg(short, long, value_name = "HOOK")]
    describe: Option<String>,

    /// Print a table of all hooks; for those that cannot run, with the reason
    #[arg(short, long)]
    list: bool,

    /// Check that a plugin keeps the rules of the plugin interface; runs its hooks briefly
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,

    /// End all sessions, remove what dead ones left, and reset the kernel's tracing to its defaults
    #[arg(short, long)]
    clear: bool,

    /// Run a hook until SIGINT; print only the path of the trace file
    #[arg(short, long, value_name = "HOOK")]
    run: Option<String>,

    /// With --list, --describe or --check: JSON instead of text
    #[arg(long)]
    json: bool,

    /// With --run: print the trace itself instead of its path
    #[arg(short, long)]
    follow: bool,

    #[command(flatten)]
    host: HostOptions,

    /// With --run: the arguments of the hook, as one string or as words; takes all words that follow
    #[arg(short, long, value_name = "ARGUMENTS", num_args = 0.., allow_hyphen_values = true)]
    args: Option<Vec<OsString>>,
}

/// The definition of the whole command line, with the subcommands.
pub fn whole_command() -> Command {
    let name = program_name();
    let usage = format!(
        "{name} [run] HOOK [OPTIONS] [-- COMMAND]\n       {name} SUBCOMMAND [OPTIONS]\n       {name} ACTION [OPTIONS] [--args ARGUMENTS]"
    );
    subcommands::added_to(Words::command().override_usage(usage).bin_name(name))
}

/// Reads the words of a call, the first of which is the name of the executable.
///
/// # Errors
///
/// A usage error.
pub fn parse(words: &[OsString]) -> Result<Call> {
    if let [_, help, hook] = words
        && (help == "--help" || help == "-h")
        && let Some(hook) = hook.to_str().filter(|hook| !hook.starts_with('-'))
    {
        let action = Action::Describe { hook: hook.to_owned(), json: false };
        return Ok(Call::of(action, HostOptions::default()));
    }
    let has_arguments = words.iter().any(|word| word == "--args" || word == "-a");
    let words = match Words::try_parse_from(words) {
        Ok(words) => words,
        Err(error) if has_arguments && error.kind() == ErrorKind::MissingRequiredArgument => {
            return Err(Error::Usage(
                "--args takes all words that follow; give --run HOOK before it".to_owned(),
            ));
        }
        Err(error) => return help_or_usage(&error),
    };
    check_companions(&words)?;
    let action = match words {
        Words { describe: Some(hook), json, .. } => Action::Describe { hook, json },
        Words { run: Some(hook), follow, args, .. } => {
            Action::Run { hook, arguments: HookArguments::from_words(args.unwrap_or_default())?, follow }
        }
        Words { check: Some(file), json, .. } => Action::Check { files: vec![file], json },
        Words { list: true, json: true, .. } => Action::List(Listing::Json),
        Words { list: true, .. } => Action::List(Listing::Availability),
        Words { clear: true, .. } => Action::Clear,
        _ => Action::GetAll,
    };
    Ok(Call::of(action, words.host))
}

/// Handles an error of clap, which may be a request for the help or the version.
fn help_or_usage(error: &clap::Error) -> Result<Call> {
    match error.kind() {
        ErrorKind::DisplayHelp => Ok(Call::print(whole_command().render_help().to_string())),
        ErrorKind::DisplayVersion => Ok(Call::print(error.to_string())),
        ErrorKind::MissingRequiredArgument => Err(Error::Usage(
            "no action is given; give a subcommand, such as run or list, or one of --get-all, --describe, --list, --check, \
             --clear, --run; see --help"
                .to_owned(),
        )),
        ErrorKind::UnknownArgument => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(option)) if is_option_of_hooks(option) => Err(Error::Usage(format!(
                "unexpected argument '{option}': arguments of the hook follow --args: --run HOOK --args {option} ..."
            ))),
            _ => Err(usage(error)),
        },
        _ => Err(usage(error)),
    }
}

/// Checks required options. clap's `requires` is not enforced if the required option conflicts with a given one.
fn check_companions(words: &Words) -> Result<()> {
    let companions = [
        ("--args", words.args.is_some(), "--run", words.run.is_some()),
        ("--follow", words.follow, "--run", words.run.is_some()),
        (
            "--json",
            words.json,
            "--list, --describe or --check",
            words.list || words.check.is_some() || words.describe.is_some(),
        ),
    ];
    match companions.iter().find(|(_, given, _, needed)| *given && !needed) {
        Some((option, _, needed, _)) => Err(Error::Usage(format!("{option} requires {needed}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(words: &[&str]) -> Result<Call> {
        parse(&["manager"].iter().chain(words).map(OsString::from).collect::<Vec<_>>())
    }

    fn hook_arguments(words: &[&str]) -> Vec<String> {
        match call(words).unwrap().action {
            Action::Run { arguments, .. } => arguments.0,
            _ => panic!("not a run"),
        }
    }

    #[test]
    fn clap_accepts_the_definition() {
        Words::command().debug_assert();
    }

    #[test]
    fn one_string_is_split_and_words_are_not() {
        assert_eq!(
            hook_arguments(&["--run", "h", "--args", "--pid 12  34 -s 'a b'"]),
            ["--pid", "12", "34", "-s", "a b"]
        );
        assert_eq!(
            hook_arguments(&["-r", "h", "-a", "--pid", "12", "-s", "a b"]),
            ["--pid", "12", "-s", "a b"]
        );
        for joined in ["--args=--pid 12", "-a--pid 12", "-a=--pid 12", "-va=--pid 12"] {
            assert_eq!(hook_arguments(&["-r", "h", joined]), ["--pid", "12"], "{joined}");
        }
        assert_eq!(hook_arguments(&["-r", "h", "--args", ""]), [""; 0]);
        assert_eq!(hook_arguments(&["-r", "h", "--args"]), [""; 0]);
        assert_eq!(hook_arguments(&["-r", "h"]), [""; 0]);
    }

    #[test]
    fn args_takes_options_of_the_manager() {
        let words = ["--clear", "-v", "--", "--args", "--help"];
        assert_eq!(hook_arguments(&[&["-r", "h", "-a"][..], &words].concat()), words);
    }

    #[test]
    fn words_after_one_string_are_rejected() {
        let message = |words: &[&str]| match call(words) {
            Err(Error::Usage(message)) => message,
            _ => panic!("accepted: {words:?}"),
        };
        assert!(message(&["-r", "h", "--args", "--pid 12", "--follow"]).contains("before --args"));
        assert!(message(&["--args", "--pid 12", "--run", "h"]).contains("--run HOOK before it"));
        assert_eq!(
            hook_arguments(&["-r", "h", "-a", "--word", "a b", "-c", "1"]),
            ["--word", "a b", "-c", "1"]
        );
    }

    #[test]
    fn exactly_one_action_is_required() {
        for words in [
            &[][..],
            &["-v"],
            &["--get-all", "--clear"],
            &["-g", "-g", "-l"],
            &["--clear", "--args", "x"],
            &["-g", "--follow"],
            &["-g", "--json"],
        ] {
            assert!(matches!(call(words), Err(Error::Usage(_))), "{words:?}");
        }
    }

    #[test]
    fn help_for_a_hook_is_its_description() {
        for words in [["--help", "open"], ["-h", "trace_open"]] {
            assert!(
                matches!(call(&words).unwrap().action, Action::Describe { hook, .. } if hook == words[1])
            );
        }
        assert!(matches!(call(&["--help"]).unwrap().action, Action::Print(_)));
        assert!(matches!(call(&["--help", "-v"]).unwrap().action, Action::Print(_)));
    }

    #[test]
    fn arguments_of_the_hook_before_args_are_explained() {
        for option in ["--pid", "-p", "--container", "--where"] {
            let Err(Error::Usage(message)) = call(&["--run", "h", option, "1"]) else { panic!("accepted") };
            assert!(message.contains(&format!("--run HOOK --args {option}")), "{message}");
        }
    }

    #[test]
    fn errors_are_one_line() {
        let Err(Error::Usage(message)) = call(&["--get-al"]) else { panic!("accepted") };
        assert_eq!(message, "unexpected argument '--get-al' found; a similar argument exists: '--get-all'");
    }
}
