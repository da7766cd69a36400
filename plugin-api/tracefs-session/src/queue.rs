//! Items on their way to the thread that renders records.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A queue between threads. To find it empty, which is the usual case and is checked for each record, costs one load.
#[derive(Debug)]
pub struct Queue<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    items: Mutex<Vec<T>>,
    any: AtomicBool,
}

impl<T> Queue<T> {
    pub fn add(&self, items: impl IntoIterator<Item = T>) {
        self.0.items.lock().unwrap_or_else(PoisonError::into_inner).extend(items);
        self.0.any.store(true, Ordering::Release);
    }

    /// The items that were added since the last call.
    pub fn take(&self) -> Vec<T> {
        if !self.0.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.0.any.store(false, Ordering::Release);
        mem::take(&mut self.0.items.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self(Arc::new(Shared { items: Mutex::default(), any: AtomicBool::new(false) }))
    }
}
