//! Durations as users write them: `10us`, `1.5s`, `2m`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Unit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Minutes.
    #[serde(rename = "m")]
    Minutes,
    /// Hours.
    #[serde(rename = "h")]
    Hours,
}

impl Unit {
    /// From the largest to the smallest.
    const ALL: [Self; 6] = [
        Self::Hours,
        Self::Minutes,
        Self::Seconds,
        Self::Milliseconds,
        Self::Microseconds,
        Self::Nanoseconds,
    ];

    /// Returns the symbol of the unit: `ns`, `us`, `ms`, `s`, `m`, `h`.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "us",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Minutes => "m",
            Self::Hours => "h",
        }
    }

    /// Returns the length of the unit in nanoseconds.
    pub fn nanoseconds(self) -> u64 {
        match self {
            Self::Nanoseconds => 1,
            Self::Microseconds => 1_000,
            Self::Milliseconds => 1_000_000,
            Self::Seconds => 1_000_000_000,
            Self::Minutes => 60 * 1_000_000_000,
            Self::Hours => 60 * 60 * 1_000_000_000,
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Nanoseconds => "nanoseconds",
            Self::Microseconds => "microseconds",
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
            Self::Hours => "hours",
        }
    }
}

/// Parses a duration: a number, which may have a fraction, and a unit. A number without a unit is in `bare`.
///
/// ```
/// use std::time::Duration;
/// use trace_hook_api::{Unit, parse_duration};
///
/// assert_eq!(parse_duration("500ms", Unit::Seconds)?, Duration::from_millis(500));
/// assert_eq!(parse_duration("1.5s", Unit::Seconds)?, Duration::from_millis(1500));
/// assert_eq!(parse_duration("20", Unit::Microseconds)?, Duration::from_micros(20));
/// # Ok::<(), trace_hook_api::DurationError>(())
/// ```
///
/// # Errors
///
/// The text is not a duration, its unit is unknown, or it is too long or too fine: durations have whole nanoseconds, up to
/// 584 years.
pub fn parse_duration(text: &str, bare: Unit) -> Result<Duration, DurationError> {
    if text.starts_with('-') {
        return Err(DurationError::Negative);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, symbol) = text.split_at(end);
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number(whole) || fraction.is_some_and(|fraction| !is_number(fraction)) {
        return Err(DurationError::NotANumber { bare });
    }
    let unit = match symbol {
        "" => bare,
        "µs" | "μs" => Unit::Microseconds,
        _ => Unit::ALL
            .into_iter()
            .find(|unit| unit.symbol() == symbol)
            .ok_or_else(|| DurationError::UnknownUnit(symbol.chars().take(16).collect()))?,
    };
    let whole: u64 = whole.parse().map_err(|_| DurationError::TooLong)?;
    let whole = whole.checked_mul(unit.nanoseconds()).ok_or(DurationError::TooLong)?;
    let fraction = fraction_of(unit, fraction.unwrap_or_default()).ok_or(DurationError::TooFine)?;
    Ok(Duration::from_nanos(whole.checked_add(fraction).ok_or(DurationError::TooLong)?))
}

/// Returns the nanoseconds of these digits behind the decimal point, if they are whole.
fn fraction_of(unit: Unit, digits: &str) -> Option<u64> {
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let scale = 10u128.checked_pow(u32::try_from(digits.len()).ok()?)?;
    let scaled = digits.parse::<u128>().ok()?.checked_mul(u128::from(unit.nanoseconds()))?;
    (scaled % scale == 0).then(|| u64::try_from(scaled / scale).ok())?
}

/// Formats a duration in the largest unit in which it is a whole number: `2s`, `1500ms`.
///
/// ```
/// use std::time::Duration;
/// use trace_hook_api::format_duration;
///
/// assert_eq!(format_duration(Duration::from_secs(86_400)), "24h");
/// assert_eq!(format_duration(Duration::from_millis(1500)), "1500ms");
/// ```
pub fn format_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let is_whole = |unit: &Unit| nanoseconds.is_multiple_of(u128::from(unit.nanoseconds()));
    match Unit::ALL.into_iter().find(is_whole).filter(|_| nanoseconds > 0) {
        Some(unit) => format!("{}{}", nanoseconds / u128::from(unit.nanoseconds()), unit.symbol()),
        None => "0s".to_owned(),
    }
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DurationError {
    /// It does not begin with a number.
    NotANumber {
        /// The unit of a number without one.
        bare: Unit,
    },
    /// It is negative.
    Negative,
    /// Its unit is not one of ns, us, ms, s, m and h.
    UnknownUnit(String),
    /// It is longer than 584 years.
    TooLong,
    /// It is not a whole number of nanoseconds.
    TooFine,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber { bare } => write!(
                f,
                "a duration is a number with a unit, such as 500ms or 2s; without a unit it is in {}",
                bare.plural()
            ),
            Self::Negative => f.write_str("a duration cannot be negative"),
            Self::UnknownUnit(unit) => {
                write!(f, "unknown unit '{unit}'; the units are ns, us, ms, s, m and h")
            }
            Self::TooLong => f.write_str("the duration is too long"),
            Self::TooFine => f.write_str("the duration is not a whole number of nanoseconds"),
        }
    }
}

impl std::error::Error for DurationError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nanoseconds(text: &str) -> Result<u128, DurationError> {
        parse_duration(text, Unit::Milliseconds).map(|duration| duration.as_nanos())
    }

    #[test]
    fn units_and_fractions_are_understood() {
        for (text, expected) in [
            ("0", 0),
            ("007", 7_000_000),
            ("10us", 10_000),
            ("10µs", 10_000),
            ("500ms", 500_000_000),
            ("2s", 2_000_000_000),
            ("3m", 180_000_000_000),
            ("1h", 3_600_000_000_000),
            ("1.5s", 1_500_000_000),
            ("0.25", 250_000),
            ("0.000000001s", 1),
            ("1.50000000000000000000000000000000000000000000s", 1_500_000_000),
            ("18446744073709551615ns", u64::MAX.into()),
        ] {
            assert_eq!(nanoseconds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn wrong_durations_are_explained() {
        for text in ["", "s", "soon", ".5s", "1.s", "1..5s", "1.2.3s", "+1s", " 1s", "ms5"] {
            let error = nanoseconds(text).unwrap_err();
            assert!(
                error.to_string().contains("500ms or 2s; without a unit it is in milliseconds"),
                "{text}"
            );
        }
        assert_eq!(nanoseconds("-5"), Err(DurationError::Negative));
        for text in ["5 s", "5S", "5sec", "5d", "5s5", "5e3s", "5٣"] {
            let error = nanoseconds(text).unwrap_err();
            assert!(error.to_string().contains("the units are ns, us, ms, s, m and h"), "{text}");
        }
        for text in ["99999999999999999999", "18446744073709551616ns", "18446744073709551615.5us", "5124096h"]
        {
            assert_eq!(nanoseconds(text), Err(DurationError::TooLong), "{text}");
        }
        for text in ["0.5ns", "0.0000000001s", "0.000000000000277777h"] {
            assert_eq!(nanoseconds(text), Err(DurationError::TooFine), "{text}");
        }
    }

    fn unit() -> impl Strategy<Value = Unit> {
        prop::sample::select(&Unit::ALL[..])
    }

    proptest! {
        #[test]
        fn formatted_duration_parses_as_itself(nanoseconds in any::<u64>(), power in 0u32..64, bare in unit()) {
            for nanoseconds in [nanoseconds, nanoseconds >> power, nanoseconds / 1_000_000 * 1_000_000] {
                let duration = Duration::from_nanos(nanoseconds);
                prop_assert_eq!(parse_duration(&format_duration(duration), bare), Ok(duration));
            }
        }

        #[test]
        fn any_text_is_parsed_or_rejected(text in "[0-9.]{0,40}[a-zµ -]{0,3}", bare in unit()) {
            if let Err(error) = parse_duration(&text, bare) {
                prop_assert!(error.to_string().len() < 200);
            }
        }

        #[test]
        fn bare_number_has_the_declared_unit(number in 0u64..1 << 20, bare in unit()) {
            let parsed = parse_duration(&number.to_string(), bare);
            prop_assert_eq!(&parsed, &parse_duration(&format!("{number}{}", bare.symbol()), Unit::Nanoseconds));
            prop_assert_eq!(parsed, Ok(Duration::from_nanos(number * bare.nanoseconds())));
        }

        #[test]
        fn fraction_is_exact(millis in 0u64..1 << 40) {
            let text = format!("{}.{:03}s", millis / 1000, millis % 1000);
            prop_assert_eq!(parse_duration(&text, Unit::Hours), Ok(Duration::from_millis(millis)));
        }
    }
}
