//! The speed of lines through the trace file, compared with a bare writer.
//!
//! The lines are synthetic, from a plugin of the tests, so that only the host is measured.

use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::Group;
use super::tools::reader::{Last, Reader};
use super::tools::samples::in_turns;
use super::tools::session::Session;
use super::tools::synthetic;
use super::tools::table::{Row, Target, Unit};
use super::tools::traced_task::Task;
use crate::children::Sleepers;
use crate::dist;
use crate::error::Result;

pub const GROUP: Group = Group {
    name: "fifo",
    about: "lines per second through the trace file, to a reader like container-tracer's",
    floor: "bare write",
    measure,
};

const LINES: u64 = 500_000;
/// The length of the line of a system call without arguments.
const LENGTH: usize = 66;
const TURNS: usize = 7;
const TARGET: Target = Target::Share(0.9);

fn measure() -> Result<Vec<Row>> {
    let (plugins, traced) = (synthetic::plugins()?, Sleepers::new(1)?);
    let arguments = format!("--pid {} --count {LINES} --length {LENGTH}", traced.pids()[0]);
    let (floor, ours) = in_turns(TURNS, bare, || managed(plugins.path(), &arguments))?;
    let what = format!("{LINES} lines of {LENGTH} bytes");
    Ok(vec![Row::figures(what, Some(floor), ours, Unit::LinesPerSecond, TARGET)])
}

fn bare() -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let fifo = directory.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU)?;
    let mut writer = Task::start()?;
    writer.begins(&format!("packets {LINES} {LENGTH} {}", fifo.display()))?;
    let reader = Reader::of(&fifo, Last::Line(LINES))?;
    writer.ends()?;
    Ok(reader.finish()?.lines_per_second())
}

fn managed(plugins: &Path, arguments: &str) -> Result<f64> {
    let mut manager = dist::call();
    let manager = manager.arg("--plugins").arg(plugins).args(["--run", synthetic::HOOK, "--args", arguments]);
    let mut session = Session::start(manager)?;
    let reader = Reader::of(&session.path()?.0, Last::Line(LINES))?;
    reader.wait();
    session.stop()?;
    Ok(reader.finish()?.lines_per_second())
}
