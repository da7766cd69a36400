//! `trace_process` with real processes, compared with strace. Needs root and tracefs.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use system_tests::{Kernel, Log, Manager, Plugins, Script, Session, Workload, skip};

fn manager() -> Manager {
    Manager::with(Plugins::of(["ftrace"]))
}

/// A session that traces this process as JSON, with more arguments.
#[track_caller]
fn trace(manager: &Manager, pid: u32, arguments: &str) -> Session {
    manager.run("trace_process", format!("--pid {pid} --format json {arguments}")).start()
}

/// Records a script from its start to its end.
#[track_caller]
fn events_of(script: &str) -> Vec<Value> {
    let manager = manager();
    let script = Script::start(script);
    let session = trace(&manager, script.id(), "");
    script.run_to_end();
    session.ends().objects()
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[test]
fn the_hook_is_listed_and_described() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    assert!(manager.call(["--get-all"]).answer().succeeded().lines().any(|hook| hook == "trace_process"));
    let described = manager.call(["--describe", "trace_process"]).answer();
    for word in [
        "fork:",
        "exec:",
        "exit:",
        "signal_generate:",
        "signal_deliver:",
        "group_dead",
        "--format",
        "Example",
    ] {
        assert!(described.succeeded().contains(word), "no {word} in {described:#?}");
    }
}

#[test]
fn forks_distinguish_threads_from_processes() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, workload.id(), "");
    let thread = workload.thread();
    let child = thread.child();
    let ended = session.stop();
    let events = ended.objects();
    let forks: Vec<_> = named(&events, "fork")
        .into_iter()
        .map(|fork| (&fork["tid"], &fork["child_tid"], &fork["kind"]))
        .collect();
    let (workload, thread, child) = (workload.id().into(), thread.id().into(), child.id().into());
    assert_eq!(forks, [(&workload, &thread, &"thread".into()), (&thread, &child, &"process".into())]);
    let of_thread = &named(&events, "fork")[0]["flags"];
    assert!(
        of_thread
            .as_str()
            .is_some_and(|flags| flags.contains("CLONE_VM|CLONE_FS") && flags.contains("CLONE_THREAD")),
        "{of_thread}"
    );
    assert_eq!(named(&events, "fork")[1]["pid"], workload, "the thread's process");
}

#[test]
fn an_exec_has_its_file() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events_of("/bin/true");
    let exec = named(&events, "exec")[0];
    assert_eq!(
        (&exec["path"], &exec["comm"], &exec["old_tid"]),
        (&"/bin/true".into(), &"true".into(), &exec["tid"])
    );
}

#[test]
fn an_exec_in_a_thread_replaces_its_process() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, workload.id(), "");
    let thread = workload.thread();
    thread.becomes_an_echo();
    let events = session.ends().objects();
    let exec = named(&events, "exec")[0];
    assert_eq!((&exec["tid"], &exec["old_tid"]), (&workload.id().into(), &thread.id().into()));
    let exits = named(&events, "exit");
    assert_eq!(exits.len(), 2, "{events:#?}");
    assert!(exits[0]["killed"] == true && exits[0]["group_dead"] != true, "{}", exits[0]);
    assert_eq!((&exits[1]["comm"], &exits[1]["status"]), (&"echo".into(), &0.into()));
}

#[test]
fn an_exit_has_its_status() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events_of("sh -c 'exit 3'; /bin/false; exit 258");
    let statuses: Vec<_> = named(&events, "exit").into_iter().map(|exit| exit["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(3), Some(1), Some(2)]);
}

#[test]
fn an_exit_by_a_signal_has_the_signal() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events =
        events_of("sh -c 'kill -TERM $$'; sleep 100 & kill -KILL $!; wait; sh -c 'kill -SEGV $$'; true");
    let killed: Vec<_> = named(&events, "exit")
        .into_iter()
        .filter_map(|exit| exit["killed"].as_bool().map(|_| exit["signal"].as_str()))
        .collect();
    assert_eq!(killed, [Some("SIGTERM"), Some("SIGKILL"), Some("SIGSEGV")], "{events:#?}");
}

#[test]
fn a_signal_of_an_untraced_sender_has_its_name_and_sender() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for sent in [Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGKILL, Signal::SIGQUIT] {
        let workload = Workload::start();
        let session = trace(&manager, workload.id(), "");
        kill(Pid::from_raw(workload.id().cast_signed()), sent).expect("the test owns it");
        let events = session.ends().objects();
        let generated = named(&events, "signal_generate");
        let generated = generated.iter().find(|event| event["signal"] == sent.as_str()).expect("it was sent");
        assert_eq!(
            (&generated["pid"], &generated["to_tid"], &generated["code"]),
            (&std::process::id().into(), &workload.id().into(), &"SI_USER".into())
        );
        assert_eq!(generated["comm"], own_name(), "{generated}");
        assert_eq!(named(&events, "signal_deliver")[0]["signal"], sent.as_str());
        let exit = named(&events, "exit")[0];
        assert!(exit["killed"] == true && exit["signal"] == sent.as_str(), "{exit}");
        assert!(exit.get("status").is_none(), "{exit}");
    }
}

/// The name of this thread.
fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/thread-self/comm").expect("procfs");
    name.trim_end().to_owned()
}

#[test]
fn signals_are_recorded_at_sender_and_receiver() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events_of("trap : USR1; kill -USR1 $$; trap '' USR2; kill -USR2 $$; true");
    let sent = |signal: &str| {
        named(&events, "signal_generate").into_iter().find(|event| event["signal"] == signal).expect("sent")
    };
    let usr1 = sent("SIGUSR1");
    assert_eq!(
        (&usr1["to_tid"], &usr1["to_comm"], &usr1["code"]),
        (&usr1["tid"], &"sh".into(), &"SI_USER".into())
    );
    assert_eq!((&usr1["outcome"], &usr1["group"]), (&"delivered".into(), &true.into()));
    assert_eq!(sent("SIGUSR2")["outcome"], "ignored");
    let delivered = named(&events, "signal_deliver");
    assert_eq!(delivered.len(), 1, "{delivered:#?}");
    assert_eq!((&delivered[0]["signal"], &delivered[0]["action"]), (&"SIGUSR1".into(), &"handler".into()));
    assert!(
        delivered[0]["handler"].as_str().is_some_and(|address| address.starts_with("0x")),
        "{}",
        delivered[0]
    );
}

#[test]
fn text_is_the_default_format() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let script = Script::start("exec /bin/false");
    let (id, session) = (script.id(), manager.run("trace_process", format!("--pid {}", script.id())).start());
    script.run_to_end();
    let ended = session.ends();
    let lines = ended.succeeded();
    let ends_with = |line: usize, end: &str| assert!(lines[line].ends_with(end), "no {end:?} in {lines:#?}");
    ends_with(0, &format!(": exec: path=\"/bin/false\" old_tid={id}"));
    assert!(lines[0].starts_with(&format!("{:>16}-{id:<7} [", "false")), "{lines:#?}");
    assert!(lines[1].contains(": exit: status=1"), "{lines:#?}");
}

#[test]
fn other_tasks_are_not_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (traced, bystander) = (Workload::start(), Workload::start());
    let session = trace(&manager, traced.id(), "");
    bystander.storm(20);
    let child = traced.child();
    bystander.storm(20);
    let events = session.stop().objects();
    assert_eq!(events.len(), 2, "a fork and an exec: {events:#?}");
    assert_eq!(events[0]["child_tid"], child.id());
}

#[test]
fn exact_excludes_the_children_and_parent_the_process() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let exact = trace(&manager, workload.id(), "--exact");
    let parent = manager.run("trace_process", format!("--parent {} --format json", workload.id())).start();
    let children = workload.storm(20);
    let (exact, parent) = (exact.stop().objects(), parent.stop().objects());
    assert_eq!(named(&exact, "fork").len(), 20);
    let is_received = |event: &Value| event["to_tid"] == workload.id();
    assert!(exact.iter().all(|event| event["pid"] == workload.id() || is_received(event)), "{exact:#?}");
    let exits: Vec<_> = named(&parent, "exit").into_iter().map(|exit| exit["pid"].as_u64()).collect();
    let mut expected: Vec<_> = children.iter().map(|child| Some(u64::from(*child))).collect();
    expected.sort_unstable();
    let mut sorted = exits.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    let is_own = |event: &Value| event["pid"] == workload.id() && event["event"] != "signal_generate";
    assert!(!parent.iter().any(is_own), "{parent:#?}");
}

#[test]
fn hostile_names_do_not_break_lines() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a\nCPU:0 [LOST 7 EVENTS]\n\u{1b}[2J\"}");
    symlink("/bin/true", &path).expect("a link");
    let script = format!("exec '{}'", path.display());
    let manager = manager();
    for format in ["text", "json"] {
        let script = Script::start(&script);
        let arguments = format!("--pid {} --format {format}", script.id());
        let session = manager.run("trace_process", arguments).start();
        script.run_to_end();
        let ended = session.ends();
        let lines = ended.succeeded();
        let exec = lines.iter().find(|line| line.contains("exec")).expect("an exec");
        assert!(!exec.contains('\u{1b}'), "{exec:?}");
        assert!(lines.iter().all(|line| line.contains("e") && !line.starts_with("CPU:")), "{lines:#?}");
        if format == "json" {
            let exec: Value = serde_json::from_str(exec).expect("an object");
            assert_eq!(exec["path"].as_str(), path.to_str());
            assert_eq!(exec["comm"], "a\nCPU:0 [LOST 7");
        }
    }
}

#[test]
fn a_process_in_namespaces_has_the_hosts_ids() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let script = Script::start_under(
        &["unshare", "--mount", "--user", "--pid", "--fork"],
        "sh -c 'exit 5'; kill -9 $$",
    );
    let session = trace(&manager, script.id(), "");
    script.run_to_end();
    let events = session.ends().objects();
    let fork = named(&events, "fork").into_iter().next().expect("a fork");
    let exit = named(&events, "exit").into_iter().find(|exit| exit["status"] == 5).expect("an exit");
    assert_eq!(exit["pid"], fork["child_tid"]);
}

#[test]
fn every_record_is_counted() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, log) = (manager(), Log::new());
    let workload = Workload::start();
    let call = manager.call(["-v", "--run", "trace_process", "--args", &format!("--pid {}", workload.id())]);
    let session = log.of(call).start();
    workload.storm(200);
    let ended = session.stop();
    let summary = log.summary();
    assert_eq!((summary.recorded, summary.delivered), (ended.lines.len(), ended.lines.len()));
    assert!(summary.lost.is_empty());
}

/// The events of a process that strace reports as well.
type TaskEvents = Vec<String>;

#[test]
fn events_match_strace() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    if Command::new("strace").arg("--version").output().is_err() {
        return skip("there is no strace");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("calls");
    let file = file.to_str().expect("a plain name");
    let script = "/bin/true; sh -c 'exit 3'; sleep 100 & kill -TERM $!; wait; trap : USR1; kill -USR1 $$; \
                  sh -c 'kill -SEGV $$'; (exit 5) | cat; exit 7";
    let wrapper = ["strace", "-f", "-o", file, "-e", "trace=process", "-e", "signal=all"];
    let manager = manager();
    let script = Script::start_under(&wrapper, script);
    let shell = system_tests::eventually("strace has a shell that waits", system_tests::PATIENCE, || {
        let shell = child_of(script.id())?;
        std::fs::read_to_string(format!("/proc/{shell}/wchan")).ok()?.contains("pipe").then_some(shell)
    });
    let session = trace(&manager, shell, "");
    script.run_to_end();
    let ours = events_by_hook(&session.ends().objects());
    let theirs = events_by_strace(&std::fs::read_to_string(file).expect("the output of strace"), shell);
    assert_eq!(ours, theirs);
}

fn child_of(process: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn events_by_hook(events: &[Value]) -> BTreeMap<u64, TaskEvents> {
    let mut tasks: BTreeMap<u64, TaskEvents> = BTreeMap::new();
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    for event in events {
        let what = match event["event"].as_str() {
            Some("fork") => format!("fork {}", event["child_tid"]),
            Some("exec") => format!("exec {}", text(&event["path"])),
            Some("exit") if event["killed"] == true => format!("killed by {}", text(&event["signal"])),
            Some("exit") => format!("exited with {}", event["status"]),
            Some("signal_deliver") => format!("{} {}", text(&event["signal"]), text(&event["code"])),
            _ => continue,
        };
        tasks.entry(event["tid"].as_u64().expect("an id")).or_default().push(what);
    }
    tasks
}

/// Parses lines such as `4711 execve("/bin/true", …) = 0`, `4711 vfork() = 4712`, `4711 --- SIGCHLD {si_signo=SIGCHLD,
/// si_code=CLD_EXITED, …} ---`, `4711 +++ exited with 3 +++`.
fn events_by_strace(text: &str, shell: u32) -> BTreeMap<u64, TaskEvents> {
    let mut tasks: BTreeMap<u64, TaskEvents> = BTreeMap::new();
    for line in text.lines() {
        let (id, what) = line.split_once(' ').expect("an id and what happened");
        let what = what.trim_start();
        let result = what.rsplit_once(" = ").map(|(_, result)| result);
        let between = |start: &str, end: &str| {
            what.split_once(start)?.1.split_once(end).map(|(word, _)| word.to_owned())
        };
        let what = if let Some(end) = what.strip_prefix("+++ ") {
            end.trim_end_matches(" +++").replace(" (core dumped)", "")
        } else if what.starts_with("--- ") {
            let (signal, code) = (between("--- ", " "), between("si_code=", ","));
            format!("{} {}", signal.expect("a signal"), code.expect("a code"))
        } else if let Some(child) = result.filter(|_| what.contains("fork") || what.contains("clone")) {
            // The call was interrupted by a signal, and is restarted and printed again.
            if child.contains("ERESTARTNOINTR") {
                continue;
            }
            format!("fork {child}")
        } else if what.starts_with("execve") {
            format!("exec {}", between("\"", "\"").expect("a path"))
        } else {
            continue;
        };
        tasks.entry(id.parse().expect("an id")).or_default().push(what);
    }
    // The session started after strace.
    let events_of_shell = tasks.get_mut(&u64::from(shell)).expect("the shell");
    events_of_shell.retain(|what| what != "exec /usr/bin/sh" && what != "exec /bin/sh");
    tasks
}
