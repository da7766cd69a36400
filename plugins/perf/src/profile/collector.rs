//! Empties the rings into a spool, whatever else goes on.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use trace_hook_api::{HookError, Result, log};
use tracefs::Procfs;
use tracefs::spool::{Doorbell, Spool};

use super::modules::Modules;
use super::portrait;
use super::recording::{Exclusion, Source};
use crate::perf_event::{Body, Mapping, Record, Records, Ring, now};

/// Between two looks at the rings. No line comes later than two of them.
const REST: Duration = Duration::from_millis(30);
/// So much goes into the spool at a time, at most.
const PAGE: usize = 64 << 10;

/// A thread that collects until it is stopped.
#[derive(Debug)]
pub struct Collector {
    /// Closing it is the order to stop.
    order: Option<UnixStream>,
    thread: Option<JoinHandle<BTreeMap<u32, u64>>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spool: Arc<Spool>,
    modules: Arc<Modules>,
    found: Doorbell,
    samples: AtomicU64,
}

impl Collector {
    /// Starts to collect.
    ///
    /// # Errors
    ///
    /// There can be no further thread.
    pub fn start(source: Source, procfs: Procfs, spool: Arc<Spool>, modules: Arc<Modules>) -> Result<Self> {
        let (order, stopped) = UnixStream::pair()?;
        let found = Doorbell::new()?;
        let shared = Arc::new(Shared { spool, modules, found, samples: AtomicU64::new(0) });
        let theirs = Arc::clone(&shared);
        let collect = move || {
            theirs.introduce(&source, &procfs);
            Collecting { shared: &theirs, exclusion: source.exclusion, lost: BTreeMap::new() }
                .collect(source.rings, &stopped)
        };
        let thread = std::thread::Builder::new().name("collector".to_owned()).spawn(collect)?;
        Ok(Self { order: Some(order), thread: Some(thread), shared })
    }

    /// Is rung when something was found.
    pub fn found(&self) -> &Doorbell {
        &self.shared.found
    }

    /// How many samples have come that are wanted.
    pub fn samples(&self) -> u64 {
        self.shared.samples.load(Ordering::Acquire)
    }

    /// Collects what is left, and ends. To be called after recording was stopped. What records have told to be lost, by
    /// CPU.
    ///
    /// # Errors
    ///
    /// It has panicked.
    pub fn finish(&mut self) -> Result<BTreeMap<u32, u64>> {
        self.order = None;
        let thread = self.thread.take().map_or_else(|| Ok(BTreeMap::new()), JoinHandle::join);
        thread.map_err(|_| HookError::new("what collects the samples has panicked"))
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
    /// Tells who was there before the recording began.
    fn introduce(&self, source: &Source, procfs: &Procfs) {
        let processes: BTreeSet<i32> = source.members.values().map(|member| member.process).collect();
        for (thread, member) in &source.members {
            let name = portrait::name(procfs.root(), member.process as u32, *thread as u32);
            self.spool.push_page(0, &name, 0, 0);
        }
        for process in processes.into_iter().map(|process| process as u32) {
            let met = |mapping: &Mapping<'_>| _ = self.modules.meet(process, mapping);
            let mappings = portrait::mappings(procfs.root(), process, met);
            self.spool.push_page(0, &mappings, 0, 0);
        }
    }
}

struct Collecting<'a> {
    shared: &'a Shared,
    exclusion: Exclusion,
    /// By CPU.
    lost: BTreeMap<u32, u64>,
}

impl Collecting<'_> {
    fn collect(mut self, mut rings: BTreeMap<u32, Ring>, stopped: &UnixStream) -> BTreeMap<u32, u64> {
        let (mut bytes, mut stopping, mut before) = (Vec::new(), false, 0);
        loop {
            let began = now();
            let mut found = false;
            for (cpu, ring) in &mut rings {
                bytes.clear();
                ring.take(&mut bytes);
                found |= !bytes.is_empty();
                self.sort_out(*cpu, &bytes);
            }
            // A record may become visible a moment after its time stamp was taken: it is here one look later.
            self.shared.spool.push_settled(before);
            before = began;
            if found {
                self.shared.found.ring();
            }
            if stopping {
                return self.lost;
            }
            // What was recorded before the order to stop is found by the look after it.
            stopping = rest(&rings, stopped);
        }
    }

    /// Passes on what is wanted of the records of a CPU.
    fn sort_out(&mut self, cpu: u32, bytes: &[u8]) {
        let mut page = Page::default();
        for (bytes, record) in Records(bytes) {
            if let Body::Lost(count) = record.body {
                self.push(cpu, &mut page);
                page.lost += count;
                *self.lost.entry(cpu).or_default() += count;
                continue;
            }
            if let Body::Mapped(mapping) = &record.body {
                self.shared.modules.meet(record.process, mapping);
            }
            if !self.exclusion.excludes(&record) {
                if page.bytes.len() + bytes.len() > PAGE {
                    self.push(cpu, &mut page);
                }
                page.samples += u64::from(matches!(record.body, Body::Sample(_)));
                page.bytes.extend_from_slice(bytes);
            }
        }
        self.push(cpu, &mut page);
        self.shared.spool.lose(cpu, page.lost);
    }

    /// Pushes the page, unless it is empty, and begins a new one.
    fn push(&self, cpu: u32, page: &mut Page) {
        if !page.bytes.is_empty() {
            let Page { bytes, samples, lost } = std::mem::take(page);
            self.shared.spool.push_page(cpu, &bytes, samples, lost);
            self.shared.samples.fetch_add(samples, Ordering::Release);
        }
    }
}

/// Some records, one after the other, and how many were lost before them.
#[derive(Default)]
struct Page {
    bytes: Vec<u8>,
    samples: u64,
    lost: u64,
}

impl Exclusion {
    /// Whether a record is not to be passed on.
    fn excludes(&mut self, record: &Record<'_>) -> bool {
        match record.body {
            Body::Sample(_) => {
                let is_wanted = |own: &Arc<HashSet<u64>>| own.contains(&record.id);
                self.processes.contains(&record.process)
                    || !self.own_ids.get(&record.thread).is_none_or(is_wanted)
            }
            Body::Started { by_process, by_thread } => {
                let has_own_since =
                    record.time <= self.complete_at && self.own_ids.contains_key(&record.thread);
                if !has_own_since {
                    // Whoever had this number before is gone.
                    match self.own_ids.get(&by_thread).cloned() {
                        Some(own) => _ = self.own_ids.insert(record.thread, own),
                        None => _ = self.own_ids.remove(&record.thread),
                    }
                }
                if by_process != record.process {
                    self.processes.remove(&record.process);
                }
                false
            }
            Body::Exited => {
                self.own_ids.remove(&record.thread);
                false
            }
            _ => false,
        }
    }
}

/// Sleeps until it is time, or a ring fills, or there is an order to stop. Returns whether there is.
fn rest(rings: &BTreeMap<u32, Ring>, stopped: &UnixStream) -> bool {
    let fds = [stopped.as_fd()].into_iter().chain(rings.values().map(AsFd::as_fd));
    let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    // A failure is a sleep that was too short.
    let _ = poll(&mut fds, PollTimeout::try_from(REST).unwrap_or(PollTimeout::ZERO));
    fds[0].any() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_sampled_twice_is_seen_once_and_so_are_his_children() {
        let own = Arc::new(HashSet::from([70, 71]));
        let mut exclusion = Exclusion {
            processes: HashSet::from([1]),
            own_ids: [(7, own)].into_iter().collect(),
            complete_at: 100,
        };
        let mut excludes = |thread, id, body| {
            exclusion.excludes(&Record { time: 101, cpu: 0, process: thread, thread, id, body })
        };
        let by = |thread| Body::Started { by_process: thread, by_thread: thread };
        let sample = Body::Sample(&[]);
        assert!(excludes(1, 50, sample) && !excludes(2, 50, sample));
        assert!(excludes(7, 50, sample) && !excludes(7, 71, sample));
        assert!(!excludes(8, 50, by(7)));
        assert!(excludes(8, 50, sample) && !excludes(8, 70, sample));
        assert!(!excludes(7, 50, Body::Exited) && !excludes(7, 50, sample));
        assert!(!excludes(1, 50, Body::Exited) && excludes(1, 50, sample));
        // Others with the same numbers.
        assert!(!excludes(1, 50, by(9)) && !excludes(1, 50, sample));
        assert!(!excludes(8, 50, by(9)) && !excludes(8, 50, sample));
    }

    #[test]
    fn who_was_started_before_all_had_events_keeps_his_own() {
        let own = |id| Arc::new(HashSet::from([id]));
        let own_ids = [(7, own(70)), (8, own(80))].into_iter().collect();
        let mut exclusion = Exclusion { processes: HashSet::new(), own_ids, complete_at: 100 };
        let mut excludes = |time, thread, id, body| {
            exclusion.excludes(&Record { time, cpu: 0, process: thread, thread, id, body })
        };
        let by = |thread| Body::Started { by_process: thread, by_thread: thread };
        // By one who is sampled once, and by one who is sampled twice.
        assert!(!excludes(99, 7, 50, by(2)) && !excludes(100, 8, 50, by(7)));
        for (thread, id) in [(7, 70), (8, 80)] {
            assert!(
                excludes(101, thread, 50, Body::Sample(&[])) && !excludes(101, thread, id, Body::Sample(&[]))
            );
        }
        assert!(!excludes(101, 7, 50, by(2)) && !excludes(101, 7, 50, Body::Sample(&[])));
    }
}
