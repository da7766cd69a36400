//! Whoever dies, by a signal that nobody can catch, the kernel stops tracing at once and is clean after the next call.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use system_tests::{
    Instance, Kernel, Manager, PATIENCE, Plugins, Session, Workload, no_other_sweeps, wait_until,
};

/// "At once", on a noisy machine.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A session of a workload, under a manager of its own, and what it has in the kernel.
struct Scene {
    // In this order, so that the manager looks for what is left when the session is gone.
    session: Session,
    instance: Instance,
    workload: Workload,
    manager: Manager,
}

impl Scene {
    #[track_caller]
    fn set(kernel: &Kernel) -> Self {
        let manager = Manager::with(Plugins::of(["ftrace"]));
        let workload = Workload::start();
        let session = manager.run("trace_syscalls", format!("--pid {} -s getppid", workload.id())).start();
        workload.calls(100);
        session.wait_for_lines(100);
        let instance = kernel.instance_of(session.pid());
        assert!(instance.is_on());
        Self { session, instance, workload, manager }
    }

    fn kill_supervisor(&mut self) {
        self.session.process().signal(Signal::SIGKILL);
    }

    #[track_caller]
    fn kill_worker(&mut self) {
        let [worker] = self.session.process().workers()[..] else { panic!("a session has one worker") };
        kill(Pid::from_raw(worker.cast_signed()), Signal::SIGKILL).expect("the worker is there");
    }

    /// An instance that is gone records nothing either.
    #[track_caller]
    fn tracing_is_off_at_once(&self) {
        wait_until("tracing is off", AT_ONCE, || !self.instance.is_on());
        self.workload.calls(1);
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        assert!(!self.instance.exists(), "{} is left", self.instance.name());
        assert!(self.manager.files().is_empty(), "{:?} are left", self.manager.files());
    }

    /// Ends the session's part: its reader must see the end of the file, and nothing but whole lines.
    #[track_caller]
    fn the_reader_is_set_free(self) -> Remains {
        let Self { session, instance, workload, manager } = self;
        let ended = session.ends();
        assert!(ended.lines.iter().all(|line| line.ends_with("sys_getppid()\n")), "{:?}", ended.lines);
        assert!(ended.lines.len() >= 100);
        Remains { instance, _workload: workload, manager }
    }
}

/// What is there when the session is dead.
struct Remains {
    instance: Instance,
    _workload: Workload,
    manager: Manager,
}

impl Remains {
    #[track_caller]
    fn nothing_is_left_after(&self, words: &[&str]) {
        let answer = self.manager.call(words).answer();
        assert!(answer.status.success(), "{answer:#?}");
        assert!(!self.instance.exists(), "{} is left after {words:?}", self.instance.name());
        assert!(self.manager.files().is_empty(), "{:?} are left", self.manager.files());
    }
}

#[test]
fn a_worker_without_its_supervisor_ends_the_session() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let mut scene = Scene::set(&kernel);
    scene.kill_supervisor();
    scene.tracing_is_off_at_once();
    wait_until("the worker has cleaned up", PATIENCE, || {
        !scene.instance.exists() && scene.manager.files().is_empty()
    });
    scene.the_reader_is_set_free();
}

#[test]
fn a_supervisor_without_its_worker_cleans_up_and_says_so() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let mut scene = Scene::set(&kernel);
    scene.kill_worker();
    scene.tracing_is_off_at_once();
    let answer = scene.session.process().ends(PATIENCE);
    answer.complained(1, &["ftrace"]);
    scene.nothing_is_left();
    scene.the_reader_is_set_free();
}

#[test]
fn when_both_are_dead_the_next_call_cleans_up_whichever_it_is() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = no_other_sweeps();
    let me = format!("--pid {} --time 1", std::process::id());
    let next_run = ["--run", "trace_syscalls", "--args", &me];
    for next_call in
        [&next_run[..], &["--clear"], &["--get-all"], &["--list"], &["--describe", "trace_syscalls"]]
    {
        let mut scene = Scene::set(&kernel);
        scene.session.process().signal_group(Signal::SIGKILL);
        scene.tracing_is_off_at_once();
        scene.the_reader_is_set_free().nothing_is_left_after(next_call);
    }
}

#[test]
fn when_both_die_one_after_the_other_the_next_call_cleans_up() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = no_other_sweeps();
    for supervisor_first in [true, false] {
        let mut scene = Scene::set(&kernel);
        let [worker] = scene.session.process().workers()[..] else { panic!("a session has one worker") };
        let worker = Pid::from_raw(worker.cast_signed());
        if supervisor_first {
            scene.kill_supervisor();
            // It may have ended already, and all is well then, too.
            let _ = kill(worker, Signal::SIGKILL);
        } else {
            let _ = kill(worker, Signal::SIGKILL);
            scene.kill_supervisor();
        }
        scene.tracing_is_off_at_once();
        scene.the_reader_is_set_free().nothing_is_left_after(&["--clear"]);
    }
}

#[test]
fn without_a_kernel_the_deaths_are_as_harmless() {
    let manager = Manager::with(Plugins::of(["made_up"]));
    let me = format!("--pid {} --count 100", std::process::id());

    let mut session = manager.run("made_up_lines", &me).start();
    session.wait_for_lines(100);
    session.process().signal(Signal::SIGKILL);
    wait_until("the worker has cleaned up", PATIENCE, || manager.files().is_empty());
    assert_eq!(session.ends().lines.len(), 100);

    let mut session = manager.run("made_up_lines", &me).start();
    session.wait_for_lines(100);
    let [worker] = session.process().workers()[..] else { panic!("a session has one worker") };
    kill(Pid::from_raw(worker.cast_signed()), Signal::SIGKILL).expect("the worker is there");
    assert_eq!(session.ends().failed(&["made_up"]).len(), 100);
    assert!(manager.files().is_empty());

    let mut session = manager.run("made_up_lines", &me).start();
    session.wait_for_lines(100);
    session.process().signal_group(Signal::SIGKILL);
    assert_eq!(session.ends().lines.len(), 100);
    manager.run("made_up_lines", &me).start().stop().well();
    assert!(manager.files().is_empty(), "{:?} are left", manager.files());
}
