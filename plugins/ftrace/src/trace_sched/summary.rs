//! At intervals, how the waits are distributed.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;
use std::vec;

use trace_hook_api::{Histogram, LineBuffer, Origin};

use super::renderer::{Run, Show};
use super::waits::MissedRun;
use crate::clock::Interval;

/// The threads that have a line of their own. Beyond that, the half that waited the least is counted together.
pub const MAX_THREADS: usize = 4096;

/// The waits since the last summary.
pub struct Summary {
    interval: Interval,
    /// The time of the last run.
    latest: u64,
    threads: Threads,
    due: Due,
}

/// The lines of a summary that were not added yet, and its time.
#[derive(Default)]
struct Due {
    time: u64,
    threads: vec::IntoIter<(u32, Thread)>,
    /// The waits of threads without a line of their own, and of all.
    totals: Option<(Waits, Waits)>,
}

/// The waits by thread, in a table of bounded size.
#[derive(Debug, Default)]
struct Threads {
    by_tid: HashMap<u32, Thread>,
    /// The waits of threads without a line of their own.
    others: Waits,
}

#[derive(Debug, Default)]
struct Thread {
    pid: Option<u32>,
    comm: Vec<u8>,
    waits: Waits,
}

#[derive(Debug, Default, Clone)]
struct Waits {
    known: Histogram,
    /// How often the length of a wait was not known.
    unknown: u64,
}

impl Waits {
    fn add(&mut self, wait: Option<u64>) {
        match wait {
            Some(wait) => self.known.add(wait),
            None => self.unknown += 1,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.known.merge(&other.known);
        self.unknown += other.unknown;
    }

    fn is_empty(&self) -> bool {
        self.known.count() == 0 && self.unknown == 0
    }

    fn show(&self, origin: &Origin<'_>, event: &str, lines: &mut LineBuffer) {
        lines.event(origin, event).distribution(&self.known).number("unknown", self.unknown);
    }
}

impl Threads {
    fn count(&mut self, origin: &Origin<'_>, wait: Option<u64>) {
        let Some(tid) = origin.tid else { return };
        if self.by_tid.len() >= MAX_THREADS && !self.by_tid.contains_key(&tid) {
            self.merge_shorter_half();
        }
        let thread = self.by_tid.entry(tid).or_default();
        // The name may have changed.
        thread.comm.clear();
        thread.comm.extend_from_slice(origin.comm);
        thread.pid = origin.pid;
        thread.waits.add(wait);
    }

    fn merge_shorter_half(&mut self) {
        let mut by_wait: Vec<(u128, u32)> =
            self.by_tid.iter().map(|(tid, thread)| (thread.waits.known.total(), *tid)).collect();
        let half = by_wait.len() / 2;
        by_wait.select_nth_unstable(half);
        for (_, tid) in &by_wait[..half] {
            if let Some(thread) = self.by_tid.remove(tid) {
                self.others.merge(&thread.waits);
            }
        }
    }

    /// Takes all threads, those that waited longest first, and the waits of the others.
    fn take(&mut self) -> (Vec<(u32, Thread)>, Waits) {
        let mut threads: Vec<(u32, Thread)> = self.by_tid.drain().collect();
        threads.sort_by_key(|(tid, thread)| (Reverse(thread.waits.known.total()), *tid));
        (threads, std::mem::take(&mut self.others))
    }
}

impl Summary {
    pub fn new(every: Duration) -> Self {
        Self { interval: Interval::new(every), latest: 0, threads: Threads::default(), due: Due::default() }
    }

    fn count(&mut self, origin: &Origin<'_>, wait: Option<u64>) {
        self.latest = origin.time;
        self.threads.count(origin, wait);
    }

    /// Makes the lines of the interval due, and begins the next one.
    fn summarize(&mut self, time: u64) {
        let (threads, others) = self.threads.take();
        let mut all = others.clone();
        threads.iter().for_each(|(_, thread)| all.merge(&thread.waits));
        let totals = (!threads.is_empty()).then_some((others, all));
        self.due = Due { time, threads: threads.into_iter(), totals };
    }
}

impl Due {
    fn next(&mut self, lines: &mut LineBuffer) -> bool {
        if let Some((tid, thread)) = self.threads.next() {
            let origin = Origin::at(self.time).pid(thread.pid).tid(tid).comm(&thread.comm);
            thread.waits.show(&origin, "waits", lines);
        } else if let Some((others, all)) = self.totals.take() {
            if !others.is_empty() {
                others.show(&Origin::at(self.time), "other_waits", lines);
            }
            all.show(&Origin::at(self.time), "all_waits", lines);
            lines.picture(&all.known);
        } else {
            return false;
        }
        true
    }
}

impl Show for Summary {
    fn run(&mut self, run: &Run<'_>, _: &mut LineBuffer) {
        self.count(&run.origin, run.wait.map(|wait| wait.length));
    }

    fn missed_run(&mut self, origin: &Origin<'_>, _: MissedRun, _: &mut LineBuffer) {
        self.count(origin, None);
    }

    fn time_passes(&mut self, now: u64) {
        if let Some(due) = self.interval.passes(now) {
            self.summarize(due);
        }
    }

    fn next_due(&mut self, lines: &mut LineBuffer) -> bool {
        self.due.next(lines)
    }

    fn end(&mut self) {
        self.summarize(self.latest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_threads_is_bounded_and_no_wait_is_lost() {
        let mut threads = Threads::default();
        let many = 10 * MAX_THREADS as u32;
        for tid in 0..many {
            let wait = if tid % 10 == 0 { None } else { Some(u64::from(tid)) };
            threads.count(&Origin::at(0).tid(tid).comm(b"sh"), wait);
            assert!(threads.by_tid.len() <= MAX_THREADS);
        }
        threads.count(&Origin::at(0).tid(many - 1), Some(1));
        let (threads, mut all) = threads.take();
        assert_eq!(threads[0].0, many - 1, "the thread that waited longest has its own line");
        threads.iter().for_each(|(_, thread)| all.merge(&thread.waits));
        assert_eq!(all.known.count() + all.unknown, u64::from(many) + 1);
    }

    #[test]
    fn few_threads_have_no_others() {
        let mut threads = Threads::default();
        threads.count(&Origin::at(0).tid(1), Some(5));
        assert!(threads.take().1.is_empty());
    }
}
