//! Every so often, how the waits are distributed.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use trace_hook_api::{Histogram, LineBuffer, Origin};

use super::view::{Run, Show};
use super::waits::MissedRun;
use crate::clock::Interval;

/// The waits of each thread since the last summary.
pub struct Summary {
    interval: Interval,
    /// When the last run was.
    latest: u64,
    threads: HashMap<u32, Thread>,
}

/// What is to be told of a thread.
struct Thread {
    pid: Option<u32>,
    comm: Vec<u8>,
    waits: Histogram,
    unknown: u64,
}

impl Thread {
    fn new(pid: Option<u32>) -> Self {
        Self { pid, comm: Vec::new(), waits: Histogram::default(), unknown: 0 }
    }
}

impl Summary {
    pub fn new(every: Duration) -> Self {
        Self { interval: Interval::new(every), latest: 0, threads: HashMap::new() }
    }

    fn count(&mut self, origin: &Origin<'_>, wait: Option<u64>) {
        self.latest = origin.time;
        let Some(tid) = origin.tid else { return };
        let thread = self.threads.entry(tid).or_insert_with(|| Thread::new(origin.pid));
        // Its last name.
        thread.comm.clear();
        thread.comm.extend_from_slice(origin.comm);
        match wait {
            Some(wait) => thread.waits.add(wait),
            None => thread.unknown += 1,
        }
    }

    /// Tells all there is to tell, and begins anew.
    fn tell(&mut self, time: u64, lines: &mut LineBuffer) -> u64 {
        let mut threads: Vec<(u32, Thread)> = self.threads.drain().collect();
        if threads.is_empty() {
            return 0;
        }
        threads.sort_by_key(|(tid, thread)| (Reverse(thread.waits.total()), *tid));
        let mut all = Histogram::default();
        let mut unknown = 0;
        for (tid, thread) in &threads {
            let origin = Origin::at(time).pid(thread.pid).tid(*tid).comm(&thread.comm);
            lines.event(&origin, "waits").distribution(&thread.waits).number("unknown", thread.unknown);
            all.merge(&thread.waits);
            unknown += thread.unknown;
        }
        lines.event(&Origin::at(time), "all_waits").distribution(&all).number("unknown", unknown);
        lines.picture(&all);
        threads.len() as u64 + 1
    }
}

impl Show for Summary {
    fn run(&mut self, run: &Run<'_>, _: &mut LineBuffer) -> u64 {
        self.count(&run.origin, run.wait.map(|wait| wait.length));
        0
    }

    fn missed_run(&mut self, origin: &Origin<'_>, _: MissedRun, _: &mut LineBuffer) -> u64 {
        self.count(origin, None);
        0
    }

    fn time_passes(&mut self, now: u64, lines: &mut LineBuffer) -> u64 {
        self.interval.passes(now).map_or(0, |due| self.tell(due, lines))
    }

    fn end(&mut self, lines: &mut LineBuffer) -> u64 {
        self.tell(self.latest, lines)
    }
}
