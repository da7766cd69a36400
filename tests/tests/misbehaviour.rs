//! A misbehaving plugin affects only its own hook: one message, in time, and nothing left behind. Tests with an instance need
//! root.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use system_tests::{Answer, Call, Kernel, Manager, PATIENCE, Plugins, cpus, lock_out_sweeps, wait_until};

/// What kills a worker, and the cause in the message.
const ENDS: [(&str, &str); 5] = [
    ("abort", "killed by SIGABRT"),
    ("segfault", "killed by SIGSEGV"),
    ("exit", "exited with status 0"),
    ("hang", "took more than"),
    ("spin", "took more than"),
];
/// Panics, which are errors of the function that panics.
const PANICS: [(&str, &str); 3] =
    [("panic", "a plain message"), ("panic-format", "a message with 3 numbers"), ("panic-any", "panicked")];
/// Harmless misbehaviour.
const HARMLESS: [&str; 7] =
    ["close", "handle-signals", "block-signals", "threads", "setsid", "elsewhere", "return-twice"];
/// Misbehaviour that leaves a process behind.
const LEAVES_PROCESS: [&str; 2] = ["fork", "daemon"];
/// The functions of a session.
const OF_A_SESSION: [&str; 3] = ["read", "stop", "close"];

/// The time limits, and the slack for a busy machine.
const DISCOVERY: Duration = Duration::from_secs(2);
const STOP: Duration = Duration::from_secs(5);
const SLACK: Duration = Duration::from_secs(1);

/// The valid plugin is first by its file name, so that its hooks are found without the other one.
fn manager() -> Manager {
    Manager::with(Plugins::of(["misbehaving"]).plugin("synthetic", "a_synthetic.so"))
}

fn get_all<'a>(manager: &'a Manager, fault: &str) -> Call<'a> {
    manager.call(["--get-all"]).variable("MISBEHAVE", fault)
}

fn run<'a>(manager: &'a Manager, hook: &str, arguments: &str, fault: &str) -> Call<'a> {
    let arguments = format!("--pid {} {arguments}", std::process::id());
    manager.run(hook, arguments).variable("MISBEHAVE", fault)
}

/// Runs all rows concurrently, because most of them wait.
fn rows<T: Copy + Send>(table: impl IntoIterator<Item = T>, row: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for item in table {
            let row = &row;
            scope.spawn(move || row(item));
        }
    });
}

fn product<'a, A: Copy, B: Copy>(a: &'a [A], b: &'a [B]) -> impl Iterator<Item = (A, B)> + 'a {
    a.iter().flat_map(|a| b.iter().map(|b| (*a, *b)))
}

#[track_caller]
fn in_time(answer: &Answer, limit: Duration) {
    assert!(answer.took < limit + SLACK, "too late: {answer:#?}");
}

#[track_caller]
fn nothing_is_left(manager: &Manager) {
    assert_eq!(manager.processes(), [0; 0], "processes are left");
    assert!(manager.files().is_empty(), "{:?} are left", manager.files());
}

/// A sweep of another test may be removing the instance right now.
#[track_caller]
fn no_instance_is_left(kernel: &Kernel, manager: u32) {
    wait_until("no instance is left", SLACK, || kernel.instances_of(&[manager]).is_empty());
}

/// The other hooks work, also those of the same plugin.
#[track_caller]
fn the_others_work(manager: &Manager, fault: &str) {
    assert_eq!(run(manager, "behaves", "", fault).start().stop().succeeded().len(), 3, "{fault}");
    assert_eq!(run(manager, "synthetic_lines", "", fault).start().stop().succeeded().len(), 10, "{fault}");
}

/// Starts a session, and stops it as soon as it has printed its path.
#[track_caller]
fn stopped(call: Call<'_>) -> Answer {
    let mut process = call.spawn();
    wait_until("the session is there", PATIENCE, || process.has_output() || process.is_over());
    process.signal(Signal::SIGINT);
    process.ends(PATIENCE)
}

#[test]
fn a_named_hook_does_not_wait_for_later_plugins() {
    let manager = manager();
    for name in ["synthetic_lines", "a_synthetic/synthetic_lines"] {
        let answer = manager.call(["--describe", name]).variable("MISBEHAVE", "hang:load").answer();
        assert!(answer.succeeded().contains("synthetic_lines"));
        assert!(answer.took < DISCOVERY / 2, "{:?}", answer.took);
    }
    let answer = manager
        .call(["--describe", "misbehaving/synthetic_lines"])
        .variable("MISBEHAVE", "hang:load")
        .answer();
    answer.failed(&["plugin misbehaving", "could not be inspected", "loading"]);
    let first = Manager::with(Plugins::none().plugin("misbehaving", "a.so").plugin("synthetic", "b.so"));
    let answer = first.call(["--describe", "synthetic_lines"]).variable("MISBEHAVE", "hang:load").answer();
    assert!(answer.succeeded().contains("synthetic_lines"));
    assert!(answer.took > DISCOVERY / 2, "the first plugin might have owned it: {:?}", answer.took);
}

#[test]
fn a_hook_that_kills_its_worker_in_discovery_removes_only_itself() {
    rows(product(&ENDS, &["info", "probe"]), |((end, cause), function)| {
        let (manager, fault) = (manager(), format!("{end}:{function}"));
        let answer = get_all(&manager, &fault).answer();
        assert_eq!(answer.stdout, "behaves\nsynthetic_lines\n", "{fault}: {answer:#?}");
        answer.failed_with(0, &["misbehaving", cause, &format!("in {function}")]);
        in_time(&answer, DISCOVERY);
        nothing_is_left(&manager);
        the_others_work(&manager, &fault);
    });
}

#[test]
fn a_plugin_that_kills_its_worker_in_a_constructor_removes_only_itself() {
    rows(ENDS, |(end, cause)| {
        let (manager, fault) = (manager(), format!("{end}:load"));
        let answer = get_all(&manager, &fault).answer();
        assert_eq!(answer.stdout, "synthetic_lines\n", "{fault}: {answer:#?}");
        answer.failed_with(0, &["misbehaving", cause, "while loading"]);
        in_time(&answer, DISCOVERY);
        nothing_is_left(&manager);
        let mut session = run(&manager, "synthetic_lines", "", &fault).spawn();
        wait_until("the session is there", PATIENCE, || session.has_output());
        session.signal(Signal::SIGINT);
        assert_eq!(session.ends(PATIENCE).succeeded().lines().count(), 1);
    });
}

#[test]
fn a_plugin_that_starts_threads_without_end_is_killed() {
    for (fault, hooks) in
        [("many-threads:load", "synthetic_lines\n"), ("many-threads:probe", "behaves\nsynthetic_lines\n")]
    {
        let manager = manager();
        let is_over = AtomicBool::new(false);
        let most = thread::scope(|scope| {
            let most = scope.spawn(|| {
                let mut most = 0;
                while !is_over.load(Ordering::Relaxed) {
                    most = manager.processes().into_iter().map(threads_of).fold(most, usize::max);
                }
                most
            });
            let answer = get_all(&manager, fault).answer();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(answer.stdout, hooks, "{answer:#?}");
            answer.failed_with(0, &["misbehaving", "had more than 512 threads", "and was killed"]);
            in_time(&answer, DISCOVERY);
            most.join().expect("the threads can be counted")
        });
        assert!(most < 8_000, "{most} threads of the 32,000 that the kernel has");
        nothing_is_left(&manager);
    }
}

fn threads_of(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/task")).map_or(0, Iterator::count)
}

#[test]
fn many_hanging_plugins_do_not_delay_the_others() {
    let hanging =
        (0..8).fold(Plugins::none(), |all, number| all.plugin("misbehaving", &format!("a{number}.so")));
    let manager = Manager::with(hanging.plugin("synthetic", "z.so"));
    let cpu = cpus()[0].to_string();
    let answer = get_all(&manager, "hang:load").under(["taskset", "--cpu-list", &cpu]).answer();
    assert_eq!(answer.stdout, "synthetic_lines\n", "{answer:#?}");
    in_time(&answer, DISCOVERY);
    nothing_is_left(&manager);
}

#[test]
fn the_list_shows_a_hook_whose_probe_ends_its_worker() {
    rows(ENDS, |(end, cause)| {
        let manager = manager();
        let answer = manager.call(["--list"]).variable("MISBEHAVE", format!("{end}:probe")).answer();
        let row = answer.stdout.lines().find(|line| line.starts_with("misbehaves "));
        assert!(row.is_some_and(|row| row.contains(cause)), "{answer:#?}");
    });
}

#[test]
fn a_hook_that_ends_its_worker_in_start_has_no_session() {
    rows(&ENDS[..3], |(end, cause)| {
        let (manager, fault) = (manager(), format!("{end}:start"));
        let answer = run(&manager, "misbehaves", "", &fault).answer();
        answer.failed(&["misbehaving", cause, "in start"]);
        in_time(&answer, DISCOVERY);
        nothing_is_left(&manager);
        the_others_work(&manager, &fault);
    });
}

#[test]
fn a_start_that_hangs_ends_with_its_time_or_with_sigint() {
    thread::scope(|scope| {
        scope.spawn(|| {
            let manager = manager();
            let answer = run(&manager, "misbehaves", "", "hang:start").answer();
            // Ten seconds, and the time in which it got no CPU.
            answer.failed(&["misbehaving", "took more than 1", " s in start"]);
            assert!(answer.took >= Duration::from_secs(10), "{answer:?}");
            nothing_is_left(&manager);
        });
        scope.spawn(|| {
            let manager = manager();
            let mut process = run(&manager, "misbehaves", "", "hang:start").spawn();
            wait_until("it starts", PATIENCE, || !manager.files().is_empty());
            process.signal(Signal::SIGINT);
            let answer = process.ends(PATIENCE);
            answer.succeeded_silently();
            in_time(&answer, Duration::from_secs(2));
            nothing_is_left(&manager);
        });
    });
}

#[test]
fn a_hook_that_kills_its_worker_ends_only_its_session() {
    rows(product(&ENDS, &OF_A_SESSION), |((end, cause), function)| {
        let (manager, fault) = (manager(), format!("{end}:{function}"));
        let answer = stopped(run(&manager, "misbehaves", "", &fault));
        answer.failed_with(1, &["misbehaving", cause, &format!("in {function}")]);
        // The time in which one that spins waits for a CPU, beside the others, does not count.
        in_time(&answer, if end == "spin" { 2 * STOP } else { STOP });
        nothing_is_left(&manager);
    });
    let manager = manager();
    get_all(&manager, "segfault:read").answer().succeeded();
}

#[test]
fn a_killed_worker_leaves_no_instance() {
    let Some(kernel) = Kernel::or_skip() else { return };
    rows(product(&ENDS[..4], &["start", "read", "stop", "close"]), |((end, cause), function)| {
        let (manager, fault) = (manager(), format!("{end}:{function}"));
        let mut process = run(&manager, "misbehaves", "--instance", &fault).spawn();
        wait_until("the session is there", PATIENCE, || {
            let starts = function == "start" && !kernel.instances_of(&[process.pid()]).is_empty();
            starts || process.has_output() || process.is_over()
        });
        process.signal(Signal::SIGINT);
        let answer = process.ends(PATIENCE);
        // Nothing was printed yet, so an aborted start is a success: there is no session.
        if answer.status.code() != Some(0) || function != "start" {
            answer.failed_with(1, &["misbehaving", cause, &format!("in {function}")]);
        }
        in_time(&answer, STOP);
        no_instance_is_left(&kernel, process.pid());
        nothing_is_left(&manager);
    });
}

#[test]
fn a_read_that_never_returns_ends_the_session() {
    let manager = manager();
    let ended = run(&manager, "misbehaves", "", "endless:read").start().stop();
    assert_eq!(ended.failed(&["misbehaving", "read", "after stop"]), ["line 1", "line 2", "line 3"]);
    in_time(&ended.answer, STOP);
    nothing_is_left(&manager);
}

#[test]
fn a_read_that_never_finishes_ends_the_session() {
    let manager = manager();
    let session = run(&manager, "misbehaves", "--drain 0", "chatter:read").start();
    session.wait_for_lines(4);
    let ended = session.stop();
    let lines =
        ended.failed(&["misbehaving", "read() still returned lines", "s after stop()", "Progress::Finished"]);
    assert!(lines.starts_with(&["line 1", "line 2", "line 3", "one more"]));
    in_time(&ended.answer, STOP);
    nothing_is_left(&manager);
}

#[test]
fn clear_names_a_plugin_that_kills_its_worker_and_clears_the_others() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    for (end, cause) in &ENDS[..4] {
        for function in ["sweep", "reset"] {
            let manager = Manager::with(Plugins::of(["ftrace", "misbehaving"]));
            let orphan = kernel.make_instance(&format!("tracehook_1_misbehaviour_{end}_{function}"));
            let answer =
                manager.call(["--clear"]).variable("MISBEHAVE", format!("{end}:{function}")).answer();
            answer.failed(&["misbehaving", cause, &format!("in {function}")]);
            in_time(&answer, STOP);
            assert!(!orphan.exists(), "the other plugin has not cleared");
            nothing_is_left(&manager);
        }
    }
}

#[test]
fn a_panic_in_any_function_is_an_error_with_its_message() {
    rows(product(&PANICS, &["info", "probe"]), |((panic, message), function)| {
        let (manager, fault) = (manager(), format!("{panic}:{function}"));
        let answer = get_all(&manager, &fault).answer();
        assert_eq!(answer.stdout, "behaves\nsynthetic_lines\n", "{fault}: {answer:#?}");
        answer.failed_with(0, &["misbehaving", "panicked at tests/plugins/misbehaving/src/", message]);
    });
    rows(product(&PANICS, &["start", "read", "stop", "close"]), |((panic, message), function)| {
        let manager = manager();
        let answer = stopped(run(&manager, "misbehaves", "", &format!("{panic}:{function}")));
        answer.failed_with(1, &["misbehaving", "panicked at tests/plugins/misbehaving/src/", message]);
        in_time(&answer, STOP);
        nothing_is_left(&manager);
    });
}

#[test]
fn harmless_misbehaviour_has_no_effect() {
    rows(HARMLESS, |fault| {
        let manager = manager();
        for function in ["load", "info", "probe"] {
            let answer = get_all(&manager, &format!("{fault}:{function}")).answer();
            assert_eq!(answer.succeeded(), "behaves\nmisbehaves\nsynthetic_lines\n", "{fault} in {function}");
        }
        for function in ["load", "info", "start", "read", "stop", "close"] {
            let ended = run(&manager, "misbehaves", "", &format!("{fault}:{function}")).start().stop();
            assert_eq!(ended.succeeded(), ["line 1", "line 2", "line 3"], "{fault} in {function}");
            in_time(&ended.answer, SLACK);
        }
        nothing_is_left(&manager);
    });
}

#[test]
fn output_of_a_plugin_is_discarded() {
    rows(["print", "flood"], |fault| {
        let manager = manager();
        let answer = get_all(&manager, &format!("{fault}:probe")).answer();
        assert_eq!(answer.succeeded(), "behaves\nmisbehaves\nsynthetic_lines\n");
        in_time(&answer, DISCOVERY);
        for function in ["start", "stop"] {
            let ended = run(&manager, "misbehaves", "", &format!("{fault}:{function}")).start().stop();
            assert_eq!(ended.succeeded().len(), 3);
        }
    });
}

#[test]
fn the_last_output_of_a_plugin_is_in_the_log() {
    let manager = manager();
    let logged = |fault: &str| {
        let answer = manager.call(["-v", "--get-all"]).variable("MISBEHAVE", fault).answer();
        assert_eq!(answer.stdout, "behaves\nmisbehaves\nsynthetic_lines\n", "{fault}");
        in_time(&answer, DISCOVERY);
        answer.stderr
    };
    let printed = logged("print:probe");
    assert!(printed.contains("misbehaving: printed: printed on standard output\n"), "{printed}");
    assert!(printed.contains("printed \\u{1b}[31m on standard error\n"), "{printed}");
    let flood = logged("flood:probe");
    assert!(flood.contains("misbehaving: printed: the end of the flood\n"), "{flood}");
    assert!(flood.contains("printed 104857621 bytes") && flood.len() < 128 << 10, "{}", flood.len());
    // The last output explains the death.
    let dying = manager.call(["-v", "--get-all"]).variable("MISBEHAVE", "panic:load").answer();
    assert!(dying.stderr.contains("a plain message"), "{dying:#?}");
}

#[test]
fn endless_logging_does_not_prevent_a_stop() {
    let manager = manager();
    let call = manager.call(["-v", "--run", "misbehaves", "--args", &format!("-p {}", std::process::id())]);
    let answer = stopped(call.variable("MISBEHAVE", "log:read"));
    in_time(&answer, STOP);
    nothing_is_left(&manager);
}

#[test]
fn children_of_a_plugin_are_killed() {
    rows(product(&LEAVES_PROCESS, &["load", "info", "probe"]), |(fault, function)| {
        let manager = manager();
        get_all(&manager, &format!("{fault}:{function}")).answer().succeeded();
        nothing_is_left(&manager);
    });
    rows(
        product(&LEAVES_PROCESS, &["load", "info", "start", "read", "stop", "close"]),
        |(fault, function)| {
            let manager = manager();
            // Its reader reaches the end of the file, or this would not return.
            let ended = run(&manager, "misbehaves", "", &format!("{fault}:{function}")).start().stop();
            assert_eq!(ended.succeeded().len(), 3, "{fault} in {function}");
            in_time(&ended.answer, SLACK);
            nothing_is_left(&manager);
        },
    );
}

#[test]
fn a_child_that_holds_an_instance_does_not_prevent_its_removal() {
    let Some(kernel) = Kernel::or_skip() else { return };
    rows(product(&LEAVES_PROCESS, &["start", "read", "stop"]), |(fault, function)| {
        let manager = manager();
        let session = run(&manager, "misbehaves", "--instance", &format!("{fault}:{function}")).start();
        let pid = session.pid();
        let ended = session.stop();
        assert_eq!(ended.succeeded().len(), 3, "{fault} in {function}");
        in_time(&ended.answer, SLACK);
        no_instance_is_left(&kernel, pid);
        nothing_is_left(&manager);
    });
    rows(
        product(&["fork-and-die", "daemon-and-die", "daemon-and-hang"], &["start", "stop"]),
        |(fault, function)| {
            let manager = manager();
            let mut process =
                run(&manager, "misbehaves", "--instance", &format!("{fault}:{function}")).spawn();
            wait_until("the session is there", PATIENCE, || {
                process.has_output() || process.is_over() || !kernel.instances_of(&[process.pid()]).is_empty()
            });
            process.signal(Signal::SIGINT);
            let answer = process.ends(PATIENCE);
            in_time(&answer, STOP);
            no_instance_is_left(&kernel, process.pid());
            nothing_is_left(&manager);
        },
    );
}

#[test]
fn children_of_a_plugin_are_killed_by_the_worker_when_the_supervisor_is_killed() {
    let manager = manager();
    let mut session = run(&manager, "misbehaves", "", "daemon:start").start();
    wait_until("there are worker and daemon", PATIENCE, || manager.processes().len() == 3);
    session.process().signal(Signal::SIGKILL);
    wait_until("all are gone", PATIENCE, || manager.processes().is_empty() && manager.files().is_empty());
    assert_eq!(session.ends().lines.len(), 3);
}

#[test]
fn children_of_a_plugin_are_killed_by_the_supervisor_when_the_worker_is_killed() {
    let manager = manager();
    let session = run(&manager, "misbehaves", "", "daemon:start").start();
    wait_until("there are worker and daemon", PATIENCE, || manager.processes().len() == 3);
    let worker = session.worker();
    kill(Pid::from_raw(worker.cast_signed()), Signal::SIGKILL).expect("the worker is running");
    session.ends().failed(&["misbehaving", "killed by SIGKILL"]);
    nothing_is_left(&manager);
}

/// A shell that executes the manager in its own process leaves it children, which are not the plugin's.
#[test]
fn children_from_before_the_exec_are_not_killed() {
    let manager = manager();
    let script = "sleep 600 >&- 2>&- & echo $! >&2; exec \"$@\"";
    let call = get_all(&manager, "none").under(["sh", "-c", script, "sh"]);
    let answer = call.answer();
    assert_eq!(answer.stdout, "behaves\nmisbehaves\nsynthetic_lines\n", "{answer:#?}");
    let sleeper = Pid::from_raw(answer.stderr.trim().parse().expect("the shell prints its pid"));
    kill(sleeper, Signal::SIGKILL).expect("it is still there");
}

#[test]
fn a_workers_death_is_explained_where_sigchld_was_ignored() {
    let manager = manager();
    let call = get_all(&manager, "segfault:probe").under(["env", "--ignore-signal=CHLD"]);
    call.answer().failed_with(0, &["misbehaving", "killed by SIGSEGV"]);
}

#[test]
fn naming_a_hook_of_a_broken_plugin_reports_the_cause() {
    let manager = manager();
    for hook in ["misbehaves", "misbehaving/misbehaves"] {
        for (fault, cause) in
            [("segfault:load", "SIGSEGV"), ("exit:info", "status 0"), ("panic:info", "a plain message")]
        {
            let describe = manager.call(["--describe", hook]).variable("MISBEHAVE", fault).answer();
            describe.failed(&[hook, "misbehaving", cause]);
            run(&manager, hook, "", fault).answer().failed(&[hook, "misbehaving", cause]);
        }
    }
    let elsewhere = manager
        .call(["--describe", "a_synthetic/misbehaves"])
        .variable("MISBEHAVE", "segfault:load")
        .answer();
    assert!(!elsewhere.stderr.contains("SIGSEGV"), "{elsewhere:#?}");
}
