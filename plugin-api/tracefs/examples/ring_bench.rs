//! Measures the ring reader and the formatter on this machine. Needs root and a mounted tracefs.
//!
//! ```text
//! cargo run --release -p tracefs --example ring_bench [CALLS]
//! ```
//!
//! One task makes CALLS system calls flat out (1,000,000 unless given, so twice as many events) into an
//! instance with default buffers, while the reader on the other CPU takes the pages away, napping a
//! millisecond in between. Then the pages are merged and made text. Printed: events lost, and what each step
//! costs.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tracefs::format::Formatter;
use tracefs::ring::{Item, Layout, RingBuffer, Timeline};

fn main() -> Result<(), Box<dyn Error>> {
    let calls: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |word| word.parse())?;
    if std::env::args().nth(2).is_some() {
        flat_out(calls);
        return Ok(());
    }
    let instance = Instance::new()?;
    let (pages, layout) = record(&instance, calls)?;
    make_text(&instance, &pages, &layout)
}

/// The traced task: `getppid` is never answered without a system call.
fn flat_out(calls: u64) {
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
    for _ in 0..calls {
        std::hint::black_box(std::os::unix::process::parent_id());
    }
}

/// Pages as a store would keep them: CPU and bytes.
type Pages = Vec<(u32, Vec<u8>)>;

fn record(instance: &Instance, calls: u64) -> Result<(Pages, Layout), Box<dyn Error>> {
    let mut task = Command::new(std::env::current_exe()?)
        .args([calls.to_string(), "task".into()])
        .stdin(Stdio::piped())
        .spawn()?;
    instance.set("set_event_pid", &task.id().to_string())?;
    instance.set("events/syscalls/sys_enter_getppid/enable", "1")?;
    instance.set("events/syscalls/sys_exit_getppid/enable", "1")?;
    let mut ring = RingBuffer::open(&instance.path)?;
    let (mut pages, mut records, mut lost): (Pages, u64, u64) = (Vec::new(), 0, 0);
    // Go.
    drop(task.stdin.take());
    let start = Instant::now();
    let mut ended = None;
    loop {
        let sweep = ring.collect(|page| {
            records += page.records;
            lost += page.lost.map_or(0, |lost| lost.count.unwrap_or(1));
            pages.push((page.cpu, page.bytes.to_vec()));
        })?;
        if ended.is_some() && sweep.pages == 0 {
            break;
        }
        ended = ended.or(task.try_wait()?.map(|_| start.elapsed()));
        std::thread::sleep(Duration::from_millis(1));
    }
    let seconds = ended.unwrap_or_default().as_secs_f64();
    let bytes: usize = pages.iter().map(|(_, bytes)| bytes.len()).sum();
    println!(
        "recorded  {records} events in {seconds:.2} s, {lost} lost, {} pages, {} MB",
        pages.len(),
        bytes >> 20
    );
    Ok((pages, ring.layout().clone()))
}

fn make_text(instance: &Instance, pages: &Pages, layout: &Layout) -> Result<(), Box<dyn Error>> {
    let mut formatter = Formatter::open(Path::new("/sys/kernel/tracing"), &instance.path)?;
    formatter.load_enabled()?;
    let mut timeline = Timeline::new(layout);
    let (mut text, mut lines, mut bytes) = (Vec::with_capacity(1 << 20), 0u64, 0u64);
    let start = Instant::now();
    for (cpu, page) in pages {
        timeline.push(*cpu, page);
        // One CPU after the other is enough here.
        timeline.finish();
        text.clear();
        while let Some(item) = timeline.next() {
            match item {
                Item::Record(record) => {
                    formatter.write_record(record.cpu, record.stamp, record.data, &mut text)
                }
                Item::Lost(gap) => Formatter::write_gap(gap.cpu, gap.count, &mut text),
            }
            lines += 1;
        }
        bytes += text.len() as u64;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "formatted {lines} lines, {} MB in {seconds:.3} s: {:.2} million lines/s",
        bytes >> 20,
        lines as f64 / seconds / 1e6
    );
    println!("the last: {}", String::from_utf8_lossy(&text).lines().next_back().unwrap_or_default());
    Ok(())
}

/// An instance of our own, removed at the end.
struct Instance {
    path: PathBuf,
}

impl Instance {
    fn new() -> std::io::Result<Self> {
        let path =
            Path::new("/sys/kernel/tracing/instances").join(format!("ring-bench-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    fn set(&self, file: &str, value: &str) -> std::io::Result<()> {
        fs::write(self.path.join(file), value)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}
