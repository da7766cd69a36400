//! Whose events an instance records, on the real kernel.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::actor::{self, Actor};
use common::{Sweeper, drain, marks, read, stream, wait_until};
use trace_tasks::{Follow, Pid, TaskSelection};
use tracefs::{Error, Instance, PidFilter};
use tracefs_session::{EventStream, TracedTasks, any_alive, choose_tasks};

const PROC: &str = "/proc";

#[test]
fn actor() {
    actor::play();
}

/// An instance that records the marks of what is chosen.
struct Session {
    stream: EventStream,
    /// What has come out of it so far.
    lines: Vec<u8>,
    tasks: PidFilter,
    instance: Instance,
}

impl Session {
    fn start(sweeper: &Sweeper, targets: &[(Pid, Follow)]) -> Session {
        let instance = sweeper.create("session");
        let mut wanted = TaskSelection::new();
        for &(pid, follow) in targets {
            wanted.add(pid, follow);
        }
        let (tasks, mut filter) = choose_tasks(&instance, Path::new(PROC), &wanted).expect("tasks");
        instance.enable_event("syscalls", "sys_enter_getsid").expect("event");
        instance.start().expect("started");
        if let Some(filter) = &mut filter {
            filter.rescan();
        }
        let stream = stream(&instance, filter);
        Session { stream, lines: Vec::new(), tasks, instance }
    }

    fn any_alive(&self) -> bool {
        any_alive(&self.tasks, self.stream.traced_tasks()).expect("an answer")
    }

    /// Reads until this mark has come, and so all that was recorded before it.
    fn read_up_to(&mut self, mark: i32) {
        wait_until("the mark comes", || {
            self.stream.write_lines(&mut self.lines, 1 << 16).expect("lines");
            marks(&String::from_utf8_lossy(&self.lines)).contains(&mark)
        });
    }

    fn marks(mut self) -> BTreeSet<i32> {
        let rest = drain(&self.instance, &mut self.stream);
        let lines = String::from_utf8_lossy(&self.lines) + rest.as_str();
        drop(self.stream);
        self.instance.remove().expect("removed");
        assert!(!lines.contains("task_newtask"), "the filter's own records leaked:\n{lines}");
        marks(&lines)
    }
}

/// Everything an actor can do, marked: 1 and 2 by threads from before, 3 by a later one, 10 by a child
/// from before, 20 and 21 by a later child and grandchild, 30 and 31 by those of a later thread.
fn act_out(sweeper: &Sweeper, follow: Follow) -> BTreeSet<i32> {
    let mut actor = Actor::new();
    let mut bystander = Actor::new();
    actor.new_thread();
    actor.keep_child();
    let session = Session::start(sweeper, &[(actor.pid(), follow)]);
    actor.mark(0, 1);
    actor.mark(1, 2);
    actor.new_thread();
    actor.mark(2, 3);
    actor.mark_child(10);
    actor.fork_two(20);
    bystander.mark(0, 99);
    session.marks()
}

#[test]
fn all_descendants_are_recorded() {
    let sweeper = need_tracefs!();
    assert_eq!(act_out(&sweeper, Follow::FAMILY), BTreeSet::from([1, 2, 3, 10, 20, 21]));
}

#[test]
fn exact_selection_records_threads_without_children() {
    let sweeper = need_tracefs!();
    assert_eq!(act_out(&sweeper, Follow::ALONE), BTreeSet::from([1, 2, 3]));
}

#[test]
fn children_are_recorded_without_any_thread_of_the_parent() {
    let sweeper = need_tracefs!();
    assert_eq!(act_out(&sweeper, Follow::CHILDREN), BTreeSet::from([10, 20, 21]));
}

#[test]
fn different_selections_combine() {
    let sweeper = need_tracefs!();
    let [mut alone, mut family] = [Actor::new(), Actor::new()];
    let session = Session::start(&sweeper, &[(alone.pid(), Follow::ALONE), (family.pid(), Follow::FAMILY)]);
    alone.mark(0, 1);
    alone.fork_two(10);
    family.mark(0, 2);
    family.fork_two(20);
    assert_eq!(session.marks(), BTreeSet::from([1, 2, 20, 21]));
}

#[test]
fn new_task_records_are_printed_if_requested() {
    let sweeper = need_tracefs!();
    let mut actor = Actor::new();
    let instance = sweeper.create("a");
    let mut targets = TaskSelection::new();
    targets.add(actor.pid(), Follow::ALONE);
    let (_, filter) = choose_tasks(&instance, Path::new(PROC), &targets).expect("tasks");
    let filter = filter.expect("a filter");
    instance.enable_event("task", "task_newtask").expect("asked for");
    let refused = instance.set_filter("task", Some("task_newtask"), "pid == 0");
    assert!(matches!(refused, Err(Error::FilterHidesNewTasks { .. })), "{refused:?}");
    let mut stream = stream(&instance, Some(filter));
    instance.start().expect("started");
    actor.fork_two(1);
    let lines = drain(&instance, &mut stream);
    // The child's own fork is not the actor's.
    assert_eq!(lines.matches("task_newtask: ").count(), 1, "{lines}");
}

/// The kernel records these events for a task also when somebody else makes them. Here, the test wakes the actor.
#[test]
fn events_of_other_tasks_about_a_traced_task_are_recorded() {
    let sweeper = need_tracefs!();
    let mut actor = Actor::new();
    let mut bystander = Actor::new();
    for follow in [Follow::FAMILY, Follow::ALONE] {
        let instance = sweeper.create("a");
        let mut targets = TaskSelection::new();
        targets.add(actor.pid(), follow);
        let (_, mut filter) = choose_tasks(&instance, Path::new(PROC), &targets).expect("tasks");
        instance.enable_event("sched", "sched_waking").expect("event");
        instance.start().expect("started");
        filter.iter_mut().for_each(TracedTasks::rescan);
        let mut stream = stream(&instance, filter);
        let is_about = |line: &str, process: &Actor| {
            threads(process.pid()).iter().any(|thread| line.contains(&format!(" pid={thread} ")))
        };
        let mut lines = String::new();
        // Not every time: the kernel misses some while other instances' task sets come and go, and who has not gone to
        // sleep yet need not be woken.
        wait_until("a wake-up of the actor is recorded", || {
            actor.mark(0, 1);
            lines.push_str(&lines_so_far(&mut stream));
            lines.lines().any(|line| is_about(line, &actor))
        });
        bystander.mark(0, 99);
        lines.push_str(&drain(&instance, &mut stream));
        let tally = stream.stats([&instance]).expect("a tally");
        assert_eq!(tally.recorded, lines.lines().count() as u64, "{follow:?}");
        assert!(!lines.lines().any(|line| is_about(line, &bystander)), "{follow:?}:\n{lines}");
    }
}

#[test]
fn a_session_of_a_family_ends_with_its_last_member() {
    let sweeper = need_tracefs!();
    let mut actor = Actor::new();
    let child = actor.keep_child();
    let session = Session::start(&sweeper, &[(actor.pid(), Follow::FAMILY)]);
    assert!(session.any_alive());
    let living = session.tasks.live_tasks().expect("tasks");
    assert!(living.contains(&child) && living.contains(&actor.pid()));
    // The child, which waits for orders that will not come any more, ends as well.
    actor.kill();
    actor::await_exit(child);
    assert!(!session.any_alive());
}

#[test]
fn alone_a_session_ends_with_the_process_though_a_child_lives_on() {
    let sweeper = need_tracefs!();
    let mut actor = Actor::new();
    let mut session = Session::start(&sweeper, &[(actor.pid(), Follow::ALONE)]);
    let child = actor.new_orphan();
    assert!(session.any_alive());
    actor.mark(0, 1);
    session.read_up_to(1);
    actor.kill();
    assert!(session.tasks.live_tasks().expect("tasks").contains(&child));
    assert!(!session.any_alive());
    actor::kill(child);
}

#[test]
fn with_children_a_session_goes_on_while_the_parent_or_a_child_lives() {
    let sweeper = need_tracefs!();
    let mut actor = Actor::new();
    let mut session = Session::start(&sweeper, &[(actor.pid(), Follow::CHILDREN)]);
    assert!(session.any_alive(), "the parent may yet fork");
    let child = actor.new_orphan();
    let last = actor.keep_child();
    actor.mark_child(1);
    session.read_up_to(1);
    actor.kill();
    actor::await_exit(last);
    assert!(session.any_alive(), "the child lives on");
    actor::kill(child);
    assert!(!session.any_alive());
}

#[test]
fn tasks_are_chosen_before_events_or_not_at_all() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    instance.enable_event("syscalls", "sys_enter_getsid").expect("event");
    let refused = choose_tasks(&instance, Path::new(PROC), &TaskSelection::families([1]));
    assert!(matches!(refused, Err(Error::EventsBeforeTasks)), "{refused:?}");
}

/// The trap: an empty set means everyone.
#[test]
fn no_task_is_recorded_if_none_is_alive() {
    let sweeper = need_tracefs!();
    let mut actor = Actor::new();
    actor.kill();
    let instance = sweeper.create("a");
    for targets in [TaskSelection::new(), TaskSelection::families([actor.pid()])] {
        let refused = choose_tasks(&instance, Path::new(PROC), &targets);
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
    let mut actor = Actor::new();
    let session = Session::start(&sweeper, &[(actor.pid(), Follow::FAMILY)]);
    actor.kill();
    let set = session.instance.path().join("set_event_pid");
    while !read(&set).is_empty() {
        std::thread::yield_now();
    }
    Actor::new().mark(0, 99);
    assert!(!session.any_alive());
    assert_eq!(session.marks(), BTreeSet::new());
}

#[test]
fn zombies_are_not_alive() {
    let sweeper = need_tracefs!();
    let mut zombie = std::process::Command::new("true").spawn().expect("a process");
    let pid = Pid::try_from(zombie.id()).expect("a pid");
    actor::await_exit(pid);
    let instance = sweeper.create("a");
    let refused = choose_tasks(&instance, Path::new(PROC), &TaskSelection::families([pid]));
    zombie.wait().expect("gone");
    assert!(matches!(refused, Err(Error::Tasks(trace_tasks::Error::NoTasksLeft { .. }))), "{refused:?}");
}

/// The number that was last given to somebody (proc_loadavg(5)).
fn newest_pid() -> Pid {
    let text = fs::read_to_string(format!("{PROC}/loadavg")).expect("the kernel tells");
    text.split_whitespace().last().and_then(|pid| pid.parse().ok()).expect("a number")
}

/// The kernel takes numbers that nobody has, so a made-up procfs will do for many.
#[test]
fn many_pids_are_all_filtered() {
    let sweeper = need_tracefs!();
    let highest = fs::read_to_string(format!("{PROC}/sys/kernel/pid_max")).expect("the kernel has a limit");
    let highest: Pid = highest.trim().parse().expect("a number");
    for count in [500, 10_000] {
        let keeper =
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory");
        let procfs = keeper.path().join("proc");
        // The highest there are: they are given out last.
        let pids: BTreeSet<Pid> = (highest - count..highest).collect();
        for pid in &pids {
            let process = procfs.join(pid.to_string());
            fs::create_dir_all(process.join(format!("task/{pid}"))).expect("task");
            fs::write(process.join("status"), format!("State:\tS\nTgid:\t{pid}\nPPid:\t1\n"))
                .expect("status");
        }
        let instance = sweeper.create(&count.to_string());
        let before = newest_pid();
        let (tasks, _) =
            choose_tasks(&instance, &procfs, &TaskSelection::families(pids.clone())).expect("tasks");
        assert!(tasks.any_alive().expect("an answer"));
        let living: BTreeSet<Pid> = tasks.live_tasks().expect("tasks").into_iter().collect();
        // Somebody real may have got one of the numbers meanwhile, and exited.
        let (from, to) = (before, newest_pid());
        let was_given = |pid: Pid| if from <= to { from < pid && pid <= to } else { from < pid || pid <= to };
        let missing = pids.difference(&living).filter(|pid| !was_given(**pid)).count();
        assert!(missing < 10, "{missing} of {count} are missing, {from} to {to} were given to others");
        fs::rename(&procfs, keeper.path().join("gone")).expect("renamed");
        assert!(!tasks.any_alive().expect("an answer"), "members that are gone are not alive");
    }
}

/// Threads and children that start while the set is being filled are not missed.
#[test]
fn tasks_started_while_choosing_are_recorded() {
    let sweeper = need_tracefs!();
    let mut actor = Actor::new();
    actor.start_spawning();
    let instance = sweeper.create("a");
    let targets = TaskSelection::families([actor.pid()]);
    let (tasks, _) = choose_tasks(&instance, Path::new(PROC), &targets).expect("tasks");
    actor.stop_spawning();
    let members: BTreeSet<Pid> = tasks.live_tasks().expect("tasks").into_iter().collect();
    let threads = threads(actor.pid());
    assert!(threads.len() > 2);
    let missed = threads.difference(&members).count();
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
