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
    about: "concurrent sessions: 20 of all system calls, 200 of one call, each of one pid",
    floor: "bare tracefs",
    measure,
};

const SESSIONS: usize = 20;
const TURNS: usize = 5;
/// Sessions of one system call: to enable all calls in so many instances would be most of the time.
const MANY_SESSIONS: usize = 200;
const TURNS_OF_MANY: usize = 3;
const TARGET: Target = Target::Floor { times: 1.5, plus: 5.0 };

/// The time until all were recording, and from the stop until all had ended.
type Times = (Duration, Duration);

fn measure() -> Result<Vec<Row>> {
    let all_calls = |recording| recording;
    let one_call = |recording: Recording| recording.only(&["getppid"]);
    let mut rows = measure_sessions(
        SESSIONS,
        TURNS,
        all_calls,
        ["20: until all are recording", "20: from SIGINT to all until all have exited"],
    )?;
    rows.extend(measure_sessions(
        MANY_SESSIONS,
        TURNS_OF_MANY,
        one_call,
        ["200: until all are recording", "200: from SIGINT to all until all have exited"],
    )?);
    Ok(rows)
}

fn measure_sessions(
    count: usize,
    turns: usize,
    narrowed: impl Fn(Recording) -> Recording,
    [started, ended]: [&'static str; 2],
) -> Result<Vec<Row>> {
    let sleepers = Sleepers::new(count)?;
    let recordings: Vec<_> =
        sleepers.pids().into_iter().map(|pid| narrowed(Recording::of(vec![pid]))).collect();
    let (floor, ours) = in_turns(turns, || bare(&recordings), || managed(&recordings))?;
    let (floor_started, floor_ended) = floor.into_iter().unzip();
    let (ours_started, ours_ended) = ours.into_iter().unzip();
    Ok(vec![
        Row::time(started, floor_started, ours_started, TARGET),
        Row::time(ended, floor_ended, ours_ended, TARGET),
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
