//! The calls that container-tracer makes at its start, compared with a program that does nothing.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Group;
use super::tools::plugin_loader;
use super::tools::samples::in_turns;
use super::tools::table::{Row, Target};
use crate::dist;
use crate::error::{Explain, Result};

pub const GROUP: Group = Group {
    name: "discovery",
    about: "from the start of the process to its end, its output read through pipes",
    floor: "/bin/true",
    measure,
};

/// The fastest that is possible with fewer CPUs than plugins.
pub const LOADING: Group = Group {
    name: "loading",
    about: "the same, compared with only loading each plugin in its own process",
    floor: "bare load",
    measure: measure_loading,
};

const TURNS: usize = 200;
const RARE_TURNS: usize = 10;
/// Long enough for the kernel to drop cached state of the previous call.
const PAUSE: Duration = Duration::from_millis(1500);
const TARGET: Target = Target::Floor { times: 3.0, plus: 0.0 };

fn measure() -> Result<Vec<Row>> {
    Ok(vec![
        row("--get-all", &["--get-all"], TURNS, Duration::ZERO)?,
        row("… once in a while", &["--get-all"], RARE_TURNS, PAUSE)?,
        row("--describe trace_syscalls", &["--describe", "trace_syscalls"], TURNS, Duration::ZERO)?,
    ])
}

fn measure_loading() -> Result<Vec<Row>> {
    let ask = || run(dist::call(), &["--get-all"]);
    let (floor, ours) = in_turns(TURNS, || run(plugin_loader::command()?, &[]), ask)?;
    Ok(vec![Row { target: None, ..Row::time("--get-all", floor, ours, TARGET) }])
}

fn row(what: &str, words: &[&str], turns: usize, pause: Duration) -> Result<Row> {
    let after_pause = |program: Command, words: &[&str]| {
        sleep(pause);
        run(program, words)
    };
    let (floor, ours) =
        in_turns(turns, || after_pause(Command::new("/bin/true"), &[]), || after_pause(dist::call(), words))?;
    Ok(Row::time(what, floor, ours, TARGET))
}

fn run(mut program: Command, words: &[&str]) -> Result<Duration> {
    let began = Instant::now();
    let output = program.args(words).output().explain(|| "cannot start a program")?;
    let took = began.elapsed();
    if output.status.success() {
        Ok(took)
    } else {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("{} {}: {}", program.get_program().display(), words.join(" "), complaint.trim()).into())
    }
}
