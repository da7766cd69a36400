//! Measures operations of this crate against the bare system calls. Run it manually, in release mode:
//! `cargo test --release -p tracefs --test cost -- --ignored --nocapture --test-threads 1`

mod kernel;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use kernel::{Sweeper, write};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, pause};
use trace_tasks::{Pid, SelectedProcesses};
use tracefs::Instance;

const ROUNDS: usize = 15;
const PROC: &str = "/proc";

/// Child processes that sleep until they are dropped.
struct SleepingProcesses(Vec<Pid>);

impl SleepingProcesses {
    fn fork(count: usize) -> SleepingProcesses {
        SleepingProcesses((0..count).map(|_| sleeper()).collect())
    }
}

fn sleeper() -> Pid {
    // SAFETY: the child only calls `pause`.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Parent { child } => child.as_raw().cast_unsigned(),
        ForkResult::Child => loop {
            pause();
        },
    }
}

impl Drop for SleepingProcesses {
    fn drop(&mut self) {
        for &pid in &self.0 {
            let _ = kill(nix::unistd::Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        for &pid in &self.0 {
            let _ = waitpid(nix::unistd::Pid::from_raw(pid.cast_signed()), None);
        }
    }
}

fn timed<T>(operation: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = operation();
    (start.elapsed(), result)
}

fn report(operation: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    println!(
        "{operation:50} median {:8.2?}  min {:8.2?}  max {:8.2?}",
        times[times.len() / 2],
        times[0],
        times[times.len() - 1]
    );
}

/// Creates an instance like [`instance_of_crate`] without this crate: it records all system calls of one task.
fn bare_instance(path: &Path) {
    fs::create_dir(path).expect("instance");
    write(path.join("options/event-fork"), "1");
    write(path.join("set_event_pid"), &std::process::id().to_string());
    write(path.join("events/syscalls/enable"), "1");
}

fn instance_of_crate(sweeper: &Sweeper, name: &str) -> Instance {
    let instance = sweeper.create(name);
    let me = Pid::try_from(std::process::id()).expect("a pid");
    instance.choose_tasks(Path::new(PROC), &SelectedProcesses::families([me])).expect("tasks");
    instance.enable_system("syscalls").expect("events");
    instance.start().expect("started");
    instance
}

#[test]
#[ignore = "benchmark"]
fn cost_of_removing_an_instance() {
    let sweeper = need_tracefs!();
    let (mut bare, mut by_crate) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let path = sweeper.path("bare");
        bare_instance(&path);
        bare.push(timed(|| fs::remove_dir(&path).expect("removed")).0);
        let instance = instance_of_crate(&sweeper, "crate");
        by_crate.push(timed(|| instance.remove().expect("removed")).0);
    }
    report("rmdir only", bare);
    report("remove()", by_crate);
}

#[test]
#[ignore = "benchmark"]
fn cost_of_creating_an_instance() {
    let sweeper = need_tracefs!();
    let (mut bare, mut by_crate) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let path = sweeper.path("bare");
        bare.push(timed(|| fs::create_dir(&path).expect("made")).0);
        fs::remove_dir(&path).expect("removed");
        let (time, instance) = timed(|| sweeper.create("crate"));
        by_crate.push(time);
        drop(instance);
    }
    report("mkdir only", bare);
    report("Instance::create()", by_crate);
}

#[test]
#[ignore = "benchmark"]
fn cost_of_enabling_all_system_calls() {
    let sweeper = need_tracefs!();
    let mut events = sweeper.tracefs.events("syscalls").expect("events");
    events.retain(|event| event.starts_with("sys_enter_"));
    let (mut bare, mut by_crate, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let path = sweeper.path("bare");
        fs::create_dir(&path).expect("made");
        bare.push(
            timed(|| {
                events
                    .iter()
                    .for_each(|event| write(path.join(format!("events/syscalls/{event}/enable")), "1"))
            })
            .0,
        );
        fs::remove_dir(&path).expect("removed");
        let instance = sweeper.create("crate");
        by_crate.push(
            timed(|| {
                events.iter().for_each(|event| instance.enable_event("syscalls", event).expect("event"))
            })
            .0,
        );
        drop(instance);
        let instance = sweeper.create("whole");
        whole.push(timed(|| instance.enable_system("syscalls").expect("events")).0);
    }
    report(&format!("{} bare writes of enable", events.len()), bare);
    report("enable_event() for each of them", by_crate);
    report("enable_system()", whole);
}

#[test]
#[ignore = "benchmark"]
fn cost_of_choosing_tasks() {
    let sweeper = need_tracefs!();
    for count in [1, 500, 5_000, 10_000] {
        let processes = SleepingProcesses::fork(count);
        let text: String = processes.0.iter().map(|pid| format!("{pid} ")).collect();
        let (mut bare, mut by_crate, mut alive) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..5 {
            let path = sweeper.path("bare");
            fs::create_dir(&path).expect("made");
            write(path.join("options/event-fork"), "1");
            let mut set: File = OpenOptions::new().write(true).open(path.join("set_event_pid")).expect("set");
            bare.push(timed(|| set.write_all(text.as_bytes()).expect("written")).0);
            drop(set);
            fs::remove_dir(&path).expect("removed");

            let instance = sweeper.create("crate");
            let selection = SelectedProcesses::families(processes.0.iter().copied());
            let (time, tasks) = timed(|| instance.choose_tasks(Path::new(PROC), &selection));
            by_crate.push(time);
            let (mut tasks, _) = tasks.expect("tasks");
            alive.push(timed(|| assert!(tasks.any_alive().expect("the tasks' state"))).0);
        }
        report(&format!("{count} pids: one bare write"), bare);
        report(&format!("{count} pids: choose_tasks()"), by_crate);
        report(&format!("{count} pids: any_alive()"), alive);
    }
}

#[test]
#[ignore = "benchmark; resets the top-level instance"]
fn cost_of_a_reset() {
    let Some(tracefs) = kernel::tracefs() else { return };
    report("reset()", (0..5).map(|_| timed(|| tracefs.reset().expect("reset")).0).collect());
}
