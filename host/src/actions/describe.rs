//! `--describe`

use super::Context;
use crate::arguments;
use crate::error::Result;
use crate::output;

/// Prints what a hook does and which arguments it takes.
pub fn describe(context: &Context<'_>, hook: &str) -> Result<()> {
    let catalog = context.catalog_for(hook)?;
    let hook = catalog.hook(hook)?;
    output::print(&arguments::command(hook.info).render_help().to_string())
}
