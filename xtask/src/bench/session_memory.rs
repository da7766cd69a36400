//! The memory of a session: the manager and its workers.
//!
//! The kernel's ring buffer, whose size is an option, is not counted.

use super::Group;
use super::tools::bare_instance::Recording;
use super::tools::process::{self, Figure};
use super::tools::samples::Samples;
use super::tools::session::Session;
use super::tools::table::{Row, Target, Unit};
use crate::children::Sleepers;
use crate::error::Result;

pub const GROUP: Group =
    Group { name: "memory", about: "the memory of the two processes of a session", floor: "", measure };

const MANY: usize = 20;
const TURNS: usize = 5;
const TARGET: Target = Target::AtMost(8.0);

/// Shared pages count in proportion.
const SHARE: Figure = Figure { name: "proportional share (Pss)", file: "smaps_rollup", key: "Pss:" };
/// Shared pages count fully.
const RESIDENT: Figure = Figure { name: "resident (VmRSS)", file: "status", key: "VmRSS:" };

fn measure() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (count, name) in [(1, "1 session"), (MANY, "each of 20 sessions")] {
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
        what: format!("{name}, {}", figure.name),
        floor: None,
        ours: Samples::new(megabytes),
        unit: Unit::Megabytes,
        target: Some(TARGET),
    }
}

fn all_on(sleepers: &Sleepers) -> Result<Vec<Session>> {
    let begin = |pid| Session::begin(&Recording::of(vec![pid]));
    let mut sessions = sleepers.pids().into_iter().map(begin).collect::<Result<Vec<_>>>()?;
    sessions.iter_mut().try_for_each(|session| session.path().map(drop))?;
    Ok(sessions)
}

/// The memory of a process and its children.
fn megabytes(pid: u32, figure: &Figure) -> Result<f64> {
    process::family(pid)?.into_iter().map(|pid| figure.of(pid)).sum()
}
