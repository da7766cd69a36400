//! What `--clear` ends, removes and resets, and what it leaves alone.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use system_tests::{Instance, Kernel, Manager, PATIENCE, Plugins, Workload, no_other_sweeps, wait_until};

fn me() -> String {
    format!("--pid {}", std::process::id())
}

#[test]
fn clear_has_nothing_to_say_when_there_is_nothing_to_clear() {
    let manager = Manager::with(Plugins::of(["made_up"]));
    manager.call(["--clear"]).answer().well_and_silent();
    manager.call(["-c"]).answer().well_and_silent();
}

#[test]
fn clear_ends_sessions_as_sigint_would_and_waits_for_them() {
    let manager = Manager::with(Plugins::of(["made_up"]));
    let mut sessions: Vec<_> =
        (0..3).map(|_| manager.run("made_up_lines", me() + " --count 20000").start()).collect();
    manager.call(["--clear"]).answer().well_and_silent();
    assert!(manager.files().is_empty(), "{:?} are left", manager.files());
    for session in &mut sessions {
        // What is left to do is for the kernel: to make it a zombie.
        wait_until("it has been waited for", Duration::from_millis(500), || session.process().is_over());
    }
    for session in sessions {
        assert_eq!(session.ends().well().len(), 20_000);
    }
}

#[test]
fn clear_does_not_touch_the_sessions_of_another_installation() {
    let (ours, theirs) = (Manager::with(Plugins::of(["made_up"])), Manager::with(Plugins::of(["made_up"])));
    let mut session = theirs.run("made_up_lines", me()).start();
    ours.call(["--clear"]).answer().well_and_silent();
    assert!(!session.process().is_over());
    assert_eq!(session.stop().well().len(), 10);
}

#[test]
fn one_plugin_that_cannot_clear_is_named_and_keeps_no_other_from_it() {
    let manager = Manager::with(Plugins::of(["made_up", "unavailable"]));
    let session = manager.run("made_up_lines", me()).start();
    manager.call(["--clear"]).answer().failed(&["unavailable", "the stable door is stuck"]);
    assert_eq!(session.ends().well().len(), 10);
}

#[test]
fn one_plugin_that_cannot_clear_does_not_keep_the_kernel_from_being_reset() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = no_other_sweeps();
    let orphan = kernel.make_instance(&orphans_name());
    let manager = Manager::with(Plugins::none().plugin("unavailable", "a.so").plugin("ftrace", "b.so"));
    kernel.top().set("tracing_on", "0");
    manager.call(["--clear"]).answer().failed(&["the stable door is stuck"]);
    assert!(!orphan.exists());
    assert!(kernel.top().is_on());
}

#[test]
fn clear_ends_a_session_in_the_kernel() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = no_other_sweeps();
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let workload = Workload::start();
    let session = manager.run("trace_syscalls", format!("--pid {} -s getppid", workload.id())).start();
    workload.calls(1000);
    let instance = kernel.instance_of(session.pid());
    manager.call(["--clear"]).answer().well_and_silent();
    assert!(!instance.exists());
    assert_eq!(session.ends().well().len(), 1000);
}

#[test]
fn clear_removes_what_dead_sessions_left() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = no_other_sweeps();
    let orphan = kernel.make_instance(&orphans_name());
    orphan.set("events/syscalls/sys_enter_getppid/enable", "1");
    Manager::with(Plugins::of(["ftrace"])).call(["--clear"]).answer().well_and_silent();
    assert!(!orphan.exists());
}

#[test]
fn clear_leaves_living_sessions_of_others_alone() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = no_other_sweeps();
    let living = kernel.make_instance(&orphans_name());
    let lock = File::open(living.path()).expect("an instance can be opened");
    lock.lock().expect("an instance can be locked");
    Manager::with(Plugins::of(["ftrace"])).call(["--clear"]).answer().well_and_silent();
    assert!(living.exists());
}

#[test]
fn clear_leaves_other_tools_instances_alone() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = no_other_sweeps();
    let pid = std::process::id();
    let others = ["other_tool", "trace", "tracehookish", "my_tracehook_1_2"];
    let others = others.map(|name| kernel.make_instance(&format!("{name}_{pid}")));
    others.iter().for_each(|other| other.set("events/syscalls/sys_enter_getppid/enable", "1"));
    Manager::with(Plugins::of(["ftrace"])).call(["--clear"]).answer().well_and_silent();
    for other in &others {
        assert!(other.exists() && other.is_on(), "{}", other.name());
        assert_eq!(other.get("events/syscalls/sys_enter_getppid/enable"), "1", "{}", other.name());
    }
}

#[test]
fn clear_leaves_other_tools_probes_alone() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = no_other_sweeps();
    let probe = Uprobe::define(kernel.top(), format!("other_tool_{}/here", std::process::id()));
    Manager::with(Plugins::of(["ftrace"])).call(["--clear"]).answer().well_and_silent();
    assert!(probe.is_defined());
}

/// Another tool's user probe. Dropping it removes it.
struct Uprobe {
    top: Instance,
    name: String,
}

impl Uprobe {
    fn define(top: Instance, name: String) -> Self {
        let this_test = std::env::current_exe().expect("this executable has a path");
        append(&top, &format!("p:{name} {}:0x1000", this_test.display()));
        Self { top, name }
    }

    fn is_defined(&self) -> bool {
        self.top.get("uprobe_events").contains(&self.name)
    }
}

impl Drop for Uprobe {
    fn drop(&mut self) {
        append(&self.top, &format!("-:{}", self.name));
    }
}

/// A plain write would remove every probe there is.
fn append(top: &Instance, definition: &str) {
    use std::io::Write;

    let file = File::options().append(true).open(top.path().join("uprobe_events"));
    let written = file.and_then(|mut file| file.write_all(definition.as_bytes()));
    written.unwrap_or_else(|error| panic!("{definition}: {error}"));
}

#[test]
fn clear_resets_the_top_level_instance_to_its_defaults() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = no_other_sweeps();
    let manager = Manager::with(Plugins::of(["ftrace"]));
    manager.call(["--clear"]).answer().well_and_silent();
    let defaults = kernel.top_level();

    let top = kernel.top();
    top.set("trace_marker", "somebody was here");
    top.set("set_event_pid", &std::process::id().to_string());
    top.set("events/syscalls/sys_enter_getppid/enable", "1");
    top.set("events/sched/sched_switch/filter", "prev_pid == 1");
    top.set("tracing_on", "0");
    assert_ne!(kernel.top_level(), defaults);
    assert!(top.lines().iter().any(|line| line.contains("somebody was here")));

    manager.call(["--clear"]).answer().well_and_silent();
    assert_eq!(kernel.top_level(), defaults);
    assert!(top.is_on());
    assert_eq!(top.get("current_tracer"), "nop");
    assert_eq!(top.get("set_event"), "");
    assert_eq!(top.get("events/enable"), "0");
    assert_eq!(top.get("events/sched/sched_switch/filter"), "none");
    assert!(top.pids().is_empty());
    assert!(top.lines().is_empty(), "{:?}", top.lines());
}

#[test]
fn whoever_sweeps_leaves_sessions_alone_that_are_about_to_start() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let _alone = no_other_sweeps();
    let (sweeper, manager) = (Manager::with(Plugins::of(["ftrace"])), Manager::with(Plugins::of(["ftrace"])));
    let workload = Workload::start();
    let arguments = format!("--pid {} -s getppid", workload.id());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    sweeper.call(["--clear"]).answer().well_and_silent();
                }
            });
        }
        let _done = OnDrop(|| done.store(true, Ordering::Relaxed));
        for _ in 0..20 {
            let session = manager.run("trace_syscalls", &arguments).start();
            workload.calls(10);
            assert_eq!(session.stop().well().len(), 10);
        }
    });
}

/// Does something at the end of its scope, whatever happens there.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

#[test]
fn many_may_clear_at_once() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = no_other_sweeps();
    let manager = Manager::with(Plugins::of(["ftrace", "made_up"]));
    let orphans: Vec<_> = (0..4).map(|n| kernel.make_instance(&format!("{}{n}", orphans_name()))).collect();
    let session = manager.run("made_up_lines", me()).start();
    let mut calls: Vec<_> = (0..4).map(|_| manager.call(["--clear"]).spawn()).collect();
    calls.iter_mut().for_each(|call| call.ends(PATIENCE).well_and_silent());
    assert!(orphans.iter().all(|orphan| !orphan.exists()));
    assert_eq!(session.ends().well().len(), 10);
}

/// The name of an instance that a dead session could have left.
fn orphans_name() -> String {
    format!("tracehook_{}_0badcafe", std::process::id())
}
