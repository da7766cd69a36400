//! The counts of a session's events.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Counts each recorded event once: as delivered to a reader, left unread in the trace file, or lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub delivered: u64,
    pub unread: u64,
    /// Taken by no reader either, and not written to the trace file.
    pub dropped: u64,
    /// Left out, because they did not meet the condition of the view.
    pub left_out: u64,
    /// Lost before they became lines, by CPU, as the session counts them.
    pub lost: BTreeMap<u32, u64>,
    /// How many lost events the lines report, where that is another number.
    pub lost_in_lines: Option<u64>,
    /// How many events the session itself has counted, where it counts them.
    pub recorded: Option<u64>,
    /// What the session reports beside its counts.
    pub warnings: Vec<Warning>,
}

/// What is missing in a trace, or should not be in it, and is not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// One line.
    pub text: String,
    /// It was logged when it was noticed.
    pub is_logged: bool,
}

impl Summary {
    /// How many events there were.
    pub fn total(&self) -> u64 {
        self.delivered + self.unread + self.dropped + self.left_out + self.total_lost()
    }

    /// Returns whether a reader has taken every event, and nothing else is missing.
    pub fn is_complete(&self) -> bool {
        self.total() == self.delivered + self.left_out
            && self.lost_in_lines.is_none()
            && self.warnings.is_empty()
    }

    /// Logs the counts and the warnings.
    pub fn log(&self) {
        log::info!("{self}");
        self.new_warnings().for_each(|warning| log::warn!("{warning}"));
    }

    /// The warnings that were not logged before.
    pub fn new_warnings(&self) -> impl Iterator<Item = &str> {
        self.warnings.iter().filter(|warning| !warning.is_logged).map(|warning| warning.text.as_str())
    }

    fn total_lost(&self) -> u64 {
        self.lost.values().sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events recorded: {} delivered", self.total(), self.delivered)?;
        if self.unread > 0 {
            write!(f, ", {} not taken by a reader", self.unread)?;
        }
        if self.dropped > 0 {
            write!(f, ", {} dropped", self.dropped)?;
        }
        if self.left_out > 0 {
            write!(f, ", {} left out", self.left_out)?;
        }
        let lost = if self.warnings.is_empty() { "lost" } else { "counted as lost" };
        match self.total_lost() {
            0 if self.lost_in_lines.is_none() => write!(f, ", none {lost}")?,
            0 => write!(f, ", 0 {lost}")?,
            number => {
                let by_cpu: Vec<String> =
                    self.lost.iter().map(|(cpu, lost)| format!("CPU {cpu}: {lost}")).collect();
                write!(f, ", {number} {lost} ({})", by_cpu.join(", "))?;
            }
        }
        match self.warnings.len() {
            0 => {}
            1 => write!(f, ", but the trace may be incomplete: see the warning")?,
            _ => write!(f, ", but the trace may be incomplete: see the warnings")?,
        }
        if let Some(lost) = self.lost_in_lines {
            write!(f, "; but the lines of the trace report {lost} lost")?;
        }
        match self.recorded {
            Some(recorded) if recorded != self.total() => write!(f, "; but the source counted {recorded}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_is_one_sentence() {
        let mut summary = Summary { delivered: 7, recorded: Some(7), ..Summary::default() };
        assert_eq!(summary.to_string(), "7 events recorded: 7 delivered, none lost");
        summary.unread = 2;
        summary.lost = BTreeMap::from([(0, 3), (2, 1)]);
        assert_eq!(
            summary.to_string(),
            "13 events recorded: 7 delivered, 2 not taken by a reader, 4 lost (CPU 0: 3, CPU 2: 1); \
             but the source counted 7"
        );
    }

    #[test]
    fn a_summary_with_warnings_does_not_claim_that_nothing_is_lost() {
        let mut summary = Summary { delivered: 7, warnings: vec![Warning::default()], ..Summary::default() };
        assert_eq!(
            summary.to_string(),
            "7 events recorded: 7 delivered, none counted as lost, but the trace may be incomplete: see the warning"
        );
        summary.lost = BTreeMap::from([(2, 1)]);
        summary.warnings.push(Warning::default());
        assert_eq!(
            summary.to_string(),
            "8 events recorded: 7 delivered, 1 counted as lost (CPU 2: 1), but the trace may be incomplete: see the \
             warnings"
        );
    }
}
