//! `trace_syscalls` with a real workload. Needs root and tracefs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use system_tests::{Ended, Event, Kernel, Loss, Manager, Plugins, Reader, Session, Task, Workload};

fn manager() -> Manager {
    Manager::with(Plugins::of(["ftrace"]))
}

/// A session that traces `getppid` of a task, with more arguments.
#[track_caller]
fn trace(manager: &Manager, task: &Task, arguments: &str) -> Session {
    manager.run("trace_syscalls", format!("--pid {} -s getppid {arguments}", task.id())).start()
}

/// The number of `getppid` calls of each task; the trace must have no other lines.
#[track_caller]
fn calls_by_task(ended: &Ended) -> BTreeMap<u32, usize> {
    let mut calls = BTreeMap::new();
    for line in ended.succeeded() {
        let event = Event::of(line);
        assert_eq!(event.what, "sys_getppid()");
        *calls.entry(event.id).or_default() += 1;
    }
    calls
}

/// Checks that exactly these tasks made exactly this many calls.
#[track_caller]
fn assert_calls<const N: usize>(ended: &Ended, expected: [(&Task, usize); N]) {
    assert_eq!(calls_by_task(ended), expected.map(|(task, count)| (task.id(), count)).into());
}

#[test]
fn the_hook_is_listed_and_described() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    assert!(manager.call(["--get-all"]).answer().succeeded().lines().any(|hook| hook == "trace_syscalls"));
    let described = manager.call(["--describe", "trace_syscalls"]).answer();
    for argument in ["--syscall", "-s", "--exit", "--pid", "--parent"] {
        assert!(described.succeeded().contains(argument), "no {argument} in {described:#?}");
    }
}

#[test]
fn every_call_after_the_path_is_recorded_once() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    workload.calls(10);
    let session = trace(&manager, &workload, "");
    workload.calls(10_000);
    assert_calls(&session.stop(), [(&workload, 10_000)]);
}

/// The records of its last calls are read when it is no longer in procfs.
#[test]
fn json_has_the_process_of_a_tasks_last_events() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut shell = Command::new("sh");
    let mut shell = shell.args(["-c", "read _"]).stdin(Stdio::piped()).spawn().expect("a shell");
    let pid = shell.id();
    let session = manager.run("trace_syscalls", format!("--pid {pid} --format json")).start();
    drop(shell.stdin.take());
    shell.wait().expect("it ends");
    let ended = session.ends();
    let events = ended.objects();
    assert!(events.iter().any(|event| event["event"] == "sys_enter_exit_group"), "{events:#?}");
    assert!(events.iter().all(|event| event["pid"] == pid), "{events:#?}");
}

#[test]
fn an_event_has_the_task_name_of_its_time() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut shell = Command::new("sh");
    let mut shell = shell.args(["-c", "read _; exec true"]).stdin(Stdio::piped()).spawn().expect("a shell");
    let arguments = format!("--pid {} -s execve exit_group --format json", shell.id());
    let session = manager.run("trace_syscalls", arguments).start();
    drop(shell.stdin.take());
    shell.wait().expect("it ends");
    let ended = session.ends();
    let events = ended.objects();
    let names: Vec<_> = events.iter().map(|event| (&event["event"], &event["comm"])).collect();
    assert_eq!(names.first(), Some(&(&"sys_enter_execve".into(), &"sh".into())), "{events:#?}");
    assert_eq!(names.last(), Some(&(&"sys_enter_exit_group".into(), &"true".into())), "{events:#?}");
}

#[test]
fn json_has_one_object_per_call() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &workload, "--exit --format json");
    workload.calls(100);
    let ended = session.stop();
    let events = ended.objects();
    let named = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!((events.len(), named("sys_enter_getppid"), named("sys_exit_getppid")), (200, 100, 100));
    for event in &events {
        assert_eq!((&event["pid"], &event["tid"]), (&workload.id().into(), &workload.id().into()));
        assert!(event["time"].is_f64() && event["cpu"].is_u64() && event["comm"].is_string(), "{event}");
        let parent = &event["fields"]["ret"];
        assert!(event["event"] == "sys_enter_getppid" || *parent == std::process::id(), "{event}");
    }
}

#[test]
fn calls_of_other_tasks_are_not_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (traced, bystander) = (Workload::start(), Workload::start());
    let session = trace(&manager, &traced, "");
    traced.begins_to_call(1000);
    bystander.calls(1000);
    bystander.child().calls(1000);
    traced.thread();
    assert_calls(&session.stop(), [(&traced, 1000)]);
}

#[test]
fn without_a_selection_every_system_call_is_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = manager.run("trace_syscalls", format!("--pid {}", workload.id())).start();
    workload.calls(50);
    workload.calls(50);
    let ended = session.stop();
    let lines = ended.succeeded();
    let events: Vec<Event> = lines.iter().map(|line| Event::of(line)).collect();
    assert!(events.iter().all(|event| event.id == workload.id()));
    assert!(events.iter().all(|event| event.what.starts_with("sys_") && !event.what.contains(" -> ")));
    assert_eq!(events.iter().filter(|event| event.what == "sys_getppid()").count(), 100);
    // It writes its first answer and reads its second command.
    assert!(events.iter().any(|event| event.what.starts_with("sys_read(fd: 0, ")));
    assert!(events.iter().any(|event| event.what.starts_with("sys_write(fd: 1, ")));
}

#[test]
fn exit_adds_the_returns() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &workload, "--exit");
    workload.calls(100);
    let ended = session.stop();
    let what: Vec<&str> = ended.succeeded().iter().map(|line| Event::of(line).what).collect();
    let returned = format!("sys_getppid -> 0x{:x}", std::process::id());
    assert_eq!(what, ["sys_getppid()", &returned].repeat(100));
}

#[test]
fn several_system_calls_can_be_selected() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    for choice in ["-s getppid write", "-s getppid -s write", "--syscall sys_enter_write sys_enter_getppid"] {
        let session = manager.run("trace_syscalls", format!("--pid {} {choice}", workload.id())).start();
        workload.calls(3);
        let ended = session.stop();
        let name = |line: &&str| Event::of(line).what.split('(').next().map(str::to_owned);
        let names: BTreeSet<String> = ended.succeeded().iter().filter_map(name).collect();
        assert_eq!(names, ["sys_getppid".to_owned(), "sys_write".to_owned()].into(), "{choice}");
    }
}

#[test]
fn an_unknown_system_call_is_refused_with_the_nearest_name() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let refused = |name: &str, mentions: &[&str]| {
        let arguments = format!("--pid {} -s {name}", std::process::id());
        manager.run("trace_syscalls", arguments).answer().refused(mentions);
    };
    refused("getpppid", &["'getpppid'", "'getppid'"]);
    refused("opnat", &["'opnat'", "'openat'"]);
    refused("xyzzyxyzzy", &["'xyzzyxyzzy'"]);
    refused("getppid getpppid", &["'getpppid'"]);
    refused("../../sched/sched_switch", &["'../../sched/sched_switch'"]);
    refused("''", &["''"]);
}

#[test]
fn lines_are_exactly_the_kernels_own() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let witness = kernel.make_instance(&format!("witness_{}", workload.id()));
    witness.set("set_event_pid", &workload.id().to_string());
    witness.set("events/syscalls/enable", "1");
    let session = manager.run("trace_syscalls", format!("--pid {} --exit", workload.id())).start();
    workload.calls(200);
    let ended = session.stop();
    let (lines, witnessed) = (ended.succeeded(), witness.lines());
    let witnessed: Vec<&str> = witnessed.iter().map(String::as_str).collect();
    assert_eq!(calls_without_time(&lines).len(), 400);
    assert_eq!(calls_without_time(&lines), calls_without_time(&witnessed));
}

/// The lines from the first call to the last return, without times: the two instances read the clock at different times.
#[track_caller]
fn calls_without_time(lines: &[&str]) -> Vec<String> {
    let is_call = |line: &&str| line.contains("getppid");
    let (first, last) = (lines.iter().position(is_call), lines.iter().rposition(is_call));
    let calls = &lines[first.expect("there is a call")..=last.expect("there is a call")];
    let without_time = |line: &&str| {
        let event = Event::of(line);
        format!("{}-{} {}", event.task, event.id, event.what)
    };
    calls.iter().map(without_time).collect()
}

#[test]
fn existing_threads_are_traced() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let (first, second) = (workload.thread(), workload.thread());
    let session = trace(&manager, &workload, "");
    workload.calls(1);
    first.calls(20);
    second.calls(300);
    assert_calls(&session.stop(), [(&workload, 1), (&first, 20), (&second, 300)]);
}

#[test]
fn threads_created_later_are_traced() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &workload, "");
    let thread = workload.thread();
    let its_thread = thread.thread();
    thread.calls(20);
    its_thread.calls(300);
    assert_calls(&session.stop(), [(&thread, 20), (&its_thread, 300)]);
}

#[test]
fn existing_children_are_traced() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let child = workload.child();
    let (grandchild, childs_thread) = (child.child(), child.thread());
    let threads_child = workload.thread().child();
    let session = trace(&manager, &workload, "");
    child.calls(1);
    grandchild.calls(20);
    childs_thread.calls(300);
    threads_child.calls(4000);
    let expected = [(&child, 1), (&grandchild, 20), (&childs_thread, 300), (&threads_child, 4000)];
    assert_calls(&session.stop(), expected);
}

#[test]
fn children_forked_later_are_traced() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let living = workload.child();
    let session = trace(&manager, &workload, "");
    let child = workload.child();
    let (grandchild, living_ones_child) = (child.child(), living.child());
    child.calls(1);
    grandchild.calls(20);
    living_ones_child.calls(300);
    assert_calls(&session.stop(), [(&child, 1), (&grandchild, 20), (&living_ones_child, 300)]);
}

#[test]
fn every_short_lived_child_is_traced() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &workload, "");
    let children = workload.storm(200);
    assert_eq!(calls_by_task(&session.stop()), children.iter().map(|child| (*child, 1)).collect());
}

#[test]
fn exact_excludes_children() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let (thread, child) = (workload.thread(), workload.child());
    let session = trace(&manager, &workload, "--exact");
    let later_child = workload.child();
    workload.calls(1);
    thread.calls(20);
    child.calls(300);
    later_child.calls(4000);
    workload.storm(10);
    assert_calls(&session.stop(), [(&workload, 1), (&thread, 20)]);
}

#[test]
fn exact_covers_all_given_processes() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let (child, other) = (workload.child(), workload.child());
    let arguments = format!("--pid {} {} -s getppid --exact", workload.id(), child.id());
    let session = manager.run("trace_syscalls", arguments).start();
    workload.calls(1);
    child.calls(20);
    other.calls(300);
    assert_calls(&session.stop(), [(&workload, 1), (&child, 20)]);
}

#[test]
fn exact_covers_threads_created_later() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &workload, "--exact");
    let thread = workload.thread();
    thread.calls(20);
    assert_calls(&session.stop(), [(&thread, 20)]);
}

#[test]
fn parent_selects_only_the_children() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let (thread, living) = (workload.thread(), workload.child());
    let arguments = format!("--parent {} -s getppid", workload.id());
    let session = manager.run("trace_syscalls", arguments).start();
    let later = workload.child();
    let grandchild = later.child();
    workload.calls(1000);
    thread.calls(1000);
    living.calls(1);
    later.calls(20);
    grandchild.calls(300);
    let storm = workload.storm(10);
    let calls = calls_by_task(&session.stop());
    let storm = storm.into_iter().map(|child| (child, 1));
    let expected = [(living.id(), 1), (later.id(), 20), (grandchild.id(), 300)];
    assert_eq!(calls, expected.into_iter().chain(storm).collect());
}

#[test]
fn parent_covers_children_forked_later() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let arguments = format!("--parent {} -s getppid", workload.id());
    let session = manager.run("trace_syscalls", arguments).start();
    workload.calls(1000);
    let child = workload.child();
    child.calls(7);
    assert_calls(&session.stop(), [(&child, 7)]);
}

#[test]
fn twenty_sessions_at_once_each_record_their_own() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workloads: Vec<Workload> = (0..20).map(|_| Workload::start()).collect();
    let sessions: Vec<Session> = workloads.iter().map(|workload| trace(&manager, workload, "")).collect();
    let instances: BTreeSet<String> =
        sessions.iter().map(|session| kernel.instance_of(session.pid()).name().to_owned()).collect();
    assert_eq!(instances.len(), 20);
    for (n, workload) in workloads.iter().enumerate() {
        workload.calls(100 + n);
    }
    for ((n, workload), session) in workloads.iter().enumerate().zip(sessions) {
        assert_calls(&session.stop(), [(workload, 100 + n)]);
    }
}

#[test]
fn two_sessions_of_one_process_both_record_it() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let first = trace(&manager, &workload, "");
    workload.calls(1);
    let second = trace(&manager, &workload, "");
    workload.calls(20);
    assert_calls(&first.stop(), [(&workload, 21)]);
    workload.calls(300);
    assert_calls(&second.stop(), [(&workload, 320)]);
}

#[test]
fn a_session_ends_soon_after_its_last_task() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let child = workload.child();
    let mut session = trace(&manager, &workload, "");
    child.calls(2000);
    workload.ends_child(&child);
    workload.calls(3000);
    assert!(!session.process().is_over());
    let id = workload.id();
    workload.exits();
    let died = Instant::now();
    let ended = session.ends();
    assert_soon(died);
    assert_eq!(calls_by_task(&ended), [(child.id(), 2000), (id, 3000)].into());
}

#[test]
fn a_zombie_counts_as_ended() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut workload = Workload::start();
    let session = trace(&manager, &workload, "");
    workload.calls(10);
    workload.becomes_a_zombie();
    let died = Instant::now();
    let ended = session.ends();
    assert_soon(died);
    assert_calls(&ended, [(&workload, 10)]);
}

#[test]
fn a_followed_parent_keeps_its_session_alive() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let child = workload.child();
    let arguments = format!("--parent {} -s getppid", workload.id());
    let session = manager.run("trace_syscalls", arguments).start();
    child.calls(5);
    workload.ends_child(&child);
    let next = workload.child();
    next.calls(7);
    session.wait_for_lines(12);
    let died = Instant::now();
    workload.exits();
    let ended = session.ends();
    assert_soon(died);
    assert_calls(&ended, [(&child, 5), (&next, 7)]);
}

/// The session ends within 200 ms, plus slack for a busy machine.
#[track_caller]
fn assert_soon(died: Instant) {
    let took = died.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
}

#[test]
fn a_session_ends_when_its_time_is_up() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &workload, "--time 500");
    workload.calls(100);
    let ended = session.ends();
    assert_calls(&ended, [(&workload, 100)]);
    let took = ended.answer.took;
    assert!((Duration::from_millis(500)..Duration::from_secs(2)).contains(&took), "it took {took:?}");
}

#[test]
fn an_active_reader_gets_all_events_under_load() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &workload, "--buffer-size 32768");
    workload.calls(50_000);
    assert_calls(&session.stop(), [(&workload, 50_000)]);
}

#[test]
fn a_session_can_be_stopped_during_a_flood() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &workload, "");
    workload.begins_to_call(3_000_000);
    session.wait_for_lines(1000);
    let ended = session.stop();
    for line in ended.succeeded() {
        assert!(Loss::of(line).is_some() || Event::of(line).id == workload.id(), "{line}");
    }
}

#[test]
fn losses_are_counted_exactly() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, &workload, "--buffer-size 4");
    session.while_worker_is_stopped(|| workload.calls(300_000));
    let ended = session.stop();
    let (losses, events): (Vec<&str>, Vec<&str>) =
        ended.succeeded().into_iter().partition(|line| Loss::of(line).is_some());
    assert!(!losses.is_empty(), "a buffer of 4 KiB takes no 300,000 events");
    assert!(events.iter().all(|line| Event::of(line).what == "sys_getppid()"));
    let lost: usize = losses.iter().filter_map(|line| Loss::of(line)).map(|loss| loss.count).sum();
    assert_eq!(events.len() + lost, 300_000);
}

#[test]
fn a_stuck_reader_does_not_prevent_the_kernel_cleanup() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let arguments = format!("--pid {} -s getppid", workload.id());
    let session = manager.run("trace_syscalls", arguments).start_unread();
    let stuck = File::open(session.path()).expect("the caller can open the trace");
    workload.calls(20_000);
    let pid = session.pid();
    let ended = session.stop();
    ended.succeeded();
    assert!(kernel.instances_of(&[pid]).is_empty());
    // Two seconds for the reader, plus the kernel's time under load.
    assert!(ended.answer.took < Duration::from_secs(5), "it took {:?}", ended.answer.took);
    assert_eq!(rest(stuck).len() + ended.unread().len(), 20_000);
}

/// The lines that are still in the pipe.
fn rest(file: File) -> Vec<String> {
    Reader::of_file(file, Duration::ZERO).finish()
}

#[test]
fn without_a_reader_a_session_ends_and_leaves_nothing() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let arguments = format!("--pid {} -s getppid", workload.id());
    let session = manager.run("trace_syscalls", arguments).start_unread();
    workload.calls(20_000);
    let ended = session.stop();
    ended.succeeded();
    assert!(ended.answer.took < Duration::from_secs(1), "it took {:?}", ended.answer.took);
    assert_eq!(ended.unread().len(), 20_000);
}

#[test]
fn a_session_changes_only_its_own_instance() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = system_tests::lock_out_sweeps();
    let manager = manager();
    let workload = Workload::start();
    let before = kernel.top_level();
    let session = manager.run("trace_syscalls", format!("--pid {} --exit", workload.id())).start();
    workload.calls(1);
    assert_eq!(kernel.top_level(), before);
    session.stop().succeeded();
    assert_eq!(kernel.top_level(), before);
}

#[test]
fn a_session_that_cannot_print_its_path_leaves_no_instance() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let full = File::options().write(true).open("/dev/full").expect("there is a /dev/full");
    let arguments = format!("--pid {}", std::process::id());
    manager.run("trace_syscalls", arguments).stdout(full).answer().failed(&["standard output"]);
}
