//! What things cost, beside what the kernel itself takes for them. Run by hand, in release mode:
//! `cargo test --release -p tracefs --test cost -- --ignored --nocapture --test-threads 1`

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Sweeper, write};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, pause};
use trace_tasks::{Pid, TaskSelection};
use tracefs::Instance;

const ROUNDS: usize = 15;
const PROC: &str = "/proc";

/// Fork these from a process that has little memory.
struct Crowd(Vec<Pid>);

impl Crowd {
    fn of(count: usize) -> Crowd {
        Crowd((0..count).map(|_| sleeper()).collect())
    }
}

fn sleeper() -> Pid {
    // SAFETY: the child makes no call but `pause`, over and over.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Parent { child } => child.as_raw(),
        ForkResult::Child => loop {
            pause();
        },
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for &pid in &self.0 {
            let _ = kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        for &pid in &self.0 {
            let _ = waitpid(nix::unistd::Pid::from_raw(pid), None);
        }
    }
}

fn took<T>(act: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = act();
    (start.elapsed(), result)
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    println!(
        "{what:50} median {:8.2?}  min {:8.2?}  max {:8.2?}",
        times[times.len() / 2],
        times[0],
        times[times.len() - 1]
    );
}

/// What a session looks like at its end, made without this crate: all system calls of one task.
fn bare_instance(path: &Path) {
    fs::create_dir(path).expect("instance");
    write(path.join("options/event-fork"), "1");
    write(path.join("set_event_pid"), &std::process::id().to_string());
    write(path.join("events/syscalls/enable"), "1");
}

fn our_instance(sweeper: &Sweeper, name: &str) -> Instance {
    let instance = sweeper.create(name);
    let me = Pid::try_from(std::process::id()).expect("a pid");
    instance.choose_tasks(Path::new(PROC), &TaskSelection::families([me])).expect("tasks");
    instance.enable_system("syscalls").expect("events");
    instance.start().expect("started");
    instance
}

#[test]
#[ignore = "measures"]
fn removing() {
    let sweeper = need_tracefs!();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let path = sweeper.path("bare");
        bare_instance(&path);
        bare.push(took(|| fs::remove_dir(&path).expect("removed")).0);
        let instance = our_instance(&sweeper, "ours");
        ours.push(took(|| instance.remove().expect("removed")).0);
    }
    report("rmdir alone", bare);
    report("remove()", ours);
}

#[test]
#[ignore = "measures"]
fn creating() {
    let sweeper = need_tracefs!();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let path = sweeper.path("bare");
        bare.push(took(|| fs::create_dir(&path).expect("made")).0);
        fs::remove_dir(&path).expect("removed");
        let (time, instance) = took(|| sweeper.create("ours"));
        ours.push(time);
        drop(instance);
    }
    report("mkdir alone", bare);
    report("Instance::create()", ours);
}

#[test]
#[ignore = "measures"]
fn enabling_every_system_call() {
    let sweeper = need_tracefs!();
    let mut events = sweeper.tracefs.events("syscalls").expect("events");
    events.retain(|event| event.starts_with("sys_enter_"));
    let (mut bare, mut ours, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let path = sweeper.path("bare");
        fs::create_dir(&path).expect("made");
        bare.push(
            took(|| {
                events
                    .iter()
                    .for_each(|event| write(path.join(format!("events/syscalls/{event}/enable")), "1"))
            })
            .0,
        );
        fs::remove_dir(&path).expect("removed");
        let instance = sweeper.create("ours");
        ours.push(
            took(|| events.iter().for_each(|event| instance.enable_event("syscalls", event).expect("event")))
                .0,
        );
        drop(instance);
        let instance = sweeper.create("whole");
        whole.push(took(|| instance.enable_system("syscalls").expect("events")).0);
    }
    report(&format!("{} bare writes of enable", events.len()), bare);
    report("enable_event() for each of them", ours);
    report("enable_system()", whole);
}

#[test]
#[ignore = "measures"]
fn choosing_tasks() {
    let sweeper = need_tracefs!();
    for count in [1, 500, 5_000, 10_000] {
        let crowd = Crowd::of(count);
        let text: String = crowd.0.iter().map(|pid| format!("{pid} ")).collect();
        let (mut bare, mut ours, mut alive) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..5 {
            let path = sweeper.path("bare");
            fs::create_dir(&path).expect("made");
            write(path.join("options/event-fork"), "1");
            let mut set: File = OpenOptions::new().write(true).open(path.join("set_event_pid")).expect("set");
            bare.push(took(|| set.write_all(text.as_bytes()).expect("written")).0);
            drop(set);
            fs::remove_dir(&path).expect("removed");

            let instance = sweeper.create("ours");
            let targets = TaskSelection::families(crowd.0.iter().copied());
            let (time, tasks) = took(|| instance.choose_tasks(Path::new(PROC), &targets));
            ours.push(time);
            let (tasks, _) = tasks.expect("tasks");
            alive.push(took(|| assert!(tasks.any_alive().expect("an answer"))).0);
        }
        report(&format!("{count} pids: one bare write"), bare);
        report(&format!("{count} pids: choose_tasks()"), ours);
        report(&format!("{count} pids: any_alive()"), alive);
    }
}

#[test]
#[ignore = "measures; resets the top-level instance"]
fn resetting() {
    let Some(tracefs) = common::tracefs() else { return };
    report("reset()", (0..5).map(|_| took(|| tracefs.reset().expect("reset")).0).collect());
}
