//! The traced process: this program again, which makes system calls on command.
//!
//! Commands, each of which is answered by the wall-clock and CPU time that it took, in nanoseconds:
//!
//! - `calls N`: call `getppid` N times as fast as possible
//! - `mixed N`: make N calls of several kinds, with arguments of several kinds, as fast as possible
//! - `busy MS`: call `getppid` as fast as possible for MS milliseconds
//! - `paced N MS`: call `getppid` N times a second for MS milliseconds
//! - `mark`: call `getsid`, which marks the end of the calls before
//! - `packets COUNT LENGTH PATH`: write COUNT lines of LENGTH bytes into a FIFO

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write, stdin, stdout};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, getppid, getsid};

use super::fifo_writer;
use crate::children::Guarded;
use crate::error::{Explain, Result};

/// The argument that makes this program a traced process.
pub const TASK: &str = "bench-task";

/// The system call of a mark.
pub const MARK: &str = "getsid";

/// The calls of `mixed`.
pub const MIXED: &[&str] = &["openat", "read", "lseek", "getppid"];

/// A traced process, which is killed when this is dropped.
pub struct Task {
    process: Guarded,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The time that a command took.
pub struct Took {
    pub wall: Duration,
    pub cpu: Duration,
}

impl Task {
    pub fn start() -> Result<Self> {
        let process =
            Command::new(env::current_exe()?).arg(TASK).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.explain(|| "cannot start a task to trace")?;
        let (commands, answers) = ends(&mut process);
        Ok(Self { process: Guarded(process), commands, answers: BufReader::new(answers) })
    }

    /// One for each CPU, bound to it.
    pub fn on_each_cpu() -> Result<Vec<Self>> {
        (0..thread::available_parallelism()?.get()).map(Self::on_cpu).collect()
    }

    fn on_cpu(cpu: usize) -> Result<Self> {
        let task = Self::start()?;
        let mut only = CpuSet::new();
        only.set(cpu)?;
        sched_setaffinity(Pid::from_raw(task.pid().try_into()?), &only)?;
        Ok(task)
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Sends a command, and waits until it is done.
    pub fn does(&mut self, command: &str) -> Result<Took> {
        self.begins(command)?;
        self.ends()
    }

    /// Sends a command.
    pub fn begins(&mut self, command: &str) -> Result<()> {
        writeln!(self.commands, "{command}").explain(|| "the traced task is gone")
    }

    /// Waits until a command is done.
    pub fn ends(&mut self) -> Result<Took> {
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let times = answer.trim_end().split_once(' ').ok_or("the traced task has failed")?;
        let time = |nanoseconds: &str| Result::Ok(Duration::from_nanos(nanoseconds.parse()?));
        Ok(Took { wall: time(times.0)?, cpu: time(times.1)? })
    }
}

/// The ids of these tasks.
pub fn pids(tasks: &[Task]) -> Vec<u32> {
    tasks.iter().map(Task::pid).collect()
}

/// Sends a command to all of them, and waits until all are done.
pub fn all_do(tasks: &mut [Task], command: &str) -> Result<()> {
    tasks.iter_mut().try_for_each(|task| task.begins(command))?;
    tasks.iter_mut().try_for_each(|task| task.ends().map(drop))
}

/// Whether a line of a trace is a mark.
pub fn is_mark(line: &[u8]) -> bool {
    let call = format!("sys_{MARK}(");
    line.windows(call.len()).any(|part| part == call.as_bytes())
}

/// Runs the traced process until there are no more commands.
pub fn serve() -> Result<()> {
    for command in stdin().lines() {
        let (began, cpu) = (Instant::now(), cpu_time()?);
        obey(&command?)?;
        println!("{} {}", began.elapsed().as_nanos(), (cpu_time()? - cpu).as_nanos());
        stdout().flush()?;
    }
    Ok(())
}

/// The CPU time of this thread.
pub fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn obey(command: &str) -> Result<()> {
    match command.splitn(4, ' ').collect::<Vec<_>>().as_slice() {
        ["calls", count] => calls(number(count)?),
        ["mixed", count] => mixed(number(count)?)?,
        ["busy", milliseconds] => busy(time(milliseconds)?),
        ["paced", per_second, milliseconds] => paced(number(per_second)?, time(milliseconds)?),
        ["mark"] => drop(getsid(None)?),
        ["packets", count, length, path] => {
            fifo_writer::write(Path::new(path), number(count)?, number(length)?)?
        }
        _ => return Err(format!("what is '{command}'?").into()),
    }
    Ok(())
}

fn calls(count: u64) {
    for _ in 0..count {
        getppid();
    }
}

fn mixed(count: usize) -> Result<()> {
    let mut file = File::open("/dev/null")?;
    for _ in 0..count / MIXED.len() {
        // The file does not exist; only the call matters.
        let _ = File::open("/nowhere");
        let _ = file.read(&mut [0; 16])?;
        file.seek(SeekFrom::Start(0))?;
        getppid();
    }
    Ok(())
}

fn busy(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        calls(1000);
    }
}

fn paced(per_second: u32, time: Duration) {
    let (began, pause) = (Instant::now(), Duration::from_secs(1) / per_second);
    let mut due = Duration::ZERO;
    while due < time {
        getppid();
        due += pause;
        thread::sleep(due.saturating_sub(began.elapsed()));
    }
}

fn number<N: FromStr<Err: std::error::Error + Send + Sync + 'static>>(text: &str) -> Result<N> {
    Ok(text.parse()?)
}

fn time(milliseconds: &str) -> Result<Duration> {
    Ok(Duration::from_millis(number(milliseconds)?))
}

fn ends(process: &mut Child) -> (ChildStdin, ChildStdout) {
    let commands = process.stdin.take().expect("it is a pipe");
    (commands, process.stdout.take().expect("it is a pipe"))
}
