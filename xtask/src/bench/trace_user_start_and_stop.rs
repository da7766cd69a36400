//! The start and stop of sessions on functions of programs.

use super::Group;
use super::hook_start_and_stop::start_and_stop;
use super::tools::table::Row;
use crate::children::Sleepers;
use crate::error::Result;

pub const GROUP: Group = Group {
    name: "user",
    about: "functions of programs: until the path is printed, and from SIGINT until the manager has exited",
    floor: "bare rmdir",
    measure,
};

const TURNS: usize = 20;

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
        rows.extend(start_and_stop(what, "trace_user", &arguments, TURNS)?);
    }
    Ok(rows)
}
