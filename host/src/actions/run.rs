//! `--run`

use super::Context;
use crate::command_line::HookArguments;
use crate::environment;
use crate::error::{Error, Result};
use crate::session::{arguments, supervisor};

/// Runs a hook. A signal before anything was printed undoes everything, and is no failure.
pub fn run(context: &Context<'_>, hook: &str, words: &HookArguments, follow: bool) -> Result<()> {
    match run_checked(context, hook, words, follow) {
        Err(Error::Interrupted) => Ok(()),
        outcome => outcome,
    }
}

fn run_checked(context: &Context<'_>, hook: &str, words: &HookArguments, follow: bool) -> Result<()> {
    let catalog = context.catalog()?;
    let hook = catalog.hook(hook)?;
    let arguments = arguments::parse(hook.info, words)?;
    environment::check(&context.environment)?;
    supervisor::run(&hook, arguments, &context.environment, follow, context.interrupts)
}
