//! The tasks whose events an instance records, on the kernel's tracefs.

mod kernel;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kernel::test_process::{self, TestProcess};
use kernel::{Sweeper, drain, marks, read, stream, wait_until};
use trace_tasks::{Follow, Pid, SelectedProcesses};
use tracefs::{Error, Instance, PidFilter};
use tracefs_session::{EventStream, TracedTasks, any_alive, choose_tasks};

const PROC: &str = "/proc";

#[test]
fn test_process() {
    test_process::run_commands();
}

/// An instance that records the marks of the selected tasks.
struct Session {
    stream: EventStream,
    /// The lines read so far.
    lines: Vec<u8>,
    tasks: PidFilter,
    instance: Instance,
}

impl Session {
    fn start(sweeper: &Sweeper, selected: &[(Pid, Follow)]) -> Session {
        let instance = sweeper.create("session");
        let mut selection = SelectedProcesses::new();
        for &(pid, follow) in selected {
            selection.add(pid, follow);
        }
        let (tasks, mut filter) = choose_tasks(&instance, Path::new(PROC), &selection).expect("tasks");
        instance.enable_event("syscalls", "sys_enter_getsid").expect("event");
        instance.start().expect("started");
        if let Some(filter) = &mut filter {
            filter.rescan();
        }
        let stream = stream(&instance, filter);
        Session { stream, lines: Vec::new(), tasks, instance }
    }

    fn any_alive(&mut self) -> bool {
        any_alive(&mut self.tasks, self.stream.traced_tasks()).expect("the tasks' state")
    }

    /// Reads up to this mark.
    fn read_up_to(&mut self, mark: i32) {
        wait_until("the mark is printed", || {
            self.stream.write_lines(&mut self.lines, 1 << 16).expect("lines");
            marks(&String::from_utf8_lossy(&self.lines)).contains(&mark)
        });
    }

    fn marks(mut self) -> BTreeSet<i32> {
        let remaining = drain(&self.instance, &mut self.stream);
        let lines = String::from_utf8_lossy(&self.lines) + remaining.as_str();
        drop(self.stream);
        self.instance.remove().expect("removed");
        assert!(!lines.contains("task_newtask"), "records that only the filter needs were printed:\n{lines}");
        marks(&lines)
    }
}

/// The marks that are recorded of a process: 1 and 2 are of threads started before recording, 3 of a later thread, 10 of a child
/// started before, 20 and 21 of a later child and grandchild.
fn recorded_marks(sweeper: &Sweeper, follow: Follow) -> BTreeSet<i32> {
    let mut process = TestProcess::new();
    let mut unrelated = TestProcess::new();
    process.new_thread();
    process.fork_child();
    let session = Session::start(sweeper, &[(process.pid(), follow)]);
    process.mark(0, 1);
    process.mark(1, 2);
    process.new_thread();
    process.mark(2, 3);
    process.mark_child(10);
    process.fork_child_and_grandchild(20);
    unrelated.mark(0, 99);
    session.marks()
}

#[test]
fn all_descendants_are_recorded() {
    let sweeper = need_tracefs!();
    assert_eq!(recorded_marks(&sweeper, Follow::FAMILY), BTreeSet::from([1, 2, 3, 10, 20, 21]));
}

#[test]
fn exact_selection_records_threads_without_children() {
    let sweeper = need_tracefs!();
    assert_eq!(recorded_marks(&sweeper, Follow::ALONE), BTreeSet::from([1, 2, 3]));
}

#[test]
fn children_are_recorded_without_any_thread_of_the_parent() {
    let sweeper = need_tracefs!();
    assert_eq!(recorded_marks(&sweeper, Follow::CHILDREN), BTreeSet::from([10, 20, 21]));
}

#[test]
fn different_selections_combine() {
    let sweeper = need_tracefs!();
    let [mut alone, mut family] = [TestProcess::new(), TestProcess::new()];
    let session = Session::start(&sweeper, &[(alone.pid(), Follow::ALONE), (family.pid(), Follow::FAMILY)]);
    alone.mark(0, 1);
    alone.fork_child_and_grandchild(10);
    family.mark(0, 2);
    family.fork_child_and_grandchild(20);
    assert_eq!(session.marks(), BTreeSet::from([1, 2, 20, 21]));
}

#[test]
fn new_task_records_are_printed_if_requested() {
    let sweeper = need_tracefs!();
    let mut process = TestProcess::new();
    let instance = sweeper.create("a");
    let mut selection = SelectedProcesses::new();
    selection.add(process.pid(), Follow::ALONE);
    let (_, filter) = choose_tasks(&instance, Path::new(PROC), &selection).expect("tasks");
    let filter = filter.expect("a filter");
    instance.enable_event("task", "task_newtask").expect("event");
    let refused = instance.set_filter("task", Some("task_newtask"), "pid == 0");
    assert!(matches!(refused, Err(Error::FilterHidesNewTasks { .. })), "{refused:?}");
    let mut stream = stream(&instance, Some(filter));
    instance.start().expect("started");
    process.fork_child_and_grandchild(1);
    let lines = drain(&instance, &mut stream);
    // The child forks too, but is not selected.
    assert_eq!(lines.matches("task_newtask: ").count(), 1, "{lines}");
}

/// The kernel records these events if the task that they name is in the filter, whatever the current task. Here, the test
/// program wakes up the test process.
#[test]
fn events_of_other_tasks_about_a_traced_task_are_recorded() {
    let sweeper = need_tracefs!();
    let mut process = TestProcess::new();
    let mut unrelated = TestProcess::new();
    for follow in [Follow::FAMILY, Follow::ALONE] {
        let instance = sweeper.create("a");
        let mut selection = SelectedProcesses::new();
        selection.add(process.pid(), follow);
        let (_, mut filter) = choose_tasks(&instance, Path::new(PROC), &selection).expect("tasks");
        instance.enable_event("sched", "sched_waking").expect("event");
        instance.start().expect("started");
        filter.iter_mut().for_each(TracedTasks::rescan);
        let mut stream = stream(&instance, filter);
        let is_about = |line: &str, process: &TestProcess| {
            threads(process.pid()).iter().any(|thread| line.contains(&format!(" pid={thread} ")))
        };
        let mut lines = String::new();
        // Not every mark causes a recorded wake-up: the kernel misses some while the pid filters of other instances change,
        // and a task that has not gone to sleep yet is not woken up.
        wait_until("a wake-up of the test process is recorded", || {
            process.mark(0, 1);
            lines.push_str(&lines_so_far(&mut stream));
            lines.lines().any(|line| is_about(line, &process))
        });
        unrelated.mark(0, 99);
        lines.push_str(&drain(&instance, &mut stream));
        let stats = stream.stats([&instance]).expect("stats");
        assert_eq!(stats.recorded, lines.lines().count() as u64, "{follow:?}");
        assert!(!lines.lines().any(|line| is_about(line, &unrelated)), "{follow:?}:\n{lines}");
    }
}

#[test]
fn family_is_alive_until_its_last_process_exits() {
    let sweeper = need_tracefs!();
    let mut process = TestProcess::new();
    let child = process.fork_child();
    let mut session = Session::start(&sweeper, &[(process.pid(), Follow::FAMILY)]);
    assert!(session.any_alive());
    let living = session.tasks.live_tasks().expect("tasks");
    assert!(living.contains(&child) && living.contains(&process.pid()));
    // The child exits too, when the pipe from its parent is closed.
    process.kill();
    test_process::wait_for_exit(child);
    assert!(!session.any_alive());
}

#[test]
fn exact_selection_is_not_alive_after_the_process_although_a_child_is() {
    let sweeper = need_tracefs!();
    let mut process = TestProcess::new();
    let mut session = Session::start(&sweeper, &[(process.pid(), Follow::ALONE)]);
    let child = process.new_orphan();
    assert!(session.any_alive());
    process.mark(0, 1);
    session.read_up_to(1);
    process.kill();
    assert!(session.tasks.live_tasks().expect("tasks").contains(&child));
    assert!(!session.any_alive());
    test_process::kill(child);
}

#[test]
fn selection_of_children_is_alive_while_the_parent_or_a_child_is() {
    let sweeper = need_tracefs!();
    let mut process = TestProcess::new();
    let mut session = Session::start(&sweeper, &[(process.pid(), Follow::CHILDREN)]);
    assert!(session.any_alive(), "the parent may still fork");
    let child = process.new_orphan();
    let last = process.fork_child();
    process.mark_child(1);
    session.read_up_to(1);
    process.kill();
    test_process::wait_for_exit(last);
    assert!(session.any_alive(), "the child is alive");
    test_process::kill(child);
    assert!(!session.any_alive());
}

#[test]
fn tasks_cannot_be_chosen_after_events_are_enabled() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    instance.enable_event("syscalls", "sys_enter_getsid").expect("event");
    let refused = choose_tasks(&instance, Path::new(PROC), &SelectedProcesses::families([1]));
    assert!(matches!(refused, Err(Error::EventsBeforeTasks)), "{refused:?}");
}

/// With an empty `set_event_pid`, the kernel would record all tasks.
#[test]
fn no_task_is_recorded_if_none_is_alive() {
    let sweeper = need_tracefs!();
    let mut process = TestProcess::new();
    process.kill();
    let instance = sweeper.create("a");
    for selection in [SelectedProcesses::new(), SelectedProcesses::families([process.pid()])] {
        let refused = choose_tasks(&instance, Path::new(PROC), &selection);
        assert!(matches!(refused, Err(Error::Tasks(trace_tasks::Error::NoTasksLeft { .. }))), "{refused:?}");
        let refused = instance.enable_event("syscalls", "sys_enter_getsid");
        assert!(matches!(refused, Err(Error::TasksNotChosen)), "{refused:?}");
        let refused = instance.enable_system("syscalls");
        assert!(matches!(refused, Err(Error::TasksNotChosen)), "{refused:?}");
    }
}

#[test]
fn no_task_is_recorded_after_all_have_exited() {
    let sweeper = need_tracefs!();
    let mut process = TestProcess::new();
    let mut session = Session::start(&sweeper, &[(process.pid(), Follow::FAMILY)]);
    process.kill();
    let set_event_pid = session.instance.path().join("set_event_pid");
    while !read(&set_event_pid).is_empty() {
        std::thread::yield_now();
    }
    TestProcess::new().mark(0, 99);
    assert!(!session.any_alive());
    assert_eq!(session.marks(), BTreeSet::new());
}

#[test]
fn zombies_are_not_alive() {
    let sweeper = need_tracefs!();
    let mut zombie = std::process::Command::new("true").spawn().expect("a process");
    let pid = Pid::try_from(zombie.id()).expect("a pid");
    test_process::wait_for_exit(pid);
    let instance = sweeper.create("a");
    let refused = choose_tasks(&instance, Path::new(PROC), &SelectedProcesses::families([pid]));
    zombie.wait().expect("reaped");
    assert!(matches!(refused, Err(Error::Tasks(trace_tasks::Error::NoTasksLeft { .. }))), "{refused:?}");
}

/// The pid of the most recently created process (proc_loadavg(5)).
fn newest_pid() -> Pid {
    let text = fs::read_to_string(format!("{PROC}/loadavg")).expect("loadavg");
    text.split_whitespace().last().and_then(|pid| pid.parse().ok()).expect("a number")
}

/// The kernel accepts pids of processes that do not exist, so a synthetic procfs is enough to test many pids.
#[test]
fn many_pids_are_all_filtered() {
    let sweeper = need_tracefs!();
    let highest = fs::read_to_string(format!("{PROC}/sys/kernel/pid_max")).expect("pid_max");
    let highest: Pid = highest.trim().parse().expect("a number");
    for count in [500, 10_000] {
        let directory =
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory");
        let procfs = directory.path().join("proc");
        // The highest pids, which are allocated last.
        let pids: BTreeSet<Pid> = (highest - count..highest).collect();
        for pid in &pids {
            let process = procfs.join(pid.to_string());
            fs::create_dir_all(process.join(format!("task/{pid}"))).expect("task");
            fs::write(process.join("status"), format!("State:\tS\nTgid:\t{pid}\nPPid:\t1\n"))
                .expect("status");
        }
        let instance = sweeper.create(&count.to_string());
        let before = newest_pid();
        let (mut tasks, _) =
            choose_tasks(&instance, &procfs, &SelectedProcesses::families(pids.clone())).expect("tasks");
        assert!(tasks.any_alive().expect("the tasks' state"));
        let living: BTreeSet<Pid> = tasks.live_tasks().expect("tasks").into_iter().collect();
        // A real process may have had one of the pids in the meantime, and exited.
        let (from, to) = (before, newest_pid());
        let was_allocated =
            |pid: Pid| if from <= to { from < pid && pid <= to } else { from < pid || pid <= to };
        let missing = pids.difference(&living).filter(|pid| !was_allocated(**pid)).count();
        assert!(
            missing < 10,
            "{missing} of {count} are missing; pids {from} to {to} were allocated to other processes"
        );
        fs::rename(&procfs, directory.path().join("gone")).expect("renamed");
        assert!(!tasks.any_alive().expect("the tasks' state"), "removed processes are not alive");
    }
}

/// Threads that start while the pid filter is written are recorded.
#[test]
fn tasks_started_while_choosing_are_recorded() {
    let sweeper = need_tracefs!();
    let mut process = TestProcess::new();
    process.start_spawning();
    let instance = sweeper.create("a");
    let selection = SelectedProcesses::families([process.pid()]);
    let (tasks, _) = choose_tasks(&instance, Path::new(PROC), &selection).expect("tasks");
    process.stop_spawning();
    let filtered: BTreeSet<Pid> = tasks.live_tasks().expect("tasks").into_iter().collect();
    let threads = threads(process.pid());
    assert!(threads.len() > 2);
    let missed = threads.difference(&filtered).count();
    assert_eq!(missed, 0, "of {} threads", threads.len());
}

fn lines_so_far(stream: &mut EventStream) -> String {
    let mut text = Vec::new();
    stream.write_lines(&mut text, 1 << 20).expect("lines");
    String::from_utf8(text).expect("UTF-8")
}

fn threads(process: Pid) -> BTreeSet<Pid> {
    let entries = fs::read_dir(format!("{PROC}/{process}/task")).expect("threads");
    let id = |entry: fs::DirEntry| entry.file_name().to_str().and_then(|name| name.parse().ok());
    entries.map(|entry| id(entry.expect("a thread")).expect("an id")).collect()
}
