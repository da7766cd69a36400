//! The clock of an instance's time stamps.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::fcntl::OFlag;

use crate::dir::Dir;
use crate::error::Result;

/// A file in which the kernel shows the current time of the clock. It is the same for all CPUs.
const FILE: &str = "per_cpu/cpu0/stats";
/// How it begins the line with the time, in seconds with six decimals (`tracing_stats_read` in kernel/trace/trace.c).
const NOW: &[u8] = b"now ts:";
/// Larger than the file.
const SIZE: usize = 1024;

/// The clock of an instance's time stamps.
#[derive(Debug)]
pub struct RecordClock(File);

impl RecordClock {
    pub(crate) fn open(instance: &Dir) -> Result<Self> {
        instance.open_file(FILE, OFlag::O_RDONLY).map(Self)
    }

    /// The time stamp of a record that is made now, in nanoseconds, rounded to whole microseconds.
    ///
    /// # Errors
    /// The kernel's file cannot be read, or does not show the time in seconds.
    pub fn now(&self) -> io::Result<u64> {
        let mut text = [0; SIZE];
        let length = self.0.read_at(&mut text, 0)?;
        let time = text.get(..length).and_then(current_time);
        time.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it shows no time"))
    }
}

/// The time in nanoseconds.
fn current_time(stats: &[u8]) -> Option<u64> {
    let line = stats.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(NOW))?;
    let (seconds, decimals) = std::str::from_utf8(line).ok()?.trim().split_once('.')?;
    let microseconds: u64 = decimals.parse().ok().filter(|_| decimals.len() == 6)?;
    let seconds: u64 = seconds.parse().ok()?;
    seconds.checked_mul(1_000_000)?.checked_add(microseconds)?.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_in_seconds_with_six_decimals() {
        let shown = |text: &str| current_time(format!("entries: 7\n{text}\nread events: 9\n").as_bytes());
        assert_eq!(shown("now ts:  5915.003217"), Some(5_915_003_217_000));
        assert_eq!(shown("now ts: 12345678.000001"), Some(12_345_678_000_001_000));
        // As the clock `counter` is shown, and what no kernel shows.
        for other in ["now ts: 7", "now ts: 1.5", "now ts: .", "now ts: -1.000000", "no ts: 1.000000", ""] {
            assert_eq!(shown(other), None, "{other}");
        }
        assert_eq!(shown("now ts: 99999999999999999999.000000"), None);
        assert_eq!(shown("now ts: 18446744073709.999999"), None);
    }
}
