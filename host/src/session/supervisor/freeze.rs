//! Notices that a cgroup has frozen the worker.

use std::time::{Duration, Instant};

use super::Supervisor;
use crate::output;
use crate::session::cgroups::Cgroups;

/// Between two looks while the session records. A worker that is not frozen calls the plugin every 50 ms.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was found at the last look.
#[derive(Debug)]
pub struct FreezeWatch {
    looked: Instant,
    /// How often the worker had called the plugin.
    calls: u64,
    /// It was frozen, and that was reported.
    is_reported: bool,
    /// The same, since the order to stop.
    is_reported_at_stop: bool,
}

impl FreezeWatch {
    pub fn new() -> Self {
        Self { looked: Instant::now(), calls: 0, is_reported: false, is_reported_at_stop: false }
    }
}

impl Supervisor<'_> {
    /// Reports once if the worker is frozen while the session records. Only a worker that does nothing is looked at.
    pub(super) fn check_frozen(&mut self) {
        if self.stopping.is_some() || self.freeze.looked.elapsed() < INTERVAL {
            return;
        }
        self.freeze.looked = Instant::now();
        let calls = self.worker.calls();
        if std::mem::replace(&mut self.freeze.calls, calls) != calls {
            self.freeze.is_reported = false;
        } else if !self.freeze.is_reported
            && let Some(frozen) = self.frozen()
        {
            self.freeze.is_reported = true;
            log::warn!("the session is frozen: {frozen}; it goes on when that is thawed");
        }
    }

    /// Reports once if the worker of a session that is to stop is frozen. That of a version 1 cgroup cannot even be killed.
    pub(super) fn check_frozen_at_stop(&mut self) {
        if !self.freeze.is_reported_at_stop
            && let Some(frozen) = self.frozen()
        {
            self.freeze.is_reported_at_stop = true;
            output::report(&format!("the session cannot stop: {frozen}; thaw that"));
        }
    }

    /// Which cgroup has frozen the worker, if one has.
    fn frozen(&self) -> Option<String> {
        let worker = self.worker.procfs_directory();
        let cgroup = Cgroups::of(self.environment).that_froze(worker)?;
        let process = worker.file_name().unwrap_or_default().display();
        Some(format!("its worker, process {process}, is frozen by the cgroup {}", cgroup.display()))
    }
}
