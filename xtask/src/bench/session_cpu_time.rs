//! The CPU time of a session at a low rate of events, compared with that of `cat trace_pipe`.

use std::time::Duration;

use super::Group;
use super::delivered_events::cat;
use super::tools::bare_instance::{BareInstance, Recording};
use super::tools::process;
use super::tools::reader::{Last, Reader};
use super::tools::samples::in_turns;
use super::tools::session::Session;
use super::tools::table::{Row, Target, Unit};
use super::tools::traced_task::Task;
use crate::error::Result;

pub const GROUP: Group = Group {
    name: "cost",
    about: "CPU time of the manager and its worker, in percent of one core",
    floor: "cat trace_pipe",
    measure,
};

const PER_SECOND: u64 = 1000;
const SECONDS: u64 = 5;
const TURNS: usize = 3;
const TARGET: Target = Target::AtMost(1.0);

fn measure() -> Result<Vec<Row>> {
    let (floor, ours) = in_turns(TURNS, through_trace_pipe, managed)?;
    let what = format!("{PER_SECOND} events a second for {SECONDS} s");
    Ok(vec![Row::figures(what, Some(floor), ours, Unit::Percent, TARGET)])
}

fn through_trace_pipe() -> Result<f64> {
    let mut task = Task::start()?;
    let bare = BareInstance::start(&recording(&task))?.0;
    let cat = cat(&bare.path().join("trace_pipe"))?;
    percent(&[cat.0.id()], &mut task)
}

fn managed() -> Result<f64> {
    let mut task = Task::start()?;
    let mut session = Session::begin(&recording(&task))?;
    let reader = Reader::of(&session.path()?.0, Last::Line(PER_SECOND * SECONDS))?;
    let percent = percent(&process::family(session.pid())?, &mut task)?;
    reader.wait();
    session.stop()?;
    let events = reader.finish()?.events;
    if events == PER_SECOND * SECONDS {
        Ok(percent)
    } else {
        Err(format!("only {events} events were delivered").into())
    }
}

fn recording(task: &Task) -> Recording {
    Recording::of(vec![task.pid()]).only(&["getppid"])
}

/// The CPU time that these processes use while the task makes its calls.
fn percent(pids: &[u32], task: &mut Task) -> Result<f64> {
    let before = cpu_time(pids)?;
    let took = task.does(&format!("paced {PER_SECOND} {}", SECONDS * 1000))?;
    Ok((cpu_time(pids)? - before).as_secs_f64() * 100.0 / took.wall.as_secs_f64())
}

fn cpu_time(pids: &[u32]) -> Result<Duration> {
    pids.iter().map(|pid| process::cpu_time(*pid)).sum()
}
