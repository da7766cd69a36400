use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;

use crate::Call;

/// The summary of a session's events, which the manager prints with `-v`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// All events.
    pub recorded: usize,
    /// Those that a reader took.
    pub delivered: usize,
    /// Those in the unread output.
    pub unread: usize,
    /// Those that were lost, by CPU.
    pub lost: BTreeMap<u32, usize>,
    /// It says that more may be missing.
    pub may_be_incomplete: bool,
}

/// What a summary ends with if there are warnings.
const INCOMPLETE: [&str; 2] = [", but the trace may be incomplete: see the warning", "s"];

/// The log of a call with `-v`, in place of its standard error.
pub struct Log(File);

impl Log {
    /// An empty log.
    pub fn new() -> Self {
        Self(tempfile::tempfile().expect("a file can be made"))
    }

    /// The call, with its standard error redirected to this log.
    pub fn of<'a>(&self, call: Call<'a>) -> Call<'a> {
        call.stderr(self.0.try_clone().expect("a file can be shared"))
    }

    /// The log so far.
    pub fn text(&self) -> String {
        // Opened anew, because a shared offset would move the manager's writes.
        fs::read_to_string(format!("/proc/self/fd/{}", self.0.as_raw_fd())).expect("the log can be read")
    }

    /// The number at the beginning of the warning that goes on with this; 0 if there is none.
    pub fn warned(&self, what: &str) -> usize {
        let text = self.text();
        let number = text.lines().find_map(|line| line.split_once(what)?.0.trim_end().rsplit(' ').next());
        number.map_or(0, |number| number.parse().expect("a number"))
    }

    /// The summary. Only warnings follow it.
    #[track_caller]
    pub fn summary(&self) -> Summary {
        let text = self.text();
        let last = text.lines().rfind(|line| !line.contains(": warn: ")).unwrap_or_default();
        let summary =
            last.find(|c: char| c.is_ascii_digit()).and_then(|start| Summary::parse(&last[start..]));
        summary.unwrap_or_else(|| panic!("no summary at the end of {text:?}"))
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

impl Summary {
    /// Parses `9 events recorded: 3 delivered, 2 not taken by a reader, 4 lost (CPU 0: 3, CPU 1: 1)`.
    fn parse(text: &str) -> Option<Self> {
        let (recorded, rest) = text.split_once(" events recorded: ")?;
        let (delivered, rest) = rest.split_once(" delivered, ")?;
        let (unread, rest) = rest.split_once(" not taken by a reader, ").unwrap_or(("0", rest));
        let complete = || rest.strip_suffix(INCOMPLETE[1]).unwrap_or(rest).strip_suffix(INCOMPLETE[0]);
        let (rest, lost_means, may_be_incomplete) = match complete() {
            Some(rest) => (rest, "counted as lost", true),
            None => (rest, "lost", false),
        };
        let mut lost = BTreeMap::new();
        if rest != format!("none {lost_means}") {
            let (all, by_cpu) = rest.strip_suffix(')')?.split_once(&format!(" {lost_means} ("))?;
            for one in by_cpu.split(", ") {
                let (cpu, count) = one.strip_prefix("CPU ")?.split_once(": ")?;
                lost.insert(cpu.parse().ok()?, count.parse().ok()?);
            }
            if all.parse::<usize>().ok()? != lost.values().sum::<usize>() {
                return None;
            }
        }
        let number = |text: &str| text.parse().ok();
        Some(Self {
            recorded: number(recorded)?,
            delivered: number(delivered)?,
            unread: number(unread)?,
            lost,
            may_be_incomplete,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_parsed() {
        let summary = Summary { recorded: 7, delivered: 7, ..Summary::default() };
        assert_eq!(Summary::parse("7 events recorded: 7 delivered, none lost"), Some(summary));
        let text = "9 events recorded: 3 delivered, 2 not taken by a reader, 4 lost (CPU 0: 3, CPU 1: 1)";
        let summary = Summary {
            recorded: 9,
            delivered: 3,
            unread: 2,
            lost: [(0, 3), (1, 1)].into(),
            may_be_incomplete: false,
        };
        assert_eq!(Summary::parse(text), Some(summary));
        let text = "7 events recorded: 7 delivered, none counted as lost, but the trace may be incomplete: see the warnings";
        let summary = Summary { recorded: 7, delivered: 7, may_be_incomplete: true, ..Summary::default() };
        assert_eq!(Summary::parse(text), Some(summary));
    }

    #[test]
    fn inconsistent_numbers_are_rejected() {
        assert_eq!(
            Summary::parse("9 events recorded: 9 delivered, none lost; but the source counted 8"),
            None
        );
        assert_eq!(Summary::parse("9 events recorded: 5 delivered, 4 lost (CPU 0: 3)"), None);
    }
}
