//! Whether changes by other processes are still undone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// On until the session stops, which is a change as well. Then a look that is still under way must neither report nor undo it.
#[derive(Debug, Clone)]
pub(crate) struct Switch(Arc<Mutex<bool>>);

impl Switch {
    pub(crate) fn on() -> Self {
        Self(Arc::new(Mutex::new(true)))
    }

    /// Turns it off. Waits for an [action](Self::while_on) that has begun.
    pub(crate) fn turn_off(&self) {
        *self.lock() = false;
    }

    pub(crate) fn is_on(&self) -> bool {
        *self.lock()
    }

    /// Acts, unless it is off.
    pub(crate) fn while_on<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        self.lock().then(act)
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_done_once_it_is_off() {
        let switch = Switch::on();
        assert_eq!(switch.clone().while_on(|| 1), Some(1));
        switch.turn_off();
        assert_eq!(switch.while_on(|| unreachable!()), None::<u32>);
    }
}
