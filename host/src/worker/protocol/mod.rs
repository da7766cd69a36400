//! The messages between the supervisor and a worker, and the channel that carries them.
//!
//! What is sent is defined here or in trace-hook-api, so that a worker depends on no other part of the host.

mod channel;
mod finding;
mod inspection;
mod summary;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trace_hook_api::{HookError, PluginInfo};

pub use channel::{Channel, Received, Sender};
pub use finding::Finding;
pub use inspection::{InspectedHook, Inspection};
pub use summary::{Summary, Warning};

/// A message of a worker to its supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// A log record.
    Log { level: log::Level, message: String },
    /// The plugin and its hooks, each described by itself.
    Inspected(Inspection),
    /// The plugin and its hooks, described in one call.
    Described(PluginInfo),
    /// The result of a check of the plugin.
    Found(Finding),
    /// The reason why the hook cannot run here, if it cannot, and how long the probe took.
    Probed { refusal: Option<HookError>, took: Duration },
    /// The session is recording.
    Recording,
    /// How many events the session has returned so far, how many were lost since the last such message, by CPU, and whether more
    /// may be missing: the session has warnings.
    Progress { events: u64, lost: BTreeMap<u32, u64>, has_warnings: bool },
    /// The session has ended. The summary is absent where the events were discarded.
    Ended(Option<Summary>),
    /// The job is done.
    Done,
    /// The job could not be done.
    Failed(HookError),
}

/// A message of the supervisor to a worker that records.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// End the session.
    Stop,
    /// Do not wait for the reader any longer.
    EndDrain,
    /// End the session and discard what it has recorded.
    Discard,
}
