use serde::{Deserialize, Serialize};

use crate::known::known_items;
use crate::{EventInfo, Format, Param, Selection};

/// The description of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HookInfo {
    /// The name by which users call it: lower-case letters, digits and `_`, such as `trace_syscalls`.
    pub name: String,
    /// What it records, in one line.
    pub summary: String,
    /// More about it, in paragraphs, where one line is not enough.
    #[serde(default)]
    pub details: String,
    /// Its parameters, beyond those that the host provides for every hook.
    #[serde(default)]
    pub params: Vec<Param>,
    /// The choices of tasks that it honours beyond `--pid`.
    #[serde(default, deserialize_with = "known_items")]
    pub selects: Vec<Selection>,
    /// The formats that its lines can have.
    #[serde(default = "text_only", deserialize_with = "known_items")]
    pub formats: Vec<Format>,
    /// The events of its lines.
    #[serde(default)]
    pub events: Vec<EventInfo>,
    /// Whether its lines are presented as a [`View`](crate::View) says. The host rejects views for other hooks.
    #[serde(default)]
    pub honours_view: bool,
    /// Examples of its arguments.
    #[serde(default)]
    pub examples: Vec<Example>,
}

/// An example of a hook's arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Example {
    /// The arguments, without `--pid`, quoted as in `--args`.
    pub arguments: String,
    /// What they do, in a few words.
    pub meaning: String,
}

fn text_only() -> Vec<Format> {
    vec![Format::Text]
}

impl HookInfo {
    /// Creates the description of a hook without parameters, which honours `--pid` only and writes text only.
    pub fn new(name: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            summary: summary.into(),
            details: String::new(),
            params: Vec::new(),
            selects: Vec::new(),
            formats: text_only(),
            events: Vec::new(),
            honours_view: false,
            examples: Vec::new(),
        }
    }

    /// Sets the text that the help prints below the summary.
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// Declares the choices of tasks that the hook honours. The host rejects all others.
    pub fn selects(mut self, selections: impl Into<Vec<Selection>>) -> Self {
        self.selects = selections.into();
        self
    }

    /// Declares the formats that the hook's lines can have. The host requests no others.
    ///
    /// What is written with [`LineBuffer::event`](crate::LineBuffer::event) has any format without further work.
    pub fn formats(mut self, formats: impl Into<Vec<Format>>) -> Self {
        self.formats = formats.into();
        self
    }

    /// Describes an event of the hook's lines.
    ///
    /// A hook that describes any must describe all of them. In debug builds of a plugin, a line in JSON that differs from its
    /// description is an error of the session.
    pub fn event(mut self, event: EventInfo) -> Self {
        self.events.push(event);
        self
    }

    /// Declares that all lines of the hook are presented as a [`View`](crate::View) says.
    ///
    /// That is so if they are written with [`LineBuffer::event`](crate::LineBuffer::event), and all events are described. A line
    /// that is written otherwise has to be asked for first: [`LineBuffer::passes`](crate::LineBuffer::passes).
    pub fn honours_view(mut self) -> Self {
        self.honours_view = true;
        self
    }

    /// Adds an example of arguments, without `--pid`, which differs from caller to caller. `--check` parses it.
    pub fn example(mut self, arguments: impl Into<String>, meaning: impl Into<String>) -> Self {
        self.examples.push(Example { arguments: arguments.into(), meaning: meaning.into() });
        self
    }

    /// Declares a parameter.
    pub fn param(mut self, param: Param) -> Self {
        self.params.push(param);
        self
    }
}

/// The description of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PluginInfo {
    /// The version of the plugin.
    pub version: String,
    /// The version of this interface that the plugin was built against.
    pub api_version: String,
    /// Its hooks.
    pub hooks: Vec<HookInfo>,
}

impl PluginInfo {
    /// Creates the description of a plugin of this `version` with these `hooks`.
    pub fn new(version: impl Into<String>, hooks: Vec<HookInfo>) -> Self {
        Self { version: version.into(), api_version: crate::VERSION.to_owned(), hooks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_fields_have_their_defaults() {
        let oldest: HookInfo = serde_json::from_str(r#"{"name":"h","summary":"s"}"#).unwrap();
        assert_eq!(oldest, HookInfo::new("h", "s"));
    }

    #[test]
    fn selections_and_formats_of_newer_plugins_are_skipped() {
        let newer = r#"{"name":"h","summary":"s","selects":["exact","planet",{"cgroup":1}],"formats":["json","binary"]}"#;
        let info: HookInfo = serde_json::from_str(newer).unwrap();
        assert_eq!(info.selects, [Selection::Exact]);
        assert_eq!(info.formats, [Format::Json]);
    }
}
