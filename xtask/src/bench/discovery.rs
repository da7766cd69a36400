//! What container-tracer calls at its start, against a program that does nothing at all.

use std::process::Command;
use std::time::{Duration, Instant};

use super::Group;
use super::samples::in_turns;
use super::table::{Row, Target};
use crate::dist;
use crate::error::{Explain, Result};

pub const GROUP: Group = Group {
    name: "discovery",
    about: "from the start of the process to its end, its output read through pipes",
    floor: "/bin/true",
    measure,
};

const TURNS: usize = 200;
const TARGET: Target = Target::Floor { times: 3.0, plus: 0.0 };

fn measure() -> Result<Vec<Row>> {
    [&["--get-all"][..], &["--describe", "trace_syscalls"]]
        .into_iter()
        .map(|words| {
            let (floor, ours) =
                in_turns(TURNS, || run(Command::new("/bin/true"), &[]), || run(dist::call(), words))?;
            Ok(Row::time(&words.join(" "), floor, ours, TARGET))
        })
        .collect()
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
