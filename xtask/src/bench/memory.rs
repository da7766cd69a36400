//! What a session holds in memory: the manager and the children it works through.
//!
//! Not counted is the kernel's ring buffer, which is as large as was asked for.

use std::fs;

use super::Group;
use super::bare::Recording;
use super::samples::Samples;
use super::session::Session;
use super::table::{Row, Target, Unit};
use crate::children::Sleepers;
use crate::error::{Explain, Result};

pub const GROUP: Group =
    Group { name: "memory", about: "what the two processes of a session hold, in all", floor: "", measure };

const CROWD: usize = 20;
const TURNS: usize = 5;
const TARGET: Target = Target::AtMost(8.0);

/// What is counted: a name for people, the file of `/proc/PID` and the key in it.
struct Figure(&'static str, &'static str, &'static str);

/// Each process's share of what it has in common with others.
const SHARE: Figure = Figure("proportional share (Pss)", "smaps_rollup", "Pss:");
/// All of it, whoever else has it.
const RESIDENT: Figure = Figure("resident (VmRSS)", "status", "VmRSS:");

fn measure() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (count, name) in [(1, "1 session"), (CROWD, "each of 20 sessions")] {
        let sleepers = Sleepers::new(count)?;
        let (mut shares, mut resident) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let sessions = all_on(&sleepers)?;
            for session in &sessions {
                shares.push(megabytes(session.pid(), &SHARE)?);
                resident.push(megabytes(session.pid(), &RESIDENT)?);
            }
            sessions.into_iter().try_for_each(|session| session.stop().map(drop))?;
        }
        rows.push(row(name, &SHARE, shares));
        rows.push(row(name, &RESIDENT, resident));
    }
    Ok(rows)
}

fn row(name: &str, figure: &Figure, megabytes: Vec<f64>) -> Row {
    Row {
        what: format!("{name}, {}", figure.0),
        floor: None,
        ours: Samples::new(megabytes),
        unit: Unit::Megabytes,
        target: Some(TARGET),
    }
}

fn all_on(sleepers: &Sleepers) -> Result<Vec<Session>> {
    let begin = |pid| Session::begin(&Recording { pids: vec![pid], call: None });
    let mut sessions = sleepers.pids().into_iter().map(begin).collect::<Result<Vec<_>>>()?;
    sessions.iter_mut().try_for_each(|session| session.path().map(drop))?;
    Ok(sessions)
}

/// What a process and its children hold.
fn megabytes(pid: u32, figure: &Figure) -> Result<f64> {
    let mut sum = kilobytes(&pid.to_string(), figure)?;
    for child in proc(&pid.to_string(), &format!("task/{pid}/children"))?.split_whitespace() {
        sum += kilobytes(child, figure)?;
    }
    Ok(sum * 1024.0 / 1e6)
}

/// The kernel's `kB` are KiB.
fn kilobytes(pid: &str, Figure(_, file, key): &Figure) -> Result<f64> {
    let text = proc(pid, file)?;
    let line =
        text.lines().find_map(|line| line.strip_prefix(key)).ok_or_else(|| format!("no {key} of {pid}"))?;
    Ok(line.trim_end_matches("kB").trim().parse()?)
}

fn proc(pid: &str, file: &str) -> Result<String> {
    let file = format!("/proc/{pid}/{file}");
    fs::read_to_string(&file).explain(|| format!("cannot read {file}"))
}
