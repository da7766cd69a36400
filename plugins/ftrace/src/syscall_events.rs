//! The tracepoints of system calls.

use trace_hook_api::{HookError, Result, did_you_mean};
use tracefs::Tracefs;

/// The system of these events.
pub const SYSTEM: &str = "syscalls";

const ENTER: &str = "sys_enter_";
const EXIT: &str = "sys_exit_";

/// The event of the entry of a call.
pub fn enter_event(call: &str) -> String {
    format!("{ENTER}{call}")
}

/// The event of the return of a call.
pub fn exit_event(call: &str) -> String {
    format!("{EXIT}{call}")
}

/// All calls that the kernel can trace, sorted.
///
/// # Errors
///
/// The events cannot be listed.
pub fn all(tracefs: &Tracefs) -> Result<Vec<String>> {
    let events = tracefs.events(SYSTEM)?;
    Ok(events.iter().filter_map(|event| event.strip_prefix(ENTER)).map(str::to_owned).collect())
}

/// The call for the argument `openat` or `sys_enter_openat`.
///
/// # Errors
///
/// There is none; the message has the most similar names.
pub fn named(tracefs: &Tracefs, name: &str) -> Result<String> {
    let call = name.strip_prefix(ENTER).unwrap_or(name);
    if tracefs.has_event(SYSTEM, &enter_event(call)) {
        return Ok(call.to_owned());
    }
    let hint = did_you_mean(call, &all(tracefs)?);
    Err(HookError::usage(format!("unknown system call '{name}'{hint}")))
}
