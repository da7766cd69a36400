//! The factor for all time limits of the host and its plugins, for machines that are slower than it expects.
//!
//! It is the product of what the user gives and of what the machine shows: the CPU time that this process needed until `main`,
//! for loading and linking, which is what workers spend most of their time with, too.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::environment;
use crate::error::{Error, Result};

/// The variable that multiplies all time limits.
const PATIENCE: &str = "TRACER_PATIENCE";
/// With a greater factor, a hanging plugin would block a caller for hours.
const GREATEST: u32 = 1000;

/// The CPU time until `main` on the slowest machine that needs no other limits. Usually it is one or two milliseconds.
const USUAL_START: Duration = Duration::from_millis(15);
/// The greatest factor that the machine alone can cause.
const SLOWEST: u32 = 10;

static FACTOR: OnceLock<u32> = OnceLock::new();

/// Reads the factor from the environment. An invalid one is ignored here; [`check`] refuses it.
pub fn read() {
    let factor = environment::variable(PATIENCE).as_deref().and_then(factor_of).unwrap_or(1);
    // It is set once, at the start of `main`.
    let _ = FACTOR.set(factor.saturating_mul(slowness(used_cpu_time())));
}

/// Checks the variable, for the calls that change something.
///
/// # Errors
///
/// It is no whole number from 1 to 1000.
pub fn check() -> Result<()> {
    match environment::variable(PATIENCE) {
        Some(value) if factor_of(&value).is_none() => Err(Error::Variable {
            variable: PATIENCE,
            value,
            problem: format!("is not a factor for time limits: give a whole number from 1 to {GREATEST}"),
        }),
        _ => Ok(()),
    }
}

fn used_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// How many times slower a machine is whose processes take this long to start.
fn slowness(start: Duration) -> u32 {
    let times = start.as_micros().div_ceil(USUAL_START.as_micros());
    u32::try_from(times).unwrap_or(SLOWEST).clamp(1, SLOWEST)
}

/// The factor.
pub fn factor() -> u32 {
    FACTOR.get().copied().unwrap_or(1)
}

/// A time limit of the host, multiplied by the factor.
pub fn patient(limit: Duration) -> Duration {
    limit.saturating_mul(factor())
}

fn factor_of(value: &Path) -> Option<u32> {
    value.to_str()?.parse().ok().filter(|factor| (1..=GREATEST).contains(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_on_which_processes_start_slowly_gets_more_time() {
        let slowness = |milliseconds| slowness(Duration::from_millis(milliseconds));
        assert_eq!((slowness(0), slowness(2), slowness(15), slowness(16), slowness(60)), (1, 1, 1, 2, 4));
        assert_eq!(slowness(100_000), SLOWEST);
    }

    #[test]
    fn the_factor_is_a_small_whole_number() {
        let factor = |value: &str| factor_of(Path::new(value));
        assert_eq!((factor("1"), factor("20")), (Some(1), Some(20)));
        assert_eq!(
            (factor("0"), factor("-1"), factor("1.5"), factor("2x"), factor("1001")),
            (None, None, None, None, None)
        );
    }
}
