//! When to misbehave: `MISBEHAVE=fault:function` in the environment.

use std::env;

use trace_hook_api::Result;

use crate::fault;

/// Runs while the library is loaded.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn construct() {
        // A constructor cannot return an error.
        let _ = misbehave_in("load");
    }
    construct
};

/// Misbehaves if the variable names this function.
pub fn misbehave_in(function: &str) -> Result<()> {
    match variable().split_once(':') {
        Some((fault, requested)) if requested == function => fault::perform(fault),
        _ => Ok(()),
    }
}

/// Whether the variable has this value, `fault:function`.
pub fn is(value: &str) -> bool {
    variable() == value
}

fn variable() -> String {
    env::var("MISBEHAVE").unwrap_or_default()
}
