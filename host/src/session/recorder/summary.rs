use std::collections::{BTreeMap, BTreeSet};

use trace_hook_api::{LineBuffer, Stats};

use crate::worker::protocol::{Summary, Warning};
use crate::{logging, output};

/// How many warnings of a session are passed on.
const MAX_WARNINGS: usize = 100;

/// What the recorder counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// The events that the session returned.
    pub given: u64,
    /// The events in the file of unread output.
    pub unread: u64,
    /// The events that were neither taken by a reader nor stored.
    pub dropped: u64,
    /// What the lines report as lost, by CPU.
    lost: BTreeMap<u32, u64>,
    /// The CPUs for which a line reports a loss without a number.
    uncounted: BTreeSet<u32>,
}

impl Counts {
    /// Adds the lines of a read.
    pub fn add_read(&mut self, read: &LineBuffer) {
        self.given += read.events();
        for loss in read.losses() {
            match loss.count() {
                Some(count) => *self.lost.entry(loss.cpu()).or_default() += count,
                None => _ = self.uncounted.insert(loss.cpu()),
            }
        }
    }

    /// The summary of a session that has these stats.
    pub fn summary(self, stats: Stats) -> Summary {
        let reported = self.reported_otherwise(&stats.lost);
        let Self { given, unread, dropped, .. } = self;
        Summary {
            delivered: given.saturating_sub(unread + dropped),
            unread,
            dropped,
            left_out: stats.left_out,
            lost: stats.lost,
            lost_in_lines: reported,
            recorded: stats.recorded,
            warnings: stats.warnings.iter().take(MAX_WARNINGS).map(|text| warning(text)).collect(),
        }
    }

    /// How many events the lines report as lost, if the stats differ. A line without a number reports at least one, be it a
    /// notice ahead of a number that follows.
    fn reported_otherwise(&self, stats: &BTreeMap<u32, u64>) -> Option<u64> {
        let cpus: BTreeSet<u32> =
            self.lost.keys().chain(&self.uncounted).chain(stats.keys()).copied().collect();
        let of = |counts: &BTreeMap<u32, u64>, cpu| counts.get(&cpu).copied().unwrap_or_default();
        let differs = |cpu: &u32| match self.uncounted.contains(cpu) {
            true => of(stats, *cpu) < of(&self.lost, *cpu).max(1),
            false => of(stats, *cpu) != of(&self.lost, *cpu),
        };
        cpus.iter().any(differs).then(|| self.lost.values().sum())
    }
}

fn warning(text: &str) -> Warning {
    let text = output::one_line(text);
    Warning { is_logged: logging::has_warned(&text), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(losses: &[(u32, Option<u64>)]) -> Counts {
        let mut read = LineBuffer::with_room(4096);
        read.push("event");
        losses.iter().for_each(|(cpu, count)| read.lost(*cpu, *count));
        let mut counts = Counts::default();
        counts.add_read(&read);
        counts
    }

    fn summary(losses: &[(u32, Option<u64>)], stats: &[(u32, u64)]) -> String {
        counts(losses).summary(Stats::new(None, stats.iter().copied().collect())).to_string()
    }

    #[test]
    fn equal_losses_are_reported_once() {
        assert_eq!(summary(&[], &[]), "1 events recorded: 1 delivered, none lost");
        assert_eq!(
            summary(&[(1, Some(2)), (1, Some(3))], &[(1, 5)]),
            "6 events recorded: 1 delivered, 5 lost (CPU 1: 5)"
        );
        assert_eq!(summary(&[(1, None)], &[(1, 5)]), "6 events recorded: 1 delivered, 5 lost (CPU 1: 5)");
    }

    #[test]
    fn different_losses_are_both_reported() {
        assert_eq!(
            summary(&[(1, Some(2))], &[]),
            "1 events recorded: 1 delivered, 0 lost; but the lines of the trace report 2 lost"
        );
        assert_eq!(
            summary(&[], &[(0, 4)]),
            "5 events recorded: 1 delivered, 4 lost (CPU 0: 4); but the lines of the trace report 0 lost"
        );
        assert!(!summary(&[(1, None)], &[]).contains("none lost"));
    }
}
