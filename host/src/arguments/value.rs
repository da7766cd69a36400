//! Single values, as users write them.

use std::time::Duration;

use trace_hook_api::{Unit, format_duration, parse_duration};

/// The kernel's upper bound for process ids (`PID_MAX_LIMIT`).
const GREATEST_PID: u32 = 1 << 22;

/// Parses the id of a process.
pub fn pid(word: &str) -> Result<u32, String> {
    match word.parse::<u32>() {
        Ok(pid) if (1..=GREATEST_PID).contains(&pid) => Ok(pid),
        _ if is_name(word) => Err(format!(
            "a process id is a number from 1 to {GREATEST_PID}; for all processes of a name: -p $(pgrep -d, {word})"
        )),
        _ => Err(format!("a process id is a number from 1 to {GREATEST_PID}")),
    }
}

/// Returns whether a word may be the name of a program.
fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-.+".contains(c))
}

/// Parses a whole number within these bounds.
pub fn integer(word: &str, min: i64, max: i64) -> Result<i64, String> {
    match word.parse::<i64>() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ if (min, max) == (i64::MIN, i64::MAX) => Err("it takes a whole number".to_owned()),
        _ => Err(format!("it takes a whole number from {min} to {max}")),
    }
}

/// Parses a duration within these bounds, which are in `bare`, as is a number without a unit.
pub fn duration(word: &str, bare: Unit, min: u64, max: u64) -> Result<Duration, String> {
    let nanoseconds = |count: u64| count.saturating_mul(bare.nanoseconds());
    duration_within(word, bare, nanoseconds(min), nanoseconds(max))
}

/// Parses a duration within these bounds in nanoseconds. A number without a unit is in `bare`.
pub fn duration_within(word: &str, bare: Unit, min_ns: u64, max_ns: u64) -> Result<Duration, String> {
    let duration = parse_duration(word, bare).map_err(|error| error.to_string())?;
    let [min, max] = [min_ns, max_ns].map(Duration::from_nanos);
    match (min..=max).contains(&duration) {
        true => Ok(duration),
        false if max_ns == u64::MAX => {
            Err(format!("it takes a duration of {} or more", format_duration(min)))
        }
        false => {
            Err(format!("it takes a duration from {} to {}", format_duration(min), format_duration(max)))
        }
    }
}
