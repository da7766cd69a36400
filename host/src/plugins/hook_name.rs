//! The name of a hook on the command line.

use super::rules;
use crate::worker::protocol::Inspection;

/// `HOOK`, or `PLUGIN/HOOK`.
#[derive(Debug, Clone, Copy)]
pub struct HookName<'a> {
    pub plugin: Option<&'a str>,
    pub hook: &'a str,
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

    /// Returns whether a plugin with this description has the hook, without breaking a rule.
    pub fn is_in(&self, inspection: &Inspection) -> bool {
        rules::check_plugin(&inspection.plugin, inspection.hooks.len()).is_ok()
            && inspection
                .hooks
                .iter()
                .flatten()
                .any(|hook| hook.info.name == self.hook && rules::check_hook(&hook.info, &[]).is_ok())
    }
}
