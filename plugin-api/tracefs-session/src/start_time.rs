//! When tasks were started, by the clock of lines.

use trace_hook_api::boot_time;
use trace_tasks::{Pid, Procfs};

/// When a task was started, in nanoseconds by [`boot_time`], rounded down to 10 ms. `None` if it does not exist.
///
/// procfs has it by the clock of the reader's time namespace.
pub(crate) fn started(procfs: &Procfs, task: Pid) -> Option<u64> {
    let started = procfs.started(task)?;
    // In this order the result is not too late.
    let (initial, own) = (boot_time(), Procfs::now());
    Some(started.saturating_add(initial).saturating_sub(own))
}
