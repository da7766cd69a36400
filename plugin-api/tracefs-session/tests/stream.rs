//! The path of events from the ring buffer through the spool to lines of text. The lines must be complete and identical to the
//! kernel's, and lost events must be reported with their number where they are missing. The first tests use synthetic pages,
//! the others the kernel's tracefs.

mod kernel;
#[path = "../../tracefs/tests/ring_support/mod.rs"]
mod ring_support;
#[path = "../../tracefs/tests/synthetic_pages/mod.rs"]
mod synthetic_pages;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::test_process::{self, TestProcess};
use kernel::{Sweeper, drain, marks, read, reported_lost, stream, wait_until, write};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use proptest::prelude::*;
use ring_support::{Comparison, kernel_lines};
use synthetic_pages::{Builder, layout};
use trace_session::spool::{Entry, Spool, SpoolReader};
use trace_tasks::{Follow, Pid, SelectedProcesses};
use tracefs::ring::{Item, Timeline};
use tracefs::{Error, Instance};
use tracefs_session::{EventStream, StreamStats, TracedTasks, choose_tasks};

#[test]
fn test_process() {
    test_process::run_commands();
}

// Tests with synthetic pages.

const CPUS: usize = 3;

/// A step of recording and reading.
#[derive(Debug, Clone)]
enum Step {
    /// A CPU writes a page with this number of records of this number of words, or as many as fit.
    Write { cpu: usize, records: usize, words: usize },
    /// A CPU writes this number of records, which are overwritten before they are read.
    Overwrite { cpu: usize, records: u64 },
    /// The collector reads up to this number of pages of each CPU. Just before it reads a CPU, another CPU writes.
    Sweep { pages: [usize; CPUS], writers: [usize; CPUS] },
    /// The reader reads up to this number of items.
    Read(usize),
}

/// A page in the ring buffer.
struct Page {
    bytes: Vec<u8>,
    records: u64,
    lost: u64,
    newest: u64,
}

/// A model of a stream: the ring buffer of each CPU, the spool, and the reader, which checks the items.
struct Pipeline {
    clock: u64,
    /// The number of records that each CPU has written. The first bytes of a record are its index.
    written: [u64; CPUS],
    overwritten: [u64; CPUS],
    ring: [VecDeque<Page>; CPUS],
    newest: [u64; CPUS],
    horizon: u64,
    limit: u64,
    spool: Arc<Spool>,
    reader: SpoolReader,
    timeline: Timeline,
    /// The index of the next record of each CPU, if none is lost before it.
    next: [u64; CPUS],
    /// The number of records reported lost since the last record of each CPU.
    gaps: [u64; CPUS],
    latest: u64,
    reported_lost: u64,
}

impl Pipeline {
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

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Write { cpu, records, words } => self.write(cpu, records, words),
            Step::Overwrite { cpu, records } => {
                self.written[cpu] += records;
                self.overwritten[cpu] += records;
                self.clock += records;
            }
            Step::Sweep { pages, writers } => self.sweep(pages, writers),
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

    /// Models `RingBuffer::collect`, whose documentation defines which records are settled.
    fn sweep(&mut self, pages: [usize; CPUS], writers: [usize; CPUS]) {
        let mut settled = u64::MAX;
        for cpu in 0..CPUS {
            self.write(writers[cpu], 1, 0);
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
        self.horizon = self.newest.into_iter().max().expect("at least one CPU").max(self.horizon);
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
                let count = gap.count.expect("a gap with a number");
                self.gaps[gap.cpu as usize] += count;
                self.reported_lost += count;
            }
            Some(Item::Record(record)) => {
                let cpu = record.cpu as usize;
                let number = u64::from_ne_bytes(record.data[..8].try_into().expect("eight bytes"));
                let expected = self.next[cpu] + std::mem::take(&mut self.gaps[cpu]);
                assert_eq!(number, expected, "the next record of CPU {cpu}, after those reported lost");
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

    /// Ends recording, collects all pages, reads all items, and checks the totals.
    fn end(mut self) {
        let all_pages = [usize::MAX; CPUS];
        self.sweep(all_pages, [0, 1, 2]);
        // The pages that a CPU wrote after its buffer was read.
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
        let read_or_lost: Vec<u64> = self.next.iter().zip(self.gaps).map(|(next, gap)| next + gap).collect();
        assert_eq!(read_or_lost, self.written, "records that were read or reported lost, by CPU");
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
            .prop_map(|(pages, writers)| Step::Sweep { pages, writers }),
        2 => (0usize..200).prop_map(Step::Read),
    ]
}

proptest! {
    /// For any spool size and any order of steps, each record is read once and in order, or reported lost where it is missing.
    #[test]
    fn records_are_read_once_in_order_or_reported_lost(
        steps in prop::collection::vec(step(), 0..200),
        limit in prop_oneof![0u64..100, 0u64..30_000, Just(u64::MAX >> 1)],
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut pipeline = Pipeline::new(directory.path(), limit);
        steps.iter().for_each(|step| pipeline.run(step));
        pipeline.end();
    }
}

/// The same with a spool on disk that wraps around, while the reader falls behind and catches up in turn.
#[test]
fn records_on_disk_are_read_once_in_order_or_reported_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let limit = 20 << 20;
    let mut pipeline = Pipeline::new(directory.path(), limit);
    let mut largest = 0;
    for round in 0..12_000 {
        for cpu in 0..CPUS {
            pipeline.run(&Step::Write { cpu, records: 20 + (round * 7 + cpu) % 20, words: 20 + round % 30 });
        }
        if round % 100 == 0 {
            pipeline.run(&Step::Overwrite { cpu: round / 100 % CPUS, records: 5 });
        }
        pipeline.run(&Step::Sweep { pages: [3, 4, 5], writers: [2, 0, 1] });
        let is_slow = round / 3000 % 2 == 0;
        pipeline.run(&Step::Read(if is_slow { 10 } else { 250 }));
        largest = largest.max(pipeline.spool.size());
    }
    assert!(largest > limit - (1 << 20), "the spool was never full: {largest}");
    assert!(!pipeline.spool.refused().is_empty());
    pipeline.end();
}

// Tests with the kernel's tracefs.

const PROC: &str = "/proc";

/// An instance that records the marks of the selected processes, and its filter.
fn recording(sweeper: &Sweeper, name: &str, selected: &[(Pid, Follow)]) -> (Instance, Option<TracedTasks>) {
    let instance = sweeper.create(name);
    let mut selection = SelectedProcesses::new();
    selected.iter().for_each(|(pid, follow)| selection.add(*pid, *follow));
    let (_, mut filter) = choose_tasks(&instance, Path::new(PROC), &selection).expect("tasks");
    instance.enable_event("syscalls", "sys_enter_getsid").expect("event");
    instance.start().expect("started");
    filter.iter_mut().for_each(TracedTasks::rescan);
    (instance, filter)
}

/// Checks that the lines agree with the stats: each record is printed or reported lost. Returns the numbers of printed and of
/// lost events.
#[track_caller]
fn check_stats(stream: &EventStream, instance: &Instance, lines: &str) -> (u64, u64) {
    check_stats_of_all(stream, &[instance], lines)
}

#[track_caller]
fn check_stats_of_all(stream: &EventStream, instances: &[&Instance], lines: &str) -> (u64, u64) {
    let StreamStats { recorded, lost, .. } = stream.stats(instances.iter().copied()).expect("stats");
    let mut reported = BTreeMap::<u32, u64>::new();
    let (losses, events): (Vec<&str>, Vec<&str>) = lines.lines().partition(|line| line.starts_with("CPU:"));
    for line in losses {
        let cpu = line["CPU:".len()..].split(' ').next().and_then(|cpu| cpu.parse().ok()).expect("a CPU");
        *reported.entry(cpu).or_default() += reported_lost(line);
    }
    assert_eq!(reported, lost, "lost events by CPU, in the lines and in the stats");
    let (events, lost) = (events.len() as u64, lost.values().sum());
    assert_eq!(recorded, events + lost);
    (events, lost)
}

/// The marks, in the order of the lines.
fn ordered_marks(lines: &str) -> Vec<i32> {
    lines.lines().flat_map(marks).collect()
}

/// Reading `trace` does not consume the buffer.
#[test]
fn lines_are_identical_to_the_kernels_trace_file() {
    let sweeper = need_tracefs!();
    let mut processes = [TestProcess::new(), TestProcess::new()];
    let instance = sweeper.create("a");
    instance.set_buffer_size(16 << 10).expect("size");
    let selection = SelectedProcesses::families(processes.iter().map(TestProcess::pid));
    choose_tasks(&instance, Path::new(PROC), &selection).expect("tasks");
    instance.enable_system("syscalls").expect("events");
    for event in
        ["sched_switch", "sched_waking", "sched_wakeup_new", "sched_process_exit", "sched_process_fork"]
    {
        instance.enable_event("sched", event).expect("event");
    }
    instance.enable_event("task", "task_newtask").expect("event");
    for (process, cpu) in processes.iter().zip(allowed_cpus().into_iter().cycle()) {
        pin(process.pid(), cpu);
    }
    instance.start().expect("started");
    std::thread::scope(|scope| {
        for process in &mut processes {
            scope.spawn(|| {
                process.marks(1, 5000);
                process.fork_child_and_grandchild(10_000);
                process.new_thread();
                process.mark(1, 10_002);
                process.marks(20_000, 5000);
            });
        }
    });
    instance.stop().expect("stopped");
    let kernel_lines = kernel_lines(instance.path());

    let mut stream = stream(&instance, None);
    let text = drain(&instance, &mut stream);
    let our_lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(our_lines.len() > 40_000, "only {} lines", our_lines.len());
    assert_eq!(check_stats(&stream, &instance, &text), (our_lines.len() as u64, 0));
    let (kernel_lines, kernel_times) = split_times(&kernel_lines);
    let (our_lines, our_times) = split_times(&our_lines);
    let comparison = Comparison::of(&kernel_lines, &our_lines);
    assert!(comparison.different.is_empty(), "{}", comparison.report());
    // The clocks differ, but run at the same speed.
    let differences = our_times.iter().zip(&kernel_times).map(|(ours, kernels)| ours - kernels);
    let (min, max) =
        differences.fold((i64::MAX, i64::MIN), |(min, max), next| (min.min(next), max.max(next)));
    assert!(max - min <= 10, "the times of the kernel's lines and ours differ by {min} to {max} us");
}

/// Lines without their times, and the times in microseconds.
fn split_times(lines: &[String]) -> (Vec<String>, Vec<i64>) {
    let split = |line: &String| {
        // `process-4711    [000] d..2.  2946.985215: sched_switch: …`
        let (before, event) = line.split_once(": ").expect("an event");
        let (task, time) = before.rsplit_once(' ').expect("a time");
        let time: i64 = time.replace('.', "").parse().expect("a time with six decimals");
        (format!("{} : {event}", task.trim_end()), time)
    };
    lines.iter().map(split).unzip()
}

fn allowed_cpus() -> Vec<usize> {
    let allowed = sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("CPU affinity");
    (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect()
}

/// Pins all threads of a process to a CPU. Threads and processes that they start inherit this.
fn pin(process: Pid, cpu: usize) {
    let mut only = CpuSet::new();
    only.set(cpu).expect("a CPU");
    for thread in std::fs::read_dir(format!("{PROC}/{process}/task")).expect("threads").flatten() {
        let thread: Pid = thread.file_name().to_string_lossy().parse().expect("an id");
        sched_setaffinity(nix::unistd::Pid::from_raw(thread.cast_signed()), &only).expect("pinned");
    }
}

#[test]
fn stats_of_a_filtered_stream_count_only_kept_records() {
    let sweeper = need_tracefs!();
    let mut process = TestProcess::new();
    let (instance, filter) = recording(&sweeper, "a", &[(process.pid(), Follow::ALONE)]);
    let mut stream = stream(&instance, filter);
    process.marks(0, 1000);
    process.fork_child_and_grandchild(5000);
    process.fork_child();
    (0..100).for_each(|number| process.mark_child(6000 + number));
    process.marks(1000, 1000);
    let lines = drain(&instance, &mut stream);
    assert_eq!(check_stats(&stream, &instance, &lines), (2000, 0));
    assert!(ordered_marks(&lines).into_iter().eq(0..2000));
}

/// The first mark that the system-wide instance records. Other tests do not use marks from here on.
const FIRST_SYSTEM_WIDE_MARK: i32 = 900_000;

#[test]
fn two_instances_are_merged_into_one_stream() {
    let sweeper = need_tracefs!();
    for spool_size in [256 << 20, 0] {
        let (mut selected, mut other) = (TestProcess::new(), TestProcess::new());
        let (instance, filter) = recording(&sweeper, "own", &[(selected.pid(), Follow::ALONE)]);
        let second = sweeper.create("system_wide");
        let filter_expression = format!("pid >= {FIRST_SYSTEM_WIDE_MARK}");
        second.set_filter("syscalls", Some("sys_enter_getsid"), &filter_expression).expect("filter");
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
        assert_eq!(stream.wanted_processes().into_iter().collect::<Vec<_>>(), [selected.pid()]);
        for number in 0..500 {
            selected.marks(number, 1);
            other.marks(FIRST_SYSTEM_WIDE_MARK + number, 1);
        }
        second.stop().expect("stopped");
        let lines = drain(&instance, &mut stream);
        let (events, lost) = check_stats_of_all(&stream, &[&instance, &second], &lines);
        if spool_size == 0 {
            assert_eq!((events, lost), (0, 1000));
        } else {
            assert_eq!((events, lost), (1000, 0));
            let alternating = (0..500).flat_map(|number| [number, FIRST_SYSTEM_WIDE_MARK + number]);
            assert!(ordered_marks(&lines).into_iter().eq(alternating), "{lines}");
        }
        drop(stream);
        [instance, second].into_iter().for_each(|instance| instance.remove().expect("removed"));
    }
}

/// Makes `count` marks without reading. Returns the lines that are read afterwards, and the number of printed events.
fn lines_of_a_late_reader(
    sweeper: &Sweeper,
    name: &str,
    directory: &Path,
    spool_size: u64,
    count: i32,
) -> (String, u64) {
    let mut process = TestProcess::new();
    let (instance, filter) = recording(sweeper, name, &[(process.pid(), Follow::FAMILY)]);
    let mut stream =
        EventStream::open(&instance, Path::new(PROC), filter, directory, spool_size).expect("stream");
    process.marks(0, count);
    let lines = drain(&instance, &mut stream);
    let (events, lost) = check_stats(&stream, &instance, &lines);
    assert_eq!(events + lost, count as u64, "with a spool of {spool_size} bytes");
    assert!(lost > 0, "a spool of {spool_size} bytes cannot hold {count} marks");
    assert!(ordered_marks(&lines).is_sorted_by(|a, b| a < b), "a mark is out of order or printed twice");
    (lines, events)
}

#[test]
fn records_refused_by_the_spool_are_counted() {
    let sweeper = need_tracefs!();
    for (name, spool_size) in [("a", 0), ("b", 10_000), ("c", 300_000)] {
        let (_, events) = lines_of_a_late_reader(&sweeper, name, &std::env::temp_dir(), spool_size, 50_000);
        assert_eq!(events > 0, spool_size > 0, "{events} events with a spool of {spool_size} bytes");
    }
}

#[test]
fn records_beyond_the_spools_memory_are_counted_if_it_has_no_file() {
    let sweeper = need_tracefs!();
    let (lines, events) =
        lines_of_a_late_reader(&sweeper, "a", Path::new("/nonexistent"), 256 << 20, 500_000);
    assert!(events > 100_000, "8 MiB can hold more than {events} events");
    assert!(lines.starts_with(' ') && lines.ends_with(" EVENTS]\n"), "the lost events must be the last ones");
}

#[test]
fn lost_events_are_reported_where_they_are_missing() {
    let sweeper = need_tracefs!();
    let mut process = TestProcess::new();
    // One CPU only, so that its lines are consecutive.
    pin(process.pid(), allowed_cpus()[0]);
    let (instance, filter) = recording(&sweeper, "a", &[(process.pid(), Follow::FAMILY)]);
    let mut stream = EventStream::open(&instance, Path::new(PROC), filter, &std::env::temp_dir(), 100_000)
        .expect("stream");
    let mut lines = Vec::new();
    let mut marked = 0;
    for _ in 0..5 {
        process.marks(marked, 20_000);
        marked += 20_000;
        // When the reader has caught up, there is room in the spool for the next marks.
        let after_loss = marked;
        wait_until("a mark after the lost ones is printed", || {
            process.marks(marked, 1);
            marked += 1;
            let start = lines.len();
            stream.write_lines(&mut lines, usize::MAX).expect("lines");
            marks(&String::from_utf8_lossy(&lines[start..])).last().is_some_and(|last| *last >= after_loss)
        });
    }
    let lines = String::from_utf8_lossy(&lines).into_owned() + &drain(&instance, &mut stream);
    let (events, lost) = check_stats(&stream, &instance, &lines);
    assert_eq!(events + lost, marked as u64);
    let (mut next, mut gaps) = (0, 0);
    for line in lines.lines() {
        match marks(line).pop_first() {
            Some(mark) => {
                assert_eq!(mark, next, "the mark after those reported lost");
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
fn a_line_longer_than_a_page_is_printed_completely() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    if std::fs::write(instance.path().join("buffer_subbuf_size_kb"), "64").is_err() {
        return kernel::skip("this kernel has no buffer_subbuf_size_kb, so no event is longer than a page");
    }
    let mut stream = stream(&instance, None);
    instance.start().expect("started");
    // The longest text that the kernel writes as one record.
    let texts: Vec<String> = (0..20).map(|n| format!("{n:04} {} end", "long ".repeat(806))).collect();
    texts.iter().for_each(|text| write(instance.path().join("trace_marker"), text));
    let lines = drain(&instance, &mut stream);
    let text = |line| str::split_once(line, "tracing_mark_write: ").map(|(_, text)| text);
    let printed: Vec<&str> = lines.lines().filter_map(text).collect();
    assert_eq!(printed, texts);
    assert!(lines.lines().any(|line| line.len() > 4096));
}

#[test]
fn failure_to_resize_the_buffer_is_reported_with_its_file() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    let before = read(instance.path().join("buffer_size_kb"));
    let refused = instance.set_buffer_size(1 << 40).expect_err("a buffer of 1 PiB for each CPU");
    assert!(matches!(&refused, Error::Io { path, .. } if path.ends_with("buffer_size_kb")), "{refused:?}");
    assert!(refused.to_string().contains("memory"), "{refused}");
    assert_eq!(read(instance.path().join("buffer_size_kb")), before);
    let path = instance.path().to_owned();
    instance.remove().expect("removed");
    assert!(!path.exists());
}

#[test]
fn a_line_is_printed_within_fifty_milliseconds_of_its_event() {
    let sweeper = need_tracefs!();
    let mut process = TestProcess::new();
    let (instance, filter) = recording(&sweeper, "a", &[(process.pid(), Follow::FAMILY)]);
    let mut stream = stream(&instance, filter);
    let mut late = Vec::new();
    for number in 0..50 {
        let start = Instant::now();
        process.mark(0, number);
        let mut lines = Vec::new();
        wait_until("the line is printed", || {
            stream.write_lines(&mut lines, 1 << 16).expect("lines");
            !lines.is_empty()
        });
        assert_eq!(ordered_marks(&String::from_utf8_lossy(&lines)), [number]);
        late.extend(Some(start.elapsed()).filter(|took| *took > Duration::from_millis(50)));
    }
    // The machine may be busy with other tests.
    assert!(late.len() <= 10, "late lines, of 50: {late:?}");
}
