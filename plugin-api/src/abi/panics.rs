//! Panics of a plugin's code.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::{HookError, Result};

thread_local! {
    /// Where this thread panicked last. Only the panic hook gets the location.
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Installs a panic hook that records the location of a panic, for its error. It prints what the hook before it printed.
pub fn record_locations() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let location = panic.location().map(ToString::to_string);
            // The thread-local variable of a thread that is ending may be gone.
            let _ = LOCATION.try_with(|last| last.replace(location));
            print(panic);
        }));
    });
}

/// Calls a plugin's code, and turns a panic into an error.
pub fn caught<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    // After a panic only a session is used again: the host ends it after any error, and relies on nothing that it returns.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        let location = LOCATION.take();
        Err(HookError::panic(location.as_deref(), &message(payload)))
    })
}

fn message(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => match payload.downcast::<&'static str>() {
            Ok(message) => (*message).to_owned(),
            Err(payload) => {
                // The destructor of an unknown type could panic again.
                std::mem::forget(payload);
                "no message".to_owned()
            }
        },
    }
}
