//! Whose events are wanted.

use trace_hook_api::{HookError, Request, Result};
use tracefs::{Follow, Pid, Procfs, Targets};

/// The procfs, and whom to look for in it.
///
/// # Errors
///
/// The kernel would take the ids of this procfs for others'.
pub fn wanted(request: &Request) -> Result<(Procfs, Targets)> {
    let procfs = Procfs::at(&request.environment.procfs);
    let mut targets = Targets::new();
    let own = if request.tasks.exact { Follow::ALONE } else { Follow::FAMILY };
    request.tasks.pids.iter().for_each(|pid| targets.add(*pid as Pid, own));
    request.tasks.parents.iter().for_each(|pid| targets.add(*pid as Pid, Follow::CHILDREN));
    procfs.ourselves().into_iter().for_each(|pid| targets.except(pid));
    Ok((procfs, targets))
}

/// There is nobody to trace.
pub fn all_gone(request: &Request) -> HookError {
    let pids: Vec<String> =
        request.tasks.pids.iter().chain(&request.tasks.parents).map(u32::to_string).collect();
    HookError::new(format!("no traced process is left: {} exited", pids.join(", ")))
}
