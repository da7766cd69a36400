//! `run`, which prints the trace: its speed, the time to the first line, and what it costs the command.

use std::fs;
use std::io::{BufRead, BufReader, Read, copy, sink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::Group;
use super::bpftrace_opens;
use super::tools::children_time::children_time;
use super::tools::samples::in_turns;
use super::tools::synthetic;
use super::tools::table::{Row, Target, Unit};
use crate::children::{Guarded, Sleepers};
use crate::dist;
use crate::error::{Explain, Result};

pub const GROUP: Group = Group {
    name: "print",
    about: "lines per second that `run` prints, flat out",
    floor: "",
    measure: measure_speed,
};

pub const FIRST_LINE: Group = Group {
    name: "first-line",
    about: "the time from the call to the first line of a traced command",
    floor: "peer",
    measure: measure_first_line,
};

pub const SLOWDOWN: Group = Group {
    name: "command",
    about: "the time of a build, traced by trace_open from its start",
    floor: "untraced",
    measure: measure_slowdown,
};

const LINES: u64 = 5_000_000;
/// The length of the line of a system call without arguments.
const LENGTH: usize = 66;
const TURNS: usize = 5;
/// More than the time of strace, in milliseconds.
const BEHIND_STRACE: f64 = 60.0;

/// What printing all lines took.
struct Printed {
    wall: Duration,
    cpu: Duration,
}

fn measure_speed() -> Result<Vec<Row>> {
    let plugins = synthetic::plugins()?;
    let traced = Sleepers::new(1)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("trace");
    let call = || {
        let mut call = dist::call();
        call.arg("--plugins").arg(plugins.path()).args([
            "run",
            synthetic::HOOK,
            "-p",
            &traced.pids()[0].to_string(),
        ]);
        call.args(["--count", &LINES.to_string(), "--length", &LENGTH.to_string()]).stderr(Stdio::null());
        call
    };
    let (to_file, to_pipe) = in_turns(TURNS, || print_to_file(call(), &file), || print_to_pipe(call()))?;
    let rows = [("to a file", to_file), ("to a pipe", to_pipe)].map(|(what, printed)| {
        let speed = printed.iter().map(|printed| LINES as f64 / printed.wall.as_secs_f64()).collect();
        let cost = printed.iter().map(|printed| printed.cpu.as_secs_f64() * 1e6 / LINES as f64).collect();
        [
            Row::figures(what, None, speed, Unit::LinesPerSecond, Target::AtLeast(5e6)),
            Row::figures("… CPU time of 1,000 lines", None, cost, Unit::Milliseconds, Target::AtMost(0.3)),
        ]
    });
    Ok(rows.into_iter().flatten().collect())
}

/// The bytes of all lines.
const BYTES: u64 = LINES * (LENGTH as u64 + 1);
/// Between two looks at the size of the file.
const CHECK_INTERVAL: Duration = Duration::from_millis(1);

fn print_to_file(mut call: Command, file: &Path) -> Result<Printed> {
    // That of the last turn is complete.
    let _ = fs::remove_file(file);
    printed(call.arg("-o").arg(file), |_| {
        // The hook makes all lines at once, and then waits for the end.
        while fs::metadata(file).map_or(0, |metadata| metadata.len()) != BYTES {
            thread::sleep(CHECK_INTERVAL);
        }
        Ok(())
    })
}

fn print_to_pipe(mut call: Command) -> Result<Printed> {
    printed(call.stdout(Stdio::piped()), |process| {
        let output = process.stdout.as_mut().ok_or("it is a pipe")?;
        match copy(&mut output.take(BYTES), &mut sink())? {
            BYTES => Ok(()),
            bytes => Err(format!("{bytes} of {BYTES} bytes were printed").into()),
        }
    })
}

/// Measures until all lines are there. The CPU time includes the start and the end.
fn printed(call: &mut Command, take: impl FnOnce(&mut Child) -> Result<()>) -> Result<Printed> {
    let (began, before) = (Instant::now(), children_time()?);
    let mut process = Guarded(call.spawn().explain(|| "cannot start the manager")?);
    take(&mut process.0)?;
    let wall = began.elapsed();
    kill(Pid::from_raw(process.0.id().try_into()?), Signal::SIGINT)?;
    let status = process.0.wait()?;
    match status.success() {
        true => Ok(Printed { wall, cpu: children_time()? - before }),
        false => Err(format!("the manager failed: {status}").into()),
    }
}

fn measure_first_line() -> Result<Vec<Row>> {
    let ours = || {
        let mut call = dist::call();
        call.args(["run", "open", "--", "true"]);
        call
    };
    let strace = || {
        let mut call = Command::new("strace");
        call.args(["-f", "-e", "trace=openat", "true"]);
        call
    };
    let snoop = || {
        let mut call = Command::new("bpftrace");
        call.args(["-e", &bpftrace_opens::of_command(), "-c", "/bin/true"]);
        call
    };
    let plus = BEHIND_STRACE;
    let (by_strace, by_us) = in_turns(TURNS, || first_line(strace(), true), || first_line(ours(), true))?;
    let first =
        Row::time("strace -f -e trace=openat true", by_strace, by_us, Target::Floor { times: 1.0, plus });
    let (by_snoop, by_us) = in_turns(TURNS, || first_line(snoop(), false), || first_line(ours(), true))?;
    let times = 0.25;
    let second = Row::time("opensnoop of bpftrace", by_snoop, by_us, Target::Floor { times, plus: 0.0 });
    Ok(vec![first, second])
}

/// Until the first line that is about a file. The command's own output is empty.
fn first_line(mut call: Command, is_on_stderr: bool) -> Result<Duration> {
    let (used, other) = (Stdio::piped(), Stdio::null());
    let (stdout, stderr) = if is_on_stderr { (other, used) } else { (used, other) };
    let began = Instant::now();
    let mut process =
        Guarded(call.stdout(stdout).stderr(stderr).spawn().explain(|| "cannot start a tracer")?);
    let output: Box<dyn Read> = match (process.0.stdout.take(), process.0.stderr.take()) {
        (Some(stdout), _) => Box::new(stdout),
        (None, Some(stderr)) => Box::new(stderr),
        (None, None) => return Err("no output is a pipe".into()),
    };
    let mut output = BufReader::new(output);
    let mut line = String::new();
    while !line.contains("ld.so.cache") {
        line.clear();
        if output.read_line(&mut line)? == 0 {
            return Err("the tracer printed no file".into());
        }
    }
    let took = began.elapsed();
    copy(&mut output, &mut sink())?;
    process.0.wait()?;
    Ok(took)
}

fn measure_slowdown() -> Result<Vec<Row>> {
    let project = project()?;
    let path = project.path().to_str().ok_or("not UTF-8")?;
    let make = ["bash", "-c", TIMED_MAKE, path];
    let untraced = || build(Command::new(make[0]).args(&make[1..]));
    let traced = || build(dist::call().args(["run", "open", "-o", "/dev/null", "--"]).args(make));
    let (floor, ours) = in_turns(TURNS, untraced, traced)?;
    Ok(vec![Row::time("make, 40 files in C", floor, ours, Target::Floor { times: 1.05, plus: 0.0 })])
}

/// Prints its own time, in microseconds: that of the session's start and end is not the command's.
const TIMED_MAKE: &str = "begun=${EPOCHREALTIME/./}; make --always-make --silent --directory $0; echo $((${EPOCHREALTIME/./} - begun))";

fn build(call: &mut Command) -> Result<Duration> {
    let output = call.stderr(Stdio::null()).output()?;
    let micros = String::from_utf8(output.stdout)?.trim().parse();
    Ok(Duration::from_micros(micros.map_err(|_| "the build printed no time")?))
}

/// A small project in C.
fn project() -> Result<TempDir> {
    const FILES: usize = 40;
    let directory = tempfile::tempdir()?;
    let write = |name: &str, text: String| fs::write(directory.path().join(name), text);
    for number in 0..FILES {
        let headers = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n";
        write(
            &format!("file{number}.c"),
            format!("{headers}int function{number}(void) {{ return {number}; }}\n"),
        )?;
    }
    let objects: String = (0..FILES).map(|number| format!(" file{number}.o")).collect();
    write("Makefile", format!("all:{objects}\n%.o: %.c\n\tcc -O1 -c -o $@ $<\n"))?;
    Ok(directory)
}
