//! The speed of rendering events as text, compared with the kernel's own rendering of the same events.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use tracefs::format::Formatter;
use tracefs::ring::{Item, Layout, RingBuffer, Timeline};

use super::Group;
use super::tools::bare_instance::{BareInstance, Recording};
use super::tools::samples::in_turns;
use super::tools::table::{Row, Target, Unit};
use super::tools::traced_task::{self, Task};
use crate::error::{Explain, Result};

pub const GROUP: Group = Group {
    name: "text",
    about: "events rendered per second of CPU time on one core",
    floor: "the kernel",
    measure,
};

const CALLS: u64 = 200_000;
/// Plus a few other calls of the task.
const EVENTS: u64 = 2 * CALLS;
const TURNS: usize = 10;
const TARGET: Target = Target::AtLeast(1.5e6);

/// The buffer size in KiB, enough for all events of a run.
const BUFFER_KIB: u32 = 64 << 10;
const TRACEFS: &str = "/sys/kernel/tracing";

/// Pages of the kernel's buffer: CPU and bytes.
type Pages = Vec<(u32, Vec<u8>)>;
/// Collects text.
type Sink<'a> = &'a mut dyn FnMut(&[u8]);

fn measure() -> Result<Vec<Row>> {
    Ok(vec![
        row("getppid, calls and returns", "calls", &["getppid"])?,
        row("openat, read, lseek and getppid, calls and returns", "mixed", traced_task::MIXED)?,
    ])
}

fn row(what: &str, verb: &str, calls: &'static [&'static str]) -> Result<Row> {
    let mut task = Task::start()?;
    let recording = Recording::of(vec![task.pid()]).only(calls).with_returns();
    // Two buffers have the same events: the kernel prints one of them, which does not consume it, and we consume the other.
    let (for_kernel, for_us) =
        (BareInstance::roomy(&recording, BUFFER_KIB)?, BareInstance::roomy(&recording, BUFFER_KIB)?);
    task.does(&format!("{verb} {CALLS}"))?;
    let (pages, layout) = take(for_us.path())?;
    let mut formatter = Formatter::open(Path::new(TRACEFS), for_us.path())?;
    formatter.load_enabled()?;
    let mut print = |sink: Sink<'_>| print_by_kernel(for_kernel.path(), sink);
    let mut make = |sink: Sink<'_>| make_text(&mut formatter, &pages, &layout, sink);
    let (by_kernel, by_us) = (lines(&mut print)?, lines(&mut make)?);
    let (floor, ours) =
        in_turns(TURNS, || lines_per_second(by_kernel, &mut print), || lines_per_second(by_us, &mut make))?;
    Ok(Row::figures(what, Some(floor), ours, Unit::LinesPerSecond, TARGET))
}

fn take(instance: &Path) -> Result<(Pages, Layout)> {
    let mut ring = RingBuffer::open(instance)?;
    let mut pages = Pages::new();
    while !ring.collect(|page| pages.push((page.cpu, page.bytes.to_vec())))?.drained {}
    Ok((pages, ring.layout().clone()))
}

fn print_by_kernel(instance: &Path, sink: Sink<'_>) -> Result<()> {
    let mut trace = File::open(instance.join("trace")).explain(|| "cannot open an instance's trace")?;
    let mut text = vec![0; 64 << 10];
    loop {
        match trace.read(&mut text)? {
            0 => return Ok(()),
            length => sink(&text[..length]),
        }
    }
}

fn make_text(formatter: &mut Formatter, pages: &Pages, layout: &Layout, sink: Sink<'_>) -> Result<()> {
    let mut timeline = Timeline::new(layout);
    let mut text = Vec::new();
    for (cpu, page) in pages {
        timeline.push(*cpu, page);
        timeline.finish();
        while let Some(item) = timeline.next() {
            match item {
                Item::Record(record) => {
                    formatter.write_record(record.cpu, record.stamp, record.data, &mut text);
                }
                Item::Lost(gap) => Formatter::write_gap(gap.cpu, gap.count, &mut text),
            }
        }
        sink(&text);
        text.clear();
    }
    Ok(())
}

/// The number of lines. The kernel prints a few header lines before those of the events.
fn lines(make: &mut impl FnMut(Sink<'_>) -> Result<()>) -> Result<u64> {
    let mut lines = 0;
    make(&mut |text| lines += text.iter().filter(|byte| **byte == b'\n').count() as u64)?;
    match lines {
        ..EVENTS => Err(format!("only {lines} lines of {EVENTS} events").into()),
        lines => Ok(lines),
    }
}

fn lines_per_second(lines: u64, make: &mut impl FnMut(Sink<'_>) -> Result<()>) -> Result<f64> {
    let began = traced_task::cpu_time()?;
    make(&mut |_| ())?;
    Ok(lines as f64 / (traced_task::cpu_time()? - began).as_secs_f64())
}
