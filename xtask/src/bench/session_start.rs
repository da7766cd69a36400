//! The time from the call until the session is recording.

use std::time::Duration;

use super::Group;
use super::tools::bare_instance::{BareInstance, Recording};
use super::tools::samples::in_turns;
use super::tools::session::Session;
use super::tools::table::{Row, Target};
use crate::children::Sleepers;
use crate::error::Result;

pub const GROUP: Group = Group {
    name: "start",
    about: "from the start of the manager until the path is printed, recording on",
    floor: "bare tracefs",
    measure,
};

const TURNS: usize = 30;

fn measure() -> Result<Vec<Row>> {
    let (one, many) = (Sleepers::new(1)?, Sleepers::new(500)?);
    let near_floor = Target::Floor { times: 1.5, plus: 5.0 };
    Ok(vec![
        row("all system calls, 1 pid", Recording::of(one.pids()), near_floor)?,
        row("one system call, 1 pid", Recording::of(one.pids()).only(&["openat"]), near_floor)?,
        row(
            "one system call, 500 pids",
            Recording::of(many.pids()).only(&["openat"]),
            Target::AtMost(150.0),
        )?,
    ])
}

fn row(what: &str, recording: Recording, target: Target) -> Result<Row> {
    let (floor, ours) = in_turns(TURNS, || bare(&recording), || managed(&recording))?;
    Ok(Row::time(what, floor, ours, target))
}

fn bare(recording: &Recording) -> Result<Duration> {
    Ok(BareInstance::start(recording)?.1)
}

fn managed(recording: &Recording) -> Result<Duration> {
    let mut session = Session::begin(recording)?;
    let (_, took) = session.path()?;
    session.stop()?;
    Ok(took)
}
