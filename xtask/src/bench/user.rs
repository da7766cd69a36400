//! How long sessions on functions of programs take to start and to stop.

use std::process::Command;
use std::time::Duration;

use super::Group;
use super::session::Session;
use super::table::{Row, Target, Unit};
use crate::children::Sleepers;
use crate::dist;
use crate::error::Result;

pub const GROUP: Group = Group {
    name: "user",
    about: "functions of programs: until the path is printed, and from SIGINT until the manager has exited",
    floor: "",
    measure,
};

const TURNS: usize = 20;
const START: Target = Target::AtMost(100.0);
const STOP: Target = Target::AtMost(150.0);

fn measure() -> Result<Vec<Row>> {
    let one = Sleepers::new(1)?;
    // The C library has some hundred functions of that name, and every process has them mapped.
    let sessions = [
        ("one function", "-f libc.so.6:read"),
        ("a hundred functions", "-f libc.so.6:pthread_*"),
        ("… and their returns", "-f libc.so.6:pthread_* --return"),
    ];
    let mut rows = Vec::new();
    for (what, functions) in sessions {
        let arguments = format!("--pid {} {functions}", one.pids()[0]);
        let times = (0..TURNS).map(|_| start_and_stop(&arguments)).collect::<Result<Vec<_>>>()?;
        let (starts, stops): (Vec<Duration>, Vec<Duration>) = times.into_iter().unzip();
        rows.push(row(format!("start, {what}"), starts, START));
        rows.push(row(format!("stop, {what}"), stops, STOP));
    }
    Ok(rows)
}

fn start_and_stop(arguments: &str) -> Result<(Duration, Duration)> {
    let mut session =
        Session::start(Command::new(dist::manager()).args(["--run", "trace_user", "--args", arguments]))?;
    let (_, started) = session.path()?;
    Ok((started, session.stop()?))
}

fn row(what: String, times: Vec<Duration>, target: Target) -> Row {
    let milliseconds = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    Row::figures(what, None, milliseconds, Unit::Milliseconds, target)
}
