//! `list` and `--list`

use std::fmt::Write;

use serde_json::{Value, json};

use super::Context;
use crate::command_line::Listing;
use crate::error::Result;
use crate::output;
use crate::plugins::KnownHook;

/// Prints all hooks. For those that cannot run, prints the reason.
pub fn list(context: &Context<'_>, listing: Listing) -> Result<Vec<String>> {
    let catalog = context.probed_catalog()?;
    let hooks = catalog.hooks();
    let text = match listing {
        Listing::Summaries => table("DESCRIPTION", &hooks, |hook| hook.info.summary.clone()),
        Listing::Availability => table("AVAILABLE", &hooks, |_| "available".to_owned()),
        Listing::Json => objects(&hooks),
    };
    output::print(&text)?;
    Ok(catalog.remarks_about_plugins())
}

fn objects(hooks: &[KnownHook<'_>]) -> String {
    let objects: Vec<Value> = hooks.iter().map(object).collect();
    output::plain_json(&format!("{:#}\n", Value::Array(objects)))
}

fn object(hook: &KnownHook<'_>) -> Value {
    json!({
        "hook": hook.info.name,
        "plugin": hook.plugin.file.name,
        "version": hook.plugin.info.version,
        "api_version": hook.plugin.info.api_version,
        "file": hook.plugin.file.path.to_string_lossy(),
        "available": hook.is_callable(),
        "reason": reason(hook),
        "summary": hook.info.summary,
        "params": hook.info.params,
        "selects": hook.info.selects,
        "formats": hook.info.formats,
    })
}

fn reason(hook: &KnownHook<'_>) -> Option<String> {
    let hidden = hook.shadowed_by.map(|owner| format!("hidden by {owner}/{}", hook.info.name));
    hidden.or_else(|| hook.unavailable.map(str::to_owned))
}

/// A table whose last column has this heading, and this text about each hook that can run.
fn table(heading: &str, hooks: &[KnownHook<'_>], about: impl Fn(&KnownHook<'_>) -> String) -> String {
    let rows = hooks.iter().map(|hook| {
        let state = reason(hook).map_or_else(|| about(hook), |reason| format!("no: {reason}"));
        [
            hook.info.name.clone(),
            output::one_line(&hook.plugin.file.name),
            output::one_line(&hook.plugin.info.version),
            output::one_line(&state),
        ]
    });
    let header = ["HOOK", "PLUGIN", "VERSION", heading].map(str::to_owned);
    let rows: Vec<[String; 4]> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (hook, plugin, version) = (width(0), width(1), width(2));
    rows.iter().fold(String::new(), |mut text, row| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:hook$}  {:plugin$}  {:version$}  {}", row[0], row[1], row[2], row[3]);
        text
    })
}
