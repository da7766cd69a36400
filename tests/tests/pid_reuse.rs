//! Pids that are used again right after the end of a traced task. Needs root and tracefs.
//!
//! The kernel's filter holds pids, and removes that of a task an RCU grace period after the task was reaped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use system_tests::{Cgroup, Event, Kernel, Log, Manager, PATIENCE, Plugins, Session, Workload, wait_until};

/// The kernel may remove a pid before it is used again.
const ROUNDS: usize = 20;

fn manager() -> Manager {
    Manager::with(Plugins::of(["ftrace"]))
}

fn trace(manager: &Manager, log: &Log, choice: &str) -> Session {
    let arguments = format!("{choice} -s getsid");
    log.of(manager.call(["-v", "--run", "trace_syscalls", "--args", &arguments])).start()
}

const NOT_RECORDED: &str = "traced tasks got the pid of one that had just ended";
const JOINED: &str = "processes joined the cgroups and ended before they were recorded";
/// Adding a task again takes longer, because the kernel waits until nothing uses the old filter.
const SHORTEST_ADDING: Duration = Duration::from_millis(20);

/// Records the ends of tasks.
fn trace_ends(manager: &Manager, log: &Log, choice: &str) -> Session {
    let arguments = format!("{choice} -e sched:sched_process_exit");
    log.of(manager.call(["-v", "--run", "trace_events", "--args", &arguments])).start()
}

/// How many tasks with this id have a line.
fn lines_of(lines: &[&str], pid: u32) -> usize {
    lines.iter().filter(|line| Event::of(line).id == pid).count()
}

/// Arguments that select the children of a process: with it, without it, and in a cgroup, to which it is moved.
fn choices(workload: &Workload, cgroup: &Cgroup) -> [String; 3] {
    cgroup.takes(workload.id());
    let pid = workload.id();
    [format!("--pid {pid}"), format!("--parent {pid}"), format!("--cgroup {}", cgroup.path().display())]
}

/// The marks of one task, in order.
fn marks_of(lines: &[&str], pid: u32) -> Vec<u64> {
    let task = format!("-{pid}");
    let of_task = |line: &&&str| line.split_whitespace().next().is_some_and(|word| word.ends_with(&task));
    let marks = lines.iter().filter(of_task).filter_map(|line| line.split_once("sys_getsid(pid: "));
    let number = |mark: &str| u64::from_str_radix(mark.trim_start_matches("0x").trim_end_matches(')'), 16);
    marks.map(|(_, mark)| number(mark).expect("a number")).collect()
}

/// A child that emits one mark and ends, whereupon a task that is not traced gets its pid and emits others. Returns the pid.
fn one_mark_of_a_child(workload: &Workload, stranger: &Workload) -> u32 {
    let child = workload.child();
    child.marks(1000, 1);
    workload.ends_child(&child);
    stranger.reuses(child.id(), 5);
    child.id()
}

#[test]
fn a_task_that_gets_the_pid_of_a_traced_one_is_not_shown() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (workload, stranger, cgroup) = (Workload::start(), Workload::start(), Cgroup::create());
    for choice in choices(&workload, &cgroup) {
        let log = Log::new();
        let session = trace(&manager, &log, &choice);
        let children: Vec<u32> = (0..ROUNDS).map(|_| one_mark_of_a_child(&workload, &stranger)).collect();
        let ended = session.stop();
        for child in children {
            assert_eq!(marks_of(&ended.succeeded(), child), [1000], "{choice}");
        }
        assert_eq!(log.summary().delivered, ended.lines.len());
    }
}

/// Changes the filter of another instance again and again. Each change takes some 40 ms, in which all others wait.
struct BusyFilters {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl BusyFilters {
    fn start(kernel: &Kernel) -> Self {
        let instance = kernel.make_instance(&format!("tracefs-test-{}-busy", std::process::id()));
        let (is_over, own) = (Arc::new(AtomicBool::new(false)), std::process::id().to_string());
        let ends = Arc::clone(&is_over);
        let change = move || {
            while !ends.load(Ordering::Relaxed) {
                instance.set("set_event_pid", &own);
            }
        };
        Self { is_over, thread: Some(thread::spawn(change)) }
    }
}

impl Drop for BusyFilters {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Processes that join a cgroup and end at some time while they are added to the filter, each of which emits one mark before, whereupon
/// one that does not join gets the pid and emits others. Returns the pids.
fn joiners_with_reused_pids(stranger: &Workload, cgroup: &Cgroup) -> Vec<u32> {
    let one = |round| {
        let joiner = stranger.child();
        cgroup.takes(joiner.id());
        thread::sleep(Duration::from_millis(6 * round));
        joiner.marks(1000, 1);
        stranger.ends_child(&joiner);
        // Until long after its first record was read: of one that has ended by then it cannot be known which of the two it was.
        stranger.reuses(joiner.id(), 200);
        joiner.id()
    };
    (0..16_u64).map(one).collect()
}

#[test]
fn a_task_that_gets_the_pid_of_one_that_has_just_joined_is_not_shown() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let (manager, stranger, cgroup, log) = (manager(), Workload::start(), Cgroup::create(), Log::new());
    let session = trace(&manager, &log, &format!("--cgroup {}", cgroup.path().display()));
    let mut joiners = joiners_with_reused_pids(&stranger, &cgroup);
    let busy = BusyFilters::start(&kernel);
    joiners.extend(joiners_with_reused_pids(&stranger, &cgroup));
    drop(busy);
    let last = stranger.child();
    cgroup.takes(last.id());
    let recorded = session.line_count();
    wait_until("the last one is recorded", PATIENCE, || {
        last.marks(1000, 1);
        session.line_count() > recorded
    });
    let ended = session.stop();
    for joiner in joiners {
        let marks = marks_of(&ended.succeeded(), joiner);
        assert!(marks.is_empty() || marks == [1000], "{marks:?}");
    }
}

/// A child of a traced process ends, and another one gets its pid. Checks that it is recorded, after a gap that is reported.
fn gives_a_pid_to_another_child(workload: &Workload, session: Session, log: &Log, choice: &str) {
    let child = workload.child();
    workload.ends_child(&child);
    workload.reuses(child.id(), 500);
    let ended = session.stop();
    let marks = marks_of(&ended.succeeded(), child.id());
    assert_eq!(marks.last(), Some(&499), "{choice}: {} marks, {}", marks.len(), log.text());
    // The watcher of cgroups may have been faster.
    let is_reported = choice.starts_with("--cgroup")
        || log.text().contains("1 traced tasks got the pid of one that had just ended");
    assert!(is_reported || marks.len() == 500, "{choice}: {} marks, {}", marks.len(), log.text());
}

#[test]
fn a_traced_task_that_gets_the_pid_of_another_is_recorded_again_and_reported() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (workload, cgroup) = (Workload::start(), Cgroup::create());
    for choice in choices(&workload, &cgroup) {
        let log = Log::new();
        gives_a_pid_to_another_child(&workload, trace(&manager, &log, &choice), &log, &choice);
    }
}

/// There, procfs shows other times of starts.
#[test]
fn a_traced_task_that_gets_the_pid_of_another_is_recorded_again_in_another_time_namespace() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for ahead in ["-1000", "100000"] {
        let (workload, log) = (Workload::start(), Log::new());
        let choice = format!("--pid {}", workload.id());
        let call = manager.call(["-v", "--run", "trace_syscalls", "--args", &format!("{choice} -s getsid")]);
        let session = log.of(call.under(["unshare", "--time", "--boottime", ahead])).start();
        gives_a_pid_to_another_child(&workload, session, &log, &choice);
    }
}

#[test]
fn tasks_with_reused_pids_that_end_before_they_are_recorded_again_are_reported() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (workload, cgroup) = (Workload::start(), Cgroup::create());
    for choice in choices(&workload, &cgroup) {
        let log = Log::new();
        let session = trace_ends(&manager, &log, &choice);
        let child = workload.child();
        workload.ends_child(&child);
        let began = Instant::now();
        (0..100).for_each(|_| workload.reuses(child.id(), 1));
        let took = began.elapsed();
        let recorded = lines_of(&session.stop().succeeded(), child.id());
        let counted = log.warned(NOT_RECORDED);
        // The watcher of cgroups may find out first.
        let all = recorded + counted + log.warned(JOINED);
        // A task that is added again, and recorded to its end, is both.
        let most_added = 1 + took.div_duration_f64(SHORTEST_ADDING) as usize;
        assert!((1..=100).contains(&counted), "{choice}: {}", log.text());
        assert!((101..=101 + most_added).contains(&all), "{choice}: {recorded} in {took:?}, {}", log.text());
    }
}

#[test]
fn tasks_with_reused_pids_that_are_recorded_to_their_end_are_not_reported() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let (manager, workload, log) = (manager(), Workload::start(), Log::new());
    let session = trace_ends(&manager, &log, &format!("--pid {}", workload.id()));
    let instance = kernel.instance_of(session.pid());
    let child = workload.child();
    workload.ends_child(&child);
    for _ in 0..5 {
        wait_until("the pid is not in the filter", PATIENCE, || !instance.pids().contains(&child.id()));
        workload.reuses(child.id(), 1);
    }
    assert_eq!(lines_of(&session.stop().succeeded(), child.id()), 6);
    assert_eq!(log.warned(NOT_RECORDED), 0, "{}", log.text());
}
