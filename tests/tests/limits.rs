//! Resource limits: a call succeeds or reports one line, and leaves nothing.

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pause};
use system_tests::{Answer, Call, Kernel, Manager, Plugins, Workload, is_root, lock_out_sweeps, skip};

fn me() -> String {
    format!("--pid {} --time 30", std::process::id())
}

/// Checks that a call with such a limit succeeds or reports why not in one line, and leaves nothing.
#[track_caller]
fn works_or_fails(manager: &Manager, call: Call<'_>, limit: &str) -> bool {
    let answer = call.under(["prlimit", limit]).answer();
    let works = answer.status.success();
    match works {
        true => assert!(answer.succeeded().ends_with(".trace\n"), "{limit}"),
        false => is_one_line(&answer, limit),
    }
    assert!(manager.files().is_empty(), "left under {limit}: {:?}", manager.files());
    works
}

#[track_caller]
fn is_one_line(answer: &Answer, limit: &str) {
    assert!(matches!(answer.status.code(), Some(1 | 2)), "{limit}: {answer:#?}");
    assert!(
        answer.stderr.starts_with("manager: ") && answer.stderr.lines().count() == 1,
        "{limit}: {answer:#?}"
    );
}

#[test]
fn with_few_descriptors_a_session_runs_or_reports_why_not() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let works = |count: u32| {
        works_or_fails(&manager, manager.run("trace_syscalls", me()), &format!("--nofile={count}"))
    };
    let outcomes: Vec<bool> = (6..32).map(works).collect();
    assert!(outcomes.is_sorted() && outcomes.contains(&true), "from 6 descriptors on: {outcomes:?}");
}

#[test]
fn with_little_address_space_a_session_runs_or_reports_why_not() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let mut outcomes = Vec::new();
    let limits = (8..48).map(|mib| format!("--as={}", mib << 20));
    // With less, the manager itself cannot be loaded.
    let can_be_loaded =
        |limit: &String| manager.call(["--version"]).under(["prlimit", limit]).answer().status.success();
    for limit in limits.skip_while(|limit| !can_be_loaded(limit)) {
        outcomes.push(works_or_fails(&manager, manager.run("trace_syscalls", me()), &limit));
    }
    assert!(outcomes.contains(&true) && outcomes.contains(&false), "{outcomes:?}");
}

#[test]
fn a_file_size_limit_is_an_error_not_a_crash() {
    let manager = Manager::with(Plugins::of(["synthetic"]));
    for bytes in [0, 10, 1 << 12, 1 << 16] {
        let arguments = format!("{} --count 50000", me());
        let call = manager.run("synthetic_lines", arguments);
        let answer = call.under(["prlimit", &format!("--fsize={bytes}")]).answer();
        is_one_line(&answer, &format!("{bytes} bytes to a file"));
        assert!(answer.stderr.contains("File too large"), "{answer:#?}");
        assert!(manager.files().is_empty());
    }
}

#[test]
fn a_process_limit_is_reported_in_one_line() {
    if !is_root() {
        return skip("it needs root");
    }
    let manager = Manager::for_everyone(Plugins::of(["synthetic"]));
    for count in 0..2 {
        let answer = manager
            .run("synthetic_lines", me())
            .as_nobody()
            .under(["prlimit", &format!("--nproc={count}")])
            .answer();
        is_one_line(&answer, &format!("{count} processes"));
        assert!(answer.stderr.contains("start a worker"), "{answer:#?}");
    }
}

#[test]
fn buffers_larger_than_memory_are_refused() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let manager = Manager::with(Plugins::of(["ftrace"]));
    for kib in [1_u64 << 33, 1 << 40, (1 << 53) - 1] {
        let run = manager.run("trace_syscalls", format!("{} --buffer-size {kib}", me()));
        run.answer().failed(&["memory", "--buffer-size"]);
    }
    let run = manager.run("trace_syscalls", format!("{} --buffer-size {}", me(), u64::MAX));
    run.answer().refused(&["--buffer-size"]);
}

#[test]
fn two_hundred_sessions_run_at_once() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let manager = Manager::with(Plugins::of(["ftrace", "synthetic"]));
    let workload = Workload::start();
    // The kernel removes instances one at a time, at a tenth of a second each.
    let traced = format!("--pid {} -s getppid", workload.id());
    let mut sessions: Vec<_> = (0..40).map(|_| manager.run("trace_syscalls", &traced).start()).collect();
    sessions
        .extend((0..160).map(|_| manager.run("synthetic_lines", format!("--pid {}", workload.id())).start()));
    let pids: Vec<u32> = sessions.iter().map(|session| session.pid()).collect();
    assert_eq!(kernel.instances_of(&pids).len(), 40);
    workload.calls(10);
    sessions.iter_mut().for_each(|session| session.process().signal(Signal::SIGINT));
    for session in sessions {
        assert_eq!(session.ends().succeeded().len(), 10);
    }
    assert!(kernel.instances_of(&pids).is_empty());
    assert!(manager.files().is_empty());
}

#[test]
fn ten_thousand_processes_can_be_traced_by_one_session() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let idle = IdleProcesses::start(10_000);
    let pids: Vec<String> = idle.0.iter().map(Pid::to_string).collect();
    let run = manager.run("trace_syscalls", format!("--time 10 --pid {}", pids.join(" ")));
    run.answer().succeeded();
    drop(idle);
    // Processes that have ended are skipped.
    let run =
        manager.run("trace_syscalls", format!("--time 10 --pid {} {}", std::process::id(), pids.join(" ")));
    run.answer().succeeded();
    assert!(manager.files().is_empty());
}

/// Idle processes. Dropping it kills them.
struct IdleProcesses(Vec<Pid>);

impl IdleProcesses {
    fn start(count: usize) -> Self {
        let mut idle = Self(Vec::with_capacity(count));
        for _ in 0..count {
            // SAFETY: the child makes only calls that are safe after a fork.
            match unsafe { fork() }.expect("a process can be forked") {
                ForkResult::Parent { child } => idle.0.push(child),
                ForkResult::Child => {
                    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
                    // Another test may be copying a plugin right now, which is not loaded while it is open for writing.
                    // SAFETY: nothing uses a descriptor from here on.
                    unsafe { nix::libc::close_range(3, nix::libc::c_uint::MAX, 0) };
                    loop {
                        pause();
                    }
                }
            }
        }
        idle
    }
}

impl Drop for IdleProcesses {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        for pid in &self.0 {
            let _ = waitpid(*pid, None);
        }
    }
}
