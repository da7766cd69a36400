//! Whether every event arrives, however fast they come, beside two tools that record the same.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Group;
use super::bare::{Bare, Recording};
use super::perf::{self, Perf};
use super::reader::{Last, Reader};
use super::session::Session;
use super::table::{Row, Target, Unit};
use super::task::{self, Task};
use crate::children::Guarded;
use crate::error::{Explain, Result};

pub const GROUP: Group = Group {
    name: "complete",
    about: "tasks that make 2,000,000 system calls each, flat out, calls and returns recorded; who gets them",
    floor: "the other",
    measure,
};

const CALLS: u64 = 2_000_000;
/// The call that is made flat out, and the one that marks the end.
const RECORDED: &[&str] = &["getppid", task::MARK];
const PERF_EVENTS: &[&str] = &["syscalls:sys_enter_getppid", "syscalls:sys_exit_getppid"];
/// A call and its return.
const EVENTS_PER_CALL: u64 = 2;

/// How long a reader may take for what waits in the kernel's buffer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of the events of a run.
struct Outcome {
    expected: u64,
    delivered: u64,
    /// What is said to be lost.
    lost: u64,
}

impl Outcome {
    fn percent(&self) -> Vec<f64> {
        vec![self.delivered as f64 * 100.0 / self.expected as f64]
    }

    fn lost(&self) -> Vec<f64> {
        vec![self.lost as f64]
    }

    fn untold(&self) -> Vec<f64> {
        vec![self.expected as f64 - (self.delivered + self.lost) as f64]
    }
}

fn measure() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let one: fn() -> Result<Vec<Task>> = || Ok(vec![Task::start()?]);
    for (who, tasks) in [("one task", one), ("a task on each CPU", Task::on_each_cpu)] {
        let text = through_trace_pipe(&mut tasks()?)?;
        let ours = managed(&mut tasks()?)?;
        let perf = if perf::is_installed() { Some(through_perf(&mut tasks()?)?) } else { None };
        let beside_perf = if perf.is_some() { "beside perf record" } else { "perf is not installed" };
        rows.extend([
            delivered(format!("{who}, beside cat trace_pipe: delivered"), Some(text.percent()), &ours),
            none("… told to be lost", text.lost(), ours.lost()),
            none("… neither", text.untold(), ours.untold()),
            delivered(format!("{who}, {beside_perf}: delivered"), perf, &ours),
        ]);
    }
    Ok(rows)
}

fn delivered(what: String, other: Option<Vec<f64>>, ours: &Outcome) -> Row {
    Row::figures(what, other, ours.percent(), Unit::Percent, Target::AtLeast(100.0))
}

/// Of these events there should be none.
fn none(what: &str, other: Vec<f64>, ours: Vec<f64>) -> Row {
    Row::figures(what, Some(other), ours, Unit::Events, Target::AtMost(0.0))
}

/// With all defaults, and read as container-tracer reads.
fn managed(tasks: &mut [Task]) -> Result<Outcome> {
    let mut session = Session::begin(&recording(tasks))?;
    let reader = Reader::of(&session.path()?.0, Last::Mark(tasks.len() as u64))?;
    make_events(tasks)?;
    reader.wait();
    session.stop()?;
    let seen = reader.finish()?;
    Ok(Outcome { expected: expected(tasks, CALLS + 1), delivered: seen.events, lost: seen.lost })
}

/// With `cat`, which does not even have to put it anywhere.
fn through_trace_pipe(tasks: &mut [Task]) -> Result<Outcome> {
    let bare = Bare::start(&recording(tasks))?.0;
    let cat = cat(&bare.path().join("trace_pipe"))?;
    make_events(tasks)?;
    wait_until_all_is_read(&bare)?;
    drop(cat);
    let counts = bare.counts()?;
    Ok(Outcome { expected: expected(tasks, CALLS + 1), delivered: counts.read, lost: counts.lost })
}

/// In percent. It tells how often it had no room, but not for how many events.
fn through_perf(tasks: &mut [Task]) -> Result<Vec<f64>> {
    let perf = Perf::start(&task::pids(tasks), PERF_EVENTS)?;
    make_events(tasks)?;
    let expected = expected(tasks, CALLS);
    Ok(Outcome { expected, delivered: perf.stop()?, lost: 0 }.percent())
}

fn recording(tasks: &[Task]) -> Recording {
    Recording::of(task::pids(tasks)).only(RECORDED).with_returns()
}

fn expected(tasks: &[Task], calls: u64) -> u64 {
    calls * EVENTS_PER_CALL * tasks.len() as u64
}

/// All tasks at once, and then a mark of each.
fn make_events(tasks: &mut [Task]) -> Result<()> {
    task::all_do(tasks, &format!("calls {CALLS}"))?;
    task::all_do(tasks, "mark")
}

pub fn cat(file: &Path) -> Result<Guarded> {
    let cat = Command::new("cat").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    Ok(Guarded(cat.explain(|| "cannot start cat")?))
}

/// The kernel tells nobody, so it has to be asked again and again.
fn wait_until_all_is_read(bare: &Bare) -> Result<()> {
    let began = Instant::now();
    while bare.counts()?.waiting > 0 {
        if began.elapsed() > PATIENCE {
            return Err("cat does not read on".into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
