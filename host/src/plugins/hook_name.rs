//! The name of a hook on the command line.

use super::rules;
use crate::worker::protocol::Inspection;

/// The prefix that can be omitted.
const PREFIX: &str = "trace_";

/// `HOOK`, or `PLUGIN/HOOK`.
#[derive(Debug, Clone, Copy)]
pub struct HookName<'a> {
    pub plugin: Option<&'a str>,
    pub hook: &'a str,
}

/// The name of a hook as people type it.
pub fn without_prefix(hook: &str) -> &str {
    hook.strip_prefix(PREFIX).unwrap_or(hook)
}

impl<'a> HookName<'a> {
    /// Splits a name into its parts.
    pub fn of(name: &'a str) -> Self {
        match name.split_once('/') {
            Some((plugin, hook)) => Self { plugin: Some(plugin), hook },
            None => Self { plugin: None, hook: name },
        }
    }

    /// Returns whether the hook can belong to the plugin of this name.
    pub fn may_be_of(&self, plugin: &str) -> bool {
        self.plugin.is_none_or(|meant| meant == plugin)
    }

    /// Returns whether this is the name of a hook, if need be with the prefix that can be omitted.
    pub fn may_mean(&self, hook: &str) -> bool {
        hook == self.hook || self.omits_prefix_of(hook)
    }

    /// Returns whether this is the name of a hook without the prefix.
    pub fn omits_prefix_of(&self, hook: &str) -> bool {
        hook.strip_prefix(PREFIX) == Some(self.hook)
    }

    /// The name of a hook in the same form.
    pub fn in_same_form(&self, hook: &'a str) -> &'a str {
        if self.hook.starts_with(PREFIX) { hook } else { without_prefix(hook) }
    }

    /// Returns whether a plugin with this description has a hook of exactly this name, without breaking a rule.
    pub fn is_in(&self, inspection: &Inspection) -> bool {
        rules::check_plugin(&inspection.plugin, inspection.hooks.len()).is_ok()
            && inspection
                .hooks
                .iter()
                .flatten()
                .any(|hook| hook.info.name == self.hook && rules::check_hook(&hook.info, &[]).is_ok())
    }
}
