//! `run`, and `--run`.

use super::{Context, Outcome};
use crate::arguments::{self, HookArguments, RunOptions, RunWords};
use crate::environment;
use crate::error::{Error, Result};
use crate::patience;
use crate::plugins::RunnableHook;
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
    let hook = found(context, hook)?;
    let Some(hook) = hook else { return Ok(Vec::new()) };
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
        Some(summary) if follow => Ok(remarks(summary)),
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
    let Some(hook) = found(context, hook)? else { return Ok(Outcome::default()) };
    let (arguments, options) = arguments::parse_run(&hook.info, words)?;
    let command = words.command.as_ref().map(|words| CommandLine::new(words, options.user.as_deref()));
    let command = command.transpose()?;
    check_environment(context)?;
    let destination = Destination::Output(output(&options, command.is_some())?);
    let run = Run {
        hook: &hook,
        arguments,
        destination,
        command,
        until_exit: options.until_exit,
        shows_status: true,
    };
    let ended = supervised(context, run, orphans)?;
    Ok(Outcome { remarks: ended.summary.map(remarks).unwrap_or_default(), command: ended.command })
}

/// Standard output is that of the command, if there is one.
fn output(options: &RunOptions, has_command: bool) -> Result<Output> {
    match &options.output {
        Some(path) => Output::open(path),
        None if has_command => Ok(Output::Stderr),
        None => Output::stdout(),
    }
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

fn remarks(summary: Summary) -> Vec<String> {
    let counts = summary.to_string();
    summary.warnings.into_iter().chain([counts]).collect()
}
