//! `run`, and `--run`.

use std::{env, io};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use trace_hook_api::{ErrorKind, HookError};

use super::{Context, Outcome, describe};
use crate::arguments::{self, HookArguments, RunOptions, RunWords};
use crate::command_line::similar_subcommand;
use crate::environment;
use crate::error::{Error, Result};
use crate::patience;
use crate::plugins::RunnableHook;
use crate::session::CommandEnd;
use crate::session::destination::{Destination, Output};
use crate::session::orphans::Orphans;
use crate::session::supervisor::{self, Ended, Run};
use crate::session::traced_command::CommandLine;
use crate::worker::protocol::Summary;

/// Runs a hook for a caller. A signal before the path is printed cancels the run, which is not an error.
///
/// The summary of the events and what is missing in the trace are logged; with `follow` they are returned as remarks.
pub fn run(
    context: &Context<'_>,
    hook: &str,
    words: &HookArguments,
    follow: bool,
    orphans: &mut Orphans,
) -> Result<Vec<String>> {
    if words.ask_for_help() {
        return describe::describe(context, hook, false).map(|()| Vec::new());
    }
    let Some(hook) = found(context, hook)? else { return Ok(Vec::new()) };
    let arguments = arguments::parse(&hook.info, words)?;
    check_environment(context)?;
    let destination = match follow {
        true => Destination::Output(Output::stdout()?),
        false => Destination::TraceFile,
    };
    let run =
        Run { hook: &hook, arguments, destination, command: None, until_exit: false, shows_status: false };
    let ended = supervised(context, run, orphans)?;
    match ended.summary {
        Some(summary) if follow => Ok(remarks(&summary)),
        Some(summary) => {
            summary.log();
            Ok(Vec::new())
        }
        None => Ok(Vec::new()),
    }
}

/// Runs a hook for a person, with the options of `run`, and prints its trace.
pub fn run_for_person(
    context: &Context<'_>,
    hook: &str,
    words: &RunWords,
    orphans: &mut Orphans,
) -> Result<Outcome> {
    let found = found(context, hook).map_err(|error| with_form(error, words.omit_run));
    let Some(hook) = found? else { return Ok(interrupted(words)) };
    let (mut arguments, options) = arguments::parse_run(&hook.info, words)?;
    let command = words.command.as_ref().map(|words| CommandLine::new(words, options.user.as_deref()));
    let command = command.transpose()?;
    check_environment(context)?;
    let output = output(&options, command.is_some())?;
    arguments.view.color = is_colored(&hook, &options, &output);
    let destination = Destination::Output(output);
    let run = Run {
        hook: &hook,
        arguments,
        destination,
        command,
        until_exit: options.until_exit,
        shows_status: true,
    };
    let ended = supervised(context, run, orphans).map_err(with_sudo)?;
    let Ended { summary, command } = ended;
    Ok(Outcome {
        remarks: summary.as_ref().map(remarks).unwrap_or_default(),
        command: command.or(interrupted(words).command),
    })
}

/// A command that was not executed because of a signal must not look as if it had succeeded.
fn interrupted(words: &RunWords) -> Outcome {
    let command = words.command.as_ref().map(|_| CommandEnd::Killed(Signal::SIGINT));
    Outcome { remarks: Vec::new(), command }
}

/// An unknown hook may be meant as a subcommand, or as a command, as other tracers take it.
fn with_form(error: Error, omit_run: bool) -> Error {
    match error {
        Error::UnknownHook { hook, is_similar: false, .. } if omit_run => {
            let hint = match similar_subcommand(&hook) {
                none if none.is_empty() => format!("; see --help; to trace a command: HOOK -- {hook}"),
                similar => similar,
            };
            Error::Usage(format!("unknown subcommand or hook '{hook}'{hint}"))
        }
        Error::UnknownHook { hook, hint, is_similar: false } => {
            let hint = format!("{hint}; to trace a command: run HOOK -- {hook}");
            Error::UnknownHook { hook, hint, is_similar: false }
        }
        error => error,
    }
}

/// An error of a hook, with the call that may help a person who is not root.
fn with_sudo(error: Error) -> Error {
    match error {
        Error::Hook { hook, error } if error.kind() == ErrorKind::Failure && !geteuid().is_root() => {
            // sudo does not pass variables on.
            let variables: Vec<String> = own_variables().collect();
            let env = if variables.is_empty() { None } else { Some("env".to_owned()) };
            let words: Vec<String> = env.into_iter().chain(variables).chain(env::args()).collect();
            let call = shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default();
            Error::Hook { hook, error: HookError::new(format!("{}; as root: sudo {call}", error.message())) }
        }
        error => error,
    }
}

/// The variables that `manager` depends on, with their values.
fn own_variables() -> impl Iterator<Item = String> {
    let variables = env::vars_os().map(|(name, value)| format!("{}={}", name.display(), value.display()));
    variables.filter(|variable| variable.starts_with("TRACER_"))
}

/// Standard output is that of the command, if there is one.
fn output(options: &RunOptions, has_command: bool) -> Result<Output> {
    match &options.output {
        Some(path) => Output::open(path),
        None if has_command => Ok(Output::Stderr(io::stderr())),
        None => Output::stdout(),
    }
}

fn is_colored(hook: &RunnableHook, options: &RunOptions, output: &Output) -> bool {
    hook.info.honours_view && options.color.applies(output.is_terminal())
}

/// The hook, unless a signal was received before it was found.
fn found(context: &Context<'_>, hook: &str) -> Result<Option<RunnableHook>> {
    match context.catalog_for(hook).and_then(|catalog| catalog.into_hook(hook)) {
        Err(Error::Interrupted) => Ok(None),
        found => found.map(Some),
    }
}

fn check_environment(context: &Context<'_>) -> Result<()> {
    patience::check()?;
    environment::check(&context.environment)
}

fn supervised(context: &Context<'_>, run: Run<'_>, orphans: &mut Orphans) -> Result<Ended> {
    match supervisor::run(run, &context.environment, orphans, context.interrupts) {
        Err(Error::Interrupted) => Ok(Ended::default()),
        ended => ended,
    }
}

fn remarks(summary: &Summary) -> Vec<String> {
    summary.new_warnings().map(str::to_owned).chain([summary.to_string()]).collect()
}
