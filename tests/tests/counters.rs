//! `trace_counters`: the resources that the traced tasks use. Needs root for most tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use system_tests::{Ended, Manager, PATIENCE, Plugins, Script, Session, Workload, is_root, skip, wait_until};

fn manager() -> Manager {
    Manager::with(Plugins::of(["perf"]))
}

/// Whether this user may open perf events of all tasks. If not, reports that the test is skipped.
fn may_count() -> bool {
    let may = is_root() && fs::exists("/proc/sys/kernel/perf_event_paranoid").unwrap_or(false);
    if !may {
        skip("it needs root, and a kernel with perf events");
    }
    may
}

fn count(manager: &Manager, arguments: &str) -> Session {
    manager.run("trace_counters", format!("--format json {arguments}")).start()
}

/// The lines with counters. Unsupported counters are named in the first line and omitted here.
#[track_caller]
fn counters(ended: &Ended) -> Vec<Value> {
    let lines = ended.objects();
    let (reported, counters): (Vec<Value>, Vec<Value>) =
        lines.into_iter().partition(|line| line["event"] == "uncounted");
    let uncounted: Vec<String> = reported
        .iter()
        .flat_map(|line| line["counters"].as_array().expect("a list"))
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect();
    for line in &counters {
        assert_eq!(line["event"], "counters");
        for name in ["task_clock_ns", "context_switches", "migrations", "page_faults"] {
            assert!(line[name].is_u64(), "no {name} in {line}");
        }
        for name in ["cycles", "instructions", "cache_misses"] {
            assert_eq!(line[name].is_u64(), !uncounted.iter().any(|other| other == name), "{name} in {line}");
        }
    }
    counters
}

fn sum(lines: &[Value], name: &str) -> u64 {
    lines.iter().map(|line| line[name].as_u64().expect("a number")).sum()
}

/// The CPU time. The kernel counts it by another clock than the workload: in a virtual machine they differ by some
/// percent, and on a busy host by tens of percent. Time that is counted twice would be off by a factor of two.
fn milliseconds(lines: &[Value]) -> u64 {
    sum(lines, "task_clock_ns") / 1_000_000
}

#[test]
fn cpu_time_is_counted_interval_by_interval_and_to_the_end() {
    if !may_count() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let session = count(&manager, &format!("--pid {} --interval 50", workload.id()));
    workload.spends(400);
    let lines = counters(&session.stop());
    assert!((380..760).contains(&milliseconds(&lines)), "{lines:#?}");
    assert!(lines.len() > 5);
    assert!(lines.iter().all(|line| line["pid"] == workload.id() && line["comm"] == "workload"));
    // On a busy machine a line may be late, while the next one is on time.
    let intervals = sum(&lines, "interval_ns") / 50_000_000;
    assert!((lines.len() as u64) < intervals + 3, "{} lines of {intervals} intervals", lines.len());
}

#[test]
fn threads_and_descendants_are_counted() {
    if !may_count() {
        return;
    }
    let (manager, first, second) = (manager(), Workload::start(), Workload::start());
    let (thread, child) = (first.thread(), first.child());
    let session = count(&manager, &format!("--pid {} {} -i 3600000", first.id(), second.id()));
    let (new_child, new_thread) = (thread.child(), child.thread());
    [&*first, &thread, &child, &new_child, &new_thread].iter().for_each(|task| task.spends(50));
    thread.ends_child(&new_child);
    first.ends_child(&child);
    second.spends(60);
    let lines = counters(&session.stop());
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let of = |workload: &Workload| {
        let its: Vec<Value> = lines.iter().filter(|line| line["pid"] == workload.id()).cloned().collect();
        milliseconds(&its)
    };
    assert!((238..475).contains(&of(&first)), "{lines:#?}");
    assert!((57..114).contains(&of(&second)), "{lines:#?}");
}

#[test]
fn a_program_that_is_not_counted_is_not_named() {
    if !may_count() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let set_user_id = directory.path().join("set-user-id");
    fs::copy("/bin/sleep", &set_user_id).expect("a copy");
    fs::set_permissions(&set_user_id, fs::Permissions::from_mode(0o4755)).expect("it is ours");
    let manager = manager();
    // The kernel ends the counters of the shell when it executes the program, but not those of its child.
    let script = format!("sleep 0.5 & exec {} 2", set_user_id.display());
    let script = Script::start_under(&["setpriv", "--reuid", "65534", "--clear-groups"], &script);
    wait_until("it is a shell", PATIENCE, || comm(script.id()) == "sh");
    let session = count(&manager, &format!("--pid {} --interval 100", script.id()));
    let id = script.id();
    script.run_to_end();
    let lines = counters(&session.ends());
    assert!(lines.len() > 2 && lines.iter().all(|line| line["pid"] == id), "{lines:#?}");
    assert!(lines.iter().all(|line| line["comm"] == "sh"), "{lines:#?}");
}

fn comm(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim_end().to_owned()
}

#[test]
fn a_program_that_is_executed_is_named() {
    if !may_count() {
        return;
    }
    let (manager, script) = (manager(), Script::start("exec sleep 0.5"));
    let session = count(&manager, &format!("--pid {} --interval 100", script.id()));
    script.run_to_end();
    let lines = counters(&session.ends());
    assert!(lines.iter().any(|line| line["comm"] == "sleep"), "{lines:#?}");
}

#[test]
fn a_process_can_be_given_by_any_of_its_threads() {
    if !may_count() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let (thread, child) = (workload.thread(), workload.child());
    let session = count(&manager, &format!("--pid {} -i 3600000", thread.id()));
    [&*workload, &thread, &child].iter().for_each(|task| task.spends(50));
    let lines = counters(&session.stop());
    assert!(lines.len() == 1 && (142..285).contains(&milliseconds(&lines)), "{lines:#?}");
    assert_eq!((&lines[0]["pid"], &lines[0]["comm"]), (&workload.id().into(), &"workload".into()));
}

#[test]
fn total_gives_one_line_for_all_processes() {
    if !may_count() {
        return;
    }
    let (manager, first, second) = (manager(), Workload::start(), Workload::start());
    let session = count(&manager, &format!("--pid {} {} -i 3600000 --total", first.id(), second.id()));
    first.spends(50);
    second.spends(50);
    let lines = counters(&session.stop());
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0]["pid"].is_null() && (95..190).contains(&milliseconds(&lines)), "{lines:#?}");
}

#[test]
fn exact_and_parent_separate_a_process_from_its_children() {
    if !may_count() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let child = workload.child();
    let alone = count(&manager, &format!("--exact --pid {} -i 3600000", workload.id()));
    let children = count(&manager, &format!("--parent {} -i 3600000", workload.id()));
    let (new_child, new_thread) = (workload.child(), workload.thread());
    [&child, &new_child].iter().for_each(|task| task.spends(100));
    [&*workload, &new_thread].iter().for_each(|task| task.spends(20));
    let (alone, children) = (counters(&alone.stop()), counters(&children.stop()));
    assert!((38..76).contains(&milliseconds(&alone)), "{alone:#?}");
    assert!((190..380).contains(&milliseconds(&children)), "{children:#?}");
    assert!(children.iter().all(|line| line["pid"] == workload.id()), "{children:#?}");
}

#[test]
fn perf_stat_counts_the_same() {
    if !may_count() {
        return;
    }
    if Command::new("perf").arg("--version").output().is_err() {
        eprintln!("NOT COMPARED with perf stat, which is not installed");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory can be made");
    let output = directory.path().join("stat");
    let (manager, workload) = (manager(), Workload::start());
    let session = count(&manager, &format!("--pid {} -i 3600000", workload.id()));
    let mut perf = Command::new("perf")
        .args(["stat", "--field-separator", ",", "--event", "task-clock,page-faults,context-switches"])
        .args(["--pid", &workload.id().to_string(), "--output"])
        .arg(&output)
        .spawn()
        .expect("perf can be started");
    // It installs its signal handler when it has begun to count.
    let catches_sigint = || {
        let status = fs::read_to_string(format!("/proc/{}/status", perf.id())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
        u64::from_str_radix(caught.trim(), 16).is_ok_and(|caught| caught & 2 != 0)
    };
    wait_until("perf counts", Duration::from_secs(10), catches_sigint);
    workload.spends(500);
    let child = workload.child();
    child.spends(300);
    workload.ends_child(&child);
    kill(Pid::from_raw(perf.id().cast_signed()), Signal::SIGINT).expect("perf is installed");
    perf.wait().expect("it is a child of the test");
    let ours = counters(&session.stop());
    let text = fs::read_to_string(output).expect("perf has written it");
    let theirs = |event: &str| -> f64 {
        let line = text.lines().find(|line| line.split(',').nth(2) == Some(event));
        let value = line.and_then(|line| line.split(',').next()?.parse().ok());
        value.unwrap_or_else(|| panic!("no {event} in {text}"))
    };
    let near = |ours: u64, theirs: f64, slack: f64| {
        assert!(
            (ours as f64 - theirs).abs() <= theirs * 0.1 + slack,
            "the hook counts {ours}, perf counts {theirs}"
        );
    };
    near(milliseconds(&ours), theirs("task-clock"), 20.0);
    near(sum(&ours, "page_faults"), theirs("page-faults"), 20.0);
    near(sum(&ours, "context_switches"), theirs("context-switches"), 20.0);
}

#[test]
fn the_session_ends_with_its_last_task() {
    if !may_count() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let session = count(&manager, &format!("--pid {} -i 3600000", workload.id()));
    workload.spends(50);
    workload.exits();
    let lines = counters(&session.ends());
    assert!(milliseconds(&lines) >= 47, "{lines:#?}");
}

#[test]
fn a_slow_reader_loses_no_counts() {
    if !may_count() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let call = manager.run("trace_counters", format!("--pid {} --format json -i 1 --drain 1", workload.id()));
    let session = call.start_unread().read_slowly(Duration::from_millis(10));
    workload.spends(300);
    let mut ended = session.stop();
    let unread = std::mem::take(&mut ended.unread);
    ended.lines.extend(unread);
    let lines = counters(&ended);
    assert!((285..570).contains(&milliseconds(&lines)), "{}", milliseconds(&lines));
}

#[test]
fn an_interval_of_zero_is_refused() {
    if !may_count() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    for interval in ["0", "-1", "x", "86400001"] {
        let call = manager.run("trace_counters", format!("--pid {} --interval={interval}", workload.id()));
        call.answer().refused(&["--interval", interval]);
    }
}

#[test]
fn an_unprivileged_user_gets_the_missing_privileges_named() {
    if !may_count() {
        return;
    }
    let manager = Manager::for_everyone(Plugins::of(["perf"]));
    for hook in ["trace_counters", "trace_profile"] {
        let call = manager.run(hook, format!("--pid {}", std::process::id())).as_nobody();
        call.answer().failed(&["perf events", "CAP_PERFMON", "perf_event_paranoid"]);
    }
}
