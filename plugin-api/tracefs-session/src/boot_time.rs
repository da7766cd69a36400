//! The time since boot, from the time stamps of the records.
//!
//! An instance stamps its records by the kernel's clock `local`. It also has a clock `boot`, which is `CLOCK_BOOTTIME`. But
//! setting the clock takes longer than everything else at the start of a session, and blocks the start of others meanwhile
//! (see [`tracefs::Instance::set_clock`]). So time stamps are converted: each sweep reads both clocks, and in between both
//! are taken to run evenly.

use std::collections::VecDeque;

use trace_session::spool::ClockReading;

/// The speed of the clock is measured over this time, in nanoseconds. A reading is exact to some microseconds.
const MEASURED_OVER: u64 = 1_000_000_000;
/// How far a clock can be from where it is expected, without a suspend in between: a part of the elapsed time, twice what
/// adjtimex(2) can change a clock's speed by, and a time for readings that were interrupted.
const DEVIATION: f64 = 0.001;
const INTERRUPTED: f64 = 1_000_000.0;

/// Converts time stamps of the clock `local` to `CLOCK_BOOTTIME`, in nanoseconds. Exact to some microseconds, also after hours,
/// if each time stamp is between two readings that are added before it is converted. After a suspend, this does not hold for
/// the last records before it, made since the last reading.
#[derive(Debug)]
pub(crate) struct BootTime {
    /// Times known by both clocks, in ascending order. Those that are no longer needed are removed.
    known: VecDeque<Known>,
    /// How fast the time since boot runs, compared to the clock.
    speed: f64,
    measured_from: Known,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    stamp: u64,
    boot: u64,
}

impl BootTime {
    pub(crate) fn new(first: ClockReading) -> Self {
        let known = Known { stamp: first.stamp, boot: first.earliest.midpoint(first.latest) };
        Self { known: VecDeque::from([known]), speed: 1.0, measured_from: known }
    }

    /// Adds a reading.
    pub(crate) fn add(&mut self, reading: ClockReading) {
        let Some(&last) = self.known.back() else { return };
        // Clocks that differ between CPUs can go back.
        if reading.stamp <= last.stamp {
            return;
        }
        let expected = last.after(reading.stamp, self.speed);
        // Deviates from the expected time only as far as the reading requires: readings jitter more than clocks do.
        let boot = expected.clamp(reading.earliest, reading.latest).max(last.boot);
        let mut now = Known { stamp: reading.stamp, boot };
        let deviation = boot.abs_diff(expected) as f64;
        if deviation > (reading.stamp - last.stamp) as f64 * DEVIATION + INTERRUPTED {
            // The machine was suspended. When that was is not known: records since the last reading count as later.
            now.boot = reading.earliest.midpoint(reading.latest).max(last.boot);
            let after = now.before(last.stamp + 1, self.speed);
            self.known.push_back(Known { boot: after.boot.max(last.boot), ..after });
            self.measured_from = now;
        } else if now.stamp - self.measured_from.stamp >= MEASURED_OVER {
            self.speed = self.measured_from.speed_to(now);
            self.measured_from = now;
        }
        self.known.push_back(now);
    }

    /// The time since boot at a time stamp. The next ones may not be earlier.
    pub(crate) fn at(&mut self, stamp: u64) -> u64 {
        while self.known.get(1).is_some_and(|next| next.stamp <= stamp) && self.known.len() > 2 {
            self.known.pop_front();
        }
        let Some(&first) = self.known.front() else { return stamp };
        if stamp <= first.stamp {
            return first.before(stamp, self.speed).boot;
        }
        match self.known.get(1) {
            Some(&next) => first.after(stamp, first.speed_to(next)),
            None => first.after(stamp, self.speed),
        }
    }
}

impl Known {
    fn after(self, stamp: u64, speed: f64) -> u64 {
        self.boot.saturating_add(((stamp - self.stamp) as f64 * speed).round() as u64)
    }

    fn before(self, stamp: u64, speed: f64) -> Self {
        let elapsed = (self.stamp - stamp) as f64 * speed;
        Self { stamp, boot: self.boot.saturating_sub(elapsed.round() as u64) }
    }

    fn speed_to(self, next: Self) -> f64 {
        (next.boot - self.boot) as f64 / (next.stamp - self.stamp) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;
    const MOST_WRONG: u64 = 10_000;
    /// Of a third of a year, in which times are exact to nanoseconds.
    const ANY: std::ops::Range<u64> = 0..1 << 53;

    /// Two clocks, of which the second runs faster by some parts per million.
    struct Clocks {
        stamp: u64,
        boot: f64,
        ppm: f64,
    }

    impl Clocks {
        fn pass(&mut self, nanoseconds: u64) {
            self.stamp += nanoseconds;
            self.boot += nanoseconds as f64 * (1.0 + self.ppm / 1e6);
        }

        /// A reading takes this long before and after the clock is read.
        fn reading(&self, before: u64, after: u64) -> ClockReading {
            let boot = self.boot as u64;
            ClockReading { stamp: self.stamp, earliest: boot - before, latest: boot + after }
        }
    }

    #[derive(Debug, Clone)]
    struct Step {
        /// The time to the record, and from there to the next reading.
        to_record: u64,
        to_reading: u64,
        reading: (u64, u64),
        ppm: Option<f64>,
        suspended: Option<u64>,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Sweeps follow each other after 2 to 30 ms; nothing is read while nothing is recorded, for up to an hour.
        let to_record = prop_oneof![8 => 10_000..30_000_000_u64, 1 => 10_000..3600 * SECOND];
        let took = || 300..3000_u64;
        let ppm = proptest::option::weighted(0.01, -100.0..100.0);
        let suspended = proptest::option::weighted(0.01, SECOND..100_000 * SECOND);
        let step = (to_record, 0..30_000_000_u64, (took(), took()), ppm, suspended).prop_map(
            |(to_record, to_reading, reading, ppm, suspended)| Step {
                to_record,
                to_reading,
                reading,
                ppm,
                suspended,
            },
        );
        proptest::collection::vec(step, 1..400)
    }

    proptest! {
        /// Whatever a broken clock does.
        #[test]
        fn times_never_go_back(readings in proptest::collection::vec((ANY, ANY, ANY), 1..20)) {
            let reading = |(stamp, a, b): (u64, u64, u64)| ClockReading { stamp, earliest: a.min(b), latest: a.max(b) };
            let mut boot_time = BootTime::new(reading(readings[0]));
            let (mut newest, mut last) = (0, 0);
            for &next in &readings {
                boot_time.add(reading(next));
                newest = next.0.max(newest);
                let time = boot_time.at(newest);
                // By more than is rounded.
                prop_assert!(time + 2 >= last, "{time} after {last}");
                last = time;
            }
        }

        #[test]
        fn times_are_exact_to_ten_microseconds_and_in_order(ppm in -100.0..100.0, steps in steps()) {
            let mut clocks = Clocks { stamp: 5 * SECOND, boot: 7.0 * SECOND as f64, ppm };
            let mut boot_time = BootTime::new(clocks.reading(1000, 1000));
            let mut last = 0;
            for step in steps {
                // While a session is idle.
                clocks.boot += step.suspended.unwrap_or(0) as f64;
                clocks.pass(step.to_record);
                let (stamp, expected) = (clocks.stamp, clocks.boot as u64);
                // Only now, since a change of speed between two readings is not seen.
                clocks.pass(step.to_reading);
                boot_time.add(clocks.reading(step.reading.0, step.reading.1));
                let time = boot_time.at(stamp);
                prop_assert!(time.abs_diff(expected) <= MOST_WRONG, "{time} instead of {expected}");
                prop_assert!(time >= last);
                last = time;
                clocks.ppm = step.ppm.unwrap_or(clocks.ppm);
            }
        }
    }

    #[test]
    fn an_interrupted_reading_changes_nothing() {
        let mut clocks = Clocks { stamp: SECOND, boot: SECOND as f64, ppm: 30.0 };
        let mut boot_time = BootTime::new(clocks.reading(1000, 1000));
        for number in 0..1000 {
            clocks.pass(30_000_000);
            let interrupted = if number % 3 == 0 { 50_000_000 } else { 0 };
            boot_time.add(clocks.reading(500 + interrupted, 500));
            let expected = clocks.boot as u64;
            assert!(boot_time.at(clocks.stamp).abs_diff(expected) < 3000);
        }
    }

    #[test]
    fn durations_do_not_depend_on_the_exactness_of_readings() {
        let mut clocks = Clocks { stamp: SECOND, boot: SECOND as f64, ppm: 30.0 };
        let mut boot_time = BootTime::new(clocks.reading(1000, 1000));
        let mut durations = Vec::new();
        for number in 0..2000 {
            clocks.pass(10_000_000);
            let begin = clocks.stamp;
            clocks.pass(10_000_000);
            boot_time.add(clocks.reading(500 + number % 7 * 200, 500 + number % 5 * 300));
            let begin = boot_time.at(begin);
            durations.push(boot_time.at(clocks.stamp) - begin);
        }
        // After the speed was measured.
        let off = durations[500..].iter().map(|duration| duration.abs_diff(10_000_300)).max();
        assert!(off < Some(100), "{off:?}");
    }
}
