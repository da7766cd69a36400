//! The time from the signal to the exit of the manager.

use std::fs::File;
use std::io::{copy, sink};
use std::thread;
use std::time::Duration;

use super::Group;
use super::tools::bare_instance::{BareInstance, Recording};
use super::tools::samples::in_turns;
use super::tools::session::Session;
use super::tools::table::{Row, Target};
use crate::children::Sleepers;
use crate::error::Result;

pub const GROUP: Group =
    Group { name: "stop", about: "from SIGINT until the manager has exited", floor: "bare rmdir", measure };

const TURNS: usize = 30;
const TARGET: Target = Target::Floor { times: 1.5, plus: 5.0 };

fn measure() -> Result<Vec<Row>> {
    let (one, many) = (Sleepers::new(1)?, Sleepers::new(500)?);
    let all = Recording::of(one.pids());
    let many_tasks = Recording::of(many.pids()).only(&["openat"]);
    Ok(vec![
        row("all system calls, 1 pid", &all, alone)?,
        row("… with a reader attached", &all, read)?,
        row("one system call, 500 pids", &many_tasks, alone)?,
    ])
}

fn row(what: &str, recording: &Recording, managed: fn(&Recording) -> Result<Duration>) -> Result<Row> {
    let (floor, ours) = in_turns(TURNS, || BareInstance::start(recording)?.0.stop(), || managed(recording))?;
    Ok(Row::time(what, floor, ours, TARGET))
}

fn alone(recording: &Recording) -> Result<Duration> {
    let mut session = Session::begin(recording)?;
    session.path()?;
    session.stop()
}

fn read(recording: &Recording) -> Result<Duration> {
    let mut session = Session::begin(recording)?;
    let mut trace = File::open(session.path()?.0)?;
    let reader = thread::spawn(move || copy(&mut trace, &mut sink()));
    let took = session.stop();
    reader.join().expect("the reader does not panic")?;
    took
}
