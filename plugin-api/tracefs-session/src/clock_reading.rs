//! Reads the clock of the records together with `CLOCK_BOOTTIME`.

use trace_hook_api::{HookError, Result, boot_time};
use trace_session::spool::ClockReading;
use tracefs::RecordClock;

/// Half a microsecond: the clock is rounded to whole ones.
const ROUNDED: u64 = 500;
/// A reading that takes longer was interrupted, and is repeated.
const USUAL: u64 = 5_000;
const ATTEMPTS: usize = 4;

/// Reads both clocks.
///
/// # Errors
///
/// The kernel does not show that of the records.
pub(crate) fn read(clock: &RecordClock) -> Result<ClockReading> {
    let mut best = read_once(clock)?;
    for _ in 1..ATTEMPTS {
        if width(&best) <= USUAL {
            break;
        }
        let again = read_once(clock)?;
        if width(&again) < width(&best) {
            best = again;
        }
    }
    Ok(best)
}

fn read_once(clock: &RecordClock) -> Result<ClockReading> {
    let earliest = boot_time().saturating_sub(ROUNDED);
    let stamp = clock.now().map_err(|error| {
        HookError::new(format!("cannot read the clock of an instance in per_cpu/cpu0/stats: {error}"))
    })?;
    Ok(ClockReading { stamp, earliest, latest: boot_time().saturating_add(ROUNDED) })
}

fn width(reading: &ClockReading) -> u64 {
    reading.latest - reading.earliest
}
