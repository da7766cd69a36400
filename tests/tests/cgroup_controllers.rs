//! A cgroup limits the processes of the manager, or freezes its worker.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use system_tests::{Cgroup, Kernel, Log, Manager, PATIENCE, Plugins, Workload, is_root, skip, wait_until};

/// The cgroup file that limits the number of processes.
const LIMIT: &str = "pids.max";

fn cgroup_or_skip(file: &str) -> Option<Cgroup> {
    let cgroup = is_root().then(|| Cgroup::with_file(file)).flatten();
    if cgroup.is_none() {
        skip(&format!("it needs root and a cgroup controller with {file}"));
    }
    cgroup
}

#[test]
fn without_a_process_to_spare_hooks_are_not_hidden() {
    let Some(cgroup) = cgroup_or_skip(LIMIT) else { return };
    let manager = Manager::with(Plugins::of(["synthetic", "failing", "unavailable", "many_hooks"]));
    // The shell moves itself into the cgroup, and becomes the manager.
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cgroup.path().display());
    let me = std::process::id().to_string();
    let usual = manager.call(["--get-all"]).answer();
    let limited = |words: &[&str], processes: u32| {
        fs::write(cgroup.path().join(LIMIT), processes.to_string()).expect("the test runs as root");
        manager.call(words).under(["sh", "-c", &enter, "sh"]).answer()
    };
    for words in [
        &["--get-all"][..],
        &["--list"],
        &["--describe", "synthetic_lines"],
        &["--run", "synthetic_lines", "--args", "--pid", &me],
    ] {
        limited(words, 1).failed_with(1, &["cannot start a worker", "pids.max"]);
    }
    // One worker after the other.
    assert_eq!(limited(&["--get-all"], 2).stdout, usual.stdout);
    assert!(manager.files().is_empty());
}

/// Hooks of all sub-systems, which start several threads, with arguments.
const HOOKS: [(&str, &str); 7] = [
    ("trace_syscalls", "--pid PID -s getsid"),
    ("trace_syscalls", "--cgroup CGROUP -s getsid"),
    ("trace_user", "--pid PID -f getppid"),
    ("trace_profile", "--pid PID"),
    ("trace_counters", "--pid PID"),
    ("trace_open", "--pid PID"),
    ("trace_offcpu", "--pid PID"),
];

#[test]
fn without_a_thread_to_spare_the_limit_is_named() {
    let Some(cgroup) = cgroup_or_skip(LIMIT) else { return };
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (traced, workload) = (Cgroup::create(), Workload::start());
    let manager = Manager::with(Plugins::of(["ebpf", "ftrace", "perf", "uprobe"]));
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cgroup.path().display());
    for (hook, arguments) in HOOKS {
        let arguments = arguments.replace("PID", &workload.id().to_string());
        let arguments = arguments.replace("CGROUP", &traced.path().display().to_string());
        let arguments = format!("--time 10ms {arguments}");
        // The manager and its worker, and so many threads.
        let answers = (2..10).map(|processes| {
            fs::write(cgroup.path().join(LIMIT), processes.to_string()).expect("the test runs as root");
            let call = manager.call(["-v", "--run", hook, "--follow", "--args", &arguments]);
            call.under(["sh", "-c", &enter, "sh"]).answer()
        });
        let mut refused = 0;
        let answers = answers.take_while(|answer| !answer.status.success());
        answers.for_each(|answer| {
            refused += 1;
            assert!(answer.stderr.contains("cannot start the thread"), "{hook}: {answer:#?}");
            assert!(answer.stderr.contains("raise ulimit -u, or pids.max"), "{hook}: {answer:#?}");
        });
        assert!(refused < 8, "{hook} is never started");
        println!("{hook}: {refused}");
    }
    assert!(manager.files().is_empty());
}

#[test]
fn a_frozen_worker_is_reported() {
    // Of version 1 and of version 2.
    for (file, freeze, thaw) in [("freezer.state", "FROZEN", "THAWED"), ("cgroup.freeze", "1", "0")] {
        let Some(cgroup) = cgroup_or_skip(file) else { continue };
        let manager = Manager::with(Plugins::of(["synthetic"]));
        let me = format!("--pid {} --count 5", std::process::id());
        let mut session = manager.run("synthetic_lines", me).start();
        session.wait_for_lines(5);
        cgroup.takes(session.worker());
        fs::write(cgroup.path().join(file), freeze).expect("the test runs as root");
        session.process().signal(Signal::SIGINT);
        wait_until("it is reported", Duration::from_secs(10), || {
            let message = session.process().stderr();
            message.contains("is frozen by the cgroup") && message.contains(&cgroup.name())
        });
        fs::write(cgroup.path().join(file), thaw).expect("the test runs as root");
        wait_until("it ends", PATIENCE, || session.process().is_over());
        assert!(manager.files().is_empty());
    }
}

#[test]
fn a_worker_that_is_frozen_while_it_records_is_reported_once() {
    for (file, freeze, thaw) in [("freezer.state", "FROZEN", "THAWED"), ("cgroup.freeze", "1", "0")] {
        let Some(cgroup) = cgroup_or_skip(file) else { continue };
        let (manager, log) = (Manager::with(Plugins::of(["synthetic"])), Log::new());
        let arguments = format!("--pid {} --count 5 --time 1h", std::process::id());
        let call = manager.call(["-v", "--run", "synthetic_lines", "--args", &arguments]);
        let session = log.of(call).start();
        session.wait_for_lines(5);
        cgroup.takes(session.worker());
        let write = |state: &str| fs::write(cgroup.path().join(file), state).expect("the test runs as root");
        let reports = || log.text().matches("the session is frozen: its worker, process ").count();
        for number in 1..=2 {
            assert_eq!(reports(), number - 1, "{}", log.text());
            write(freeze);
            wait_until("it is reported", Duration::from_secs(10), || reports() == number);
            assert!(log.text().contains(&cgroup.name()), "{}", log.text());
            write(thaw);
            let before = reads(session.worker());
            wait_until("it has gone on for longer than between two looks", PATIENCE, || {
                reads(session.worker()) > before + 200
            });
        }
        session.stop().succeeded();
        assert_eq!(reports(), 2, "{}", log.text());
        assert!(manager.files().is_empty());
    }
}

/// How often a process has waited so far: a worker does before each read.
fn reads(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it is alive");
    let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    waits.and_then(|count| count.trim().parse().ok()).expect("a number")
}
