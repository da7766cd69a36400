//! `--run`

use super::Context;
use crate::arguments::{self, HookArguments};
use crate::environment;
use crate::error::{Error, Result};
use crate::session::orphans::Orphans;
use crate::session::supervisor;
use crate::worker::protocol::Summary;

/// Runs a hook. A signal before anything was printed undoes everything, and is no failure.
///
/// What became of the events goes to the log, or is told to whoever follows the trace.
pub fn run(
    context: &Context<'_>,
    hook: &str,
    words: &HookArguments,
    follow: bool,
    orphans: &mut Orphans,
) -> Result<Vec<String>> {
    match run_checked(context, hook, words, follow, orphans) {
        Ok(Some(summary)) if follow => Ok(vec![summary.to_string()]),
        Ok(Some(summary)) => {
            log::info!("{summary}");
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
    environment::check(&context.environment)?;
    supervisor::run(&hook, arguments, &context.environment, follow, orphans, context.interrupts)
}
