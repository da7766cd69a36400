//! The time of a line, as the user wants to see it.

use nix::libc;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::boot_time;
use crate::escape::write_all;

const SECOND: i128 = 1_000_000_000;

/// How times are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TimeFormat {
    /// Seconds since boot, as the kernel prints them.
    #[default]
    Boot,
    /// The wall clock in the local time zone: `15:04:05.123456`, in JSON with date and zone by ISO 8601.
    Wall,
    /// Seconds since the line before.
    Delta,
}

/// Writes the times of lines.
#[derive(Debug, Default)]
pub struct LineClock {
    format: TimeFormat,
    /// What the wall clock is ahead of the time since boot, in nanoseconds.
    wall_offset: i128,
    /// The minute of the wall clock whose date is known.
    minute: Option<(i128, Date)>,
    /// The time of the last line, and of the one that is being written.
    last: Option<u64>,
    current: u64,
}

/// A local minute.
#[derive(Debug, Clone, Copy, Default)]
struct Date {
    year: i32,
    month: i32,
    day: i32,
    hour: i32,
    minute: i32,
    /// How far it is ahead of UTC, in minutes.
    zone: i64,
}

impl LineClock {
    pub fn of(format: TimeFormat) -> Self {
        Self { format, ..Self::default() }
    }

    /// Returns whether times are not shown as they usually are.
    pub fn is_chosen(&self) -> bool {
        self.format != TimeFormat::Boot
    }

    /// Reads the wall clock, which may have been set since the last time.
    pub fn synchronize(&mut self) {
        if self.format == TimeFormat::Wall
            && let Ok(now) = clock_gettime(ClockId::CLOCK_REALTIME)
        {
            let now = i128::from(now.tv_sec()) * SECOND + i128::from(now.tv_nsec());
            self.wall_offset = now - i128::from(boot_time());
        }
    }

    /// Appends the time of a line that begins.
    pub fn write_text(&mut self, time: u64, out: &mut Vec<u8>) {
        self.current = time;
        match self.format {
            TimeFormat::Boot => {
                let (seconds, micros) = (time / 1_000_000_000, time % 1_000_000_000 / 1000);
                write_all(out, format_args!("{seconds:>5}.{micros:06}"));
            }
            TimeFormat::Wall => {
                let (date, second, nanoseconds) = self.wall(time);
                let (hour, minute, micros) = (date.hour, date.minute, nanoseconds / 1000);
                write_all(out, format_args!("{hour:02}:{minute:02}:{second:02}.{micros:06}"));
            }
            TimeFormat::Delta => {
                let (sign, delta) = self.delta();
                let (seconds, micros) = (delta / 1_000_000_000, delta % 1_000_000_000 / 1000);
                write_all(out, format_args!("{:>6}.{micros:06}", format!("{sign}{seconds}")));
            }
        }
    }

    /// The same in JSON.
    pub fn write_json(&mut self, time: u64, out: &mut Vec<u8>) {
        self.current = time;
        match self.format {
            TimeFormat::Boot => {
                write_all(out, format_args!("{}.{:09}", time / 1_000_000_000, time % 1_000_000_000));
            }
            TimeFormat::Wall => {
                let (date, second, nanoseconds) = self.wall(time);
                let Date { year, month, day, hour, minute, zone } = date;
                let (sign, zone) = (if zone < 0 { '-' } else { '+' }, zone.abs());
                write_all(
                    out,
                    format_args!(
                        "\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}{sign}{:02}:{:02}\"",
                        nanoseconds / 1000,
                        zone / 60,
                        zone % 60
                    ),
                );
            }
            TimeFormat::Delta => {
                let (sign, delta) = self.delta();
                let sign = if sign == '-' { "-" } else { "" };
                write_all(out, format_args!("{sign}{}.{:09}", delta / 1_000_000_000, delta % 1_000_000_000));
            }
        }
    }

    /// The line has been written.
    pub fn finish(&mut self) {
        self.last = Some(self.current);
    }

    /// The time since the last line. Lines whose time is when something began may go back.
    fn delta(&self) -> (char, u64) {
        let last = self.last.unwrap_or(self.current);
        (if self.current < last { '-' } else { '+' }, self.current.abs_diff(last))
    }

    /// The local minute, the second in it, and the nanoseconds.
    fn wall(&mut self, time: u64) -> (Date, i128, i128) {
        let wall = i128::from(time) + self.wall_offset;
        let (seconds, nanoseconds) = (wall.div_euclid(SECOND), wall.rem_euclid(SECOND));
        let (minute, second) = (seconds.div_euclid(60), seconds.rem_euclid(60));
        let date = match self.minute {
            Some((known, date)) if known == minute => date,
            _ => {
                let date = Date::of(minute);
                self.minute = Some((minute, date));
                date
            }
        };
        (date, second, nanoseconds)
    }
}

impl Date {
    /// The local date of a minute since 1970.
    fn of(minute: i128) -> Self {
        let seconds = libc::time_t::try_from(minute * 60).unwrap_or_default();
        // SAFETY: all fields of a `tm` may be zero; both pointers are valid until the call returns.
        let local = unsafe {
            let mut local: libc::tm = std::mem::zeroed();
            libc::localtime_r(&seconds, &mut local);
            local
        };
        Self {
            year: local.tm_year + 1900,
            month: local.tm_mon + 1,
            day: local.tm_mday,
            hour: local.tm_hour,
            minute: local.tm_min,
            zone: local.tm_gmtoff / 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(clock: &mut LineClock, time: u64) -> String {
        let mut out = Vec::new();
        clock.write_text(time, &mut out);
        clock.finish();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn deltas_count_from_the_line_before() {
        let mut clock = LineClock::of(TimeFormat::Delta);
        assert_eq!(text(&mut clock, 5_000_000_000), "    +0.000000");
        assert_eq!(text(&mut clock, 6_500_001_000), "    +1.500001");
        assert_eq!(text(&mut clock, 6_500_000_000), "    -0.000001");
        let mut out = Vec::new();
        clock.write_json(6_400_000_000, &mut out);
        assert_eq!(out, b"-0.100000000");
    }

    #[test]
    fn the_wall_clock_is_that_of_date() {
        let mut clock = LineClock::of(TimeFormat::Wall);
        clock.synchronize();
        let mut out = Vec::new();
        clock.write_json(boot_time(), &mut out);
        let shown = String::from_utf8(out).unwrap();
        let shown = shown.trim_matches('"');
        let date = |words: &[&str]| {
            let output = std::process::Command::new("date").args(words).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let parsed: f64 = date(&["--date", shown, "+%s.%N"]).parse().unwrap();
        let now: f64 = date(&["+%s.%N"]).parse().unwrap();
        assert!((0.0..5.0).contains(&(now - parsed)), "{shown}: {parsed}, {now}");
        assert_eq!(&shown[shown.len() - 6..], date(&["+%:z"]));
    }
}
