//! Functions and events on their way to the thread that renders records.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::probe_set::{Event, Function};

/// What was found since the renderer asked last.
#[derive(Clone, Default)]
pub struct FoundFunctions {
    found: Arc<Mutex<Found>>,
    any: Arc<AtomicBool>,
}

/// Functions, and the events of their probes.
#[derive(Default)]
pub struct Found {
    pub functions: Vec<Function>,
    /// They are defined. One that the kernel refuses to enable is removed again.
    pub events: Vec<Event>,
}

impl FoundFunctions {
    /// Adds functions, before their events.
    pub fn add_functions(&self, functions: Vec<Function>) {
        self.found().functions.extend(functions);
    }

    /// Adds an event, before its first record.
    pub fn add_event(&self, event: Event) {
        self.found().events.push(event);
        self.any.store(true, Ordering::Release);
    }

    /// What was added since the last call, if that is anything.
    pub fn take(&self) -> Option<Found> {
        // It is called for each record: usually, nothing is written.
        let is_any = self.any.load(Ordering::Acquire) && self.any.swap(false, Ordering::Acquire);
        is_any.then(|| std::mem::take(&mut *self.found()))
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
