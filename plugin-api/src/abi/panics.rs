//! Panics of the author's code.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::{HookError, Result};

thread_local! {
    /// Where this thread panicked last: only the hook of a panic is told that.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on, the errors of panics say where they happened. What is printed of them stays the same.
pub fn remember_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(ToString::to_string);
            // A thread that is ending has no such memory any more.
            let _ = PLACE.try_with(|last| last.replace(place));
            print(panic);
        }));
    });
}

/// Calls into the author's code, and makes an error of a panic.
pub fn caught<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    // The closure's state is not looked at again after a panic, but for sessions: the host ends one after any error, and relies
    // on nothing that it gives until then.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        let place = PLACE.take();
        Err(HookError::panic(place.as_deref(), &message(payload)))
    })
}

fn message(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => match payload.downcast::<&'static str>() {
            Ok(message) => (*message).to_owned(),
            Err(payload) => {
                // Dropping a payload of the author's own type could panic again, outside of any guard.
                std::mem::forget(payload);
                "no message".to_owned()
            }
        },
    }
}
