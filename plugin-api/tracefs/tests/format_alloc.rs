//! Making a line needs no allocation.
#![allow(clippy::unwrap_used)]

mod ring_support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ring_support::{Instance, quiet_workload};
use tracefs::format::Formatter;
use tracefs::ring::{Item, RingBuffer, Timeline};

/// The system's allocator, counting what this thread takes from it.
struct Counting;

thread_local!(static TAKEN: Cell<u64> = const { Cell::new(0) });

// SAFETY: every call goes to `System` as it came; counting touches nothing but a `Cell` of this thread, and
// where that is gone already (`try_with` fails) it is left out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = TAKEN.try_with(|taken| taken.set(taken.get() + 1));
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is that of `System.alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System.alloc` with this layout, for `alloc` above passes both on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn no_allocation_per_line() {
    let Some(instance) = Instance::new() else { return };
    for system in ["syscalls", "sched", "signal", "timer", "net", "block"] {
        instance.set(&format!("events/{system}/enable"), "1");
    }
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    instance.set("set_event_pid", &thread.file_name().unwrap().to_string_lossy());
    let directory = tempfile::tempdir().unwrap();
    (0..20).for_each(|_| quiet_workload(directory.path()));
    instance.set("tracing_on", "0");
    let mut formatter = Formatter::open(std::path::Path::new(ring_support::TRACEFS), &instance.path).unwrap();
    let mut ring = RingBuffer::open(&instance.path).unwrap();
    let mut pages = Vec::new();
    ring.collect(|page| pages.push((page.cpu, page.bytes.to_vec()))).unwrap();
    // What is read once, such as formats, names and symbols, is read in the first round; only the second must
    // do without.
    let mut text = Vec::with_capacity(64 << 20);
    let rounds = [0, 1].map(|_| {
        let mut timeline = Timeline::new(ring.layout());
        pages.iter().for_each(|(cpu, page)| timeline.push(*cpu, page));
        timeline.finish();
        text.clear();
        let before = TAKEN.get();
        let mut lines = 0;
        while let Some(item) = timeline.next() {
            if let Item::Record(record) = item {
                formatter.write_record(record.cpu, record.stamp, record.data, &mut text);
                lines += 1;
            }
        }
        (lines, TAKEN.get() - before)
    });
    let (lines, allocations) = rounds[1];
    assert!(lines > 1_000, "{lines}");
    // The lanes of the timeline, and a name that the kernel has forgotten.
    assert!(allocations < 100, "{allocations} allocations for {lines} lines");
}
