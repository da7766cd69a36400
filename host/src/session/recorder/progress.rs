//! Reports the progress of a session to the supervisor, while the trace is printed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::worker::PluginSession;
use crate::worker::protocol::{Answer, Sender};

/// Between two reports.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was reported so far.
#[derive(Debug)]
pub struct ProgressReports {
    next: Instant,
    events: u64,
    lost: BTreeMap<u32, u64>,
    has_warnings: bool,
}

impl ProgressReports {
    pub fn new() -> Self {
        Self { next: Instant::now() + INTERVAL, events: 0, lost: BTreeMap::new(), has_warnings: false }
    }

    /// Reports how many events there are, and what was lost since the last report, once an interval has passed.
    pub fn send(&mut self, session: &PluginSession<'_>, events: u64, sender: &Sender) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + INTERVAL;
        match session.stats() {
            Ok(stats) => {
                let (lost, has_warnings) = (self.lost_since_last(stats.lost), !stats.warnings.is_empty());
                if !lost.is_empty() || (events, has_warnings) != (self.events, self.has_warnings) {
                    (self.events, self.has_warnings) = (events, has_warnings);
                    // Fails if the supervisor has died, which is noticed elsewhere.
                    let _ = sender.send(&Answer::Progress { events, lost, has_warnings });
                }
            }
            Err(error) => log::debug!("cannot read the session's lost events: {error}"),
        }
    }

    fn lost_since_last(&mut self, lost: BTreeMap<u32, u64>) -> BTreeMap<u32, u64> {
        let since = lost.iter().map(|(cpu, count)| {
            (*cpu, count.saturating_sub(self.lost.get(cpu).copied().unwrap_or_default()))
        });
        let since = since.filter(|(_, count)| *count > 0).collect();
        self.lost = lost;
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_is_reported_once() {
        let mut reports = ProgressReports::new();
        assert_eq!(reports.lost_since_last(BTreeMap::from([(0, 3), (1, 0)])), BTreeMap::from([(0, 3)]));
        assert_eq!(reports.lost_since_last(BTreeMap::from([(0, 3), (1, 2)])), BTreeMap::from([(1, 2)]));
        assert_eq!(reports.lost_since_last(BTreeMap::from([(0, 3), (1, 2)])), BTreeMap::new());
    }
}
