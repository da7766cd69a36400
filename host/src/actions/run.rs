//! `--run`

use super::Context;
use crate::arguments::{self, HookArguments};
use crate::environment;
use crate::error::{Error, Result};
use crate::patience;
use crate::session::orphans::Orphans;
use crate::session::supervisor;
use crate::worker::protocol::Summary;

/// Runs a hook. A signal before the path is printed cancels the run, which is not an error.
///
/// The summary of the events and what is missing in the trace are logged; with `--follow` they are returned as remarks.
pub fn run(
    context: &Context<'_>,
    hook: &str,
    words: &HookArguments,
    follow: bool,
    orphans: &mut Orphans,
) -> Result<Vec<String>> {
    match run_checked(context, hook, words, follow, orphans) {
        Ok(Some(summary)) if follow => {
            let counts = summary.to_string();
            Ok(summary.warnings.into_iter().chain([counts]).collect())
        }
        Ok(Some(summary)) => {
            summary.log();
            Ok(Vec::new())
        }
        Ok(None) | Err(Error::Interrupted) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn run_checked(
    context: &Context<'_>,
    hook: &str,
    words: &HookArguments,
    follow: bool,
    orphans: &mut Orphans,
) -> Result<Option<Summary>> {
    let hook = context.catalog_for(hook)?.into_hook(hook)?;
    let arguments = arguments::parse(&hook.info, words)?;
    patience::check()?;
    environment::check(&context.environment)?;
    supervisor::run(&hook, arguments, &context.environment, follow, orphans, context.interrupts)
}
