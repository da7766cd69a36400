use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Returns the current time in nanoseconds since boot, by `CLOCK_BOOTTIME`: the [`Origin::time`](crate::Origin::time) of an event
/// that happens now.
///
/// ```
/// use trace_hook_api::{LineBuffer, Origin, boot_time};
///
/// let mut lines = LineBuffer::with_room(4096);
/// lines.event(&Origin::at(boot_time()), "look").number("processes", 7);
/// ```
pub fn boot_time() -> u64 {
    // The kernel has had this clock since 2.6.39.
    let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

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
