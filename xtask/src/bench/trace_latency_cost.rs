//! The cost of `trace_latency` for a task that makes system calls as fast as possible, compared with bpftrace.

use std::process::Command;
use std::time::Duration;

use super::Group;
use super::tools::bpftrace::{self, Bpftrace};
use super::tools::samples::in_turns;
use super::tools::session::Session;
use super::tools::table::{Row, Target};
use super::tools::traced_task::{Task, Took};
use crate::dist;
use crate::error::Result;

pub const GROUP: Group = Group {
    name: "latency",
    about: "the time of a million system calls whose durations are counted in histograms",
    floor: "bpftrace",
    measure,
};

const CALLS: u64 = 1_000_000;
const TURNS: usize = 7;
const TARGET: Target = Target::Floor { times: 1.0, plus: 0.0 };

fn measure() -> Result<Vec<Row>> {
    if let Some(why) = bpftrace::obstacle() {
        return Err(why.into());
    }
    let (floor, ours) = in_turns(TURNS, scripted, managed)?;
    let row = |what, time: fn(&Took) -> Duration| {
        let times = |all: &[Took]| all.iter().map(time).collect();
        Row::time(what, times(&floor), times(&ours), TARGET)
    };
    Ok(vec![row("from the first to the last", |took| took.wall), row("… of which CPU time", |took| took.cpu)])
}

fn scripted() -> Result<Took> {
    let mut task = Task::start()?;
    let bpftrace = Bpftrace::start(&script(task.pid()))?;
    let took = work(&mut task)?;
    bpftrace.stop()?;
    Ok(took)
}

fn managed() -> Result<Took> {
    let mut task = Task::start()?;
    let arguments = format!("--pid {}", task.pid());
    let words = ["--run", "trace_latency", "--args", &arguments];
    let mut session = Session::start(Command::new(dist::manager()).args(words))?;
    session.path()?;
    let took = work(&mut task)?;
    session.stop()?;
    Ok(took)
}

fn work(task: &mut Task) -> Result<Took> {
    task.does(&format!("calls {CALLS}"))
}

fn script(pid: u32) -> String {
    format!(
        "tracepoint:raw_syscalls:sys_enter /pid == {pid}/ {{ @began[tid] = nsecs; }} \
         tracepoint:raw_syscalls:sys_exit /@began[tid]/ \
             {{ @took[args->id] = hist(nsecs - @began[tid]); delete(@began[tid]); }}"
    )
}
