//! With `--summary`: for which futexes tasks wait, and where.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trace_hook_api::{LineBuffer, Origin, boot_time};
use trace_stacks::Frame;
use trace_tasks::Pid;

use super::description::DURATION;
use super::record::Wait;

/// With this many different places, lines are written before they are due.
const MAX_PLACES: usize = 10_000;

/// Adds up waits, and writes lines at intervals.
#[derive(Debug)]
pub struct Contention {
    every: Duration,
    next: Instant,
    places: HashMap<Place, Waits>,
    /// The places whose lines are due, the one with the longest waits last, and since when they are.
    due: Vec<(Place, Waits)>,
    due_since: u64,
}

/// Where a process waits for a futex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    process: Pid,
    futex: u64,
    /// The innermost first.
    functions: Vec<Arc<str>>,
}

#[derive(Debug, Default)]
struct Waits {
    /// The name of the last task.
    comm: Vec<u8>,
    count: u64,
    total: u64,
    max: u64,
}

impl Contention {
    /// Writes lines at this interval.
    pub fn every(every: Duration) -> Self {
        let next = Instant::now() + every;
        Self { every, next, places: HashMap::new(), due: Vec::new(), due_since: 0 }
    }

    /// Adds a wait with this stack of the program, if it is for a futex.
    pub fn add(&mut self, wait: &Wait<'_>, frames: &[Frame]) {
        let Some(futex) = wait.futex.filter(|_| wait.state != 0) else { return };
        let functions = frames.iter().map(|frame| Arc::clone(&frame.name)).collect();
        let waits = self.places.entry(Place { process: wait.pid, futex, functions }).or_default();
        waits.comm.clear();
        waits.comm.extend_from_slice(wait.comm);
        waits.count += 1;
        waits.total += wait.duration;
        waits.max = waits.max.max(wait.duration);
    }

    /// Writes the lines that are due, as far as there is room. At the end all of them are. Returns whether some are left.
    pub fn write(&mut self, lines: &mut LineBuffer, is_end: bool) -> bool {
        let is_due = is_end || self.places.len() >= MAX_PLACES || self.next <= Instant::now();
        if self.due.is_empty() && is_due {
            self.next = Instant::now() + self.every;
            self.due_since = boot_time();
            self.due = self.places.drain().collect();
            self.due.sort_unstable_by(|(a, waits), (b, others)| {
                (waits.total, Reverse(a)).cmp(&(others.total, Reverse(b)))
            });
        }
        while let Some((place, waits)) = self.due.pop_if(|_| !lines.is_full()) {
            let origin = Origin::at(self.due_since).pid(place.process).comm(&waits.comm);
            lines.add_event(&origin, "contention", |line| {
                line.address("futex", place.futex)
                    .duration(DURATION, waits.total)
                    .number("count", waits.count)
                    .duration("max", waits.max)
                    .list("stack", place.functions.iter().map(|name| name.as_bytes()))
            });
        }
        !self.due.is_empty()
    }
}
