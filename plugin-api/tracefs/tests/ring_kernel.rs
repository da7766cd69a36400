//! The reader of the ring buffer, on the running kernel.
#![allow(clippy::unwrap_used)]

mod ring_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use ring_support::{Comparison, Instance, TRACEFS};
use tracefs::format::Formatter;
use tracefs::ring::{CollectedPage, Error, Item, Page, RingBuffer, Timeline};

/// Binds this thread to one CPU.
fn stay_on_one_cpu() {
    let this_thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(this_thread).unwrap();
    let mut one = CpuSet::new();
    one.set((0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap()).unwrap()).unwrap();
    sched_setaffinity(this_thread, &one).unwrap();
}

/// The first argument of a system call in a record of `raw_syscalls:sys_enter`.
fn first_argument(record: &[u8]) -> u64 {
    u64::from_ne_bytes(record[16..24].try_into().unwrap())
}

/// A number in the `stats` of one CPU.
fn stat(instance: &Instance, cpu: u32, name: &str) -> u64 {
    let stats = instance.get(&format!("per_cpu/cpu{cpu}/stats"));
    let line = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn recorded_and_lost_add_up_on_every_cpu() {
    let Some(instance) = Instance::new() else { return };
    instance.set("buffer_size_kb", "64");
    for number in 0..20_000 {
        instance.set("trace_marker", &number.to_string());
    }
    instance.set("tracing_on", "0");
    let mut ring = RingBuffer::open(&instance.path).unwrap();
    let cpus: Vec<u32> = ring.cpus().collect();
    let expected: BTreeMap<u32, (u64, u64)> = cpus
        .iter()
        .map(|cpu| (*cpu, (stat(&instance, *cpu, "entries"), stat(&instance, *cpu, "overrun"))))
        .collect();
    let mut found: BTreeMap<u32, (u64, u64)> = cpus.iter().map(|cpu| (*cpu, (0, 0))).collect();
    let sweep = ring
        .collect(|page| {
            let (records, lost) = found.get_mut(&page.cpu).unwrap();
            *records += page.records;
            *lost += page.lost.map_or(0, |lost| lost.count.unwrap());
            assert_eq!(page.damage, None);
        })
        .unwrap();
    assert!(sweep.drained);
    assert_eq!(found, expected);
    assert!(found.values().any(|(_, lost)| *lost > 0), "{found:?}");
}

/// A record of this event takes 68 bytes, so that 60 of them fill a page of 4 KiB to its end.
#[test]
fn losses_before_a_page_without_room_for_their_number_are_counted() {
    let Some(instance) = Instance::new() else { return };
    let getsid = nix::libc::SYS_getsid;
    stay_on_one_cpu();
    instance.set("buffer_size_kb", "64");
    instance.set("set_event_pid", &nix::unistd::gettid().to_string());
    instance.set("events/raw_syscalls/sys_enter/filter", &format!("id == {getsid}"));
    instance.set("events/raw_syscalls/sys_enter/enable", "1");
    let mut ring = RingBuffer::open(&instance.path).unwrap();
    let layout = ring.layout().clone();
    let (mut next, mut gaps) = (0, 0);
    for _ in 0..20 {
        ring.collect(|page| {
            let records = Page::new(&layout, page.bytes).unwrap().records();
            let missing = first_argument(records.clone().next().unwrap().data) - next;
            assert_eq!(page.lost.map_or(Some(0), |lost| lost.count), Some(missing), "before {next}");
            gaps += u64::from(missing > 0);
            next += missing + page.records;
        })
        .unwrap();
        // More than the buffer holds.
        (next..next + 5000).for_each(|number| _ = nix::unistd::getsid(Some(Pid::from_raw(number as i32))));
    }
    assert_eq!(gaps, 19);
}

#[test]
fn record_is_settled_within_fifty_milliseconds() {
    let Some(instance) = Instance::new() else { return };
    let mut ring = RingBuffer::open(&instance.path).unwrap();
    let mut timeline = Timeline::new(ring.layout());
    let mut slow = 0;
    for number in 0..20 {
        let start = Instant::now();
        instance.set("trace_marker", &number.to_string());
        let mut seen = false;
        while !seen {
            let sweep = ring.collect(|page| timeline.push(page.cpu, page.bytes)).unwrap();
            timeline.settle(sweep.settled);
            while let Some(item) = timeline.next() {
                seen |= matches!(item, Item::Record(_));
            }
            if !seen {
                ring.wait(Duration::from_millis(20)).unwrap();
            }
        }
        slow += usize::from(start.elapsed() > Duration::from_millis(50));
    }
    // The machine may be busy with other tests.
    assert!(slow <= 5, "{slow} of 20 records were late");
}

#[test]
fn records_of_all_cpus_are_in_order_while_recording() {
    let Some(instance) = Instance::new() else { return };
    instance.set("buffer_size_kb", "8192");
    let mut ring = RingBuffer::open(&instance.path).unwrap();
    let mut timeline = Timeline::new(ring.layout());
    let mut formatter = Formatter::open(Path::new(TRACEFS), &instance.path).unwrap();
    let marker = instance.path.join("trace_marker");
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let marker = marker.clone();
            std::thread::spawn(move || {
                for number in 0..5_000 {
                    fs::write(&marker, format!("{writer} {number}")).unwrap();
                }
            })
        })
        .collect();
    let (mut text, mut last, mut count) = (Vec::new(), 0, 0);
    let mut finished = false;
    loop {
        let push = |page: CollectedPage<'_>| timeline.push(page.cpu, page.bytes);
        let sweep = if finished { ring.collect(push) } else { ring.catch_up(push) }.unwrap();
        if finished && sweep.pages == 0 {
            timeline.finish();
        } else {
            timeline.settle(sweep.settled);
        }
        while let Some(item) = timeline.next() {
            let Item::Record(record) = item else { panic!("{item:?}") };
            assert!(record.stamp >= last);
            last = record.stamp;
            count += 1;
            formatter.write_record(record.cpu, record.stamp, record.data, &mut text);
        }
        if finished && sweep.pages == 0 {
            break;
        }
        finished = writers.iter().all(|writer| writer.is_finished());
        std::thread::sleep(Duration::from_millis(2));
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(count, 20_000);
    let text = String::from_utf8(text).unwrap();
    for writer in 0..4 {
        let mark = format!("tracing_mark_write: {writer} ");
        let numbers = text.lines().filter_map(|line| line.split_once(&mark)?.1.parse::<u32>().ok());
        assert!(numbers.eq(0..5_000), "writer {writer}");
    }
}

#[test]
fn catch_up_stops_at_the_writer() {
    let Some(instance) = Instance::new() else { return };
    instance.set("set_event_pid", &nix::unistd::gettid().to_string());
    instance.set("options/event-fork", "1");
    instance.set("events/syscalls/sys_enter_getppid/enable", "1");
    let mut ring = RingBuffer::open(&instance.path).unwrap();
    let small = ring.layout().page_size() / 8;
    let done = AtomicBool::new(false);
    let (mut pages, mut max_small) = (0, 0);
    let start = Instant::now();
    let in_time = || start.elapsed() < Duration::from_secs(20);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) && in_time() {
                (0..1000).for_each(|_| _ = nix::unistd::getppid());
            }
        });
        while pages < 2_000 && in_time() {
            let mut small_by_cpu: BTreeMap<u32, u32> = BTreeMap::new();
            let sweep = ring.catch_up(|page| {
                *small_by_cpu.entry(page.cpu).or_default() += u32::from(page.bytes.len() < small);
            });
            let sweep = sweep.unwrap();
            pages += sweep.pages;
            // On a busy machine the writer can be faster for the whole sweep.
            if sweep.drained {
                max_small = small_by_cpu.into_values().max().unwrap_or(0).max(max_small);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(pages >= 2_000, "{pages}");
    // Two pages after a pause and sixteen after a gap may leave a remainder each. A sweep that follows the writer finds hundreds.
    assert!((1..=24).contains(&max_small), "{max_small} small pages of one CPU in a sweep");
}

#[test]
fn larger_sub_buffers() {
    for size in ["8", "64"] {
        let Some(instance) = Instance::new() else { return };
        if fs::write(instance.path.join("buffer_subbuf_size_kb"), size).is_err() {
            return ring_support::skip("this kernel has no buffer_subbuf_size_kb");
        }
        for number in 0..3_000 {
            instance.set("trace_marker", &format!("{number} {}", "x".repeat(number % 400)));
        }
        instance.set("tracing_on", "0");
        assert_eq!(
            RingBuffer::open(&instance.path).unwrap().layout().page_size(),
            size.parse::<usize>().unwrap() * 1024
        );
        let kernel_lines = instance.trace();
        let (our_lines, _) = instance.formatted();
        assert_eq!(our_lines.len(), 3_000);
        let comparison = Comparison::of(&kernel_lines, &our_lines);
        assert!(comparison.different.is_empty(), "{}", comparison.report());
    }
}

#[test]
fn idle_ring_returns_no_pages() {
    let Some(instance) = Instance::new() else { return };
    let mut ring = RingBuffer::open(&instance.path).unwrap();
    let sweep = ring.collect(|page| panic!("{page:?}")).unwrap();
    assert_eq!((sweep.pages, sweep.bytes, sweep.drained), (0, 0, true));
    let start = Instant::now();
    ring.wait(Duration::from_millis(20)).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(19));
}

#[test]
fn missing_files_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    let error = RingBuffer::open(directory.path()).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("events/header_page")), "{error}");
    assert!(error.to_string().contains("No such file"), "{error}");
    fs::create_dir_all(directory.path().join("events")).unwrap();
    fs::write(directory.path().join("events/header_page"), "field: u64 other;").unwrap();
    fs::write(directory.path().join("events/header_event"), "").unwrap();
    let error = RingBuffer::open(directory.path()).unwrap_err();
    assert!(matches!(error, Error::Layout { .. }), "{error}");
}
