//! What `--clear` ends, removes and resets, and what it keeps.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use system_tests::{
    Instance, Kernel, Manager, PATIENCE, Plugins, Reader, Workload, lock_out_sweeps, wait_until,
};

fn me() -> String {
    format!("--pid {}", std::process::id())
}

/// Where a function of this executable begins in its file: the kernel puts no probe within an instruction.
fn begin_of_a_function() -> u64 {
    let address = me as fn() -> String as usize as u64;
    let maps = fs::read_to_string("/proc/self/maps").expect("procfs is mounted");
    let places = maps.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let offset = words.nth(1)?;
        let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
        let (start, end, offset) = (hexadecimal(start)?, hexadecimal(end)?, hexadecimal(offset)?);
        (start..end).contains(&address).then(|| address - start + offset)
    });
    places.into_iter().next().expect("the function is mapped")
}

#[test]
fn clear_is_silent_when_there_is_nothing_to_clear() {
    let manager = Manager::with(Plugins::of(["synthetic"]));
    manager.call(["--clear"]).answer().succeeded_silently();
    manager.call(["-c"]).answer().succeeded_silently();
}

#[test]
fn clear_ends_sessions_as_sigint_would_and_waits_for_them() {
    let manager = Manager::with(Plugins::of(["synthetic"]));
    let mut sessions: Vec<_> =
        (0..3).map(|_| manager.run("synthetic_lines", me() + " --count 20000").start()).collect();
    manager.call(["--clear"]).answer().succeeded_silently();
    assert!(manager.files().is_empty(), "{:?} are left", manager.files());
    for session in &mut sessions {
        // The kernel still has to make it a zombie.
        wait_until("it has been waited for", Duration::from_millis(500), || session.process().is_over());
    }
    for session in sessions {
        assert_eq!(session.ends().succeeded().len(), 20_000);
    }
}

#[test]
fn clear_keeps_sessions_of_another_run_directory() {
    let (ours, theirs) =
        (Manager::with(Plugins::of(["synthetic"])), Manager::with(Plugins::of(["synthetic"])));
    let mut session = theirs.run("synthetic_lines", me()).start();
    ours.call(["--clear"]).answer().succeeded_silently();
    assert!(!session.process().is_over());
    assert_eq!(session.stop().succeeded().len(), 10);
}

#[test]
fn a_plugin_that_cannot_clear_is_named_and_the_others_clear() {
    let manager = Manager::with(Plugins::of(["synthetic", "unavailable"]));
    let session = manager.run("synthetic_lines", me()).start();
    manager.call(["--clear"]).answer().failed(&["unavailable", "the stable door is stuck"]);
    assert_eq!(session.ends().succeeded().len(), 10);
}

#[test]
fn a_plugin_that_cannot_clear_does_not_prevent_the_kernel_reset() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let orphan = kernel.make_instance(&orphans_name());
    let manager = Manager::with(Plugins::none().plugin("unavailable", "a.so").plugin("ftrace", "b.so"));
    kernel.top().set("tracing_on", "0");
    manager.call(["--clear"]).answer().failed(&["the stable door is stuck"]);
    assert!(!orphan.exists());
    assert!(kernel.top().is_on());
}

#[test]
fn clear_removes_the_instance_of_a_running_session() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let workload = Workload::start();
    let session = manager.run("trace_syscalls", format!("--pid {} -s getppid", workload.id())).start();
    workload.calls(1000);
    let instance = kernel.instance_of(session.pid());
    manager.call(["--clear"]).answer().succeeded_silently();
    assert!(!instance.exists());
    assert_eq!(session.ends().succeeded().len(), 1000);
}

#[test]
fn clear_removes_the_instances_of_dead_sessions() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let orphan = kernel.make_instance(&orphans_name());
    orphan.set("events/syscalls/sys_enter_getppid/enable", "1");
    Manager::with(Plugins::of(["ftrace"])).call(["--clear"]).answer().succeeded_silently();
    assert!(!orphan.exists());
}

#[test]
fn clear_keeps_running_sessions_of_other_run_directories() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let living = kernel.make_instance(&orphans_name());
    let lock = File::open(living.path()).expect("an instance can be opened");
    lock.lock().expect("an instance can be locked");
    Manager::with(Plugins::of(["ftrace"])).call(["--clear"]).answer().succeeded_silently();
    assert!(living.exists());
}

#[test]
fn clear_keeps_foreign_instances() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let pid = std::process::id();
    let others = ["other_tool", "trace", "tracehookish", "my_tracehook_1_2"];
    let others = others.map(|name| kernel.make_instance(&format!("{name}_{pid}")));
    others.iter().for_each(|other| other.set("events/syscalls/sys_enter_getppid/enable", "1"));
    Manager::with(Plugins::of(["ftrace"])).call(["--clear"]).answer().succeeded_silently();
    for other in &others {
        assert!(other.exists() && other.is_on(), "{}", other.name());
        assert_eq!(other.get("events/syscalls/sys_enter_getppid/enable"), "1", "{}", other.name());
    }
}

#[test]
fn clear_keeps_foreign_probes() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let this_test = std::env::current_exe().expect("this executable has a path");
    let probe = kernel.define_probe(
        &format!("other_tool_{}/here", std::process::id()),
        &this_test,
        begin_of_a_function(),
    );
    Manager::with(Plugins::of(["ftrace"])).call(["--clear"]).answer().succeeded_silently();
    assert!(probe.is_unchanged());
}

#[test]
fn clear_resets_the_top_level_instance_to_its_defaults() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let manager = Manager::with(Plugins::of(["ftrace"]));
    manager.call(["--clear"]).answer().succeeded_silently();
    let defaults = kernel.top_level();

    let top = kernel.top();
    top.set("trace_marker", "written by another program");
    top.set("set_event_pid", &std::process::id().to_string());
    top.set("events/syscalls/sys_enter_getppid/enable", "1");
    top.set("events/sched/sched_switch/filter", "prev_pid == 1");
    top.set("tracing_on", "0");
    assert_ne!(kernel.top_level(), defaults);
    assert!(top.lines().iter().any(|line| line.contains("written by another program")));

    manager.call(["--clear"]).answer().succeeded_silently();
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
fn a_sweep_keeps_sessions_that_are_starting() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let (sweeper, manager) = (Manager::with(Plugins::of(["ftrace"])), Manager::with(Plugins::of(["ftrace"])));
    let workload = Workload::start();
    let arguments = format!("--pid {} -s getppid", workload.id());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    sweeper.call(["--clear"]).answer().succeeded_silently();
                }
            });
        }
        let _done = OnDrop(|| done.store(true, Ordering::Relaxed));
        for _ in 0..20 {
            let session = manager.run("trace_syscalls", &arguments).start();
            workload.calls(10);
            assert_eq!(session.stop().succeeded().len(), 10);
        }
    });
}

/// Runs a closure at the end of its scope, also on a panic.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

#[test]
fn concurrent_clears_all_succeed() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let manager = Manager::with(Plugins::of(["ftrace", "synthetic"]));
    let orphans: Vec<_> = (0..4).map(|n| kernel.make_instance(&format!("{}{n}", orphans_name()))).collect();
    let session = manager.run("synthetic_lines", me()).start();
    let mut calls: Vec<_> = (0..4).map(|_| manager.call(["--clear"]).spawn()).collect();
    calls.iter_mut().for_each(|call| call.ends(PATIENCE).succeeded_silently());
    assert!(orphans.iter().all(|orphan| !orphan.exists()));
    assert_eq!(session.ends().succeeded().len(), 10);
}

#[test]
fn clear_ends_sessions_in_every_state() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let workload = Workload::start();
    let run = || manager.run("trace_syscalls", format!("--pid {} -s getppid", workload.id()));
    let (read, unread, stuck) = (run().start(), run().start_unread(), run().start_unread());
    let _stuck_reader = File::open(stuck.path()).expect("the caller can open the trace");
    let (mut dead, mut orphaned) = (run().start(), run().start());
    workload.calls(100);
    dead.wait_for_lines(100);
    orphaned.wait_for_lines(100);
    dead.process().signal_group(Signal::SIGKILL);
    orphaned.process().signal(Signal::SIGKILL);

    let mut calls = [manager.call(["--clear"]).spawn(), manager.call(["--clear"]).spawn()];
    calls.iter_mut().for_each(|call| call.ends(PATIENCE).succeeded_silently());
    assert!(manager.files().is_empty(), "{:?} are left", manager.files());
    let pids = [read.pid(), unread.pid(), stuck.pid(), dead.pid(), orphaned.pid()];
    assert!(kernel.instances_of(&pids).is_empty());
    assert_eq!(read.ends().succeeded().len(), 100);
    // As after SIGINT: unread output is kept until the next clear.
    assert_eq!(unread.ends().unread().len(), 100);
    assert_eq!(stuck.ends().unread().len(), 100);
    assert_eq!(dead.ends().lines.len(), 100);
    assert_eq!(orphaned.ends().lines.len(), 100);
    manager.call(["--clear"]).answer().succeeded_silently();
    assert!(manager.unread_output().is_empty());
}

#[test]
fn clear_ends_a_session_that_was_stopped_with_ctrl_z() {
    let manager = Manager::with(Plugins::of(["synthetic"]));
    let mut session = manager.run("synthetic_lines", me()).start();
    session.wait_for_lines(10);
    session.process().signal_group(Signal::SIGSTOP);
    manager.call(["--clear"]).answer().succeeded_silently();
    assert_eq!(session.ends().succeeded().len(), 10);
}

#[test]
fn a_session_started_during_a_clear_runs_or_ends_cleanly() {
    let manager = Manager::with(Plugins::of(["synthetic"]));
    let mut with_path = 0;
    for delay in (0..100).map(|n| Duration::from_micros(n * 200)) {
        let mut process = manager.run("synthetic_lines", me()).spawn();
        // The delay chooses the time that is tested.
        thread::sleep(delay);
        manager.call(["--clear"]).answer().succeeded_silently();
        // The session had not started yet when the clear ran.
        wait_until("it prints a path, or ends", PATIENCE, || process.has_output() || process.is_over());
        let path = PathBuf::from(process.stdout().trim_end());
        let reader = Reader::if_there(&path);
        process.signal(Signal::SIGINT);
        let has_path = !process.ends(PATIENCE).succeeded().is_empty();
        let taken = reader.map_or(0, |reader| reader.finish().len());
        match fs::read_to_string(&path) {
            // The reader has opened the unread output, and keeps only the first line of it.
            Ok(unread) => assert_eq!(unread.lines().count(), 10, "cleared after {delay:?}"),
            Err(_) => assert_eq!(taken, if has_path { 10 } else { 0 }, "cleared after {delay:?}"),
        }
        with_path += usize::from(has_path);
    }
    assert!(manager.files().is_empty(), "{:?} are left", manager.files());
    assert!(with_path > 0, "no session printed a path");
}

#[test]
fn clear_keeps_the_state_of_other_tools_byte_for_byte() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let workload = Workload::start();
    let pid = std::process::id();
    let this_test = std::env::current_exe().expect("this executable has a path");
    let here = format!("other_tool_{pid}/here");
    let _probe = kernel.define_probe(&here, &this_test, begin_of_a_function());
    let other = kernel.make_instance(&format!("other_tool_{pid}"));
    other.set("set_event_pid", &workload.id().to_string());
    other.set("events/syscalls/sys_enter_getppid/filter", "common_pid > 1");
    other.set("events/syscalls/sys_enter_getppid/trigger", "traceoff:1 if common_pid == 1");
    other.set("events/syscalls/sys_enter_getppid/enable", "1");
    other.set(&format!("events/{here}/enable"), "1");
    other.set("trace_clock", "mono");
    other.set("options/event-fork", "1");
    other.set("buffer_size_kb", "64");
    workload.calls(5);
    let probes = |kernel: &Kernel| {
        // Other tests define and remove their own probes.
        let own =
            |text: String| text.lines().filter(|line| line.contains(&here)).map(str::to_owned).collect();
        ["uprobe_events", "dynamic_events"].map(|file| -> Vec<String> { own(kernel.top().get(file)) })
    };
    let before = (all_of(&other), probes(&kernel));
    assert_eq!(before.1.each_ref().map(Vec::len), [1, 1], "its own probe, in both files");
    assert!(before.0.len() > 1000 && before.0["trace"].matches("sys_getppid").count() == 5);
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let mut session = manager.run("trace_syscalls", format!("--pid {}", workload.id())).start();
    session.process().signal_group(Signal::SIGKILL);
    manager.call(["--clear"]).answer().succeeded_silently();
    let after = (all_of(&other), probes(&kernel));
    let changed: Vec<_> = before.0.iter().filter(|(file, text)| after.0.get(*file) != Some(text)).collect();
    assert!(changed.is_empty(), "{changed:?}");
    assert_eq!(after, before);
    session.ends();
}

/// All settings and recorded data of the instance, by file.
fn all_of(instance: &Instance) -> BTreeMap<String, String> {
    const TO_READ: [&str; 17] = [
        "buffer_percent",
        "buffer_size_kb",
        "current_tracer",
        "enable",
        "error_log",
        "events/enable",
        "filter",
        "set_event",
        "set_event_notrace_pid",
        "set_event_pid",
        "trace",
        "trace_clock",
        "trace_options",
        "tracing_cpumask",
        "tracing_on",
        "trigger",
        "buffer_subbuf_size_kb",
    ];
    fn add(directory: &Path, name: &str, to: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).expect("it can be listed").flatten() {
            let file = entry.file_name().into_string().expect("it is text");
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory && file != "per_cpu" {
                add(&entry.path(), &format!("{name}{file}/"), to);
            } else if TO_READ.contains(&file.as_str()) || name == "options/" {
                to.insert(format!("{name}{file}"), fs::read_to_string(entry.path()).unwrap_or_default());
            }
        }
    }
    let mut all = BTreeMap::new();
    add(instance.path(), "", &mut all);
    all
}

/// The name of an instance as a dead session leaves it.
fn orphans_name() -> String {
    format!("tracehook_{}_0badcafe", std::process::id())
}
