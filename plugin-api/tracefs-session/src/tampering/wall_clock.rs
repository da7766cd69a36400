//! The wall-clock time in messages.

use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_OF_DAY: u64 = 86_400;

/// The UTC time of day, to milliseconds. The time zone is not known here, and the day is that of the log or the summary.
pub(crate) fn time_of_day(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let second = since.as_secs() % SECONDS_OF_DAY;
    let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_day_is_left_out() {
        let time = UNIX_EPOCH + Duration::from_millis(20_000 * 86_400_000 + 3_723_045);
        assert_eq!(time_of_day(time), "01:02:03.045");
    }
}
