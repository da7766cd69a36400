//! When to misbehave.

use std::env;

use trace_hook_api::Result;

use crate::deed;

/// Runs while the library is loaded.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn construct() {
        // There is no way to say that this failed.
        let _ = arises("load");
    }
    construct
};

/// Misbehaves, if this function is the one to do so.
pub fn arises(function: &str) -> Result<()> {
    match told().split_once(':') {
        Some((deed, when)) if when == function => deed::perform(deed),
        _ => Ok(()),
    }
}

/// Whether this is what it is told to do.
pub fn is(deed: &str) -> bool {
    told() == deed
}

fn told() -> String {
    env::var("MISBEHAVE").unwrap_or_default()
}
