//! What a session holds in memory while its reader stands still.

use std::fs::File;

use super::Group;
use super::bare::Recording;
use super::process::{self, Figure};
use super::session::Session;
use super::table::{Row, Target, Unit};
use super::task::{self, Task};
use crate::dist;
use crate::error::Result;

pub const GROUP: Group = Group {
    name: "standstill",
    about: "the most that the worker has held, the reader standing still for ten seconds, a task flat out on each CPU",
    floor: "",
    measure,
};

const MILLISECONDS: u64 = 10_000;
const TURNS: usize = 2;
const TARGET: Target = Target::AtMost(64.0);
const PEAK: Figure = Figure { name: "resident (VmHWM)", file: "status", key: "VmHWM:" };

fn measure() -> Result<Vec<Row>> {
    let peaks = (0..TURNS).map(|_| peak()).collect::<Result<Vec<_>>>()?;
    Ok(vec![Row::figures(PEAK.name, None, peaks, Unit::Megabytes, TARGET)])
}

fn peak() -> Result<f64> {
    let mut tasks = Task::on_each_cpu()?;
    let recording = Recording::of(task::pids(&tasks)).only(&["getppid"]).with_returns();
    // Apart, for what is left there goes with it.
    let directory = tempfile::tempdir()?;
    let mut manager = dist::call();
    let manager = manager.env("TRACER_RUN_PATH", directory.path());
    let mut session =
        Session::start(manager.args(["--run", "trace_syscalls", "--args", &recording.arguments()]))?;
    let _reader = File::open(session.path()?.0)?;
    task::all_do(&mut tasks, &format!("busy {MILLISECONDS}"))?;
    let peak = PEAK.of(process::worker(session.pid())?)?;
    // To make text of all that waits, for nobody, would take longer than all of this.
    session.abort()?;
    Ok(peak)
}
