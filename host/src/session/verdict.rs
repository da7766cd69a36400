//! What became of a session's events.

use std::collections::BTreeMap;
use std::fmt;

use memchr::memchr_iter;
use serde::{Deserialize, Serialize};

/// Every event that was recorded was delivered to the reader, or left in the trace file, or lost, and is counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub delivered: u64,
    pub leftover: u64,
    /// Not taken by a reader either, and there was no room to leave them.
    pub thrown_away: u64,
    /// By CPU.
    pub lost: BTreeMap<u32, u64>,
    /// What the session itself says it has recorded, where it counts that.
    pub recorded: Option<u64>,
}

impl Verdict {
    /// How many events there were.
    pub fn total(&self) -> u64 {
        self.delivered + self.leftover + self.thrown_away + self.total_lost()
    }

    fn total_lost(&self) -> u64 {
        self.lost.values().sum()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events recorded: {} delivered", self.total(), self.delivered)?;
        if self.leftover > 0 {
            write!(f, ", {} not taken by a reader", self.leftover)?;
        }
        if self.thrown_away > 0 {
            write!(f, ", {} that could not be kept", self.thrown_away)?;
        }
        match self.total_lost() {
            0 => write!(f, ", none lost")?,
            lost => {
                let by_cpu: Vec<String> =
                    self.lost.iter().map(|(cpu, lost)| format!("CPU {cpu}: {lost}")).collect();
                write!(f, ", {lost} lost ({})", by_cpu.join(", "))?;
            }
        }
        match self.recorded {
            Some(recorded) if recorded != self.total() => write!(f, "; but the source counted {recorded}"),
            _ => Ok(()),
        }
    }
}

/// How many events these lines tell of. A line about lost events, or one that continues a stack, is none.
pub fn count_events(lines: &[u8]) -> u64 {
    let ends = memchr_iter(b'\n', lines).map(|end| end + 1);
    let unended = (!lines.is_empty() && !lines.ends_with(b"\n")).then_some(lines.len());
    let mut begin = 0;
    let lines = ends.chain(unended).map(|end| &lines[std::mem::replace(&mut begin, end)..end]);
    lines.filter(|line| is_event(line)).count() as u64
}

fn is_event(line: &[u8]) -> bool {
    let is_loss = (line.starts_with(b"CPU:") && line.ends_with(b"EVENTS]\n"))
        || line.starts_with(b"{\"event\":\"lost\",\"cpu\":");
    // A task, too, may have a name that begins like this; its id follows in a column of its own.
    let has_task = line.get(16) == Some(&b'-') && line.get(17).is_some_and(u8::is_ascii_digit);
    let is_frame = line.starts_with(b" => ") && !has_task;
    !is_loss && !is_frame
}

#[cfg(test)]
mod tests {
    use trace_hook_api::{LineBuffer, Origin};

    use super::*;

    #[test]
    fn marks_and_stacks_are_no_events() {
        let lines =
            b"  a-1 [000] 1.0: x\nCPU:1 [LOST 12 EVENTS]\n  a-1 [000] 1.0: <stack trace>\n => f\n => g\n";
        assert_eq!(count_events(lines), 2);
        assert_eq!(count_events(b" => not a stack!-4711    [000] ..... 1.0: x\n"), 1);
        assert_eq!(count_events(b""), 0);
        let lines = "{\"time\":1.0,\"event\":\"x\"}\n{\"event\":\"lost\",\"cpu\":1,\"count\":3}\n";
        assert_eq!(count_events(lines.as_bytes()), 1);
    }

    #[test]
    fn a_tasks_name_does_not_hide_its_events() {
        for name in [
            "=> ",
            " => ",
            " => \u{1}\u{1}\u{1}",
            "=> \u{1}\u{1}\u{1}\u{1}",
            "=> long enough",
            "CPU:1 [LOST EVENTS]",
        ] {
            let mut lines = LineBuffer::with_room(4096);
            let origin = Origin { tid: Some(7), comm: name.as_bytes(), ..Origin::default() };
            drop(lines.event(&origin, "x"));
            lines.folded_stack(&origin, name.as_bytes(), [].into_iter(), 1);
            assert_eq!(count_events(lines.as_bytes()), 2, "{:?}", str::from_utf8(lines.as_bytes()));
        }
    }

    #[test]
    fn a_verdict_reads_as_a_sentence() {
        let mut verdict = Verdict { delivered: 7, recorded: Some(7), ..Verdict::default() };
        assert_eq!(verdict.to_string(), "7 events recorded: 7 delivered, none lost");
        verdict.leftover = 2;
        verdict.lost = BTreeMap::from([(0, 3), (2, 1)]);
        assert_eq!(
            verdict.to_string(),
            "13 events recorded: 7 delivered, 2 not taken by a reader, 4 lost (CPU 0: 3, CPU 2: 1); \
             but the source counted 7"
        );
    }
}
