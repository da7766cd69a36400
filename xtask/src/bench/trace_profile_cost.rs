//! The cost of sampling for the traced task, and the start and stop of the hooks on perf events.

use std::process::Command;
use std::time::Duration;

use super::Group;
use super::tools::perf::{self, Perf};
use super::tools::reader::{Last, Reader};
use super::tools::samples::{Samples, in_turns};
use super::tools::session::Session;
use super::tools::table::{Row, Target, Unit};
use super::tools::traced_task::{Task, Took};
use crate::dist;
use crate::error::Result;

pub const GROUP: Group = Group {
    name: "profile",
    about: "the time of 4,000,000 system calls with stacks sampled at 999 Hz; start and stop of the hooks on perf events",
    floor: "perf record -g",
    measure,
};

const HERTZ: u32 = 999;
const CALLS: u64 = 4_000_000;
const TURNS: usize = 11;
const STARTS: usize = 20;

/// No more than perf, plus the variation from run to run.
const NO_MORE: Target = Target::Floor { times: 1.01, plus: 0.0 };
const START: Target = Target::AtMost(100.0);
const STOP: Target = Target::AtMost(150.0);

fn measure() -> Result<Vec<Row>> {
    let mut rows = if perf::is_installed() { cost()? } else { Vec::new() };
    for hook in ["trace_profile", "trace_counters"] {
        rows.extend(beginning_and_end(hook)?);
    }
    Ok(rows)
}

fn cost() -> Result<Vec<Row>> {
    let (theirs, ours) = in_turns(TURNS, with_perf, with_manager)?;
    let row = |what, time: fn(&Took) -> Duration| {
        let times = |all: &[Took]| all.iter().map(time).collect();
        Row::time(what, times(&theirs), times(&ours), NO_MORE)
    };
    Ok(vec![row("from the first to the last", |took| took.wall), row("… of which CPU time", |took| took.cpu)])
}

fn with_perf() -> Result<Took> {
    let mut task = Task::start()?;
    let perf = Perf::profile(&[task.pid()], HERTZ)?;
    let took = work(&mut task)?;
    check(perf.stop()?, &took)?;
    Ok(took)
}

fn with_manager() -> Result<Took> {
    let mut task = Task::start()?;
    let mut session = begin("trace_profile", &task)?;
    let reader = Reader::of(&session.path()?.0, Last::Line(u64::MAX))?;
    let took = work(&mut task)?;
    session.stop()?;
    check(reader.finish()?.events, &took)?;
    Ok(took)
}

fn work(task: &mut Task) -> Result<Took> {
    task.does(&format!("calls {CALLS}"))
}

/// Without samples there would be no cost.
fn check(samples: u64, took: &Took) -> Result<()> {
    let expected = took.cpu.as_secs_f64() * f64::from(HERTZ);
    if samples as f64 > expected * 0.8 {
        Ok(())
    } else {
        Err(format!("only {samples} samples were taken, of {expected:.0}").into())
    }
}

fn beginning_and_end(hook: &str) -> Result<[Row; 2]> {
    let (mut starts, mut stops) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let task = Task::start()?;
        let mut session = begin(hook, &task)?;
        starts.push(session.path()?.1);
        stops.push(session.stop()?);
    }
    let row = |what: &str, times, target| Row {
        what: format!("{hook} {what}"),
        floor: None,
        ours: Samples::times(times),
        unit: Unit::Milliseconds,
        target: Some(target),
    };
    Ok([row("starts", starts, START), row("stops", stops, STOP)])
}

fn begin(hook: &str, task: &Task) -> Result<Session> {
    let arguments = match hook {
        "trace_profile" => format!("--pid {} -F {HERTZ}", task.pid()),
        _ => format!("--pid {}", task.pid()),
    };
    Session::start(Command::new(dist::manager()).args(["--run", hook, "--args", &arguments]))
}
