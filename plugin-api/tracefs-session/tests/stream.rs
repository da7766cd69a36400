//! The whole way of the events, from the ring buffer through the spool to lines of text: all of them, as the kernel
//! writes them, and where some are lost, how many and where. First with pages made up here, then on the real kernel.

mod common;
#[path = "../../tracefs/tests/ring_support/mod.rs"]
mod ring_support;
#[path = "../../tracefs/tests/synthetic_pages/mod.rs"]
mod synthetic_pages;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::actor::{self, Actor};
use common::{Sweeper, drain, marks, read, reported_lost, stream, wait_until, write};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use proptest::prelude::*;
use ring_support::{Comparison, kernel_lines};
use synthetic_pages::{Builder, layout};
use trace_session::spool::{Entry, Spool, SpoolReader};
use trace_tasks::{Follow, Pid, TaskSelection};
use tracefs::ring::{Item, Timeline};
use tracefs::{Error, Instance};
use tracefs_session::{EventStream, StreamStats, TracedTasks, choose_tasks};

#[test]
fn actor() {
    actor::play();
}

// Made-up pages.

const CPUS: usize = 3;

/// What may happen while events are recorded and read.
#[derive(Debug, Clone)]
enum Step {
    /// A CPU writes a page of so many records of so many words, or what fits.
    Write { cpu: usize, records: usize, words: usize },
    /// A CPU writes so many records that are overwritten before they are read.
    Overwrite { cpu: usize, records: u64 },
    /// The collector takes pages of each CPU, up to so many; just before it turns to a CPU, somebody writes.
    Sweep { pages: [usize; CPUS], meanwhile: [usize; CPUS] },
    /// The reader takes so many items.
    Read(usize),
}

/// A page on the ring buffer: what it takes to collect it.
struct Page {
    bytes: Vec<u8>,
    records: u64,
    lost: u64,
    newest: u64,
}

/// Pages on their way from the CPUs to a reader, as a stream moves them, and what the reader has seen.
struct Way {
    clock: u64,
    /// How many records each CPU has written. The first data of a record are its number among them.
    written: [u64; CPUS],
    overwritten: [u64; CPUS],
    ring: [VecDeque<Page>; CPUS],
    newest: [u64; CPUS],
    horizon: u64,
    limit: u64,
    spool: Arc<Spool>,
    reader: SpoolReader,
    timeline: Timeline,
    /// The number of the record that each CPU has to give next, and how many of those before it were told to be lost.
    next: [u64; CPUS],
    gaps: [u64; CPUS],
    latest: u64,
    reported_lost: u64,
}

impl Way {
    fn new(directory: &Path, limit: u64) -> Self {
        let spool = Arc::new(Spool::new(directory, limit));
        Self {
            clock: 1000,
            written: [0; CPUS],
            overwritten: [0; CPUS],
            ring: Default::default(),
            newest: [0; CPUS],
            horizon: 0,
            limit,
            reader: SpoolReader::new(Arc::clone(&spool)),
            spool,
            timeline: Timeline::new(&layout()),
            next: [0; CPUS],
            gaps: [0; CPUS],
            latest: 0,
            reported_lost: 0,
        }
    }

    fn go(&mut self, step: &Step) {
        match *step {
            Step::Write { cpu, records, words } => self.write(cpu, records, words),
            Step::Overwrite { cpu, records } => {
                self.written[cpu] += records;
                self.overwritten[cpu] += records;
                self.clock += records;
            }
            Step::Sweep { pages, meanwhile } => self.sweep(pages, meanwhile),
            Step::Read(items) => self.read(items),
        }
    }

    fn write(&mut self, cpu: usize, records: usize, words: usize) {
        let records = records.min(4000 / (words * 4 + 16)).max(1) as u64;
        self.clock += 1;
        let start = self.clock;
        let mut page = Builder::at(start);
        for number in 0..records {
            let mut data = vec![0xab; 8 + words * 4];
            data[..8].copy_from_slice(&(self.written[cpu] + number).to_ne_bytes());
            page = page.record(u32::from(number > 0), &data);
        }
        self.clock += records - 1;
        self.written[cpu] += records;
        let lost = std::mem::take(&mut self.overwritten[cpu]);
        let bytes = if lost > 0 { page.page_after_loss(None) } else { page.page() };
        self.ring[cpu].push_back(Page { bytes, records, lost, newest: self.clock });
    }

    /// As the ring buffer is collected: see `RingBuffer::collect` about what is settled then.
    fn sweep(&mut self, pages: [usize; CPUS], meanwhile: [usize; CPUS]) {
        let mut settled = u64::MAX;
        for cpu in 0..CPUS {
            self.write(meanwhile[cpu], 1, 0);
            for _ in 0..pages[cpu] {
                let Some(page) = self.ring[cpu].pop_front() else { break };
                self.newest[cpu] = page.newest;
                self.spool.push_page(cpu as u32, &page.bytes, page.records, page.lost);
                assert!(self.spool.size() <= self.limit);
            }
            let drained = self.ring[cpu].is_empty();
            let bound = if drained { self.horizon.max(self.newest[cpu]) } else { self.newest[cpu] };
            settled = settled.min(bound);
        }
        self.horizon = self.newest.into_iter().max().expect("there are CPUs").max(self.horizon);
        self.spool.push_settled(settled);
    }

    fn read(&mut self, items: usize) {
        for _ in 0..items {
            if !self.read_one() && !self.take_from_spool() {
                return;
            }
        }
    }

    fn read_one(&mut self) -> bool {
        match self.timeline.next() {
            None => return false,
            Some(Item::Lost(gap)) => {
                let count = gap.count.expect("every gap has its number");
                self.gaps[gap.cpu as usize] += count;
                self.reported_lost += count;
            }
            Some(Item::Record(record)) => {
                let cpu = record.cpu as usize;
                let number = u64::from_ne_bytes(record.data[..8].try_into().expect("eight bytes"));
                let expected = self.next[cpu] + std::mem::take(&mut self.gaps[cpu]);
                assert_eq!(number, expected, "the next record of CPU {cpu}, after what was told to be lost");
                self.next[cpu] = number + 1;
                assert!(record.stamp >= self.latest, "CPU {cpu} is late");
                self.latest = record.stamp;
            }
        }
        true
    }

    fn take_from_spool(&mut self) -> bool {
        while let Some(entry) = self.reader.pop().expect("the spool can be read") {
            match entry {
                Entry::Page { cpu, bytes, lost } => {
                    self.timeline.lose(cpu, lost);
                    self.timeline.push(cpu, bytes);
                }
                Entry::Unread { cpu, lost } => self.timeline.lose(cpu, lost),
                Entry::Clock(_) => {}
                Entry::Settled(stamp) => {
                    self.timeline.settle(stamp);
                    return true;
                }
            }
        }
        false
    }

    /// Recording is over: everything is collected, and everything is read.
    fn end(mut self) {
        let everything = [usize::MAX; CPUS];
        self.sweep(everything, [0, 1, 2]);
        // What was written behind the collector's back.
        for cpu in 0..CPUS {
            for page in std::mem::take(&mut self.ring[cpu]) {
                self.spool.push_page(cpu as u32, &page.bytes, page.records, page.lost);
            }
            self.spool.lose(cpu as u32, self.overwritten[cpu]);
        }
        while self.read_one() || self.take_from_spool() {}
        for (cpu, count) in self.spool.take_unreported_losses() {
            self.timeline.lose(cpu, count);
        }
        self.timeline.finish();
        while self.read_one() {}
        let come_or_told: Vec<u64> = self.next.iter().zip(self.gaps).map(|(next, gap)| next + gap).collect();
        assert_eq!(come_or_told, self.written, "what has come, or was told to be lost at the end, by CPU");
        assert_eq!((self.timeline.late(), self.timeline.damaged()), (0, 0));
        assert!(self.reported_lost >= self.spool.refused().values().sum());
    }
}

fn step() -> impl Strategy<Value = Step> {
    let cpu = || 0..CPUS;
    prop_oneof![
        6 => (cpu(), 1usize..60, 0usize..40)
            .prop_map(|(cpu, records, words)| Step::Write { cpu, records, words }),
        1 => (cpu(), 1u64..50).prop_map(|(cpu, records)| Step::Overwrite { cpu, records }),
        3 => (prop::array::uniform3(0usize..5), prop::array::uniform3(cpu()))
            .prop_map(|(pages, meanwhile)| Step::Sweep { pages, meanwhile }),
        2 => (0usize..200).prop_map(Step::Read),
    ]
}

proptest! {
    /// Whatever room there is, and whoever is fast or slow: each record comes once, in its place, or is told to be lost
    /// where it is missing.
    #[test]
    fn records_come_once_in_order_or_are_reported_lost(
        steps in prop::collection::vec(step(), 0..200),
        limit in prop_oneof![0u64..100, 0u64..30_000, Just(u64::MAX >> 1)],
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut way = Way::new(directory.path(), limit);
        steps.iter().for_each(|step| way.go(step));
        way.end();
    }
}

/// The same with a spool that goes to disk, over its end and on from its start, while the reader stands still, catches up
/// and falls behind again.
#[test]
fn records_come_once_in_order_or_are_reported_lost_on_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let limit = 20 << 20;
    let mut way = Way::new(directory.path(), limit);
    let mut largest = 0;
    for round in 0..12_000 {
        for cpu in 0..CPUS {
            way.go(&Step::Write { cpu, records: 20 + (round * 7 + cpu) % 20, words: 20 + round % 30 });
        }
        if round % 100 == 0 {
            way.go(&Step::Overwrite { cpu: round / 100 % CPUS, records: 5 });
        }
        way.go(&Step::Sweep { pages: [3, 4, 5], meanwhile: [2, 0, 1] });
        let is_slow = round / 3000 % 2 == 0;
        way.go(&Step::Read(if is_slow { 10 } else { 250 }));
        largest = largest.max(way.spool.size());
    }
    assert!(largest > limit - (1 << 20), "the spool was never full: {largest}");
    assert!(!way.spool.refused().is_empty());
    way.end();
}

// The real kernel.

const PROC: &str = "/proc";

/// The marks of an actor alone, or with its family.
fn recording(sweeper: &Sweeper, name: &str, targets: &[(Pid, Follow)]) -> (Instance, Option<TracedTasks>) {
    let instance = sweeper.create(name);
    let mut wanted = TaskSelection::new();
    targets.iter().for_each(|(pid, follow)| wanted.add(*pid, *follow));
    let (_, mut filter) = choose_tasks(&instance, Path::new(PROC), &wanted).expect("tasks");
    instance.enable_event("syscalls", "sys_enter_getsid").expect("event");
    instance.start().expect("started");
    filter.iter_mut().for_each(TracedTasks::rescan);
    (instance, filter)
}

/// Checks that the lines and the tally say the same: each record has a line, or is told to be lost; the numbers of both.
#[track_caller]
fn accounted(stream: &EventStream, instance: &Instance, lines: &str) -> (u64, u64) {
    all_accounted(stream, &[instance], lines)
}

#[track_caller]
fn all_accounted(stream: &EventStream, instances: &[&Instance], lines: &str) -> (u64, u64) {
    let StreamStats { recorded, lost, .. } = stream.stats(instances.iter().copied()).expect("the counts");
    let mut told = BTreeMap::<u32, u64>::new();
    let (losses, events): (Vec<&str>, Vec<&str>) = lines.lines().partition(|line| line.starts_with("CPU:"));
    for line in losses {
        let cpu = line["CPU:".len()..].split(' ').next().and_then(|cpu| cpu.parse().ok()).expect("a CPU");
        *told.entry(cpu).or_default() += reported_lost(line);
    }
    assert_eq!(told, lost, "what the lines tell, and what the tally does");
    let (events, lost) = (events.len() as u64, lost.values().sum());
    assert_eq!(recorded, events + lost);
    (events, lost)
}

/// The numbers of the marks, in the order of the lines.
fn numbers(lines: &str) -> Vec<i32> {
    lines.lines().flat_map(marks).collect()
}

/// `trace` shows what is in the buffer and does not take it.
#[test]
fn lines_are_identical_to_the_kernels_trace_file() {
    let sweeper = need_tracefs!();
    let mut actors = [Actor::new(), Actor::new()];
    let instance = sweeper.create("a");
    instance.set_buffer_size(16 << 10).expect("size");
    let targets = TaskSelection::families(actors.iter().map(Actor::pid));
    choose_tasks(&instance, Path::new(PROC), &targets).expect("tasks");
    instance.enable_system("syscalls").expect("events");
    for event in ["sched_switch", "sched_waking", "sched_process_exit", "sched_process_fork"] {
        instance.enable_event("sched", event).expect("event");
    }
    instance.enable_event("task", "task_newtask").expect("event");
    for (actor, cpu) in actors.iter().zip(allowed_cpus().into_iter().cycle()) {
        pin(actor.pid(), cpu);
    }
    instance.start().expect("started");
    std::thread::scope(|scope| {
        for actor in &mut actors {
            scope.spawn(|| {
                actor.marks(1, 5000);
                actor.fork_two(10_000);
                actor.new_thread();
                actor.mark(1, 10_002);
                actor.marks(20_000, 5000);
            });
        }
    });
    instance.stop().expect("stopped");
    let kernel = kernel_lines(instance.path());

    let mut stream = stream(&instance, None);
    let text = drain(&instance, &mut stream);
    let ours: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(ours.len() > 40_000, "only {} lines", ours.len());
    assert_eq!(accounted(&stream, &instance, &text), (ours.len() as u64, 0));
    let comparison = Comparison::of(&kernel, &ours);
    assert!(comparison.different.is_empty(), "{}", comparison.report());
}

fn allowed_cpus() -> Vec<usize> {
    let allowed = sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("our CPUs");
    (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect()
}

/// All its threads run on this CPU from now on, and so do those that they start.
fn pin(process: Pid, cpu: usize) {
    let mut only = CpuSet::new();
    only.set(cpu).expect("a CPU");
    for thread in std::fs::read_dir(format!("{PROC}/{process}/task")).expect("threads").flatten() {
        let thread = thread.file_name().to_string_lossy().parse().expect("an id");
        sched_setaffinity(nix::unistd::Pid::from_raw(thread), &only).expect("pinned");
    }
}

#[test]
fn stats_of_a_filtered_stream_count_only_kept_records() {
    let sweeper = need_tracefs!();
    let mut actor = Actor::new();
    let (instance, filter) = recording(&sweeper, "a", &[(actor.pid(), Follow::ALONE)]);
    let mut stream = stream(&instance, filter);
    actor.marks(0, 1000);
    actor.fork_two(5000);
    actor.keep_child();
    (0..100).for_each(|number| actor.mark_child(6000 + number));
    actor.marks(1000, 1000);
    let lines = drain(&instance, &mut stream);
    assert_eq!(accounted(&stream, &instance, &lines), (2000, 0));
    assert!(numbers(&lines).into_iter().eq(0..2000));
}

/// Marks that no other test makes.
const ANYBODYS: i32 = 900_000;

#[test]
fn two_instances_make_one_stream() {
    let sweeper = need_tracefs!();
    for spool_size in [256 << 20, 0] {
        let (mut target, mut anybody) = (Actor::new(), Actor::new());
        let (instance, filter) = recording(&sweeper, "own", &[(target.pid(), Follow::ALONE)]);
        let second = sweeper.create("system_wide");
        let only = format!("pid >= {ANYBODYS}");
        second.set_filter("syscalls", Some("sys_enter_getsid"), &only).expect("filter");
        second.enable_event("syscalls", "sys_enter_getsid").expect("event");
        second.start().expect("started");
        let mut stream = EventStream::open_both(
            &instance,
            Some(&second),
            Path::new(PROC),
            filter,
            &std::env::temp_dir(),
            spool_size,
        )
        .expect("stream");
        assert_eq!(stream.wanted_processes().into_iter().collect::<Vec<_>>(), [target.pid()]);
        for number in 0..500 {
            target.marks(number, 1);
            anybody.marks(ANYBODYS + number, 1);
        }
        second.stop().expect("stopped");
        let lines = drain(&instance, &mut stream);
        let (events, lost) = all_accounted(&stream, &[&instance, &second], &lines);
        if spool_size == 0 {
            assert_eq!((events, lost), (0, 1000));
        } else {
            assert_eq!((events, lost), (1000, 0));
            let in_turn = (0..500).flat_map(|number| [number, ANYBODYS + number]);
            assert!(numbers(&lines).into_iter().eq(in_turn), "{lines}");
        }
        drop(stream);
        [instance, second].into_iter().for_each(|instance| instance.remove().expect("removed"));
    }
}

/// Nobody reads while so many marks are made. What comes out in the end, and how many of them that are.
fn after_a_stuck_reader(
    sweeper: &Sweeper,
    name: &str,
    directory: &Path,
    spool_size: u64,
    count: i32,
) -> (String, u64) {
    let mut actor = Actor::new();
    let (instance, filter) = recording(sweeper, name, &[(actor.pid(), Follow::FAMILY)]);
    let mut stream =
        EventStream::open(&instance, Path::new(PROC), filter, directory, spool_size).expect("stream");
    actor.marks(0, count);
    let lines = drain(&instance, &mut stream);
    let (events, lost) = accounted(&stream, &instance, &lines);
    assert_eq!(events + lost, count as u64, "with {spool_size} bytes");
    assert!(lost > 0, "{spool_size} bytes are not enough for {count} marks");
    assert!(numbers(&lines).is_sorted_by(|a, b| a < b), "a mark is out of order, or comes twice");
    (lines, events)
}

#[test]
fn records_refused_by_the_spool_are_counted() {
    let sweeper = need_tracefs!();
    for (name, spool_size) in [("a", 0), ("b", 10_000), ("c", 300_000)] {
        let (_, events) = after_a_stuck_reader(&sweeper, name, &std::env::temp_dir(), spool_size, 50_000);
        assert_eq!(events > 0, spool_size > 0, "with {spool_size} bytes, {events} events");
    }
}

#[test]
fn without_a_file_records_beyond_memory_are_counted() {
    let sweeper = need_tracefs!();
    let (lines, events) = after_a_stuck_reader(&sweeper, "a", Path::new("/nowhere"), 256 << 20, 500_000);
    assert!(events > 100_000, "eight mebibytes hold more than {events} events");
    assert!(lines.starts_with(' ') && lines.ends_with(" EVENTS]\n"), "it is the last ones that are lost");
}

#[test]
fn gap_is_where_the_events_are_missing() {
    let sweeper = need_tracefs!();
    let mut actor = Actor::new();
    // On several CPUs, the lines of one may come in between.
    pin(actor.pid(), allowed_cpus()[0]);
    let (instance, filter) = recording(&sweeper, "a", &[(actor.pid(), Follow::FAMILY)]);
    let mut stream = EventStream::open(&instance, Path::new(PROC), filter, &std::env::temp_dir(), 100_000)
        .expect("stream");
    let mut lines = Vec::new();
    let mut marked = 0;
    for _ in 0..5 {
        actor.marks(marked, 20_000);
        marked += 20_000;
        // The reader catches up: then there is room again, for these at least.
        let flood = marked;
        wait_until("a mark after the flood comes", || {
            actor.marks(marked, 1);
            marked += 1;
            let start = lines.len();
            stream.write_lines(&mut lines, usize::MAX).expect("lines");
            marks(&String::from_utf8_lossy(&lines[start..])).last().is_some_and(|last| *last >= flood)
        });
    }
    let lines = String::from_utf8_lossy(&lines).into_owned() + &drain(&instance, &mut stream);
    let (events, lost) = accounted(&stream, &instance, &lines);
    assert_eq!(events + lost, marked as u64);
    let (mut next, mut gaps) = (0, 0);
    for line in lines.lines() {
        match marks(line).pop_first() {
            Some(mark) => {
                assert_eq!(mark, next, "the mark after what was told to be lost");
                next += 1;
            }
            None => {
                next += reported_lost(line) as i32;
                gaps += 1;
            }
        }
    }
    assert_eq!(next, marked);
    assert!(gaps >= 5, "only {gaps} gaps");
}

#[test]
fn a_line_longer_than_a_page_comes_whole() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    if std::fs::write(instance.path().join("buffer_subbuf_size_kb"), "64").is_err() {
        return common::skip("this kernel has no buffer_subbuf_size_kb, so no event is longer than a page");
    }
    let mut stream = stream(&instance, None);
    instance.start().expect("started");
    // The longest that the kernel takes in one piece.
    let texts: Vec<String> = (0..20).map(|n| format!("{n:04} {} end", "long ".repeat(806))).collect();
    texts.iter().for_each(|text| write(instance.path().join("trace_marker"), text));
    let lines = drain(&instance, &mut stream);
    let text = |line| str::split_once(line, "tracing_mark_write: ").map(|(_, text)| text);
    let came: Vec<&str> = lines.lines().filter_map(text).collect();
    assert_eq!(came, texts);
    assert!(lines.lines().any(|line| line.len() > 4096));
}

#[test]
fn unreadable_buffer_is_reported_by_its_file() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    let before = read(instance.path().join("buffer_size_kb"));
    let refused = instance.set_buffer_size(1 << 40).expect_err("a pebibyte for each CPU");
    assert!(matches!(&refused, Error::Io { path, .. } if path.ends_with("buffer_size_kb")), "{refused:?}");
    assert!(refused.to_string().contains("memory"), "{refused}");
    assert_eq!(read(instance.path().join("buffer_size_kb")), before);
    let path = instance.path().to_owned();
    instance.remove().expect("removed");
    assert!(!path.exists());
}

#[test]
fn a_line_comes_within_fifty_milliseconds_of_its_event() {
    let sweeper = need_tracefs!();
    let mut actor = Actor::new();
    let (instance, filter) = recording(&sweeper, "a", &[(actor.pid(), Follow::FAMILY)]);
    let mut stream = stream(&instance, filter);
    let mut late = Vec::new();
    for number in 0..50 {
        let began = Instant::now();
        actor.mark(0, number);
        let mut lines = Vec::new();
        wait_until("the line comes", || {
            stream.write_lines(&mut lines, 1 << 16).expect("lines");
            !lines.is_empty()
        });
        assert_eq!(numbers(&String::from_utf8_lossy(&lines)), [number]);
        late.extend(Some(began.elapsed()).filter(|took| *took > Duration::from_millis(50)));
    }
    // The machine may be busy with other tests.
    assert!(late.len() <= 10, "of 50 lines, these came late: {late:?}");
}
