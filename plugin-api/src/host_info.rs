use serde::{Deserialize, Serialize};

/// The host that has loaded the plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HostInfo {
    /// The version of the interface that the host implements. Empty if it is not known.
    pub version: String,
    /// The ids of the extensions that the host offers, beyond what every host of that version does.
    pub extensions: Vec<String>,
}

impl HostInfo {
    /// Describes a host that implements this version of the interface, and offers these extensions.
    pub fn new<T: Into<String>>(version: impl Into<String>, extensions: impl IntoIterator<Item = T>) -> Self {
        Self { version: version.into(), extensions: extensions.into_iter().map(Into::into).collect() }
    }

    /// Returns whether the host offers the extension of this id.
    pub fn offers(&self, id: &str) -> bool {
        self.extensions.iter().any(|offered| offered == id)
    }
}
