//! What a session itself has set of the events of its instance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The events that the session has enabled, and those whose filters or triggers it has set; shared with its
/// [`EventSettings`](crate::EventSettings).
#[derive(Debug, Default, Clone)]
pub(crate) struct OwnEvents(Arc<Mutex<Lists>>);

#[derive(Debug, Default)]
struct Lists {
    /// By system.
    requested: BTreeMap<String, Requested>,
    /// Each as `system:event`.
    conditioned: BTreeSet<String>,
}

/// The events of a system that were enabled.
#[derive(Debug, Default)]
struct Requested {
    all: bool,
    /// Those that were enabled by themselves.
    events: BTreeSet<String>,
}

impl OwnEvents {
    /// Call it before an event, or all events of a system, are enabled.
    pub(crate) fn request(&self, system: &str, event: Option<&str>) {
        let mut lists = self.lists();
        let requested = lists.requested.entry(system.to_owned()).or_default();
        match event {
            Some(event) => _ = requested.events.insert(event.to_owned()),
            None => requested.all = true,
        }
    }

    /// Whether the event was enabled by itself or with its system.
    pub(crate) fn is_requested(&self, system: &str, event: &str) -> bool {
        let is_in = |requested: &Requested| requested.all || requested.events.contains(event);
        self.lists().requested.get(system).is_some_and(is_in)
    }

    /// The events that were enabled by themselves, each as `system:event`. The kernel may not have all of them.
    pub(crate) fn requested(&self) -> Vec<String> {
        let of_system = |(system, requested): (&String, &Requested)| -> Vec<String> {
            requested.events.iter().map(|event| format!("{system}:{event}")).collect()
        };
        self.lists().requested.iter().flat_map(of_system).collect()
    }

    /// Call it before the filter or a trigger of an event is set.
    pub(crate) fn condition(&self, system: &str, event: &str) {
        self.lists().conditioned.insert(format!("{system}:{event}"));
    }

    /// Whether the filter or a trigger of this `system:event` was set.
    pub(crate) fn is_conditioned(&self, event: &str) -> bool {
        self.lists().conditioned.contains(event)
    }

    pub(crate) fn for_reading(&self) -> RequestedEvents {
        RequestedEvents(self.clone())
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events of an instance whose records were asked for, also those that are enabled later.
#[derive(Debug, Clone)]
pub struct RequestedEvents(OwnEvents);

impl RequestedEvents {
    /// Whether the event was enabled to be printed, by itself or with its system; of the system `ftrace`, whether the stacks were
    /// switched on by an option or a trigger.
    pub fn contains(&self, system: &str, event: &str) -> bool {
        self.0.is_requested(system, event)
    }
}
