//! Other processes that change the tracing instance of a session. Needs root and tracefs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use nix::libc::O_NONBLOCK;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use system_tests::{
    Cgroup, Ended, Instance, Kernel, Log, Manager, PATIENCE, Plugins, Session, Workload, wait_until,
};

/// A session that another process tampers with.
struct Tampered {
    manager: Manager,
    log: Log,
    workload: Workload,
    session: Session,
    instance: Instance,
}

impl Tampered {
    /// Traces the marks of a workload, of which the first hundred have been delivered.
    fn of_marks(kernel: &Kernel) -> Self {
        Self::of(kernel, "ftrace", "trace_syscalls", "-s getsid")
    }

    fn of(kernel: &Kernel, plugin: &str, hook: &str, arguments: &str) -> Self {
        let (manager, log, workload) = (Manager::with(Plugins::of([plugin])), Log::new(), Workload::start());
        let arguments = format!("--pid {} {arguments}", workload.id());
        let session = log.of(manager.call(["-v", "--run", hook, "--args", &arguments])).start();
        workload.marks(0, 100);
        session.wait_for_lines(1);
        let instance = kernel.instances_of(&[session.pid()]).into_iter().min_by_key(|one| one.name().len());
        Self { manager, log, workload, session, instance: instance.expect("a session has an instance") }
    }

    /// Waits until a change is noticed, which takes a second.
    #[track_caller]
    fn is_noticed(&self, what: &str) {
        let sentence = format!("another process {what}");
        wait_until(&sentence, PATIENCE, || self.log.text().contains(&sentence));
    }

    /// Ends the session, which has succeeded; the summary and its file have one warning, with this.
    #[track_caller]
    fn ends_with_warning(self, what: &str) -> (Ended, Log) {
        let ended = self.session.stop();
        ended.succeeded();
        let [summary] = &self.manager.summaries()[..] else { panic!("one summary: {}", self.log.text()) };
        let summary = fs::read_to_string(summary).expect("the summary can be read");
        let warnings: Vec<&str> = summary.lines().filter(|line| line.starts_with("warning: ")).collect();
        let [warning] = warnings[..] else { panic!("{summary}") };
        assert!(warning.contains(what) && warning.starts_with("warning: between "), "{warning}");
        let text = warning.trim_start_matches("warning: ");
        assert_eq!(self.log.text().matches(text).count(), 1, "{}", self.log.text());
        assert!(
            self.log.summary().may_be_incomplete && !summary.contains("none lost"),
            "{}",
            self.log.text()
        );
        (ended, self.log)
    }

    /// Tampers, waits until it is noticed and undone, and checks that the session goes on.
    #[track_caller]
    fn goes_on(self, file: &str, value: &str, what: &str) -> (Ended, Log) {
        let before = self.instance.get(file);
        self.instance.set(file, value);
        assert_ne!(self.instance.get(file), before, "the change has an effect");
        self.is_noticed(what);
        wait_until("the change is undone", PATIENCE, || self.instance.get(file) == before);
        self.workload.marks(1000, 100);
        let (ended, log) = self.ends_with_warning(what);
        assert_eq!(marks(&ended, 1000..1100), 100, "{}", log.text());
        (ended, log)
    }
}

/// How many of these marks were delivered.
fn marks(ended: &Ended, numbers: std::ops::Range<u64>) -> usize {
    let mark = |line: &String| {
        let (_, number) = line.split_once("sys_getsid(pid: 0x")?;
        u64::from_str_radix(number.trim_end().trim_end_matches(')'), 16).ok()
    };
    ended.lines.iter().filter_map(mark).filter(|mark| numbers.contains(mark)).count()
}

/// Lines of tasks other than this one.
fn of_strangers(ended: &Ended, workload: u32) -> Vec<&String> {
    let task = format!("-{workload}");
    let is_own = |line: &&String| line.split_whitespace().next().is_some_and(|word| word.ends_with(&task));
    ended.lines.iter().filter(|line| !is_own(line)).collect()
}

/// Reads what can be read without waiting; returns how much that was.
fn drain(instance: &Instance, file: &str) -> usize {
    let open = File::options().read(true).custom_flags(O_NONBLOCK).open(instance.path().join(file));
    let (mut open, mut bytes, mut buffer) = (open.expect("it can be opened"), 0, [0; 4096]);
    while let Ok(count @ 1..) = open.read(&mut buffer) {
        bytes += count;
    }
    bytes
}

#[test]
fn a_session_that_nobody_tampers_with_has_no_warning() {
    let Some(kernel) = Kernel::or_skip() else { return };
    for (plugin, hook, arguments) in [
        ("ftrace", "trace_syscalls", ""),
        ("ftrace", "trace_events", "--event sched:* --filter common_pid>0 --event task:*"),
        ("ftrace", "trace_sched", ""),
        ("uprobe", "trace_user", "--function getsid"),
    ] {
        let Tampered { manager, log, workload, session, .. } = Tampered::of(&kernel, plugin, hook, arguments);
        let child = workload.child();
        child.marks(0, 20_000);
        workload.storm(50);
        workload.ends_child(&child);
        workload.marks(0, 20_000);
        session.stop().succeeded();
        assert!(!log.text().contains("another process"), "{hook}: {}", log.text());
        assert!(manager.summaries().is_empty(), "{hook}: {}", log.text());
        assert!(log.text().contains(" delivered, none lost\n"), "{hook}: {}", log.text());
    }
}

#[test]
fn a_stopped_instance_is_started_again() {
    let Some(kernel) = Kernel::or_skip() else { return };
    Tampered::of_marks(&kernel).goes_on("tracing_on", "0", "changed tracing_on from '1' to '0'");
}

#[test]
fn a_change_just_before_the_end_is_reported() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let tampered = Tampered::of_marks(&kernel);
    tampered.instance.set("tracing_on", "0");
    tampered.ends_with_warning("changed tracing_on from '1' to '0'");
}

#[test]
fn follow_reports_a_change_as_it_happens() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let (manager, workload) = (Manager::with(Plugins::of(["ftrace"])), Workload::start());
    let arguments = format!("--pid {} -s getsid", workload.id());
    let mut process = manager.call(["--run", "trace_syscalls", "--follow", "--args", &arguments]).spawn();
    wait_until("the session records", PATIENCE, || {
        workload.marks(0, 1);
        process.has_output()
    });
    kernel.instance_of(process.pid()).set("tracing_on", "0");
    let sentence =
        "another process changed tracing_on from '1' to '0' in the tracing instance of this session";
    wait_until("it is reported", PATIENCE, || process.stderr().contains(sentence));
    process.signal(Signal::SIGINT);
    let answer = process.ends(PATIENCE);
    assert_eq!(answer.stderr.matches(sentence).count(), 1, "{}", answer.stderr);
    let last = answer.stderr.lines().last();
    let end = " delivered, none counted as lost, but the trace may be incomplete: see the warning";
    assert!(last.is_some_and(|last| last.ends_with(end)), "{}", answer.stderr);
}

#[test]
fn a_disabled_event_is_enabled_again() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let file = "events/syscalls/sys_enter_getsid/enable";
    Tampered::of_marks(&kernel).goes_on(file, "0", "disabled syscalls:sys_enter_getsid in");
}

#[test]
fn all_events_are_enabled_again() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let tampered = Tampered::of_marks(&kernel);
    let enabled = tampered.instance.get("set_event");
    tampered.instance.set("set_event", "");
    tampered.is_noticed("disabled ");
    wait_until("they are enabled", PATIENCE, || tampered.instance.get("set_event") == enabled);
    tampered.workload.marks(1000, 100);
    let (ended, _) = tampered.ends_with_warning(" more events in the tracing instance");
    assert_eq!(marks(&ended, 1000..1100), 100);
}

#[test]
fn an_event_that_another_process_enables_is_disabled() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let file = "events/syscalls/sys_enter_getppid/enable";
    Tampered::of_marks(&kernel).goes_on(file, "1", "enabled syscalls:sys_enter_getppid in");
}

#[test]
fn the_filter_of_an_event_is_set_back() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let file = "events/syscalls/sys_enter_getsid/filter";
    let what = "changed the filter of syscalls:sys_enter_getsid from 'none' to 'common_pid == 1'";
    Tampered::of_marks(&kernel).goes_on(file, "common_pid == 1", what);
}

#[test]
fn the_filter_of_one_of_many_events_is_set_back() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let file = "events/sched/sched_waking/filter";
    let what = "changed the filter of sched:sched_waking from 'none' to 'common_pid == 1'";
    let tampered = Tampered::of(&kernel, "ftrace", "trace_events", "--event sched:* --event task:*");
    let before = tampered.instance.get(file);
    tampered.instance.set(file, "common_pid == 1");
    tampered.is_noticed(what);
    wait_until("it is set back", PATIENCE, || tampered.instance.get(file) == before);
    tampered.ends_with_warning(what);
}

#[test]
fn the_filter_that_the_session_has_set_is_set_back() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let arguments = "--event syscalls:sys_enter_getsid --filter pid<2000";
    let tampered = Tampered::of(&kernel, "ftrace", "trace_events", arguments);
    let file = "events/syscalls/sys_enter_getsid/filter";
    let set = tampered.instance.get(file);
    assert_ne!(set, "none");
    tampered.instance.set(file, "0");
    tampered.is_noticed("changed the filter of syscalls:sys_enter_getsid from ");
    wait_until("it is set back", PATIENCE, || tampered.instance.get(file) == set);
    tampered.ends_with_warning("to 'none' in");
}

#[test]
fn a_trigger_is_removed() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let tampered = Tampered::of_marks(&kernel);
    let file = "events/syscalls/sys_enter_getppid/trigger";
    let of_enabled = "events/syscalls/sys_enter_getsid/trigger";
    let before = tampered.instance.get(of_enabled);
    tampered.instance.set(of_enabled, "traceoff");
    tampered.is_noticed("changed the triggers of syscalls:sys_enter_getsid from '' to 'traceoff:unlimited'");
    wait_until("it is removed", PATIENCE, || tampered.instance.get(of_enabled) == before);
    assert_eq!(tampered.instance.get(file), before, "that of another event");
    tampered.workload.marks(1000, 100);
    let (ended, _) = tampered.ends_with_warning("changed the triggers");
    assert_eq!(marks(&ended, 1000..1100), 100);
}

#[test]
fn all_cpus_are_traced_again() {
    let Some(kernel) = Kernel::or_skip() else { return };
    Tampered::of_marks(&kernel).goes_on("tracing_cpumask", "1", "changed tracing_cpumask from ");
}

#[test]
fn a_tiny_buffer_gets_its_size_back() {
    let Some(kernel) = Kernel::or_skip() else { return };
    Tampered::of_marks(&kernel).goes_on("buffer_size_kb", "4", "changed buffer_size_kb from ");
}

#[test]
fn options_are_set_back() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let what = "changed trace_options from 'event-fork' to 'noevent-fork'";
    let tampered = Tampered::of_marks(&kernel);
    tampered.instance.set("options/event-fork", "0");
    let child = tampered.workload.child();
    tampered.is_noticed(what);
    wait_until("it is set back", PATIENCE, || tampered.instance.pids().contains(&child.id()));
    child.marks(1000, 100);
    let (ended, log) = tampered.ends_with_warning(what);
    assert_eq!(marks(&ended, 1000..1100), 100, "{}", log.text());
}

#[test]
fn no_event_of_another_task_is_delivered_when_the_pid_filter_is_emptied() {
    let Some(kernel) = Kernel::or_skip() else { return };
    for choice in ["", "--exact"] {
        let tampered = Tampered::of(&kernel, "ftrace", "trace_syscalls", &format!("-s getsid {choice}"));
        let stranger = Workload::start();
        let child = tampered.workload.child();
        tampered.instance.set("set_event_pid", "");
        stranger.marks(5000, 500);
        stranger.storm(20);
        let grandchild = child.child();
        tampered.is_noticed("removed the traced tasks from set_event_pid");
        let tasks = [tampered.workload.id(), child.id(), grandchild.id()];
        wait_until("the filter is complete", PATIENCE, || {
            tasks.iter().all(|task| tampered.instance.pids().contains(task))
        });
        stranger.marks(6000, 500);
        tampered.workload.marks(1000, 100);
        grandchild.marks(2000, 100);
        let workload = tampered.workload.id();
        let (ended, log) = tampered.ends_with_warning("removed the traced tasks from set_event_pid");
        assert_eq!((marks(&ended, 1000..1100), marks(&ended, 5000..7000)), (100, 0), "{}", log.text());
        let descendants = if choice.is_empty() { 100 } else { 0 };
        assert_eq!(marks(&ended, 2000..2100), descendants, "{}", log.text());
        assert!(!choice.is_empty() || of_strangers(&ended, workload).len() == descendants);
        assert_eq!(log.summary().delivered, ended.lines.len());
    }
}

#[test]
fn no_event_of_another_task_is_delivered_when_the_pid_filter_is_replaced_or_extended() {
    let Some(kernel) = Kernel::or_skip() else { return };
    for (adds, what) in
        [(false, "removed the traced tasks from set_event_pid"), (true, "added other tasks to set_event_pid")]
    {
        let stranger = Workload::start();
        let tampered = Tampered::of_marks(&kernel);
        let own = if adds { tampered.instance.get("set_event_pid") } else { String::new() };
        tampered.instance.set("set_event_pid", &format!("{own}\n{}", stranger.id()));
        stranger.marks(5000, 500);
        tampered.is_noticed(what);
        wait_until("it is complete", PATIENCE, || tampered.instance.pids().contains(&tampered.workload.id()));
        stranger.marks(6000, 500);
        tampered.workload.marks(1000, 100);
        let workload = tampered.workload.id();
        let (ended, log) = tampered.ends_with_warning(what);
        assert_eq!(of_strangers(&ended, workload), Vec::<&String>::new(), "{}", log.text());
        assert_eq!(marks(&ended, 1000..1100), 100, "{}", log.text());
    }
}

#[test]
fn a_session_ends_with_its_tasks_though_the_pid_filter_was_replaced() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let Tampered { manager: _manager, workload, session, instance, .. } = Tampered::of_marks(&kernel);
    let stranger = Workload::start();
    instance.set("set_event_pid", &stranger.id().to_string());
    wait_until("it is complete", PATIENCE, || instance.pids().contains(&workload.id()));
    workload.exits();
    session.ends().succeeded();
}

#[test]
fn excluded_tasks_are_traced_again() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let tampered = Tampered::of_marks(&kernel);
    let workload = tampered.workload.id().to_string();
    tampered.goes_on("set_event_notrace_pid", &workload, "wrote tasks into set_event_notrace_pid");
}

#[test]
fn a_buffer_that_is_emptied_is_reported() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let tampered = Tampered::of_marks(&kernel);
    tampered.instance.set("trace", "");
    tampered.workload.marks(1000, 100);
    tampered.is_noticed("emptied the ring buffer");
    let (ended, log) = tampered.ends_with_warning("the events in it are missing, and not counted");
    assert_eq!(marks(&ended, 1000..1100), 100);
    let summary = log.summary();
    assert_eq!(
        (summary.recorded, summary.delivered),
        (ended.lines.len(), ended.lines.len()),
        "{}",
        log.text()
    );
}

#[test]
fn events_that_another_process_reads_are_lost() {
    let Some(kernel) = Kernel::or_skip() else { return };
    for file in ["trace_pipe", "per_cpu/cpu0/trace_pipe_raw"] {
        let tampered = Tampered::of_marks(&kernel);
        tampered.workload.stays_on(0);
        tampered.session.while_worker_is_stopped(|| {
            tampered.workload.marks(1000, 100);
            assert!(drain(&tampered.instance, file) > 0);
        });
        tampered.workload.marks(2000, 100);
        tampered.is_noticed("read events of this session from the ring buffer");
        let (ended, log) = tampered.ends_with_warning("100 events that it took are lost");
        assert_eq!((marks(&ended, 1000..1100), marks(&ended, 2000..2100)), (0, 100));
        let summary = log.summary();
        assert_eq!(summary.lost, [(0, 100)].into(), "{}", log.text());
        assert_eq!((summary.recorded, summary.delivered), (300, 200), "{}", log.text());
    }
}

/// What is written to `trace_marker_raw`: an id of four bytes, and data.
const RAW: &[u8] = b"id__ raw data";
/// How the id is printed.
const RAW_ID: &str = if cfg!(target_endian = "little") { "# 5f5f6469 buf: " } else { "# 69645f5f buf: " };

#[test]
fn text_that_another_process_writes_to_the_instance_is_not_delivered() {
    let Some(kernel) = Kernel::or_skip() else { return };
    for choice in ["", "--exact"] {
        let stranger = Workload::start();
        let tampered = Tampered::of(&kernel, "ftrace", "trace_syscalls", &format!("-s getsid {choice}"));
        let [marker, raw] = ["trace_marker", "trace_marker_raw"].map(|it| tampered.instance.path().join(it));
        let child = tampered.workload.child();
        for (number, task) in [&*tampered.workload, &*stranger, &child].into_iter().enumerate() {
            task.writes_text(format!("text {number}").as_bytes(), &marker);
            task.writes_text(RAW, &raw);
        }
        fs::write(&marker, "text of the test").expect("it can be written");
        tampered.workload.marks(1000, 100);
        let Tampered { workload, session, log, .. } = tampered;
        let ended = session.stop();
        let lines = ended.succeeded();
        let texts: Vec<&str> = lines.iter().filter_map(|line| Some(line.split_once(": text ")?.1)).collect();
        let raw = lines.iter().filter(|line| line.contains(RAW_ID)).count();
        let expected: &[&str] = if choice.is_empty() { &["0", "2"] } else { &["0"] };
        assert_eq!((&*texts, raw), (expected, expected.len()), "{lines:#?}");
        assert!(!choice.is_empty() || of_strangers(&ended, workload.id()).len() == 2, "{lines:#?}");
        let summary = log.summary();
        assert_eq!((summary.recorded, summary.delivered), (lines.len(), lines.len()), "{}", log.text());
    }
}

#[test]
fn a_system_wide_session_has_the_text_of_every_process() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let (manager, log, stranger) = (Manager::with(Plugins::of(["ftrace"])), Log::new(), Workload::start());
    let session =
        log.of(manager.call(["-v", "--run", "trace_syscalls", "--args", "--all -s getsid"])).start();
    let marker = kernel.instance_of(session.pid()).path().join("trace_marker");
    stranger.writes_text(b"text of a stranger", &marker);
    let ended = session.stop();
    assert!(ended.succeeded().iter().any(|line| line.contains(": text of a stranger")), "{}", log.text());
}

#[test]
fn events_that_another_process_enables_are_not_delivered() {
    let Some(kernel) = Kernel::or_skip() else { return };
    for (event, is_visible) in
        [("syscalls/sys_enter_getppid", "getppid"), ("sched/sched_switch", "sched_switch")]
    {
        let tampered = Tampered::of(&kernel, "ftrace", "trace_events", "--event syscalls:sys_enter_getsid");
        tampered.session.while_worker_is_stopped(|| {
            tampered.instance.set(&format!("events/{event}/enable"), "1");
            tampered.instance.set("options/stacktrace", "1");
            tampered.workload.calls(100);
            tampered.workload.sleeps(3);
            tampered.workload.marks(1000, 100);
            tampered.instance.set("options/stacktrace", "0");
        });
        tampered.is_noticed("enabled ");
        let Tampered { session, log, .. } = tampered;
        let ended = session.stop();
        let lines = ended.succeeded();
        assert_eq!(marks(&ended, 1000..1100), 100, "{}", log.text());
        assert!(
            !lines.iter().any(|line| line.contains(is_visible) || line.contains("stack trace")),
            "{lines:#?}"
        );
        assert_eq!(log.summary().delivered, 200, "{}", log.text());
        assert_eq!(log.summary().recorded, 200, "{}", log.text());
    }
}

#[test]
fn both_instances_of_a_session_are_watched() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let (manager, log, workload) = (Manager::with(Plugins::of(["ftrace"])), Log::new(), Workload::start());
    let arguments = format!("--pid {}", workload.id());
    let session = log.of(manager.call(["-v", "--run", "trace_net", "--args", &arguments])).start();
    let instances = kernel.instances_of(&[session.pid()]);
    assert_eq!(instances.len(), 2);
    for instance in &instances {
        instance.set("tracing_on", "0");
        wait_until("it is started again", PATIENCE, || instance.is_on());
    }
    session.stop().succeeded();
    assert!(log.text().contains("; noticed 2 times, last at "), "{}", log.text());
}

#[test]
fn functions_of_programs_are_traced_again() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let tampered = Tampered::of(&kernel, "uprobe", "trace_user", "--function getsid");
    tampered.instance.set("events/enable", "0");
    tampered.is_noticed("disabled ");
    let lines = tampered.session.line_count();
    wait_until("events are enabled", PATIENCE, || tampered.instance.get("set_event").contains("tracehook"));
    tampered.workload.marks(1000, 100);
    tampered.session.wait_for_lines(lines + 100);
    tampered.ends_with_warning("disabled ");
}

/// The first instance of a session, with its pid filter, and the one that records who joins the cgroup.
fn instances_of_cgroup(kernel: &Kernel, session: &Session) -> [Instance; 2] {
    let instances = kernel.instances_of(&[session.pid()]);
    let (joins, own): (Vec<_>, Vec<_>) = instances.into_iter().partition(|it| it.name().ends_with("_joins"));
    [own, joins].map(|mut found| found.pop().expect("a session that traces a cgroup has both"))
}

impl Tampered {
    /// Traces the marks in a cgroup, of which the workload need not be a member.
    fn of_cgroup(kernel: &Kernel, cgroup: &Cgroup, workload: Workload) -> Self {
        let (manager, log) = (Manager::with(Plugins::of(["ftrace"])), Log::new());
        let arguments = format!("--cgroup {} -s getsid", cgroup.path().display());
        let session = log.of(manager.call(["-v", "--run", "trace_syscalls", "--args", &arguments])).start();
        let [instance, _] = instances_of_cgroup(kernel, &session);
        Self { manager, log, workload, session, instance }
    }

    /// Emits marks until one is delivered.
    fn is_traced(&self) {
        let lines = self.session.line_count();
        wait_until("the workload is traced", PATIENCE, || {
            self.workload.marks(0, 1);
            self.session.line_count() > lines
        });
    }

    /// Waits until the settings have been looked at.
    fn is_looked_at(&self) {
        self.instance.set("tracing_on", "0");
        wait_until("it is started again", PATIENCE, || self.instance.is_on());
    }
}

#[test]
fn no_event_of_another_task_is_delivered_when_the_pid_filter_of_an_empty_cgroup_is_emptied() {
    let Some(kernel) = Kernel::or_skip() else { return };
    for has_had_members in [false, true] {
        let (cgroup, stranger) = (Cgroup::create(), Workload::start());
        let short_lived = stranger.child();
        if has_had_members {
            let member = Workload::start();
            cgroup.takes(member.id());
        }
        let tampered = Tampered::of_cgroup(&kernel, &cgroup, Workload::start());
        tampered.session.while_worker_is_stopped(|| {
            tampered.instance.set("set_event_pid", "");
            short_lived.marks(5000, 10);
            stranger.ends_child(&short_lived);
        });
        stranger.marks(5100, 400);
        stranger.storm(20);
        tampered.is_noticed("removed the traced tasks from set_event_pid");
        wait_until("the filter is not empty", PATIENCE, || !tampered.instance.pids().is_empty());
        stranger.marks(6000, 500);
        cgroup.takes(tampered.workload.id());
        tampered.is_traced();
        tampered.workload.marks(1000, 100);
        let Tampered { workload, session, log, .. } = tampered;
        let ended = session.stop();
        ended.succeeded();
        assert_eq!(of_strangers(&ended, workload.id()), Vec::<&String>::new(), "{}", log.text());
        assert_eq!(marks(&ended, 1000..1100), 100, "{}", log.text());
    }
}

#[test]
fn no_event_of_another_task_is_delivered_when_the_pid_filter_of_a_cgroup_is_extended() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let (cgroup, stranger, workload) = (Cgroup::create(), Workload::start(), Workload::start());
    cgroup.takes(workload.id());
    let tampered = Tampered::of_cgroup(&kernel, &cgroup, workload);
    tampered.is_traced();
    let filter = File::options().append(true).open(tampered.instance.path().join("set_event_pid"));
    writeln!(filter.expect("it can be opened"), "{}", stranger.id()).expect("it can be written");
    stranger.marks(5000, 500);
    tampered.is_noticed("added other tasks to set_event_pid");
    stranger.marks(6000, 500);
    tampered.workload.marks(1000, 100);
    let workload = tampered.workload.id();
    let (ended, log) = tampered.ends_with_warning("added other tasks to set_event_pid");
    assert_eq!(of_strangers(&ended, workload), Vec::<&String>::new(), "{}", log.text());
    assert_eq!(marks(&ended, 1000..1100), 100, "{}", log.text());
}

#[test]
fn processes_that_join_a_cgroup_and_leave_it_are_not_taken_for_added_tasks() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let (cgroup, member, joiner) = (Cgroup::create(), Workload::start(), Workload::start());
    cgroup.takes(member.id());
    let tampered = Tampered::of_cgroup(&kernel, &cgroup, member);
    tampered.is_traced();
    tampered.is_looked_at();
    let lines = tampered.session.line_count();
    cgroup.takes(joiner.id());
    wait_until("it is traced", PATIENCE, || {
        joiner.marks(0, 1);
        tampered.session.line_count() > lines
    });
    cgroup.releases(joiner.id());
    tampered.is_looked_at();
    joiner.marks(1000, 100);
    let Tampered { session, log, .. } = tampered;
    assert_eq!(marks(&session.stop(), 1000..1100), 100, "{}", log.text());
    assert!(!log.text().contains("set_event_pid"), "{}", log.text());
}

#[test]
fn the_instance_that_records_joiners_is_watched() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let cgroup = Cgroup::create();
    let tampered = Tampered::of_cgroup(&kernel, &cgroup, Workload::start());
    let [_, joins] = instances_of_cgroup(&kernel, &tampered.session);
    cgroup.takes(tampered.workload.id());
    tampered.is_traced();
    joins.set("tracing_on", "0");
    tampered.is_noticed("changed tracing_on from '1' to '0'");
    wait_until("it is started again", PATIENCE, || joins.is_on());
    tampered.session.while_worker_is_stopped(|| {
        cgroup.releases(tampered.workload.id());
        cgroup.takes(tampered.workload.id());
        assert!(drain(&joins, "trace_pipe") > 0);
    });
    tampered.is_noticed("read or emptied the ring buffer of a tracing instance of this session");
    tampered.session.stop().succeeded();
}

#[test]
fn an_orphan_is_traced_whose_start_the_filter_of_the_user_excludes() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, log) = (Manager::with(Plugins::of(["ftrace"])), Log::new());
    let script = "read one; env true; read two; (sleep 60 & echo $!); echo; read three";
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut shell = shell.expect("there is a shell");
    let mut commands = shell.stdin.take().expect("it is a pipe");
    let mut answers = BufReader::new(shell.stdout.take().expect("it is a pipe")).lines();
    let events = "-e task:task_newtask syscalls:sys_enter_execve";
    let filter = "--filter 'task:task_newtask clone_flags & 0x10000'";
    let arguments = format!("--pid {} {events} {filter}", shell.id());
    let session = log.of(manager.call(["-v", "--run", "trace_events", "--args", &arguments])).start();
    // Starts have been recorded for some time.
    writeln!(commands).expect("it reads");
    session.wait_for_lines(1);
    let mut orphan = 0;
    session.while_worker_is_stopped(|| {
        writeln!(commands).expect("it reads");
        orphan = answers.next().expect("a pid").expect("a line").parse().expect("a number");
        answers.next().expect("the parent of it has ended").expect("a line");
        let name = format!("/proc/{orphan}/comm");
        wait_until("it executes", PATIENCE, || fs::read_to_string(&name).is_ok_and(|it| it == "sleep\n"));
    });
    let ended = session.stop();
    kill(Pid::from_raw(orphan), Signal::SIGKILL).expect("it sleeps");
    drop(commands);
    shell.wait().expect("it ends");
    let task = format!("-{orphan}");
    let is_its = |line: &&&str| line.split_whitespace().next().is_some_and(|word| word.ends_with(&task));
    assert!(ended.succeeded().iter().any(|line| is_its(&line)), "{}", log.text());
}
