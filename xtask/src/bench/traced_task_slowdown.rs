//! The slowdown of a traced task whose events are read, compared with one whose events are not read.

use std::time::Duration;

use super::Group;
use super::tools::bare_instance::{BareInstance, Recording};
use super::tools::reader::{Last, Reader};
use super::tools::samples::in_turns;
use super::tools::session::Session;
use super::tools::table::{Row, Target};
use super::tools::traced_task::{Task, Took};
use crate::error::Result;

pub const GROUP: Group = Group {
    name: "slowdown",
    about: "the time of 200,000 system calls of the traced task, with calls and returns recorded",
    floor: "no reader",
    measure,
};

const CALLS: u64 = 200_000;
const TURNS: usize = 21;
const TARGET: Target = Target::Floor { times: 1.1, plus: 0.0 };

fn measure() -> Result<Vec<Row>> {
    let (floor, ours) = in_turns(TURNS, unread, managed)?;
    let row = |what, time: fn(&Took) -> Duration| {
        let times = |all: &[Took]| all.iter().map(time).collect();
        Row::time(what, times(&floor), times(&ours), TARGET)
    };
    Ok(vec![row("from the first to the last", |took| took.wall), row("… of which CPU time", |took| took.cpu)])
}

fn unread() -> Result<Took> {
    let mut task = Task::start()?;
    let _bare = BareInstance::start(&recording(&task))?;
    work(&mut task)
}

fn managed() -> Result<Took> {
    let mut task = Task::start()?;
    let mut session = Session::begin(&recording(&task))?;
    let reader = Reader::of(&session.path()?.0, Last::Line(CALLS * 2))?;
    let took = work(&mut task)?;
    reader.wait();
    session.stop()?;
    reader.finish()?;
    Ok(took)
}

fn recording(task: &Task) -> Recording {
    Recording::of(vec![task.pid()]).only(&["getppid"]).with_returns()
}

fn work(task: &mut Task) -> Result<Took> {
    task.does(&format!("calls {CALLS}"))
}
