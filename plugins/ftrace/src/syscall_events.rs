//! The tracepoints of system calls.

use trace_hook_api::{HookError, Result, did_you_mean};
use trace_syscalls::{CLASSES, class};
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

/// The calls for the argument `openat`, `sys_enter_openat` or `%file`: those of a class that this kernel has.
///
/// # Errors
///
/// There is none; the message has the most similar names.
pub fn named(tracefs: &Tracefs, name: &str) -> Result<Vec<String>> {
    if name.starts_with('%') {
        return of_class(tracefs, name);
    }
    let call = name.strip_prefix(ENTER).unwrap_or(name);
    if tracefs.has_event(SYSTEM, &enter_event(call)) {
        return Ok(vec![call.to_owned()]);
    }
    let class = format!("%{call}");
    let hint = match of_class(tracefs, &class) {
        Ok(_) => format!("; did you mean the class {class}?"),
        Err(_) => did_you_mean(call, &all(tracefs)?),
    };
    Err(HookError::usage(format!("unknown system call '{name}'{hint}")))
}

fn of_class(tracefs: &Tracefs, name: &str) -> Result<Vec<String>> {
    let Some(class) = class(name) else {
        let names: Vec<String> = CLASSES.iter().map(|class| format!("%{}", class.name)).collect();
        let problem = format!("unknown class of system calls '{name}'; the classes are {}", names.join(", "));
        return Err(HookError::usage(problem));
    };
    // The kernel calls some of them by the names of its functions.
    let has_it = |call: &&String| {
        let call = call.strip_prefix("new").unwrap_or(call);
        class.calls.contains(&call)
    };
    let all = all(tracefs)?;
    Ok(all.iter().filter(|call| class.calls.contains(&call.as_str()) || has_it(call)).cloned().collect())
}
