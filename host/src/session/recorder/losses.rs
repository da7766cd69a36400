//! Reports lost events while they happen, with `--follow`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::worker::PluginSession;
use crate::worker::protocol::{Answer, Sender};

/// Between two reports.
const INTERVAL: Duration = Duration::from_secs(1);

/// The losses that were reported so far.
#[derive(Debug)]
pub struct LossReports {
    next: Instant,
    reported: BTreeMap<u32, u64>,
}

impl LossReports {
    pub fn new() -> Self {
        Self { next: Instant::now() + INTERVAL, reported: BTreeMap::new() }
    }

    /// Reports what was lost since the last report, once an interval has passed.
    pub fn send(&mut self, session: &PluginSession<'_>, sender: &Sender) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + INTERVAL;
        match session.stats() {
            Ok(stats) => {
                let since = self.since_last(stats.lost);
                if !since.is_empty() {
                    // Fails if the supervisor has died, which is noticed elsewhere.
                    let _ = sender.send(&Answer::Lost(since));
                }
            }
            Err(error) => log::debug!("cannot read the session's lost events: {error}"),
        }
    }

    fn since_last(&mut self, lost: BTreeMap<u32, u64>) -> BTreeMap<u32, u64> {
        let since = lost.iter().map(|(cpu, count)| {
            (*cpu, count.saturating_sub(self.reported.get(cpu).copied().unwrap_or_default()))
        });
        let since = since.filter(|(_, count)| *count > 0).collect();
        self.reported = lost;
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_is_reported_once() {
        let mut reports = LossReports::new();
        assert_eq!(reports.since_last(BTreeMap::from([(0, 3), (1, 0)])), BTreeMap::from([(0, 3)]));
        assert_eq!(reports.since_last(BTreeMap::from([(0, 3), (1, 2)])), BTreeMap::from([(1, 2)]));
        assert_eq!(reports.since_last(BTreeMap::from([(0, 3), (1, 2)])), BTreeMap::new());
    }
}
