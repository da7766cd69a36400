use serde::{Deserialize, Serialize};

use crate::Param;

/// What a hook says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HookInfo {
    /// The name by which users call it: lower-case letters, digits and `_`, such as `trace_syscalls`.
    pub name: String,
    /// One line: what a person gets.
    pub summary: String,
    /// More about it, in paragraphs, where one line is not enough.
    #[serde(default)]
    pub details: String,
    /// The parameters it takes, beyond those that the host provides for every hook.
    #[serde(default)]
    pub params: Vec<Param>,
    /// Whether its lines can be JSON objects: it then heeds [`Request::format`](crate::Request::format), as
    /// [`LineBuffer::event`](crate::LineBuffer::event) does by itself.
    #[serde(default)]
    pub has_json: bool,
}

impl HookInfo {
    /// A hook without parameters.
    pub fn new(name: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            summary: summary.into(),
            details: String::new(),
            params: Vec::new(),
            has_json: false,
        }
    }

    /// Adds to what is said about the hook.
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// Says that its lines can be JSON.
    pub fn json(mut self) -> Self {
        self.has_json = true;
        self
    }

    /// Declares a parameter.
    pub fn param(mut self, param: Param) -> Self {
        self.params.push(param);
        self
    }
}

/// What a plugin says of itself.
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
    /// What a plugin of this `version` with these `hooks` says of itself.
    pub fn new(version: impl Into<String>, hooks: Vec<HookInfo>) -> Self {
        Self { version: version.into(), api_version: crate::VERSION.to_owned(), hooks }
    }
}
