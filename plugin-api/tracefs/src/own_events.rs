//! What a session itself has set of the events of its instance.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The events that the session has enabled, and those whose filters or triggers it has set; shared with its
/// [`EventSettings`](crate::EventSettings).
#[derive(Debug, Default, Clone)]
pub(crate) struct OwnEvents(Arc<Mutex<Lists>>);

#[derive(Debug, Default)]
struct Lists {
    /// Each a system, or one event of it.
    requested: Vec<(String, Option<String>)>,
    /// Each as `system:event`.
    conditioned: BTreeSet<String>,
}

impl OwnEvents {
    /// Call it before an event, or all events of a system, are enabled.
    pub(crate) fn request(&self, system: &str, event: Option<&str>) {
        self.lists().requested.push((system.to_owned(), event.map(str::to_owned)));
    }

    /// Whether the event was enabled by itself or with its system.
    pub(crate) fn is_requested(&self, system: &str, event: &str) -> bool {
        let lists = self.lists();
        lists.requested.iter().any(|(s, e)| s == system && e.as_deref().is_none_or(|e| e == event))
    }

    /// The events that were enabled by themselves, each as `system:event`. The kernel may not have all of them.
    pub(crate) fn requested(&self) -> Vec<String> {
        let lists = self.lists();
        let name =
            |(system, event): &(String, Option<String>)| Some(format!("{system}:{}", event.as_deref()?));
        lists.requested.iter().filter_map(name).collect()
    }

    /// Call it before the filter or a trigger of an event is set.
    pub(crate) fn condition(&self, system: &str, event: &str) {
        self.lists().conditioned.insert(format!("{system}:{event}"));
    }

    /// Whether the filter or a trigger of this `system:event` was set.
    pub(crate) fn is_conditioned(&self, event: &str) -> bool {
        self.lists().conditioned.contains(event)
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
