//! How much `trace_calls` slows a program down, compared with strace, perf trace and bpftrace, which print the same calls.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Group;
use super::tools::bpftrace::{self, Bpftrace};
use super::tools::reader::{Last, Reader};
use super::tools::session::Session;
use super::tools::table::{Row, Target};
use crate::children::Guarded;
use crate::error::{Explain, Result};
use crate::{cargo, dist};

pub const GROUP: Group = Group {
    name: "calls",
    about: "the time that a program takes longer when every system call is printed, with none lost",
    floor: "another tool",
    measure,
};

/// A loop of getppid; a search of all files; a look at the files of a repository.
const WORKS: [Work; 3] = [
    Work {
        name: "getppid",
        command: "exec \"$0\" bench-task <<< 'calls 100000'",
        turns: 5,
        share: 1.0 / 50.0,
    },
    Work { name: "find /", command: "exec find / -xdev -path /proc -prune", turns: 3, share: 1.0 / 15.0 },
    Work { name: "git status", command: "exec git status", turns: 21, share: 1.0 / 15.0 },
];

/// Something that is traced.
#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    command: &'static str,
    /// More for what takes a short time.
    turns: usize,
    /// The share of the slow-down by strace that is the target.
    share: f64,
}

/// Who traces it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tracer {
    Untraced,
    Ours,
    Strace,
    PerfTrace,
    Bpftrace,
}

const OTHERS: [(Tracer, &str); 3] =
    [(Tracer::Strace, "strace"), (Tracer::PerfTrace, "perf trace"), (Tracer::Bpftrace, "bpftrace")];

fn measure() -> Result<Vec<Row>> {
    if let Some(why) = bpftrace::obstacle() {
        return Err(why.into());
    }
    let mut rows = Vec::new();
    for work in WORKS {
        rows.extend(rows_of(work)?);
    }
    Ok(rows)
}

/// A row for each other tool. All are measured in the same turns.
fn rows_of(work: Work) -> Result<Vec<Row>> {
    let mut ours = Vec::new();
    let mut others: [Vec<Duration>; OTHERS.len()] = Default::default();
    // The first turn fills the caches.
    work.run(Tracer::Untraced)?;
    for _ in 0..work.turns {
        let bare = work.run(Tracer::Untraced)?;
        ours.push(work.run(Tracer::Ours)?.saturating_sub(bare));
        for ((tracer, _), times) in OTHERS.iter().zip(&mut others) {
            times.push(work.run(*tracer)?.saturating_sub(bare));
        }
    }
    let row = |((tracer, name), times): (&(Tracer, &str), Vec<Duration>)| {
        let share = if *tracer == Tracer::Strace { work.share } else { 1.0 };
        let target = Target::Floor { times: share, plus: 0.0 };
        Row::time(&format!("{}, beside {name}", work.name), times, ours.clone(), target)
    };
    Ok(OTHERS.iter().zip(others).map(row).collect())
}

impl Work {
    /// Runs it, traced from its execution on; returns how long it took.
    fn run(self, tracer: Tracer) -> Result<Duration> {
        let mut waiting = Waiting::start(self.command)?;
        let pid = waiting.pid();
        match tracer {
            Tracer::Untraced => waiting.takes(),
            Tracer::Ours => {
                let arguments = format!("--pid {pid}");
                let words = ["--run", "trace_calls", "--args", &arguments];
                let mut session = Session::start(Command::new(dist::manager()).args(words))?;
                let reader = Reader::of(&session.path()?.0, Last::Line(u64::MAX))?;
                let took = waiting.takes()?;
                // Its only process has ended, so the session ends.
                session.end()?;
                match reader.finish()?.lost {
                    0 => Ok(took),
                    lost => Err(format!("{lost} events were lost").into()),
                }
            }
            Tracer::Strace => {
                let strace = ["strace", "-f", "-yy", "-s", "32", "-o", "/dev/null", "-p"];
                let _strace = Attached::start(&strace, pid, |status| !status.contains("TracerPid:\t0"))?;
                waiting.takes()
            }
            Tracer::PerfTrace => {
                let _perf = Attached::start(&["perf", "trace", "-o", "/dev/null", "-p"], pid, |_| true)?;
                // It has no sign that it has begun.
                std::thread::sleep(Duration::from_secs(1));
                waiting.takes()
            }
            Tracer::Bpftrace => {
                let bpftrace = Bpftrace::start(&printing(pid))?;
                let took = waiting.takes()?;
                bpftrace.stop()?;
                Ok(took)
            }
        }
    }
}

/// A program for bpftrace that prints each call with its arguments and its result.
fn printing(pid: u32) -> String {
    format!(
        "tracepoint:raw_syscalls:sys_enter /pid == {pid}/ \
             {{ @began[tid] = nsecs; @first[tid] = args->args[0]; @second[tid] = args->args[1]; }} \
         tracepoint:raw_syscalls:sys_exit /pid == {pid}/ \
             {{ printf(\"%d %s %d(%x, %x) = %d %d\\n\", tid, comm, args->id, @first[tid], @second[tid], args->ret, \
             nsecs - @began[tid]); }}"
    )
}

/// A shell that waits before it executes the program.
struct Waiting(Guarded);

impl Waiting {
    fn start(command: &str) -> Result<Self> {
        let command = format!("read go; {command}");
        let shell = Command::new("bash")
            .arg("-c")
            .arg(command)
            .arg(std::env::current_exe()?)
            .current_dir(cargo::root())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Ok(Self(Guarded(shell.explain(|| "cannot start a shell")?)))
    }

    fn pid(&self) -> u32 {
        self.0.0.id()
    }

    fn takes(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.0.0.stdin.take().ok_or("it runs once")?.write_all(b"go\n")?;
        // A file that disappears during the search is not a failure.
        self.0.0.wait()?;
        Ok(began.elapsed())
    }
}

/// A tool that is attached to a process. It ends with it, or when this is dropped.
struct Attached {
    _process: Guarded,
}

impl Attached {
    fn start(words: &[&str], pid: u32, is_attached: impl Fn(&str) -> bool) -> Result<Self> {
        let process = Command::new(words[0])
            .args(&words[1..])
            .arg(pid.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = Guarded(process.explain(|| format!("cannot start {}", words[0]))?);
        let status = PathBuf::from(format!("/proc/{pid}/status"));
        let began = Instant::now();
        while !is_attached(&std::fs::read_to_string(&status)?) {
            if began.elapsed() > Duration::from_secs(10) {
                return Err(format!("{} does not attach itself", words[0]).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { _process: process })
    }
}
