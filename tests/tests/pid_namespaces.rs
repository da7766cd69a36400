//! A manager in a pid namespace of its own, where `/proc` is that of the host: its own ids are not those in `/proc`.

use std::fs;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use system_tests::{Call, Manager, PATIENCE, Plugins, children_of, is_root, skip, wait_until};

/// The manager becomes process 1.
const AS_FIRST: [&str; 4] = ["unshare", "--pid", "--fork", "--kill-child"];
/// A shell is process 1.
const BELOW_A_SHELL: [&str; 8] =
    ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "\"$@\"; exit $?", "sh"];

fn manager_or_skip() -> Option<Manager> {
    if !is_root() {
        skip("it needs root");
        return None;
    }
    Some(Manager::with(Plugins::of(["misbehaving"])))
}

fn run<'a>(manager: &'a Manager, arguments: &str, fault: &str) -> Call<'a> {
    let me = format!("--pid {} {arguments}", std::process::id());
    manager.call(["-v", "--run", "misbehaves", "--args", &me]).variable("MISBEHAVE", fault)
}

#[test]
fn processes_that_a_plugin_leaves_are_killed_by_their_own_ids() {
    let Some(manager) = manager_or_skip() else { return };
    for fault in ["daemon:start", "fork:start", "daemon:stop"] {
        let answer = run(&manager, "--time 10", fault).under(BELOW_A_SHELL).answer();
        assert!(answer.status.success(), "{fault}: {answer:#?}");
        assert!(answer.stderr.lines().count() < 10, "{fault}: each process is killed once: {answer:#?}");
        assert!(answer.stderr.contains("killing process"), "{fault}: {answer:#?}");
        wait_until("no process is left", PATIENCE, || manager.processes().is_empty());
    }
}

/// Such as those that `docker exec` leaves. When the first process ends, the kernel kills them.
#[test]
fn the_first_process_of_a_namespace_waits_for_orphans_and_does_not_kill_them() {
    let Some(manager) = manager_or_skip() else { return };
    let mut process = run(&manager, "", "none").under(AS_FIRST).spawn();
    wait_until("the session is there", PATIENCE, || process.has_output());
    let [first] = process.workers()[..] else { panic!("unshare has one child") };
    orphan(first, "true");
    orphan(first, "sleep 600");
    wait_until("what has ended is waited for", PATIENCE, || {
        let states: Vec<String> = children_of(first).into_iter().map(state).collect();
        // The worker, and what sleeps.
        states.len() == 2 && states.iter().all(|state| state != "Z")
    });
    kill(Pid::from_raw(first.cast_signed()), Signal::SIGINT).expect("it is running");
    let answer = process.ends(PATIENCE);
    assert!(answer.status.success() && !answer.stderr.contains("killing"), "{answer:#?}");
}

/// Runs a command in the namespace of a process, whose first process becomes its parent.
#[track_caller]
fn orphan(first: u32, command: &str) {
    let script = format!("{command} >&- 2>&- &");
    let mut enter = Command::new("nsenter");
    enter.args(["--target", &first.to_string(), "--pid", "sh", "-c", &script]).stdin(Stdio::null());
    assert!(enter.status().expect("nsenter runs").success());
}

/// Empty if it has ended.
fn state(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|fields| fields.split(' ').next()).unwrap_or_default().to_owned()
}
