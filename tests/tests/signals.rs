//! A signal ends a session at any time. The tests with tracefs need root.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use system_tests::{Answer, Call, Kernel, Manager, PATIENCE, Plugins, Process, Workload, wait_until};

fn synthetic() -> Manager {
    Manager::with(Plugins::of(["synthetic"]))
}

fn run(manager: &Manager) -> Call<'_> {
    manager.run("synthetic_lines", format!("--pid {} --count 100", std::process::id()))
}

#[test]
fn sigint_sigterm_and_sighup_end_a_session() {
    let manager = synthetic();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        assert_eq!(run(&manager).start().stop_with(signal).succeeded().len(), 100, "{signal}");
    }
}

#[test]
fn sigint_ends_a_session_that_began_with_sigint_ignored() {
    let manager = synthetic();
    assert_eq!(run(&manager).ignoring_sigint().start().stop().succeeded().len(), 100);
}

#[test]
fn ctrl_c_to_the_process_group_ends_the_session_cleanly() {
    let manager = synthetic();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut session = run(&manager).start();
        session.process().signal_group(signal);
        assert_eq!(session.ends().succeeded().len(), 100, "{signal}");
    }
}

#[test]
fn repeated_signals_end_a_session_cleanly() {
    let manager = synthetic();
    for _ in 0..20 {
        let mut session = run(&manager).start();
        session.process().signal(Signal::SIGINT);
        session.process().signal(Signal::SIGINT);
        session.process().signal(Signal::SIGTERM);
        session.stop().succeeded();
    }
}

#[test]
fn sigint_at_any_time_after_the_spawn_exits_cleanly() {
    let manager = synthetic();
    at_each_moment(|delay| ends_well(run(&manager), delay, Disposition::Default));
}

#[test]
fn sigint_at_any_time_after_main_exits_cleanly_where_it_was_ignored() {
    let manager = synthetic();
    at_each_moment(|delay| ends_well(run(&manager), delay, Disposition::Ignored));
}

#[test]
fn sigint_at_any_time_after_the_spawn_leaves_nothing_in_the_kernel() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let workload = Workload::start();
    let arguments = format!("--pid {}", workload.id());
    // Alternating: the tests without the kernel cover each time in both ways.
    at_each_moment(|delay| {
        let is_odd = delay.as_micros() / 500 % 2 == 1;
        let disposition = if is_odd { Disposition::Ignored } else { Disposition::Default };
        ends_well(manager.run("trace_syscalls", &arguments), delay, disposition);
    });
}

#[test]
fn sigint_at_any_time_ends_the_other_actions() {
    let manager = synthetic();
    at_each_moment(|delay| {
        let answer = interrupted(manager.call(["--get-all"]).with_default_sigint().spawn(), delay);
        match answer.status.code() {
            Some(0) => assert_eq!(answer.succeeded(), "synthetic_lines\n"),
            // Partial output would be a failure.
            Some(_) => answer.failed(&["interrupted"]),
            None => assert!(answer.killed_silently_by(Signal::SIGINT), "{answer:#?}"),
        }
    });
}

/// The disposition of SIGINT when a process is spawned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disposition {
    Default,
    Ignored,
}

/// Sends SIGINT after the delay, and checks that the call ended in one of the allowed ways.
fn ends_well(call: Call<'_>, delay: Duration, disposition: Disposition) {
    let answer = match disposition {
        Disposition::Default => interrupted(call.with_default_sigint().spawn(), delay),
        Disposition::Ignored => {
            let process = call.ignoring_sigint().spawn();
            // A signal has no effect while it is ignored, so the delay counts from here.
            wait_until("main has begun", PATIENCE, || process.catches(Signal::SIGINT));
            interrupted(process, delay)
        }
    };
    if !answer.killed_silently_by(Signal::SIGINT) {
        let printed = answer.succeeded();
        let is_a_path = printed.starts_with('/') && printed.ends_with('\n') && printed.lines().count() == 1;
        assert!(printed.is_empty() || is_a_path, "half a path after {delay:?}: {answer:#?}");
    }
}

/// Sends SIGINT after the delay. It may kill the process only before `main` has begun.
fn interrupted(mut process: Process, delay: Duration) -> Answer {
    // The delay chooses the time that is tested.
    thread::sleep(delay);
    let has_begun = process.catches(Signal::SIGINT);
    process.signal(Signal::SIGINT);
    let answer = process.ends(PATIENCE);
    assert!(!(has_begun && answer.killed_silently_by(Signal::SIGINT)), "killed in main, after {delay:?}");
    answer
}

/// 200 delays from 0 to 100 ms, four at a time.
fn at_each_moment(attempt: impl Fn(Duration) + Sync) {
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= 200 {
                        break;
                    }
                    attempt(Duration::from_micros(n * 500));
                }
            });
        }
    });
}
