//! `trace_events`, and its errors for unknown events and invalid filters. Needs root and tracefs.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use system_tests::{Event, Kernel, Log, Manager, Plugins, Script, Session, Workload};

fn manager() -> Manager {
    Manager::with(Plugins::of(["ftrace"]))
}

#[track_caller]
fn trace(manager: &Manager, workload: &Workload, arguments: &str) -> Session {
    manager.run("trace_events", format!("--pid {} {arguments}", workload.id())).start()
}

/// The line on standard error with which the hook refuses these arguments.
#[track_caller]
fn complaint(arguments: &str) -> String {
    let manager = manager();
    let workload = Workload::start();
    let answer = manager.run("trace_events", format!("--pid {} {arguments}", workload.id())).answer();
    assert_eq!((answer.status.code(), answer.stdout.as_str()), (Some(2), ""), "{answer:#?}");
    answer.stderr.clone()
}

#[test]
fn events_are_chosen_by_name_and_by_pattern() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &workload, "-e syscalls:sys_enter_getppid raw_syscalls:*enter");
    workload.calls(100);
    let ended = session.stop();
    let lines = ended.succeeded();
    let of = |what: &str| lines.iter().filter(|line| Event::of(line).what.starts_with(what)).count();
    assert_eq!(of("sys_getppid()"), 100);
    assert!(of("sys_enter: NR ") >= 100);
    assert_eq!(of("sys_getppid()") + of("sys_enter: NR "), lines.len(), "nothing else was asked for");
}

#[test]
fn a_filter_applies_to_the_events_it_names() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let filter =
        "-e syscalls:sys_enter_getppid syscalls:sys_exit_getppid --filter 'syscalls:sys_exit_* ret == 1'";
    let session = trace(&manager, &workload, filter);
    workload.calls(100);
    let ended = session.stop();
    // No task of this test is a child of process 1.
    assert_eq!(ended.succeeded().len(), 100);
    assert!(ended.succeeded().iter().all(|line| Event::of(line).what == "sys_getppid()"));
}

#[test]
fn with_stacks_each_event_has_them() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &workload, "-e syscalls:sys_enter_getppid --stack --format json");
    workload.calls(10);
    let ended = session.stop();
    let events = ended.objects();
    let named = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    assert_eq!((named("sys_enter_getppid").len(), named("kernel_stack").len()), (10, 10));
    for stack in named("kernel_stack") {
        let frames = stack["stack"].as_array().expect("frames");
        assert!(
            frames.iter().any(|frame| frame.as_str().is_some_and(|name| name.contains("syscall"))),
            "{stack}"
        );
    }
    assert_eq!(named("user_stack").len(), 10);
    for stack in named("user_stack") {
        let frames = stack["stack"].as_array().expect("frames");
        let is_address =
            |frame: &serde_json::Value| frame.as_str().is_some_and(|frame| frame.starts_with("0x"));
        assert!(!frames.is_empty() && frames.iter().all(is_address), "{stack}");
    }
    assert_eq!(events.len(), 30);
}

/// Reads digits, and calls getppid(2) from so many frames.
const DEEP: &str = r#"
#include <unistd.h>
__attribute__((noinline)) int deep(int more) { int sum = more ? deep(more - 1) : getppid(); return sum + (read(9, 0, 0) == 1); }
int main(void) { char digit; while (read(0, &digit, 1) == 1) deep(digit - '0'); }
"#;

#[test]
fn stacks_deeper_than_their_records_are_marked() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, directory) = (manager(), tempfile::tempdir().expect("a directory can be made"));
    let program = directory.path().join("deep");
    fs::write(program.with_extension("c"), DEEP).expect("the test owns it");
    let mut compiler = Command::new("cc");
    compiler.args(["-O0", "-fno-omit-frame-pointer", "-o"]).arg(&program).arg(program.with_extension("c"));
    assert!(compiler.status().expect("Rust needs a C compiler, too").success());
    for (digit, is_truncated) in [("1", false), ("9", true)] {
        for format in ["text", "json"] {
            let mut deep = Command::new(&program).stdin(Stdio::piped()).spawn().expect("it is executable");
            let arguments =
                format!("--pid {} -e syscalls:sys_enter_getppid --stack --format {format}", deep.id());
            let session = manager.run("trace_events", arguments).start();
            deep.stdin.take().expect("it is a pipe").write_all(digit.as_bytes()).expect("it reads");
            assert!(deep.wait().expect("it is our child").success());
            let ended = session.stop();
            let text = ended.succeeded().join("\n");
            assert!(text.contains("user_stack") || text.contains("user stack"), "{text}");
            assert_eq!(text.contains("[truncated]"), is_truncated, "{text}");
        }
    }
}

#[test]
fn characters_that_reorder_or_hide_text_are_replaced() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &workload, "-e syscalls:sys_enter_getppid");
    let thread = workload.thread();
    thread.is_called("a\u{202e}b\u{200b}\u{2066}c");
    thread.calls(2);
    let ended = session.stop();
    let lines = ended.succeeded();
    let named = lines.iter().filter(|line| line.contains("a???b??????c-")).count();
    assert_eq!((named, lines.len()), (2, 2), "{lines:#?}");
}

/// A task that forks and renames itself causes events that are recorded only for the session's own use.
#[test]
fn unselected_events_show_no_stacks() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &workload, "-e syscalls:sys_enter_getppid --stack");
    workload.child().calls(1);
    workload.thread().is_called("other");
    workload.calls(2);
    let ended = session.stop();
    let lines = ended.succeeded();
    let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    let stacks = (count(": <stack trace>"), count(": <user stack trace>"));
    assert_eq!((count("sys_getppid"), stacks), (3, (3, 3)), "{lines:#?}");
    assert_eq!(count("task_newtask") + count("task_rename"), 0, "{lines:#?}");
}

/// The kernel records a wakeup of a traced task also where another task wakes it.
#[test]
fn events_that_other_tasks_cause_have_the_stacks_of_those_tasks() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &workload, "-e sched:sched_waking --stack --exact");
    // The kernel misses some of them while other instances are created and removed.
    (0..20).for_each(|_| workload.calls(1));
    let ended = session.stop();
    let lines = ended.succeeded();
    let writer = |line: &str| line.split_once(']').map(|(task_and_cpu, _)| task_and_cpu.to_owned());
    let has_stack = |(at, line): (usize, &&str)| {
        let next = lines[at + 1..].iter().find(|next| writer(next) == writer(line));
        next.is_some_and(|next| next.contains(": <stack trace>"))
    };
    let events = lines.iter().enumerate().filter(|(_, line)| line.contains(": sched_waking: "));
    let are_stacks: Vec<bool> = events.map(has_stack).collect();
    assert!(!are_stacks.is_empty() && are_stacks.iter().all(|is| *is), "{lines:#?}");
}

/// A marker is arbitrary text from a user space program.
#[test]
fn a_trace_marker_cannot_break_lines() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let (manager, log, workload) = (manager(), Log::new(), Workload::start());
    let arguments = format!("--pid {} -e syscalls:sys_enter_getppid", workload.id());
    let session = log.of(manager.call(["-v", "--run", "trace_events", "--args", &arguments])).start();
    let marker = kernel.instance_of(session.pid()).path().join("trace_marker");
    for text in ["one\ntwo\n => three".as_bytes(), b"\x9b2J \xff|", "\u{9b}2J żó\n\n".as_bytes()] {
        workload.writes_text(text, &marker);
    }
    workload.calls(10);
    let ended = session.stop();
    let lines = ended.succeeded();
    let markers: Vec<&str> = lines
        .iter()
        .filter_map(|line| Some(Event::of(line).what.split_once("tracing_mark_write: ")?.1))
        .collect();
    assert_eq!(markers, ["one?two? => three", "?2J ?|", "??2J żó?"]);
    let summary = log.summary();
    assert_eq!((lines.len(), summary.delivered, summary.recorded), (13, 13, 13), "{lines:#?}");
}

#[test]
fn an_unknown_event_is_refused_with_the_known_ones() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let message = complaint("-e sched:sched_swich");
    assert!(
        message.contains("no event 'sched:sched_swich'") && message.contains("'sched:sched_switch'"),
        "{message}"
    );
    let message = complaint("-e sched_switch");
    assert!(message.contains("did you mean 'sched:sched_switch'?"), "{message}");
    let message = complaint("-e 'sched:['");
    assert!(message.contains("is not a pattern"), "{message}");
    let message = complaint("--exact");
    assert!(message.contains("--event"), "{message}");
}

/// While a session records a probe, it cannot be removed.
#[test]
fn probes_of_other_sessions_cannot_be_selected() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ftrace", "uprobe"]));
    let script = Script::start("exit");
    let theirs = manager.run("trace_user", format!("--pid {} -f libc.so.6:getpid", script.id())).start();
    let ours = |arguments: &str| manager.run("trace_events", format!("--pid {} {arguments}", script.id()));
    ours("-e 'tracehook_*'").answer().refused(&["no event 'tracehook_*'"]);
    let all = ours("-e '*:*call*'").start();
    theirs.stop().succeeded();
    all.stop().succeeded();
}

#[test]
fn a_bad_filter_is_refused_with_the_kernels_position() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let message = complaint("-e sched:sched_switch --filter 'prev_prio == 1 && colour == 2'");
    assert!(message.contains("Field not found"), "{message}");
    let lines: Vec<&str> = message.lines().collect();
    let caret = lines.iter().position(|line| line.ends_with(" ^")).expect("a caret");
    let column = lines[caret].find('^').expect("a caret");
    // The kernel's position is behind the field.
    let behind = lines[caret - 1].find(" == 2").expect("the operator after the field");
    assert!(column.abs_diff(behind) <= 1, "{message}");
    let message = complaint("-e sched:sched_switch --filter 'prev_pid == 1)'");
    assert!(message.contains("Too few '('") && message.contains("prev_pid == 1)\n"), "{message}");
    assert!(message.lines().any(|line| line.ends_with(" ^")), "{message}");
    let message = complaint("-e sched:sched_switch --filter 'block:* sector > 0'");
    assert!(message.contains("none of the events"), "{message}");
    let message =
        complaint(&format!("-e sched:sched_switch --filter '{}'", ["prev_prio > 1"; 6000].join(" && ")));
    assert!(message.contains("too long") && message.len() < 300, "{message}");
}
