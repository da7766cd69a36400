//! A thread that moves records from the rings into the spool.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use trace_hook_api::{HookError, Result, log};
use trace_session::Notifier;
use trace_session::spool::Spool;
use trace_tasks::Procfs;

use super::existing_tasks;
use super::modules::Modules;
use super::recording::{Exclusion, RecordSource};
use crate::perf_event::{Body, Mapping, Record, Records, Ring, now};

/// How often the rings are read. A line is late by twice this time at most.
const POLL_INTERVAL: Duration = Duration::from_millis(30);
/// The largest batch that goes into the spool, in bytes.
const MAX_PAGE: usize = 64 << 10;

/// The collector thread. It runs until it is stopped.
#[derive(Debug)]
pub struct Collector {
    /// Closing it stops the thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<BTreeMap<u32, u64>>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spool: Arc<Spool>,
    modules: Arc<Modules>,
    notifier: Notifier,
    samples: AtomicU64,
}

impl Collector {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn start(
        source: RecordSource,
        procfs: Procfs,
        spool: Arc<Spool>,
        modules: Arc<Modules>,
    ) -> Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let notifier = Notifier::new()?;
        let shared = Arc::new(Shared { spool, modules, notifier, samples: AtomicU64::new(0) });
        let of_thread = Arc::clone(&shared);
        let collect = move || {
            of_thread.push_existing_tasks(&source, &procfs);
            CollectorThread { shared: &of_thread, exclusion: source.exclusion, lost: BTreeMap::new() }
                .collect(source.rings, &stopped)
        };
        let thread = std::thread::Builder::new().name("collector".to_owned()).spawn(collect)?;
        Ok(Self { stop: Some(stop), thread: Some(thread), shared })
    }

    /// Is rung when something was found.
    pub fn notifier(&self) -> &Notifier {
        &self.shared.notifier
    }

    /// How many samples were collected.
    pub fn samples(&self) -> u64 {
        self.shared.samples.load(Ordering::Acquire)
    }

    /// Collects what is left in the rings, and ends the thread. To be called after recording was stopped. Returns the
    /// losses that records have reported, by CPU.
    ///
    /// # Errors
    ///
    /// The thread has panicked.
    pub fn finish(&mut self) -> Result<BTreeMap<u32, u64>> {
        self.stop = None;
        let thread = self.thread.take().map_or_else(|| Ok(BTreeMap::new()), JoinHandle::join);
        thread.map_err(|_| HookError::new("the thread that collects the samples has panicked"))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            log::error!("{error}");
        }
    }
}

impl Shared {
    /// Pushes records of the tasks that existed before the recording started.
    fn push_existing_tasks(&self, source: &RecordSource, procfs: &Procfs) {
        let processes: BTreeSet<i32> = source.members.values().map(|member| member.process).collect();
        for (thread, member) in &source.members {
            let name = existing_tasks::comm(procfs.root(), member.process as u32, *thread as u32);
            self.spool.push_page(0, &name, 0, 0);
        }
        for process in processes.into_iter().map(|process| process as u32) {
            let observe = |mapping: &Mapping<'_>| _ = self.modules.observe(process, mapping);
            let mappings = existing_tasks::mappings(procfs.root(), process, observe);
            self.spool.push_page(0, &mappings, 0, 0);
        }
    }
}

struct CollectorThread<'a> {
    shared: &'a Shared,
    exclusion: Exclusion,
    /// By CPU.
    lost: BTreeMap<u32, u64>,
}

impl CollectorThread<'_> {
    fn collect(mut self, mut rings: BTreeMap<u32, Ring>, stopped: &UnixStream) -> BTreeMap<u32, u64> {
        let (mut bytes, mut stopping, mut before) = (Vec::new(), false, 0);
        loop {
            let began = now();
            let mut found = false;
            for (cpu, ring) in &mut rings {
                bytes.clear();
                ring.drain_into(&mut bytes);
                found |= !bytes.is_empty();
                self.forward(*cpu, &bytes);
            }
            // A record can become visible shortly after its time stamp was taken: it is read one interval later.
            self.shared.spool.push_settled(before);
            before = began;
            if found {
                self.shared.notifier.notify();
            }
            if stopping {
                return self.lost;
            }
            // What was recorded before the stop is read after it.
            stopping = wait(&rings, stopped);
        }
    }

    /// Puts the records of a CPU into the spool, without those that are excluded.
    fn forward(&mut self, cpu: u32, bytes: &[u8]) {
        let mut batch = Batch::default();
        for (bytes, record) in Records(bytes) {
            if let Body::Lost(count) = record.body {
                self.push(cpu, &mut batch);
                batch.lost += count;
                *self.lost.entry(cpu).or_default() += count;
                continue;
            }
            if let Body::Mmap(mapping) = &record.body {
                self.shared.modules.observe(record.process, mapping);
            }
            if !self.exclusion.excludes(&record) {
                if batch.bytes.len() + bytes.len() > MAX_PAGE {
                    self.push(cpu, &mut batch);
                }
                batch.samples += u64::from(matches!(record.body, Body::Sample(_)));
                batch.bytes.extend_from_slice(bytes);
            }
        }
        self.push(cpu, &mut batch);
        self.shared.spool.lose(cpu, batch.lost);
    }

    /// Pushes the batch, unless it is empty, and starts a new one.
    fn push(&self, cpu: u32, batch: &mut Batch) {
        if !batch.bytes.is_empty() {
            let Batch { bytes, samples, lost } = std::mem::take(batch);
            self.shared.spool.push_page(cpu, &bytes, samples, lost);
            self.shared.samples.fetch_add(samples, Ordering::Release);
        }
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

/// Waits until the rings are due to be read, a ring fills, or the thread is to stop. Returns whether it is.
fn wait(rings: &BTreeMap<u32, Ring>, stopped: &UnixStream) -> bool {
    let fds = [stopped.as_fd()].into_iter().chain(rings.values().map(AsFd::as_fd));
    let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    // On an error the rings are read early.
    let _ = poll(&mut fds, PollTimeout::try_from(POLL_INTERVAL).unwrap_or(PollTimeout::ZERO));
    fds[0].any() == Some(true)
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
