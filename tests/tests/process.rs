//! `trace_process` with real processes, compared with strace. Needs root and tracefs.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use system_tests::{
    Fate, Kernel, Log, Manager, PATIENCE, Plugins, Reader, Script, Session, SystemCall, Workload, skip,
    wait_until,
};

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

/// Traces a workload that forks, while this system call fails with EPERM. Returns the system calls, and the line of the fork.
#[track_caller]
fn fork_while_a_call_fails(manager: &Manager, failing: Option<SystemCall>) -> (Vec<SystemCall>, String) {
    let workload = Workload::start();
    let run = manager.run("trace_process", format!("--pid {}", workload.id()));
    let (call, watch) = run.watched(failing.map(|call| (call, Fate::Fails(Errno::EPERM))));
    let mut process = call.spawn();
    wait_until("it prints its path, or ends", PATIENCE, || process.has_output() || process.is_over());
    let reader = Reader::if_there(process.stdout().trim_end().as_ref());
    workload.storm(1);
    process.signal(Signal::SIGINT);
    let answer = process.ends(PATIENCE);
    assert!(answer.status.success(), "{failing:?}: {answer:?}");
    let lines = reader.map(Reader::finish).unwrap_or_default();
    let forks = lines.into_iter().filter(|line| line.contains(": fork: "));
    (watch.ends(PATIENCE).calls, forks.collect())
}

#[test]
fn trace_events_are_recorded_if_the_kernel_refuses_a_call_for_ebpf() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (calls, fork) = fork_while_a_call_fails(&manager, None);
    assert!(fork.contains(" child_pid="), "{fork}");
    let for_ebpf: Vec<SystemCall> = calls.into_iter().filter(|call| call.name() == "bpf").collect();
    // The others are made when programs run already.
    let of_start = &for_ebpf[..for_ebpf.len() * 3 / 4];
    let forks = of_start.iter().step_by(5).map(|call| fork_while_a_call_fails(&manager, Some(*call)).1);
    let forks: Vec<String> = forks.collect();
    assert!(forks.iter().all(|fork| fork.matches(": fork: ").count() == 1), "{forks:?}");
    assert!(
        forks.iter().any(|fork| !fork.contains(" child_pid=")),
        "no call failed that is needed: {forks:?}"
    );
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
    let exec = format!(": exec: path=\"/bin/false\" old_tid={id} ppid={} argc=1", std::process::id());
    ends_with(0, &format!("{exec} argv=[\"/bin/false\"] file=\"/usr/bin/false\""));
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

#[test]
fn arguments_match_strace() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    if Command::new("strace").arg("--version").output().is_err() {
        return skip("there is no strace");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("calls");
    let file = file.to_str().expect("a plain name");
    // In hexadecimal, which is unambiguous.
    let wrapper = ["strace", "-f", "-o", file, "-e", "trace=execve", "-s", "100000", "-xx"];
    let script = "/bin/true; /bin/true '' 'a b' '\"' '\\' \"$(printf '\\n\\033[2J\\tx')\" '['; \
                  env -i /bin/true ü '☃'; /bin/true $(seq 500); exec /bin/echo -n";
    let manager = manager();
    let script = Script::start_under(&wrapper, script);
    let shell = shell_under_strace(&script);
    let session = trace(&manager, shell, "");
    script.run_to_end();
    let events = session.ends().objects();
    let ours: Vec<Vec<String>> = named(&events, "exec").into_iter().map(arguments_of).collect();
    let calls = std::fs::read_to_string(file).expect("the output of strace");
    let theirs: Vec<Vec<String>> = calls.lines().filter_map(arguments_by_strace).skip(1).collect();
    assert!(ours.len() > 4, "{ours:?}");
    assert_eq!(ours, theirs);
    let counts: Vec<_> = named(&events, "exec").into_iter().map(|exec| exec["argc"].as_u64()).collect();
    assert_eq!(counts, Vec::from_iter(theirs.iter().map(|arguments| Some(arguments.len() as u64))));
}

fn arguments_of(exec: &Value) -> Vec<String> {
    let arguments = exec["argv"].as_array().expect("a list");
    arguments.iter().map(|argument| argument.as_str().expect("a text").to_owned()).collect()
}

/// The arguments of a successful call: `4711 execve("\x2f\x62", ["\x2f", …], 0x…) = 0`.
fn arguments_by_strace(line: &str) -> Option<Vec<String>> {
    let list = line.strip_suffix(" = 0")?.split_once(", [")?.1.split_once(']')?.0;
    let text = |hexadecimal: &str| {
        let digits = hexadecimal.trim_matches('"').split("\\x").skip(1);
        let bytes = digits.map(|digits| u8::from_str_radix(digits, 16).expect("two digits"));
        String::from_utf8(bytes.collect()).expect("UTF-8")
    };
    Some(list.split(", ").map(text).collect())
}

#[test]
fn hostile_arguments_do_not_break_lines() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let script = "/bin/true \"$(printf '\\377\\n\\033[2J\"\\\\')\" ''";
    let events = events_of(script);
    assert_eq!(arguments_of(named(&events, "exec")[0]), ["/bin/true", "\u{fffd}\n\u{1b}[2J\"\\", ""]);
    let manager = manager();
    let script = Script::start(script);
    let session = manager.run("trace_process", format!("--pid {}", script.id())).start();
    script.run_to_end();
    let ended = session.ends();
    let lines = ended.succeeded();
    let exec = lines.iter().find(|line| line.contains("exec:")).expect("an exec");
    assert!(exec.contains(r#" argv=["/bin/true","\xff\n\u{1b}[2J\"\\",""] "#), "{exec}");
}

#[test]
fn long_arguments_are_cut_and_counted() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events_of(
        "ulimit -s 65536; a=$(head -c 100000 /dev/zero | tr '\\0' x); b=\"$a $a $a $a $a $a $a $a $a $a\"; \
         /bin/true $b $b $b $b; /bin/true $b $b $b $b $b $b $b $b $b $b; /bin/true z",
    );
    let execs: Vec<&Value> =
        named(&events, "exec").into_iter().filter(|exec| exec["path"] == "/bin/true").collect();
    let [long, short] = execs.as_slice() else { panic!("two execs, not {execs:#?}") };
    assert_eq!((&long["argc"], &long["argv_cut"]), (&41.into(), &true.into()));
    let arguments = arguments_of(long);
    let bytes: usize = arguments.iter().map(|argument| argument.len() + 1).sum();
    assert_eq!((arguments[0].as_str(), bytes), ("/bin/true", 4096 + 1), "the NUL of the last is cut off");
    assert!(short.get("argv_cut").is_none() && arguments_of(short) == ["/bin/true", "z"], "{short}");
    let failed = named(&events, "exec_failed")[0];
    assert_eq!((&failed["path"], &failed["error"]), (&"/bin/true".into(), &"E2BIG".into()));
}

#[test]
fn an_exec_of_a_script_has_its_interpreter() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("script");
    std::fs::write(&path, "#!/bin/sh -e\ntr '\\0' '\\n' </proc/$$/cmdline >\"$0.cmdline\"\n")
        .expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = path.to_str().expect("a plain name");
    let events = events_of(&format!("{path} a 'b c'"));
    let exec = named(&events, "exec")[0];
    assert_eq!((&exec["path"], &exec["interpreter"]), (&path.into(), &"/bin/sh".into()));
    let file = std::fs::canonicalize("/bin/sh").expect("it exists");
    assert_eq!(exec["file"].as_str(), file.to_str());
    let arguments = std::fs::read_to_string(format!("{path}.cmdline")).expect("the script wrote it");
    assert_eq!(arguments_of(exec), Vec::from_iter(arguments.lines()));
}

#[test]
fn an_exec_through_a_link_has_its_file() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events_of("exec /proc/self/exe -c 'exit 3'");
    let exec = named(&events, "exec")[0];
    let file = std::fs::canonicalize("/bin/sh").expect("it exists");
    assert_eq!((exec["path"].as_str(), exec["file"].as_str()), (Some("/proc/self/exe"), file.to_str()));
    assert!(exec.get("interpreter").is_none(), "{exec}");
}

#[test]
fn a_failed_exec_has_its_path_and_error() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let executor = system_tests::built("executor");
    let long = format!("/{}", "a".repeat(5000));
    let longest = format!("{}/bin/true", "/.".repeat(2043));
    let events = events_of(&format!(
        "(exec /no/such); (exec /); (exec {long}); {longest}; {} invalid",
        executor.display()
    ));
    let failed: Vec<_> = named(&events, "exec_failed")
        .into_iter()
        .map(|exec| (exec["path"].as_str(), exec["error"].as_str(), exec["cut"] == true))
        .collect();
    let expected = [
        (Some("/no/such"), Some("ENOENT"), false),
        (Some("/"), Some("EACCES"), false),
        (Some(&long[..4095]), Some("ENAMETOOLONG"), true),
        (None, Some("EFAULT"), false),
    ];
    assert_eq!(failed, expected);
    let unreadable = named(&events, "exec_failed")[3];
    assert_eq!(unreadable["unreadable"], true);
    assert!(named(&events, "exec").into_iter().any(|exec| exec["path"] == longest.as_str()), "{longest}");
}

#[test]
fn a_path_that_is_unmapped_during_the_call_loses_no_exec() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events_of(&format!("exec {} unmaps 2000", system_tests::built("executor").display()));
    let failed = named(&events, "exec_failed");
    assert_eq!(failed.len(), 2000);
    for exec in failed {
        assert!(["ENOENT", "EFAULT"].contains(&exec["error"].as_str().expect("an error")), "{exec}");
        let path = exec["path"].as_str();
        let is_whole = path.is_some_and(|path| path.is_empty() || "/no/such/program".starts_with(path));
        assert!(is_whole != (exec["unreadable"] == true), "{exec}");
    }
}

#[test]
fn of_a_thousand_threads_that_exec_one_remains() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events_of(&format!("exec {} threads 1000", system_tests::built("executor").display()));
    let execs = named(&events, "exec");
    let [_, last] = execs.as_slice() else { panic!("two execs, not {execs:#?}") };
    assert_eq!((&last["path"], &last["comm"]), (&"/bin/true".into(), &"true".into()));
    let exits = named(&events, "exit");
    let (ends, others): (Vec<&Value>, Vec<&Value>) =
        exits.into_iter().partition(|exit| exit["group_dead"] == true);
    assert_eq!((ends.len(), others.len()), (1, 1000), "{ends:#?}");
    assert_eq!((&ends[0]["status"], &ends[0]["comm"]), (&0.into(), &"true".into()));
    assert!(others.iter().all(|exit| exit["by_exec"] == true && exit["killed"] == true), "{others:#?}");
    assert!(events.iter().all(|event| event["comm"] != "<...>"));
}

#[test]
fn one_of_the_threads_that_exit_together_ends_the_process() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let executor = system_tests::built("executor");
    let events = events_of(&format!("for i in 1 2 3 4 5; do {} exits 50; done; exit 3", executor.display()));
    let ends: Vec<&Value> =
        named(&events, "exit").into_iter().filter(|exit| exit["group_dead"] == true).collect();
    assert_eq!(ends.len(), 6, "{ends:#?}");
    assert!(ends.iter().all(|exit| exit["status"] == 3), "{ends:#?}");
    assert_eq!(named(&events, "exit").len(), 6 + 5 * 50);
}

/// What wait4(2) returned for a script: the status, and the CPU time.
fn waited_for(script: &mut Script) -> (ExitStatus, Duration) {
    script.proceed();
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: the pointers are valid, and the process is a child that is waited for once.
    let usage = unsafe {
        let waited = libc::wait4(script.id().cast_signed(), &mut status, 0, usage.as_mut_ptr());
        assert_eq!(waited, script.id().cast_signed());
        usage.assume_init()
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    (ExitStatus::from_raw(status), time(usage.ru_utime) + time(usage.ru_stime))
}

#[test]
fn exits_match_wait4() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let (manager, place) = (manager(), directory.path().display());
    for last in
        ["exit 7", "kill -TERM $$", "ulimit -c 0; kill -ABRT $$", "ulimit -c unlimited; kill -ABRT $$"]
    {
        // Something to do for a while, by the process itself.
        let count = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        let mut script = Script::start(&format!("cd {place}; {count}; {last}"));
        let session = trace(&manager, script.id(), "");
        let (status, cpu_time) = waited_for(&mut script);
        let events = session.ends().objects();
        let exit = named(&events, "exit")[0];
        assert_eq!(exit["group_dead"], true);
        assert_eq!(exit["status"].as_i64(), status.code().map(i64::from), "{exit}");
        let signal = status.signal().map(|signal| Signal::try_from(signal).expect("known").as_str());
        assert_eq!(exit["signal"].as_str(), signal, "{exit}");
        assert_eq!(exit["core_dumped"] == true, status.core_dumped(), "{exit}");
        let reported = Duration::from_nanos(exit["cpu_time_ns"].as_u64().expect("a duration"));
        // A clock tick takes up to 10 ms.
        assert!(reported.abs_diff(cpu_time) < Duration::from_millis(15), "{cpu_time:?}, not {exit}");
        let lifetime = Duration::from_nanos(exit["lifetime_ns"].as_u64().expect("a duration"));
        assert!(lifetime >= reported && lifetime < system_tests::PATIENCE, "{exit}");
    }
}

#[test]
fn cpu_time_is_that_of_all_threads() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut script = Script::start(&format!("exec {} exits 200", system_tests::built("executor").display()));
    let session = trace(&manager, script.id(), "");
    let (_, cpu_time) = waited_for(&mut script);
    let events = session.ends().objects();
    let end = named(&events, "exit").into_iter().find(|exit| exit["group_dead"] == true).expect("an end");
    let reported = Duration::from_nanos(end["cpu_time_ns"].as_u64().expect("a duration"));
    assert!(reported.abs_diff(cpu_time) < Duration::from_millis(15), "{cpu_time:?}, not {end}");
}

#[test]
fn parents_are_reported() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events_of("sh -c '/bin/true; exit 3'; exit 4");
    let own = std::process::id();
    let pid_of = |status: u32| {
        named(&events, "exit").into_iter().find(|exit| exit["status"] == status).expect("an exit")
    };
    let (inner, outer) = (pid_of(3), pid_of(4));
    assert_eq!((&outer["ppid"], &inner["ppid"]), (&own.into(), &outer["pid"]));
    for event in ["fork", "exec"] {
        let of_inner = named(&events, event).into_iter().find(|event| {
            event["child_pid"] == inner["pid"] || (event["event"] == "exec" && event["pid"] == inner["pid"])
        });
        assert_eq!(of_inner.expect("it began")["ppid"], outer["pid"]);
    }
}

#[test]
fn a_timer_is_not_sent_by_the_task_that_it_interrupts() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events_of("timeout 0.1 sh -c 'while :; do :; done'; true");
    let alarm = named(&events, "signal_generate");
    let alarm = alarm.iter().find(|event| event["signal"] == "SIGALRM").expect("the timer of timeout");
    assert_eq!((&alarm["interrupt"], &alarm["to_comm"]), (&true.into(), &"timeout".into()), "{alarm}");
    let delivered = named(&events, "signal_deliver");
    let delivered = delivered.iter().find(|event| event["signal"] == "SIGALRM").expect("it was delivered");
    assert!(delivered.get("sender_pid").is_none(), "{delivered}");
    let killed = named(&events, "signal_deliver");
    let killed = killed.iter().find(|event| event["signal"] == "SIGTERM").expect("timeout ends the loop");
    assert_eq!((&killed["sender_comm"], &killed["code"]), (&"timeout".into(), &"SI_USER".into()));
}

/// A session on a kernel that does not show its type information, so that eBPF programs cannot be loaded.
#[track_caller]
fn trace_without_types(manager: &Manager, pid: u32) -> Session {
    let arguments = format!("--pid {pid} --format json");
    let hide = r#"mount -t tmpfs none /sys/kernel/btf; exec "$@""#;
    manager.run("trace_process", arguments).in_mount_namespace(hide).start()
}

#[test]
fn without_type_information_trace_events_are_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut script = Script::start("/bin/true; sh -c 'exit 3'; sleep 100 & wait");
    let session = trace_without_types(&manager, script.id());
    script.proceed();
    let sleeps = || child_of(script.id()).filter(|child| comm_of(*child).as_deref() == Some("sleep"));
    let sleep = system_tests::eventually("the last child", system_tests::PATIENCE, sleeps);
    kill(Pid::from_raw(sleep.cast_signed()), Signal::SIGTERM).expect("it is alive");
    script.run_to_end();
    let events = session.ends().objects();
    let sent = named(&events, "signal_generate");
    let sent = sent.iter().find(|event| event["signal"] == "SIGTERM").expect("it was sent");
    assert_eq!(
        (&sent["pid"], &sent["to_tid"], &sent["comm"]),
        (&std::process::id().into(), &sleep.into(), &own_name().into())
    );
    let endings: Vec<_> = named(&events, "exit")
        .into_iter()
        .map(|exit| (exit["status"].as_u64(), exit["signal"].as_str()))
        .collect();
    assert_eq!(endings, [(Some(0), None), (Some(3), None), (None, Some("SIGTERM")), (Some(0), None)]);
    assert!(events.iter().all(|event| event.get("argv").is_none() && event.get("cpu_time_ns").is_none()));
}

fn comm_of(process: u32) -> Option<String> {
    let comm = std::fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    Some(comm.trim_end().to_owned())
}

/// The events of a process that strace reports as well.
type TaskEvents = Vec<String>;

#[test]
fn events_match_strace() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    matches_strace(|shell| trace(&manager, shell, ""));
}

#[test]
fn events_without_type_information_match_strace() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    matches_strace(|shell| trace_without_types(&manager, shell));
}

/// The shell that strace runs, when it waits for its first line.
fn shell_under_strace(script: &Script) -> u32 {
    system_tests::eventually("strace has a shell that waits", system_tests::PATIENCE, || {
        let shell = child_of(script.id())?;
        std::fs::read_to_string(format!("/proc/{shell}/wchan")).ok()?.contains("pipe").then_some(shell)
    })
}

#[track_caller]
fn matches_strace(trace: impl FnOnce(u32) -> Session) {
    if Command::new("strace").arg("--version").output().is_err() {
        return skip("there is no strace");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("calls");
    let file = file.to_str().expect("a plain name");
    let script = "/bin/true; sh -c 'exit 3'; sleep 100 & kill -TERM $!; wait; trap : USR1; kill -USR1 $$; \
                  sh -c 'kill -SEGV $$'; (exit 5) | cat; exit 7";
    let wrapper = ["strace", "-f", "-o", file, "-e", "trace=process", "-e", "signal=all"];
    let script = Script::start_under(&wrapper, script);
    let shell = shell_under_strace(&script);
    let session = trace(shell);
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
