//! `--describe`

mod lines;

use serde_json::{Value, json};
use trace_hook_api::EventInfo;

use super::Context;
use crate::arguments;
use crate::error::Result;
use crate::output;
use crate::plugins::KnownHook;

/// Prints what a hook records, which arguments it takes, and the format of its lines.
pub fn describe(context: &Context<'_>, hook: &str, as_json: bool) -> Result<()> {
    let catalog = context.catalog_for(hook)?;
    let hook = catalog.hook(hook)?;
    output::print(&if as_json { object(&hook) } else { text(&hook) })
}

fn text(hook: &KnownHook<'_>) -> String {
    let help = arguments::command(hook.info).render_help().to_string();
    format!("{help}{}", lines::section(&hook.info.events))
}

fn object(hook: &KnownHook<'_>) -> String {
    let info = hook.info;
    let object: Value = json!({
        "hook": info.name,
        "plugin": hook.plugin.file.name,
        "version": hook.plugin.info.version,
        "api_version": hook.plugin.info.api_version,
        "summary": info.summary,
        "details": info.details,
        "params": info.params,
        "selects": info.selects,
        "formats": info.formats,
        "events": info.events,
        "common_fields": EventInfo::common_fields(),
        "lost": EventInfo::lost(),
    });
    output::plain_json(&format!("{object:#}\n"))
}
