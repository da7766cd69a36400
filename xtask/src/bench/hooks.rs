//! What holds for every hook: how long a session takes to start and to stop, and how large its plugin is.

use std::fs;
use std::time::Duration;

use super::Group;
use super::session::Session;
use super::table::{Row, Target, Unit};
use crate::children::Sleepers;
use crate::dist;
use crate::error::{Explain, Result};

pub const GROUP: Group = Group {
    name: "hooks",
    about: "every hook, until the path is printed, and from SIGINT until the manager has exited; every plugin's size",
    floor: "",
    measure,
};

const TURNS: usize = 10;
const START: Target = Target::AtMost(100.0);
const STOP: Target = Target::AtMost(150.0);
const SIZE: Target = Target::AtMost(3.0);

fn measure() -> Result<Vec<Row>> {
    let one = Sleepers::new(1)?;
    let pid = format!("--pid {}", one.pids()[0]);
    let mut rows = Vec::new();
    for hook in hooks()? {
        // What these two cannot do without.
        let arguments = match hook.as_str() {
            "trace_events" => format!("{pid} -e sched"),
            "trace_user" => format!("{pid} -f libc.so.6:read"),
            _ => pid.clone(),
        };
        rows.extend(start_and_stop(&hook, &hook, &arguments, TURNS)?);
    }
    rows.extend(sizes()?);
    Ok(rows)
}

/// Those that can run here.
fn hooks() -> Result<Vec<String>> {
    let listed = dist::call().arg("--get-all").output().explain(|| "cannot start the manager")?;
    Ok(String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect())
}

/// How long such sessions take to start, and how long to stop.
pub fn start_and_stop(what: &str, hook: &str, arguments: &str, turns: usize) -> Result<[Row; 2]> {
    let times = (0..turns).map(|_| times(hook, arguments)).collect::<Result<Vec<_>>>()?;
    let (starts, stops) = times.into_iter().unzip();
    Ok([row(format!("start, {what}"), starts, START), row(format!("stop, {what}"), stops, STOP)])
}

fn times(hook: &str, arguments: &str) -> Result<(Duration, Duration)> {
    let mut session = Session::start(dist::call().args(["--run", hook, "--args", arguments]))?;
    let (_, started) = session.path()?;
    Ok((started, session.stop()?))
}

fn row(what: String, times: Vec<Duration>, target: Target) -> Row {
    let milliseconds = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    Row::figures(what, None, milliseconds, Unit::Milliseconds, target)
}

fn sizes() -> Result<Vec<Row>> {
    let mut files = fs::read_dir(dist::plugins())?.collect::<std::io::Result<Vec<_>>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    let row = |file: &fs::DirEntry| {
        let megabytes = file.metadata()?.len() as f64 / 1e6;
        let name = file.file_name().to_string_lossy().into_owned();
        Ok(Row::figures(name, None, vec![megabytes], Unit::Megabytes, SIZE))
    };
    files.iter().map(row).collect()
}
