//! Whether the samples stand for all the CPU time that the traced tasks used.
//!
//! The kernel begins to count towards the next sample anew in each task. One that uses less CPU time than the time between two
//! samples has none, and so has a process that does its work in many such tasks.

use std::time::Duration;

/// With fewer samples expected, some missing ones are no sign of anything: the next sample of each task is still to come.
const FEW: u64 = 50;

/// A sentence about CPU time without samples, if more than half has none.
pub fn warning(used: Duration, samples: u64, hertz: u64) -> Option<String> {
    let expected = used.as_millis() * u128::from(hertz) / 1000;
    let is_short = expected > u128::from(FEW) && u128::from(samples) * 2 < expected;
    is_short.then(|| {
        let sampled = Duration::from_secs(samples).as_secs_f64() / hertz.max(1) as f64;
        format!(
            "the traced tasks used {:.1} s of CPU time, and the samples stand for {sampled:.1} s of it: tasks that use less than {} us \
             have none; trace_counters counts all of it",
            used.as_secs_f64(),
            1_000_000 / hertz.max(1)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_that_is_mostly_without_samples_is_reported() {
        let second = Duration::from_secs(1);
        assert_eq!(warning(second, 60, 99), None);
        assert_eq!(warning(second / 4, 0, 99), None, "only a few samples are missing");
        let warning = warning(3 * second, 99, 99).unwrap();
        assert!(warning.contains("3.0 s of CPU time") && warning.contains("for 1.0 s"), "{warning}");
        assert!(warning.contains("less than 10101 us"), "{warning}");
    }
}
