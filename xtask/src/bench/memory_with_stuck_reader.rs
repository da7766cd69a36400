//! The memory of a session whose reader is stuck.

use std::fs::File;

use super::Group;
use super::tools::bare_instance::Recording;
use super::tools::process::{self, Figure};
use super::tools::session::Session;
use super::tools::table::{Row, Target, Unit};
use super::tools::traced_task::{self, Task};
use crate::dist;
use crate::error::Result;

pub const GROUP: Group = Group {
    name: "standstill",
    about: "peak memory of the worker with a reader that is stuck for ten seconds and a busy task on each CPU",
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
    let recording = Recording::of(traced_task::pids(&tasks)).only(&["getppid"]).with_returns();
    // A separate run directory, so that the unread output is removed with it.
    let directory = tempfile::tempdir()?;
    let mut manager = dist::call();
    let manager = manager.env("TRACER_RUN_PATH", directory.path());
    let mut session =
        Session::start(manager.args(["--run", "trace_syscalls", "--args", &recording.arguments()]))?;
    let _reader = File::open(session.path()?.0)?;
    traced_task::all_do(&mut tasks, &format!("busy {MILLISECONDS}"))?;
    let peak = PEAK.of(process::worker(session.pid())?)?;
    // Writing all the unread output would take longer than the measurement.
    session.abort()?;
    Ok(peak)
}
