//! `--get-all`

use super::Context;
use crate::error::Result;
use crate::output;

/// Prints the names of the available hooks, sorted, one per line.
pub fn get_all(context: &Context<'_>) -> Result<Vec<String>> {
    let catalog = context.probed_catalog()?;
    let callable = catalog.hooks().into_iter().filter(|hook| hook.is_callable());
    let names: String = callable.map(|hook| format!("{}\n", hook.info.name)).collect();
    output::print(&names)?;
    Ok(catalog.remarks())
}
