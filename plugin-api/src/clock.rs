use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Returns the current time in nanoseconds since boot, by `CLOCK_BOOTTIME` of the initial time namespace: the
/// [`Origin::time`](crate::Origin::time) of an event that happens now.
///
/// ```
/// use trace_hook_api::{LineBuffer, Origin, boot_time};
///
/// let mut lines = LineBuffer::with_room(4096);
/// lines.event(&Origin::at(boot_time()), "look").number("processes", 7);
/// ```
pub fn boot_time() -> u64 {
    // The kernel has had this clock since 2.6.39.
    nanoseconds(ClockId::CLOCK_BOOTTIME, own_offsets().boottime)
}

/// Returns the current time in nanoseconds by `CLOCK_MONOTONIC`, which stands still while the machine is suspended: the time of the
/// records of perf events.
///
/// Like [`boot_time`], it is that of the initial time namespace, by which the kernel stamps its records.
pub fn monotonic_time() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC, own_offsets().monotonic)
}

/// How far the clocks of this process's time namespace are ahead of those of the initial one, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Offsets {
    monotonic: i64,
    boottime: i64,
}

fn own_offsets() -> Offsets {
    static OFFSETS: OnceLock<Offsets> = OnceLock::new();
    // A kernel without time namespaces does not have the file.
    *OFFSETS
        .get_or_init(|| Offsets::parse(&fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default()))
}

impl Offsets {
    /// Reads lines of the form `CLOCK SECONDS NANOSECONDS` (time_namespaces(7)).
    fn parse(text: &str) -> Self {
        let of = |clock: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(clock))?;
            let mut numbers = line.split_whitespace().map_while(|number| number.parse::<i64>().ok());
            Some(numbers.next()?.saturating_mul(1_000_000_000).saturating_add(numbers.next()?))
        };
        Self { monotonic: of("monotonic").unwrap_or(0), boottime: of("boottime").unwrap_or(0) }
    }
}

fn nanoseconds(clock: ClockId, ahead: i64) -> u64 {
    let time = clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).saturating_add_signed(ahead.saturating_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_may_be_negative() {
        let text = "monotonic          -3   250000000\nboottime        86400           7\n";
        let offsets = Offsets { monotonic: -2_750_000_000, boottime: 86_400_000_000_007 };
        assert_eq!(Offsets::parse(text), offsets);
        assert_eq!(Offsets::parse(""), Offsets::default());
    }

    #[test]
    fn boot_time_is_the_uptime() {
        let before = boot_time();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let after = boot_time();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let uptime = Duration::from_secs_f64(seconds).as_nanos();
        // It is cut to hundredths of a second.
        let hundredth = 10_000_000;
        assert!(
            (u128::from(before) - hundredth..=u128::from(after)).contains(&uptime),
            "{before} {uptime} {after}"
        );
    }
}
