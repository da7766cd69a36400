//! The time from the moment when a process joins a cgroup until its events are recorded.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use super::Group;
use super::tools::session::Session;
use super::tools::table::{Row, Target, Unit};
use super::tools::traced_task::Task;
use crate::dist;
use crate::error::{Explain, Result};

pub const GROUP: Group = Group {
    name: "joining",
    about: "from the move into a traced cgroup until the first event of a process that has one every half millisecond",
    floor: "",
    measure,
};

const TURNS: usize = 5;
/// As long as the events of a task last.
const LIFE: Duration = Duration::from_secs(3);
const ALONE: Target = Target::AtMost(20.0);
/// The kernel takes some 40 ms to add one or more of them; meanwhile, others wait.
const IN_A_ROW: Target = Target::AtMost(50.0);

fn measure() -> Result<Vec<Row>> {
    let row = |what, tasks, pause, target| {
        let turns = (0..TURNS).map(|_| delays(tasks, pause)).collect::<Result<Vec<_>>>()?;
        Result::Ok(Row::figures(what, None, turns.concat(), Unit::Milliseconds, target))
    };
    Ok(vec![
        row("one after the other, 100 ms apart", 10, Duration::from_millis(100), ALONE)?,
        row("in a row, 1 ms apart", 20, Duration::from_millis(1), IN_A_ROW)?,
    ])
}

/// The delay of each of these tasks, which join one after the other, in milliseconds.
fn delays(tasks: usize, pause: Duration) -> Result<Vec<f64>> {
    let cgroup = Cgroup::create()?;
    let mut tasks = (0..tasks).map(|_| Task::start()).collect::<Result<Vec<_>>>()?;
    let arguments = format!("--cgroup {} --syscall getppid", cgroup.0.display());
    let mut session = Session::start(dist::call().args(["--run", "trace_syscalls", "--args", &arguments]))?;
    let trace = File::open(session.path()?.0).explain(|| "cannot open the trace")?;
    let reader = thread::spawn(move || read_packets(trace));
    for task in &mut tasks {
        task.begins(&format!("paced 2000 {}", LIFE.as_millis()))?;
    }
    thread::sleep(Duration::from_millis(100));
    let mut joined = HashMap::new();
    for task in &tasks {
        let began = Instant::now();
        fs::write(cgroup.0.join("cgroup.procs"), task.pid().to_string())?;
        joined.insert(task.pid(), Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?));
        thread::sleep(pause.saturating_sub(began.elapsed()));
    }
    tasks.iter_mut().try_for_each(|task| task.ends().map(drop))?;
    session.stop()?;
    let text = reader.join().expect("the reader does not panic")?;
    let first = first_events(&text);
    let delay = |(task, joined): (&u32, &Duration)| {
        let first = first.get(task).ok_or("a task has no event")?;
        Ok((first - joined.as_secs_f64()) * 1000.0)
    };
    joined.iter().map(delay).collect()
}

/// Reads a FIFO in packet mode: a read with too small a buffer would lose the end of a line.
fn read_packets(mut trace: File) -> io::Result<String> {
    let (mut text, mut packet) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match trace.read(&mut packet)? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            length => text.extend_from_slice(&packet[..length]),
        }
    }
}

/// The time of the first line of each task, in seconds.
fn first_events(text: &str) -> HashMap<u32, f64> {
    let mut first = HashMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let task = words.next().and_then(|word| word.rsplit('-').next()?.parse().ok());
        let time = words.find_map(|word| word.strip_suffix(':')?.parse().ok());
        if let (Some(task), Some(time)) = (task, time) {
            first.entry(task).or_insert(time);
        }
    }
    first
}

/// A cgroup of version 2. Its processes end before it is dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn create() -> Result<Self> {
        let mut roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter().map(Path::new);
        let root = roots.find(|root| root.join("cgroup.controllers").exists());
        let directory = root.ok_or("no cgroups of version 2 are mounted")?;
        let directory = directory.join(format!("xtask_bench_{}", process::id()));
        fs::create_dir(&directory).explain(|| format!("cannot create {}", directory.display()))?;
        Ok(Self(directory))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has ended leaves its cgroup a little later.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
