//! `cargo xtask docs`: writes docs/json.md from the hooks' own descriptions of their lines.
//!
//! The introduction is in a template. `--check` changes nothing, and fails if the document is not up to date.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use trace_hook_api::{EventInfo, FieldInfo, FieldKind};

use crate::cargo;
use crate::dist;
use crate::error::{Explain, Result};

/// The argument with which [`docs`] changes nothing.
pub const CHECK: &str = "--check";

const TEMPLATE: &str = "xtask/docs/json.md";
const DOCUMENT: &str = "docs/json.md";

/// Writes the document; with [`CHECK`] only checks that it is up to date.
pub fn docs(words: &[&str]) -> Result<()> {
    let document = cargo::root().join(DOCUMENT);
    match words {
        [] => fs::write(&document, generate()?).explain(|| format!("cannot write {DOCUMENT}")),
        [CHECK] if fs::read_to_string(&document).unwrap_or_default() == generate()? => Ok(()),
        [CHECK] => Err(format!(
            "{DOCUMENT} does not match the descriptions of the hooks; run `cargo xtask docs` and commit the result"
        )
        .into()),
        _ => Err(format!("`cargo xtask docs` takes {CHECK} or nothing").into()),
    }
}

fn generate() -> Result<String> {
    let template = cargo::root().join(TEMPLATE);
    let template = fs::read_to_string(template).explain(|| format!("cannot read {TEMPLATE}"))?;
    let hooks = Installation::build()?.hooks()?;
    let sections: Vec<String> = hooks.iter().map(section).collect();
    Ok(template
        .replace("{common_fields}\n", &table(&EventInfo::common_fields()))
        .replace("{lost}\n", &table(&EventInfo::lost().fields))
        .replace("{hooks}\n", &sections.join("\n")))
}

/// What the document contains of a hook.
struct HookLines {
    name: String,
    summary: String,
    events: Vec<EventInfo>,
}

/// The manager, and a directory with all shipped plugins.
struct Installation {
    manager: PathBuf,
    plugins: TempDir,
}

impl Installation {
    fn build() -> Result<Self> {
        let artifacts = cargo::artifacts(cargo::cargo(&["build"]).args(dist::packages()?))?;
        let plugins = tempfile::tempdir()?;
        for plugin in artifacts.iter().filter(|artifact| artifact.kind == "cdylib") {
            let link = plugins.path().join(format!("{}.so", plugin.name));
            symlink(&plugin.file, &link).explain(|| format!("cannot create {}", link.display()))?;
        }
        let manager = artifacts.into_iter().find(|artifact| artifact.kind == "bin");
        Ok(Self { manager: manager.ok_or("cargo has not built the manager")?.file, plugins })
    }

    /// All hooks by name, also those that cannot run here.
    fn hooks(&self) -> Result<Vec<HookLines>> {
        let list = self.ask(&["--list", "--json"])?;
        let hooks = list.as_array().ok_or("the list of hooks is not an array")?;
        let names = hooks.iter().filter_map(|hook| hook["hook"].as_str());
        names.map(|name| self.describe(name)).collect()
    }

    fn describe(&self, hook: &str) -> Result<HookLines> {
        let mut description = self.ask(&["--describe", hook, "--json"])?;
        let events: Vec<EventInfo> = serde_json::from_value(description["events"].take())
            .explain(|| format!("the description of {hook} cannot be read"))?;
        if events.is_empty() {
            return Err(format!("{hook} does not describe its lines").into());
        }
        let summary = description["summary"].as_str().unwrap_or_default().to_owned();
        Ok(HookLines { name: hook.to_owned(), summary, events })
    }

    fn ask(&self, words: &[&str]) -> Result<Value> {
        let mut manager = Command::new(&self.manager);
        manager.arg("--allow-untrusted").arg("--plugins").arg(self.plugins.path()).args(words);
        let output = manager.output().explain(|| format!("cannot start {}", self.manager.display()))?;
        serde_json::from_slice(&output.stdout).explain(|| {
            format!("`manager {}` failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr))
        })
    }
}

fn section(hook: &HookLines) -> String {
    let mut text = format!("## {}\n\n{}.\n", hook.name, hook.summary.trim_end_matches('.'));
    for event in &hook.events {
        text += &format!("\n### `{}`\n\n{}.\n", event.name, capitalised(&event.meaning));
        if !event.fields.is_empty() {
            text += &format!("\n{}", table(&event.fields));
        }
    }
    text
}

fn table(fields: &[FieldInfo]) -> String {
    let mut text = "| name | type | meaning |\n|---|---|---|\n".to_owned();
    rows(&mut text, "", fields);
    text
}

/// A row for each field. Those of a group follow it, with its name in front.
fn rows(text: &mut String, group: &str, fields: &[FieldInfo]) {
    for field in fields {
        let name = format!("{group}{}", field.json_name());
        let optional = if field.optional { ", optional" } else { "" };
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "| `{name}` | {}{optional} | {} |", json_type(field.kind), cell(&meaning(field)));
        rows(text, &format!("{name}."), &field.fields);
    }
}

fn json_type(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text | FieldKind::Word | FieldKind::Address => "string",
        FieldKind::Number | FieldKind::Fraction | FieldKind::Duration => "number",
        FieldKind::Flag => "boolean",
        FieldKind::List => "array of strings",
        FieldKind::Group => "object",
        FieldKind::Buckets => "array of objects",
        _ => "any",
    }
}

fn meaning(field: &FieldInfo) -> String {
    let mut text = field.meaning.clone();
    if !field.unit.is_empty() && field.kind != FieldKind::Duration {
        text += &format!(", in {}", field.unit);
    }
    if !field.words.is_empty() {
        let words: Vec<String> = field.words.iter().map(|word| format!("`{word}`")).collect();
        text += &format!(": {}", words.join(", "));
    }
    text
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn capitalised(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_has_a_section_with_a_table_for_each_event() {
        let events = vec![
            EventInfo::new("open", "a file was opened")
                .field(FieldInfo::text("path", "path of the file"))
                .field(FieldInfo::word("flags", "A|B").words(["A", "B"]).optional())
                .field(FieldInfo::number("size", "size").unit("bytes"))
                .field(FieldInfo::duration("took", "time of the call").unit("ns"))
                .field(FieldInfo::group("more", "others", [FieldInfo::any("*", "as named")])),
            EventInfo::new("end", "the session has ended"),
        ];
        let hook = HookLines { name: "trace_files".to_owned(), summary: "Files".to_owned(), events };
        let expected = "\
## trace_files

Files.

### `open`

A file was opened.

| name | type | meaning |
|---|---|---|
| `path` | string | path of the file |
| `flags` | string, optional | A\\|B: `A`, `B` |
| `size` | number | size, in bytes |
| `took_ns` | number | time of the call |
| `more` | object | others |
| `more.*` | any, optional | as named |

### `end`

The session has ended.
";
        assert_eq!(section(&hook), expected);
    }
}
