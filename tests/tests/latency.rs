//! `trace_latency`, and the selection of tasks by the programs of all eBPF hooks. Needs root.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use system_tests::{Ended, Kernel, Manager, PATIENCE, Plugins, Session, Workload, wait_until};

fn manager() -> Manager {
    Manager::with(Plugins::of(["ebpf"]))
}

fn trace(manager: &Manager, arguments: &str) -> Session {
    manager.run("trace_latency", format!("--brief --format json {arguments}")).start()
}

/// The number of `getppid` calls in the whole session.
#[track_caller]
fn calls(ended: &Ended) -> u64 {
    total(&ended.objects(), "getppid").map_or(0, |line| line["count"].as_u64().expect("a count"))
}

fn total<'a>(lines: &'a [Value], call: &str) -> Option<&'a Value> {
    lines.iter().find(|line| line["event"] == "latency_total" && line["call"] == call)
}

#[test]
fn threads_and_descendants_are_traced() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let (thread, child) = (workload.thread(), workload.child());
    let (childs_thread, grandchild) = (child.thread(), child.child());
    let session = trace(&manager, &format!("--pid {}", workload.id()));
    let (later_thread, later_child) = (workload.thread(), thread.child());
    let later_grandchild = later_child.child();
    workload.calls(1);
    thread.calls(2);
    child.calls(4);
    childs_thread.calls(8);
    grandchild.calls(16);
    later_thread.calls(32);
    later_child.calls(64);
    later_grandchild.calls(128);
    workload.storm(256);
    assert_eq!(calls(&session.stop()), 511);
}

#[test]
fn a_process_can_be_given_by_any_of_its_threads() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for (arguments, expected) in [("", 15), ("--exact", 3)] {
        let workload = Workload::start();
        let (thread, child) = (workload.thread(), workload.child());
        let session = trace(&manager, &format!("--pid {} {arguments}", thread.id()));
        workload.calls(1);
        thread.calls(2);
        child.calls(4);
        thread.child().calls(8);
        assert_eq!(calls(&session.stop()), expected, "{arguments}");
    }
}

#[test]
fn exact_excludes_children() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let (thread, child) = (workload.thread(), workload.child());
    let session = trace(&manager, &format!("--pid {} --exact", workload.id()));
    let later_thread = workload.thread();
    workload.calls(1);
    thread.calls(2);
    later_thread.calls(4);
    child.calls(1000);
    workload.child().calls(1000);
    workload.storm(10);
    assert_eq!(calls(&session.stop()), 7);
}

#[test]
fn parent_selects_only_the_children() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let (thread, child) = (workload.thread(), workload.child());
    let session = trace(&manager, &format!("--parent {}", workload.id()));
    workload.calls(1000);
    thread.calls(1000);
    child.calls(1);
    let later = thread.child();
    later.calls(2);
    later.child().calls(4);
    assert_eq!(calls(&session.stop()), 7);
}

#[test]
fn a_session_ends_after_its_last_task() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut workload = Workload::start();
    let session = trace(&manager, &format!("--pid {}", workload.id()));
    workload.calls(10);
    workload.becomes_a_zombie();
    let ended = session.ends();
    assert_eq!(calls(&ended), 10);
    assert!(ended.answer.took < Duration::from_secs(5), "it took {:?}", ended.answer.took);
}

/// They have no names, and must not use up the table of those that have.
#[test]
fn unknown_system_call_numbers_are_counted_together() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &format!("--pid {}", workload.id()));
    workload.invents(3000);
    workload.calls(7);
    let ended = session.stop();
    assert_eq!(calls(&ended), 7);
    let lines = ended.objects();
    let none = total(&lines, "none").expect("some calls are counted");
    assert_eq!(none["count"], 3000);
    assert!(lines.len() < 20 && lines.iter().all(|line| line["event"] == "latency_total"), "{lines:#?}");
}

#[test]
fn durations_match_the_calls() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut shell = Command::new("sh")
        .args(["-c", "read go; for i in 1 2 3 4; do sleep 0.1; done; sleep 0.3"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let session = trace(&manager, &format!("--pid {}", shell.id()));
    drop(shell.stdin.take());
    shell.wait().expect("it ends");
    let lines = session.ends().objects();
    let sleeps = total(&lines, "clock_nanosleep").expect("there are sleeps");
    let number = |name: &str| sleeps[name].as_u64().expect("a number");
    assert_eq!(number("count"), 5);
    // No sleep is too short; on a busy machine it may be longer.
    assert!(number("p50_ns") > 93_000_000 && number("p50_ns") < 250_000_000, "{sleeps}");
    assert!(number("max_ns") >= 300_000_000 && number("mean_ns") >= 140_000_000, "{sleeps}");
    assert!(number("p99_ns") <= number("max_ns"), "{sleeps}");
    let buckets = sleeps["buckets"].as_array().expect("a list");
    assert_eq!(buckets.iter().map(|bucket| bucket["count"].as_u64().expect("a count")).sum::<u64>(), 5);
}

#[test]
fn each_interval_reports_only_its_own_calls() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &format!("--pid {} --interval 1 --time 6000", workload.id()));
    workload.calls(1000);
    session.wait_for_lines(1);
    workload.calls(20);
    let ended = session.ends();
    let lines = ended.objects();
    let intervals = lines.iter().filter(|line| line["event"] == "latency" && line["call"] == "getppid");
    let counts: Vec<&Value> = intervals.clone().map(|line| &line["count"]).collect();
    assert_eq!(counts, [1000, 20]);
    for line in intervals {
        assert!(line["interval_ns"].as_u64().is_some_and(|interval| interval >= 1_000_000_000), "{line}");
    }
    assert_eq!(calls(&ended), 1020);
}

#[test]
fn two_capabilities_are_enough() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::for_everyone(Plugins::of(["ebpf"]));
    let workload = Workload::start();
    let caps = ["--inh-caps", "--ambient-caps", "--bounding-set"];
    let caps = caps.map(|set| format!("{set}=-all,+bpf,+perfmon"));
    let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"].map(str::to_owned);
    let arguments = format!("--pid {} --brief --format json", workload.id());
    let session = manager.run("trace_latency", arguments).under(user.into_iter().chain(caps)).start();
    workload.calls(7);
    assert_eq!(calls(&session.stop()), 7);
}

#[test]
fn text_shows_a_histogram_of_each_call() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = manager.run("trace_latency", format!("--pid {}", workload.id())).start();
    workload.calls(5000);
    let ended = session.stop();
    let lines = ended.succeeded();
    let calls = lines.iter().position(|line| line.contains(" latency_total: call=getppid "));
    let calls = calls.expect("there is a line");
    assert!(lines[calls].contains(" count=5000 ") && lines[calls].contains(" p99="), "{}", lines[calls]);
    let rows: Vec<&&str> = lines[calls + 1..].iter().take_while(|line| line.starts_with(" => ")).collect();
    let count = |row: &str| row.split_whitespace().nth(3).and_then(|count| count.parse::<u64>().ok());
    assert_eq!(rows.iter().filter_map(|row| count(row)).sum::<u64>(), 5000, "{rows:#?}");
}

#[test]
fn an_interval_of_zero_is_refused() {
    let manager = manager();
    for interval in ["0", "-1", "soon", "86401"] {
        let arguments = format!("--pid {} --interval={interval}", std::process::id());
        manager.run("trace_latency", arguments).answer().refused(&["interval", interval]);
    }
}

/// Objects that are bound to descriptors are released with the process that has them.
#[test]
fn a_killed_session_leaves_nothing() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let mut session = trace(&manager, &format!("--pid {}", workload.id()));
    assert!(programs_of(session.pid()) > 0, "the worker has programs");
    let worker = children(session.pid());
    session.process().signal(nix::sys::signal::Signal::SIGKILL);
    let gone = || worker.iter().all(|worker| !std::path::Path::new(&format!("/proc/{worker}")).exists());
    wait_until("the worker is gone", PATIENCE, gone);
    drop(session);
    manager.call(["--clear"]).answer().succeeded_silently();
}

/// The number of eBPF programs that the children of a process hold.
fn programs_of(process: u32) -> usize {
    let descriptors =
        |child: u32| std::fs::read_dir(format!("/proc/{child}/fd")).into_iter().flatten().flatten();
    let is_program = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().contains("bpf-prog"))
    };
    children(process).into_iter().map(|child| descriptors(child).filter(is_program).count()).sum()
}

fn children(process: u32) -> Vec<u32> {
    let list =
        std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}
