//! `--describe`

mod lines;
mod paragraphs;

use serde_json::{Value, json};
use trace_hook_api::{EventInfo, Example, Format, HookInfo};

use super::Context;
use crate::arguments::{self, Listing};
use crate::error::Result;
use crate::output;
use crate::plugins::KnownHook;

/// The line that reports lost events, which every hook can emit.
const LOST: &str =
    "A line `CPU:1 [LOST 17 EVENTS]` reports lost events: they were recorded faster than they were read.\n";

/// What the lines of all hooks have in common in JSON.
const JSON: &str = "\
With --format json each line is an object with the same names. Durations are whole numbers of nanoseconds, and their names end in \
`_ns`: duration_ns. Addresses are strings: \"0x7ffd0a10\". Flags are true or false. Lost events are reported as \
{\"event\":\"lost\",\"cpu\":1,\"count\":17}.
";

/// Prints what a hook records, which arguments it takes, and the format of its lines. If the hook cannot run here, the
/// reason comes first.
pub fn describe(context: &Context<'_>, hook: &str, as_json: bool) -> Result<()> {
    let catalog = context.probed_catalog_for(hook)?;
    let hook = catalog.hook(hook)?;
    output::print(&if as_json { object(&hook) } else { text(&hook) })
}

/// What is particular to the hook comes before what all hooks have in common.
fn text(hook: &KnownHook<'_>) -> String {
    let info = hook.info;
    let Listing { own, common } = arguments::listing(info);
    let json = if info.formats.contains(&Format::Json) { JSON } else { "" };
    let sections = [
        hook.unavailable.map(cannot_run).unwrap_or_default(),
        format!("{}\n", info.summary),
        titled(&format!("Arguments of {}:", info.name), &own),
        examples(info),
        titled("", &info.details),
        lines::section(&info.events),
        format!("{LOST}{json}"),
        titled("Arguments of every hook:", &common),
    ];
    let sections: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    paragraphs::shortened(&sections.join("\n"))
}

fn cannot_run(reason: &str) -> String {
    format!("Cannot run here: {}\n", output::one_line(reason))
}

/// The text under a title, if there is any text.
fn titled(title: &str, text: &str) -> String {
    match (title, text.trim_end()) {
        (_, "") => String::new(),
        ("", text) => format!("{text}\n"),
        (title, text) => format!("{title}\n{text}\n"),
    }
}

fn examples(hook: &HookInfo) -> String {
    let width = hook.examples.iter().map(|example| example.arguments.len()).max().unwrap_or_default();
    let line = |Example { arguments, meaning, .. }: &Example| format!("  {arguments:width$}  {meaning}\n");
    let examples: String = hook.examples.iter().map(line).collect();
    let first = hook.examples.first().map_or("", |example| example.arguments.as_str());
    let at_a_terminal = format!("manager --run {} --follow --args --pid PID {first}", hook.name);
    titled("Examples of arguments (container-tracer adds --pid itself):", &examples)
        + &format!("At a terminal: {}\n", at_a_terminal.trim_end())
}

fn object(hook: &KnownHook<'_>) -> String {
    let info = hook.info;
    let object: Value = json!({
        "hook": info.name,
        "plugin": hook.plugin.file.name,
        "version": hook.plugin.info.version,
        "api_version": hook.plugin.info.api_version,
        "available": hook.unavailable.is_none(),
        "reason": hook.unavailable,
        "summary": info.summary,
        "details": info.details,
        "params": info.params,
        "examples": info.examples,
        "selects": info.selects,
        "formats": info.formats,
        "events": info.events,
        "common_fields": EventInfo::common_fields(),
        "lost": EventInfo::lost(),
    });
    output::plain_json(&format!("{object:#}\n"))
}
