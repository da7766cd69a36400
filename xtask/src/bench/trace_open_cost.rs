//! The cost of `trace_open` for a program that opens files as fast as possible, compared with bpftrace's opensnoop.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Group;
use super::bpftrace_opens;
use super::tools::bpftrace::{self, Bpftrace};
use super::tools::children_time::children_time;
use super::tools::reader::{Last, Reader};
use super::tools::samples::in_turns;
use super::tools::session::Session;
use super::tools::table::{Row, Target};
use super::tools::traced_task::Took;
use crate::children::Guarded;
use crate::dist;
use crate::error::{Explain, Result};

pub const GROUP: Group = Group {
    name: "open",
    about: "the time of `find /` with every opened file recorded and none lost",
    floor: "opensnoop",
    measure,
};

const WORK: &str = "read go; exec find / -xdev -path /proc -prune";
const TURNS: usize = 3;
const TARGET: Target = Target::Floor { times: 1.0, plus: 0.0 };

fn measure() -> Result<Vec<Row>> {
    if let Some(why) = bpftrace::obstacle() {
        return Err(why.into());
    }
    let (floor, ours) = in_turns(TURNS, snooped, managed)?;
    let row = |what, time: fn(&Took) -> Duration| {
        let times = |all: &[Took]| all.iter().map(time).collect();
        Row::time(what, times(&floor), times(&ours), TARGET)
    };
    Ok(vec![row("from the first to the last", |took| took.wall), row("… of which CPU time", |took| took.cpu)])
}

fn snooped() -> Result<Took> {
    let find = Find::start()?;
    let snoop = Bpftrace::start(&bpftrace_opens::of_process(find.0.0.id()))?;
    let took = find.run()?;
    snoop.stop()?;
    Ok(took)
}

fn managed() -> Result<Took> {
    let find = Find::start()?;
    let arguments = format!("--pid {}", find.0.0.id());
    let words = ["--run", "trace_open", "--args", &arguments];
    let mut session = Session::start(Command::new(dist::manager()).args(words))?;
    let reader = Reader::of(&session.path()?.0, Last::Line(u64::MAX))?;
    let took = find.run()?;
    // Its only process has ended, so the session ends.
    session.end()?;
    match reader.finish()?.lost {
        0 => Ok(took),
        lost => Err(format!("{lost} events were lost").into()),
    }
}

/// A `find` that waits for its command.
struct Find(Guarded);

impl Find {
    fn start() -> Result<Self> {
        let shell = Command::new("sh").args(["-c", WORK]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        Ok(Self(Guarded(shell.explain(|| "cannot start a shell")?)))
    }

    fn run(mut self) -> Result<Took> {
        let (began, before) = (Instant::now(), children_time()?);
        self.0.0.stdin.take().expect("it is a pipe").write_all(b"go\n")?;
        // A file that disappears during the search is not a failure.
        self.0.0.wait()?;
        Ok(Took { wall: began.elapsed(), cpu: children_time()? - before })
    }
}
