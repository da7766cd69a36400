//! A thread that moves records from the rings into the spool.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use trace_hook_api::{Environment, Result, monotonic_time};
use trace_session::spool::Spool;
use trace_session::{Collect, Occasion, Swept};
use trace_stacks::{Modules, Observer};
use trace_tasks::{Member, Pid};

use super::existing_tasks::ExistingTasks;
use super::recording::{Exclusion, RecordSource};
use crate::perf_event::{Body, Record, Records, Ring};

/// How often the rings are read. A line is late by twice this time at most.
const POLL_INTERVAL: Duration = Duration::from_millis(30);
/// The largest batch that goes into the spool, in bytes.
const MAX_PAGE: usize = 64 << 10;

/// How long records wait for those of tasks that existed before them. Calls that block have shorter limits of their own.
const LONGEST_HOLD: Duration = Duration::from_secs(2);

/// What was collected so far.
#[derive(Debug, Default)]
pub struct CollectedCounts {
    samples: AtomicU64,
    /// The same, with those that are excluded.
    taken: AtomicU64,
    /// The losses that records have reported, by CPU.
    lost: Mutex<BTreeMap<u32, u64>>,
}

impl CollectedCounts {
    /// How many samples were collected.
    pub fn samples(&self) -> u64 {
        self.samples.load(Ordering::Acquire)
    }

    /// How many samples the kernel has taken, with those that are excluded.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// The losses that records have reported, by CPU.
    pub fn lost(&self) -> BTreeMap<u32, u64> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lose(&self, cpu: u32, count: u64) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner).entry(cpu).or_default() += count;
    }
}

/// Moves the records of all rings into the spool.
#[derive(Debug)]
pub struct RecordCollector {
    rings: BTreeMap<u32, Ring>,
    exclusion: Exclusion,
    /// The tasks that existed before the recording started, until records of them are pushed.
    existing_tasks: Option<HashMap<Pid, Member>>,
    /// The processes whose names and mappings are known, if any may join for which they are not.
    known: Option<HashSet<Pid>>,
    observer: Observer<(Pid, Vec<Pid>)>,
    spool: Arc<Spool>,
    modules: Arc<Modules>,
    /// Since when records wait for those of tasks that existed before.
    held_back: Option<Instant>,
    longest_hold: Duration,
    counts: Arc<CollectedCounts>,
    /// When the sweep before began.
    previous: u64,
    bytes: Vec<u8>,
}

impl RecordCollector {
    /// # Errors
    ///
    /// No thread can be started.
    pub fn new(
        source: RecordSource,
        environment: &Environment,
        spool: Arc<Spool>,
        modules: Arc<Modules>,
    ) -> Result<Self> {
        let RecordSource { rings, exclusion, members, may_grow } = source;
        let observer = {
            let existing = ExistingTasks::new(&environment.procfs, Arc::clone(&spool));
            Observer::start(environment, existing, Arc::clone(&modules))?
        };
        Ok(Self {
            rings,
            exclusion,
            known: may_grow.then(|| members.values().map(|member| member.process).collect()),
            existing_tasks: Some(members),
            observer,
            spool,
            modules,
            held_back: None,
            longest_hold: environment.patient(LONGEST_HOLD),
            counts: Arc::default(),
            previous: 0,
            bytes: Vec::new(),
        })
    }

    /// What is collected, to be read at any time.
    pub fn counts(&self) -> Arc<CollectedCounts> {
        Arc::clone(&self.counts)
    }

    /// Has records of the tasks that existed before the recording started pushed.
    fn read_existing_tasks(&self, tasks: &HashMap<Pid, Member>) {
        let mut threads: BTreeMap<Pid, Vec<Pid>> = BTreeMap::new();
        for (thread, member) in tasks {
            threads.entry(member.process).or_default().push(*thread);
        }
        for (process, threads) in threads {
            self.observer.read_tasks((process, threads));
        }
    }

    /// Whether records wait for those of tasks that existed before them, which are being read.
    fn holds_back(&mut self) -> bool {
        let is_reading = self.observer.is_reading_tasks();
        self.held_back = self.held_back.or_else(|| Some(Instant::now())).filter(|_| is_reading);
        self.held_back.is_some_and(|since| since.elapsed() < self.longest_hold)
    }

    /// Whether this is the first record of a process that has joined a cgroup. Keeps track of the processes.
    fn is_unknown(&mut self, record: &Record<'_>) -> bool {
        let Some(known) = &mut self.known else { return false };
        match record.body {
            Body::Sample(_) => known.insert(record.process),
            Body::Fork { .. } => {
                known.insert(record.process);
                false
            }
            Body::Exit if record.thread == record.process => {
                known.remove(&record.process);
                false
            }
            _ => false,
        }
    }

    /// Puts the records of a CPU into the spool, without those that are excluded.
    fn forward(&mut self, cpu: u32, bytes: &[u8]) {
        let (mut batch, mut taken) = (Batch::default(), 0);
        for (bytes, record) in Records(bytes) {
            if let Body::Lost(count) = record.body {
                self.push(cpu, &mut batch);
                batch.lost += count;
                self.counts.lose(cpu, count);
                continue;
            }
            if let Body::Mmap(mapping) = &record.body {
                let module = self.modules.module(record.process, mapping);
                if module.expect_file() {
                    self.observer.open(record.process, module, mapping);
                }
            }
            taken += u64::from(matches!(record.body, Body::Sample(_)));
            if !self.exclusion.excludes(&record) {
                if self.is_unknown(&record) {
                    self.push(cpu, &mut batch);
                    self.observer.read_tasks((record.process, vec![record.thread]));
                }
                if batch.bytes.len() + bytes.len() > MAX_PAGE {
                    self.push(cpu, &mut batch);
                }
                batch.samples += u64::from(matches!(record.body, Body::Sample(_)));
                batch.bytes.extend_from_slice(bytes);
            }
        }
        self.push(cpu, &mut batch);
        self.spool.lose(cpu, batch.lost);
        self.counts.taken.fetch_add(taken, Ordering::Release);
    }

    /// Pushes the batch, unless it is empty, and starts a new one.
    fn push(&self, cpu: u32, batch: &mut Batch) {
        if !batch.bytes.is_empty() {
            let Batch { bytes, samples, lost } = std::mem::take(batch);
            self.spool.push_page(cpu, &bytes, samples, lost);
            self.counts.samples.fetch_add(samples, Ordering::Release);
        }
    }
}

impl Collect for RecordCollector {
    /// A ring polls as readable only when it is half full.
    const SHORTEST_REST: Duration = Duration::ZERO;

    fn sweep(&mut self, occasion: Occasion) -> Result<Swept> {
        if let Some(tasks) = self.existing_tasks.take() {
            self.read_existing_tasks(&tasks);
        }
        let began = monotonic_time();
        let (mut found, mut bytes) = (false, std::mem::take(&mut self.bytes));
        let cpus: Vec<u32> = self.rings.keys().copied().collect();
        for cpu in cpus {
            bytes.clear();
            self.rings.get_mut(&cpu).into_iter().for_each(|ring| ring.drain_into(&mut bytes));
            found |= !bytes.is_empty();
            self.forward(cpu, &bytes);
        }
        self.bytes = bytes;
        // A record can become visible shortly after its time stamp was taken: it is read one interval later.
        let settled = std::mem::replace(&mut self.previous, began);
        if occasion == Occasion::Stopped {
            self.observer.wait_for_tasks(self.longest_hold);
        }
        if !self.holds_back() {
            self.spool.push_settled(settled);
        }
        Ok(Swept::rest(found, POLL_INTERVAL))
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.rings.values().map(AsFd::as_fd).collect()
    }
}

/// Records, one after the other, and how many were lost before them.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    samples: u64,
    lost: u64,
}

impl Exclusion {
    /// Whether this is a sample to leave out. Keeps track of the tasks.
    fn excludes(&mut self, record: &Record<'_>) -> bool {
        match record.body {
            Body::Sample(_) => {
                let is_own = |own: &Arc<HashSet<u64>>| own.contains(&record.id);
                self.processes.contains(&record.process)
                    || !self.own_event_ids.get(&record.thread).is_none_or(is_own)
            }
            Body::Fork { parent_pid, parent_tid } => {
                let has_own_since =
                    record.time <= self.complete_at && self.own_event_ids.contains_key(&record.thread);
                if !has_own_since {
                    // An earlier task with this number has ended.
                    match self.own_event_ids.get(&parent_tid).cloned() {
                        Some(own) => _ = self.own_event_ids.insert(record.thread, own),
                        None => _ = self.own_event_ids.remove(&record.thread),
                    }
                }
                if parent_pid != record.process {
                    self.processes.remove(&record.process);
                }
                false
            }
            Body::Exit => {
                self.own_event_ids.remove(&record.thread);
                false
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_with_two_events_are_sampled_once_and_so_are_their_children() {
        let own = Arc::new(HashSet::from([70, 71]));
        let mut exclusion = Exclusion {
            processes: HashSet::from([1]),
            own_event_ids: [(7, own)].into_iter().collect(),
            complete_at: 100,
        };
        let mut excludes = |thread, id, body| {
            exclusion.excludes(&Record { time: 101, cpu: 0, process: thread, thread, id, body })
        };
        let by = |thread| Body::Fork { parent_pid: thread, parent_tid: thread };
        let sample = Body::Sample(&[]);
        assert!(excludes(1, 50, sample) && !excludes(2, 50, sample));
        assert!(excludes(7, 50, sample) && !excludes(7, 71, sample));
        assert!(!excludes(8, 50, by(7)));
        assert!(excludes(8, 50, sample) && !excludes(8, 70, sample));
        assert!(!excludes(7, 50, Body::Exit) && !excludes(7, 50, sample));
        assert!(!excludes(1, 50, Body::Exit) && excludes(1, 50, sample));
        // Other tasks with the same numbers.
        assert!(!excludes(1, 50, by(9)) && !excludes(1, 50, sample));
        assert!(!excludes(8, 50, by(9)) && !excludes(8, 50, sample));
    }

    #[test]
    fn tasks_started_while_events_were_opened_keep_their_own() {
        let own = |id| Arc::new(HashSet::from([id]));
        let own_event_ids = [(7, own(70)), (8, own(80))].into_iter().collect();
        let mut exclusion = Exclusion { processes: HashSet::new(), own_event_ids, complete_at: 100 };
        let mut excludes = |time, thread, id, body| {
            exclusion.excludes(&Record { time, cpu: 0, process: thread, thread, id, body })
        };
        let by = |thread| Body::Fork { parent_pid: thread, parent_tid: thread };
        // Started by a task with one event, and by one with two.
        assert!(!excludes(99, 7, 50, by(2)) && !excludes(100, 8, 50, by(7)));
        for (thread, id) in [(7, 70), (8, 80)] {
            assert!(
                excludes(101, thread, 50, Body::Sample(&[])) && !excludes(101, thread, id, Body::Sample(&[]))
            );
        }
        assert!(!excludes(101, 7, 50, by(2)) && !excludes(101, 7, 50, Body::Sample(&[])));
    }
}
