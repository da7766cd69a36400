use serde::{Deserialize, Serialize};

/// The result of one check of a plugin, with its text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "status", content = "text", rename_all = "lowercase")]
pub enum Finding {
    Ok(String),
    Failed(String),
    /// The check could not be performed here; the text is the reason.
    Skipped(String),
}
