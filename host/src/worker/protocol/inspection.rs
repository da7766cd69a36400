use serde::{Deserialize, Serialize};
use trace_hook_api::{HookInfo, PluginInfo};

/// What a plugin declares.
#[derive(Debug, Serialize, Deserialize)]
pub struct Inspection {
    /// The plugin, without its hooks.
    pub plugin: PluginInfo,
    /// Its hooks, by position: each, or why it could not be described.
    pub hooks: Vec<Result<InspectedHook, String>>,
}

/// What a plugin declares of a hook.
#[derive(Debug, Serialize, Deserialize)]
pub struct InspectedHook {
    pub info: HookInfo,
    /// Why it cannot run here, where it was probed.
    pub unavailable: Option<String>,
}
