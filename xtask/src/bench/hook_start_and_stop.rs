//! The start and stop of every hook, and the size of every plugin.

use std::fs;
use std::process;
use std::time::Duration;

use super::Group;
use super::tools::bare_instance::{self, BareInstance, Recording};
use super::tools::session::Session;
use super::tools::table::{Row, Target, Unit};
use crate::children::Sleepers;
use crate::dist;
use crate::error::{Explain, Result};

pub const GROUP: Group = Group {
    name: "hooks",
    about: "every hook, until the path is printed, and from SIGINT until the manager has exited; every plugin's size",
    floor: "bare rmdir",
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
        // The required arguments of these two hooks.
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

/// The hooks that can run here.
fn hooks() -> Result<Vec<String>> {
    let listed = dist::call().arg("--get-all").output().explain(|| "cannot start the manager")?;
    Ok(String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect())
}

/// The start and stop times of such sessions.
pub fn start_and_stop(what: &str, hook: &str, arguments: &str, turns: usize) -> Result<[Row; 2]> {
    let turns = (0..turns).map(|_| turn(hook, arguments)).collect::<Result<Vec<_>>>()?;
    let figures =
        |time: fn(&Turn) -> Duration| -> Vec<f64> { turns.iter().map(time).map(milliseconds).collect() };
    let bare: Option<Vec<f64>> = turns.iter().map(|turn| turn.bare.map(milliseconds)).collect();
    let row = |what, floor, ours, target| Row::figures(what, floor, ours, Unit::Milliseconds, target);
    Ok([
        row(format!("start, {what}"), None, figures(|turn| turn.started), START),
        row(format!("stop, {what}"), bare, figures(|turn| turn.stopped), STOP),
    ])
}

struct Turn {
    started: Duration,
    stopped: Duration,
    /// The kernel's time to remove as many instances as the session had.
    bare: Option<Duration>,
}

fn turn(hook: &str, arguments: &str) -> Result<Turn> {
    let mut session = Session::start(dist::call().args(["--run", hook, "--args", arguments]))?;
    let (_, started) = session.path()?;
    let instances = bare_instance::count_instances(&format!("tracehook_{}_", session.pid()))?;
    Ok(Turn { started, stopped: session.stop()?, bare: removal(instances)? })
}

/// The first instance of a session records the traced tasks. Any other records all tasks.
fn removal(instances: usize) -> Result<Option<Duration>> {
    let recordings = (0..instances).map(|number| match number {
        0 => Recording::of(vec![process::id()]),
        _ => Recording::of_anybody(),
    });
    let bare = recordings.map(|recording| Ok(BareInstance::start(&recording.only(&["openat"]))?.0));
    let bare = bare.collect::<Result<Vec<_>>>()?;
    let removed = bare.into_iter().map(BareInstance::stop).collect::<Result<Vec<_>>>()?;
    Ok(removed.into_iter().reduce(|sum, removal| sum + removal))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
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
