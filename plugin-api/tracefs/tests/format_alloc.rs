//! Formatting a line does not allocate.
#![allow(clippy::unwrap_used)]

mod ring_support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ring_support::{Instance, single_thread_workload};
use tracefs::format::Formatter;
use tracefs::ring::{Item, RingBuffer, Timeline};

/// The system allocator, which counts the allocations of each thread.
struct Counting;

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });

// SAFETY: every call is forwarded unchanged to `System`. Counting accesses only a `Cell` of this thread, and is skipped
// if the cell has been destroyed (`try_with` fails).
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller upholds the contract of `GlobalAlloc::alloc`, which is that of `System.alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` was returned by `System.alloc` for this layout, because `alloc` above forwards both.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn lines_are_formatted_without_allocation() {
    let Some(instance) = Instance::new() else { return };
    for system in ["syscalls", "sched", "signal", "timer", "net", "block"] {
        instance.set(&format!("events/{system}/enable"), "1");
    }
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    instance.set("set_event_pid", &thread.file_name().unwrap().to_string_lossy());
    let directory = tempfile::tempdir().unwrap();
    (0..20).for_each(|_| single_thread_workload(directory.path()));
    instance.set("tracing_on", "0");
    let mut formatter = Formatter::open(std::path::Path::new(ring_support::TRACEFS), &instance.path).unwrap();
    let mut ring = RingBuffer::open(&instance.path).unwrap();
    let mut pages = Vec::new();
    ring.collect(|page| pages.push((page.cpu, page.bytes.to_vec()))).unwrap();
    // The first round reads formats, names and symbols, which allocates. Only the second round is checked.
    let mut text = Vec::with_capacity(64 << 20);
    let rounds = [0, 1].map(|_| {
        let mut timeline = Timeline::new(ring.layout());
        pages.iter().for_each(|(cpu, page)| timeline.push(*cpu, page));
        timeline.finish();
        text.clear();
        let before = ALLOCATIONS.get();
        let mut lines = 0;
        while let Some(item) = timeline.next() {
            if let Item::Record(record) = item {
                formatter.write_record(record.cpu, record.stamp, record.data, &mut text);
                lines += 1;
            }
        }
        (lines, ALLOCATIONS.get() - before)
    });
    let (lines, allocations) = rounds[1];
    assert!(lines > 1_000, "{lines}");
    // The timeline's per-CPU buffers, and lookups of names that `saved_cmdlines` no longer has.
    assert!(allocations < 100, "{allocations} allocations for {lines} lines");
}
