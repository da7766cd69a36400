//! The clock of the records: `CLOCK_BOOTTIME`, as in the lines of all hooks.

use trace_hook_api::{Result, log};
use tracefs::Instance;

/// The kernel's name for `CLOCK_BOOTTIME`.
const BOOT: &str = "boot";
/// `CLOCK_MONOTONIC`, which does not include the time that the machine was suspended.
const MONOTONIC: &str = "mono";

/// Sets the clock of instances that record nothing yet.
///
/// This takes most of the time of a start, nearly all of it waiting (see [`Instance::set_clock`]). So a separate thread does it
/// while the tasks are looked up in procfs.
///
/// # Errors
///
/// The kernel refuses to set the clock.
pub fn set_boot_clock<'i>(instances: impl IntoIterator<Item = &'i Instance>) -> Result<()> {
    for instance in instances {
        let offered = instance.clocks()?;
        let best = [BOOT, MONOTONIC].into_iter().find(|clock| offered.iter().any(|name| name == clock));
        if best != Some(BOOT) {
            let used = best.unwrap_or("the kernel's default clock");
            log::warn!("this kernel's tracing has no clock '{BOOT}': times are those of {used}");
        }
        if let Some(clock) = best {
            instance.set_clock(clock)?;
        }
    }
    Ok(())
}
