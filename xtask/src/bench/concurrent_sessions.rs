//! The start and stop of many concurrent sessions.

use std::thread;
use std::time::{Duration, Instant};

use super::Group;
use super::tools::bare_instance::{BareInstance, Recording};
use super::tools::samples::in_turns;
use super::tools::session::Session;
use super::tools::table::{Row, Target};
use crate::children::Sleepers;
use crate::error::Result;

pub const GROUP: Group = Group {
    name: "concurrent",
    about: "20 concurrent sessions, each of one pid and all system calls",
    floor: "bare tracefs",
    measure,
};

const SESSIONS: usize = 20;
const TURNS: usize = 5;
const TARGET: Target = Target::Floor { times: 1.5, plus: 5.0 };

/// The time until all were recording, and from the stop until all had ended.
type Times = (Duration, Duration);

fn measure() -> Result<Vec<Row>> {
    let sleepers = Sleepers::new(SESSIONS)?;
    let recordings: Vec<_> = sleepers.pids().into_iter().map(|pid| Recording::of(vec![pid])).collect();
    let (floor, ours) = in_turns(TURNS, || bare(&recordings), || managed(&recordings))?;
    let (floor_started, floor_ended) = floor.into_iter().unzip();
    let (ours_started, ours_ended) = ours.into_iter().unzip();
    Ok(vec![
        Row::time("until all are recording", floor_started, ours_started, TARGET),
        Row::time("from SIGINT to all until all have exited", floor_ended, ours_ended, TARGET),
    ])
}

fn bare(recordings: &[Recording]) -> Result<Times> {
    let began = Instant::now();
    let instances = at_once(recordings, |recording| BareInstance::start(recording).map(|(bare, _)| bare))?;
    let on = began.elapsed();
    let began = Instant::now();
    at_once(instances, BareInstance::stop)?;
    Ok((on, began.elapsed()))
}

fn managed(recordings: &[Recording]) -> Result<Times> {
    let began = Instant::now();
    let mut sessions = recordings.iter().map(Session::begin).collect::<Result<Vec<_>>>()?;
    for session in &mut sessions {
        session.path()?;
    }
    let on = began.elapsed();
    let began = Instant::now();
    sessions.iter_mut().try_for_each(Session::interrupt)?;
    sessions.iter_mut().try_for_each(Session::end)?;
    Ok((on, began.elapsed()))
}

/// Does this with each of them, each in its own thread.
fn at_once<T: Send, U: Send>(
    all: impl IntoIterator<Item = T>,
    act: impl Fn(T) -> Result<U> + Copy + Send,
) -> Result<Vec<U>> {
    thread::scope(|scope| {
        let threads: Vec<_> = all.into_iter().map(|one| scope.spawn(move || act(one))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    })
}
