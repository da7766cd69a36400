//! The share of events that is delivered at the highest rate, compared with two tools that record the same.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Group;
use super::tools::bare_instance::{BareInstance, Recording};
use super::tools::perf::{self, Perf};
use super::tools::reader::{Last, Reader};
use super::tools::session::Session;
use super::tools::table::{Row, Target, Unit};
use super::tools::traced_task::{self, Task};
use crate::children::Guarded;
use crate::error::{Explain, Result};

pub const GROUP: Group = Group {
    name: "complete",
    about: "share of the events that is delivered, of tasks that make 2,000,000 system calls each as fast as possible",
    floor: "the other",
    measure,
};

const CALLS: u64 = 2_000_000;
/// The call that is repeated, and the one that marks the end.
const RECORDED: &[&str] = &["getppid", traced_task::MARK];
const PERF_EVENTS: &[&str] = &["syscalls:sys_enter_getppid", "syscalls:sys_exit_getppid"];
/// A call and its return.
const EVENTS_PER_CALL: u64 = 2;

/// The time limit for a reader to drain the kernel's buffer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The counts of a run's events.
struct Outcome {
    expected: u64,
    delivered: u64,
    /// The events reported as lost.
    lost: u64,
}

impl Outcome {
    fn percent(&self) -> Vec<f64> {
        vec![self.delivered as f64 * 100.0 / self.expected as f64]
    }

    fn lost(&self) -> Vec<f64> {
        vec![self.lost as f64]
    }

    fn unreported(&self) -> Vec<f64> {
        vec![self.expected as f64 - (self.delivered + self.lost) as f64]
    }
}

fn measure() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let one: fn() -> Result<Vec<Task>> = || Ok(vec![Task::start()?]);
    for (traced, tasks) in [("one task", one), ("a task on each CPU", Task::on_each_cpu)] {
        let text = through_trace_pipe(&mut tasks()?)?;
        let ours = managed(&mut tasks()?)?;
        let perf = if perf::is_installed() { Some(through_perf(&mut tasks()?)?) } else { None };
        let beside_perf = if perf.is_some() { "beside perf record" } else { "perf is not installed" };
        rows.extend([
            delivered(format!("{traced}, beside cat trace_pipe: delivered"), Some(text.percent()), &ours),
            none("… reported as lost", text.lost(), ours.lost()),
            none("… neither", text.unreported(), ours.unreported()),
            delivered(format!("{traced}, {beside_perf}: delivered"), perf, &ours),
        ]);
    }
    Ok(rows)
}

fn delivered(what: String, other: Option<Vec<f64>>, ours: &Outcome) -> Row {
    Row::figures(what, other, ours.percent(), Unit::Percent, Target::AtLeast(100.0))
}

/// A count that should be 0.
fn none(what: &str, other: Vec<f64>, ours: Vec<f64>) -> Row {
    Row::figures(what, Some(other), ours, Unit::Events, Target::AtMost(0.0))
}

/// With the default options, and a reader like container-tracer's.
fn managed(tasks: &mut [Task]) -> Result<Outcome> {
    let mut session = Session::begin(&recording(tasks))?;
    let reader = Reader::of(&session.path()?.0, Last::Mark(tasks.len() as u64))?;
    make_events(tasks)?;
    reader.wait();
    session.stop()?;
    let seen = reader.finish()?;
    Ok(Outcome { expected: expected(tasks, CALLS + 1), delivered: seen.events, lost: seen.lost })
}

/// With `cat` into /dev/null.
fn through_trace_pipe(tasks: &mut [Task]) -> Result<Outcome> {
    let bare = BareInstance::start(&recording(tasks))?.0;
    let cat = cat(&bare.path().join("trace_pipe"))?;
    make_events(tasks)?;
    wait_until_all_is_read(&bare)?;
    drop(cat);
    let counts = bare.counts()?;
    Ok(Outcome { expected: expected(tasks, CALLS + 1), delivered: counts.read, lost: counts.lost })
}

/// In percent. perf reports how often its buffer was full, but not the number of lost events.
fn through_perf(tasks: &mut [Task]) -> Result<Vec<f64>> {
    let perf = Perf::start(&traced_task::pids(tasks), PERF_EVENTS)?;
    make_events(tasks)?;
    let expected = expected(tasks, CALLS);
    Ok(Outcome { expected, delivered: perf.stop()?, lost: 0 }.percent())
}

fn recording(tasks: &[Task]) -> Recording {
    Recording::of(traced_task::pids(tasks)).only(RECORDED).with_returns()
}

fn expected(tasks: &[Task], calls: u64) -> u64 {
    calls * EVENTS_PER_CALL * tasks.len() as u64
}

/// All tasks concurrently, followed by a mark of each.
fn make_events(tasks: &mut [Task]) -> Result<()> {
    traced_task::all_do(tasks, &format!("calls {CALLS}"))?;
    traced_task::all_do(tasks, "mark")
}

pub fn cat(file: &Path) -> Result<Guarded> {
    let cat = Command::new("cat").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    Ok(Guarded(cat.explain(|| "cannot start cat")?))
}

/// Polled, because the kernel has no notification for it.
fn wait_until_all_is_read(bare: &BareInstance) -> Result<()> {
    let began = Instant::now();
    while bare.counts()?.waiting > 0 {
        if began.elapsed() > PATIENCE {
            return Err("cat does not read on".into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
