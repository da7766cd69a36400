//! After any process of a session is killed by SIGKILL, the kernel stops tracing at once, and the next call cleans up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use system_tests::{
    Call, Fate, Instance, Kernel, Manager, OnPanic, PATIENCE, Plugins, Process, Random, Reader, Session,
    SystemCall, Workload, children_of, is_root, lock_out_sweeps, skip, wait_until,
};

/// The limit for "at once" on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A session of a workload with its own manager, and its instance.
struct Scene {
    // Dropped in this order, so that the manager's leak check runs when the session has ended.
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
    fn signal_worker(&mut self, signal: Signal) {
        let worker = self.session.worker();
        kill(Pid::from_raw(worker.cast_signed()), signal).expect("the worker is running");
    }

    /// A removed instance does not record either.
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

    /// Waits for the reader, which must reach the end of the file with only whole lines.
    #[track_caller]
    fn reader_ends(self) -> Remains {
        let Self { session, instance, workload, manager } = self;
        let ended = session.ends();
        assert!(ended.lines.iter().all(|line| line.ends_with("sys_getppid()\n")), "{:?}", ended.lines);
        assert!(ended.lines.len() >= 100);
        Remains { instance, _workload: workload, manager }
    }
}

/// What remains when the session is dead.
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
    scene.reader_ends();
}

#[test]
fn a_supervisor_without_its_worker_cleans_up_and_reports_it() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let mut scene = Scene::set(&kernel);
    scene.signal_worker(Signal::SIGKILL);
    scene.tracing_is_off_at_once();
    let answer = scene.session.process().ends(PATIENCE);
    answer.failed_with(1, &["ftrace"]);
    scene.nothing_is_left();
    scene.reader_ends();
}

#[test]
fn when_both_are_killed_any_next_call_cleans_up() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let me = format!("--pid {} --time 1", std::process::id());
    let next_run = ["--run", "trace_syscalls", "--args", &me];
    for next_call in
        [&next_run[..], &["--clear"], &["--get-all"], &["--list"], &["--describe", "trace_syscalls"]]
    {
        let mut scene = Scene::set(&kernel);
        scene.session.process().signal_group(Signal::SIGKILL);
        scene.tracing_is_off_at_once();
        scene.reader_ends().nothing_is_left_after(next_call);
    }
}

#[test]
fn when_both_are_killed_in_turn_the_next_call_cleans_up() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    for supervisor_first in [true, false] {
        let mut scene = Scene::set(&kernel);
        let worker = scene.session.worker();
        let worker = Pid::from_raw(worker.cast_signed());
        if supervisor_first {
            scene.kill_supervisor();
            // It may have ended already, which is fine.
            let _ = kill(worker, Signal::SIGKILL);
        } else {
            let _ = kill(worker, Signal::SIGKILL);
            scene.kill_supervisor();
        }
        scene.tracing_is_off_at_once();
        scene.reader_ends().nothing_is_left_after(&["--clear"]);
    }
}

#[test]
fn killed_processes_without_a_kernel_leave_nothing() {
    let manager = Manager::with(Plugins::of(["synthetic"]));
    let me = format!("--pid {} --count 100", std::process::id());

    let mut session = manager.run("synthetic_lines", &me).start();
    session.wait_for_lines(100);
    session.process().signal(Signal::SIGKILL);
    wait_until("the worker has cleaned up", PATIENCE, || manager.files().is_empty());
    assert_eq!(session.ends().lines.len(), 100);

    let session = manager.run("synthetic_lines", &me).start();
    session.wait_for_lines(100);
    let worker = session.worker();
    kill(Pid::from_raw(worker.cast_signed()), Signal::SIGKILL).expect("the worker is running");
    assert_eq!(session.ends().failed(&["synthetic"]).len(), 100);
    assert!(manager.files().is_empty());

    let mut session = manager.run("synthetic_lines", &me).start();
    session.wait_for_lines(100);
    session.process().signal_group(Signal::SIGKILL);
    assert_eq!(session.ends().lines.len(), 100);
    manager.run("synthetic_lines", &me).start().stop().succeeded();
    assert!(manager.files().is_empty(), "{:?} are left", manager.files());
}

/// The processes to kill.
#[derive(Debug, Clone, Copy)]
enum Victims {
    Supervisor,
    Worker,
    Both,
}

impl Victims {
    /// The supervisor is the first process of a session, followed by the worker that describes the plugin, and the one that
    /// records.
    fn processes(self) -> Vec<usize> {
        match self {
            Self::Supervisor => vec![0],
            Self::Worker => vec![2],
            Self::Both => vec![0, 1, 2],
        }
    }
}

/// The times are chosen among the system calls, so that the short phases at the start and the end are covered.
#[test]
fn a_session_killed_at_any_system_call_is_cleaned_up_by_the_next_call() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let calls = killed_at(&kernel, None);
    let recorders = calls.iter().position(|call| call.process == 2).expect("a session has a worker");
    let mut random = Random::from_environment();
    for _ in 0..100 {
        for victims in [Victims::Supervisor, Victims::Worker, Victims::Both] {
            let earliest = if matches!(victims, Victims::Worker) { recorders } else { 0 };
            let call = calls[earliest + random.below(calls.len() - earliest)];
            let _context = OnPanic(format!("{victims:?} killed at {call}"));
            // Serial: the call after one session would clean up after the others.
            killed_at(&kernel, Some((call, victims)));
        }
    }
}

/// Runs a session in which processes are killed at a system call; returns all its system calls.
#[track_caller]
fn killed_at(kernel: &Kernel, at: Option<(SystemCall, Victims)>) -> Vec<SystemCall> {
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let workload = Workload::start();
    let run = manager.run("trace_syscalls", format!("--pid {} -s getppid", workload.id()));
    let (call, watch) = run.watched(at.map(|(call, victims)| (call, Fate::Kills(victims.processes()))));
    let mut process = call.spawn();
    wait_until("it prints a path, or ends", PATIENCE, || process.has_output() || process.is_over());
    let path = process.has_output().then(|| process.stdout().trim_end().to_owned());
    let reader = path.as_ref().and_then(|path| Reader::if_there(path.as_ref()));
    workload.calls(3);
    process.signal(Signal::SIGINT);
    process.ends(PATIENCE);
    // A worker without its supervisor may still be running, but no longer records. An instance that has just been created
    // is on, but has no events.
    let records = |instance: &Instance| instance.is_on() && !instance.get("set_event").is_empty();
    wait_until("tracing is off", AT_ONCE, || !kernel.instances_of(&[process.pid()]).iter().any(records));
    assert!(manager.call(["--get-all"]).answer().succeeded().contains("trace_syscalls\n"));
    // A sweep of another test may be removing it right now; without a sweep it would stay.
    wait_until("nothing is left in the kernel", AT_ONCE, || kernel.instances_of(&[process.pid()]).is_empty());
    assert!(manager.files().is_empty(), "left in the run directory: {:?}", manager.files());
    let seen = watch.ends(AT_ONCE);
    for line in reader.map(Reader::finish).unwrap_or_default() {
        assert!(line.ends_with("sys_getppid()\n"), "{line}");
    }
    seen.calls
}

#[test]
fn a_killed_reader_does_not_harm_the_session() {
    let manager = Manager::with(Plugins::of(["synthetic"]));
    let mut random = Random::from_environment();
    for _ in 0..100 {
        let moment = Duration::from_micros(random.below(20_000) as u64);
        let _context = OnPanic(format!("the reader killed after {moment:?}"));
        let me = format!("--pid {} --count 2000", std::process::id());
        let session = manager.run("synthetic_lines", me).start_unread();
        let reader = Command::new("cat").arg(session.path()).stdout(Stdio::piped()).spawn();
        let mut reader = reader.expect("cat can be started");
        let mut taken = String::new();
        let mut output = reader.stdout.take().expect("it is a pipe");
        let reading = thread::spawn(move || output.read_to_string(&mut taken).map(|_| taken));
        // The delay chooses the time that is tested.
        thread::sleep(moment);
        reader.kill().expect("it is a child of the test");
        reader.wait().expect("it is a child of the test");
        let taken = reading.join().expect("no thread panics").expect("it is text");
        let ended = session.stop();
        ended.succeeded();
        // The lines in the pipe have died with the reader; all others are kept, and none twice.
        let left = ended.unread();
        let rest: Vec<String> = (2000 - left.len()..2000).map(|n| format!("synthetic: line {n}")).collect();
        assert!(left == rest, "{} lines are left: {:?}…", left.len(), left.first());
        assert!(taken.lines().count() <= 2000 - left.len(), "a line was taken and is left");
        assert!(manager.files().is_empty());
    }
}

#[test]
fn a_stopped_worker_ends_the_session_after_its_supervisor_died() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let workload = Workload::start();
    let run = manager.run("trace_syscalls", format!("--pid {} -s getppid", workload.id()));
    // The kernel continues stopped processes of an orphaned process group. So this group keeps a parent.
    let mut session = run.under(["sh", "-c", r#""$@"; exec sleep 60"#, "sh"]).start_unread();
    let [supervisor] = session.process().workers()[..] else { panic!("a shell has one child") };
    let [worker] = children_of(supervisor)[..] else { panic!("a session has one worker") };
    let instance = kernel.instance_of(supervisor);
    kill(Pid::from_raw(worker.cast_signed()), Signal::SIGSTOP).expect("the worker is running");
    kill(Pid::from_raw(supervisor.cast_signed()), Signal::SIGKILL).expect("the supervisor is running");
    wait_until("tracing is off", AT_ONCE, || !instance.is_on());
    wait_until("the worker has cleaned up", PATIENCE, || !instance.exists() && manager.files().is_empty());
    session.process().signal_group(Signal::SIGKILL);
}

#[test]
fn a_stopped_worker_without_supervisor_is_continued_by_the_next_call() {
    let manager = Manager::with(Plugins::of(["synthetic"]));
    for next_call in ["--get-all", "--clear"] {
        let me = format!("--pid {} --count 50000", std::process::id());
        // A reader that does not read, so that the worker waits for it.
        let mut session = manager.run("synthetic_lines", me).start_unread();
        let stuck = File::open(session.path()).expect("the caller can open the trace");
        let worker = session.worker();
        let worker = Pid::from_raw(worker.cast_signed());
        session.process().signal(Signal::SIGKILL);
        wait_until("the supervisor is gone", PATIENCE, || session.process().is_over());
        kill(worker, Signal::SIGSTOP).expect("the worker is running");
        drop(stuck);
        let answer = manager.call([next_call]).answer();
        assert!(answer.status.success(), "{answer:#?}");
        assert!(manager.files().is_empty(), "left after {next_call}: {:?}", manager.files());
        session.ends();
    }
}

#[test]
fn sessions_in_another_pid_namespace_are_not_taken_for_dead() {
    if !is_root() {
        return skip("it needs root");
    }
    let _alone = lock_out_sweeps();
    let manager = Manager::with(Plugins::of(["synthetic"]));
    let in_namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let outside = manager.run("synthetic_lines", format!("--pid {}", std::process::id())).start();
    let inside = manager.run("synthetic_lines", "--pid 1").under(in_namespace).start();
    for call in ["--get-all", "--list"] {
        assert!(manager.call([call]).answer().status.success());
        assert!(manager.call([call]).under(in_namespace).answer().status.success());
    }
    assert_eq!(manager.files().len(), 4, "two sessions");
    // Processes of the outer namespace have no pids in the inner one, and can neither be killed nor be taken for dead.
    let refused = manager.call(["--clear"]).under(in_namespace).answer();
    assert_eq!(refused.status.code(), Some(1), "{refused:#?}");
    assert_eq!(refused.stderr.matches("runs in another pid namespace").count(), 2, "{refused:#?}");
    assert_eq!(outside.stop().succeeded().len(), 10);
    // Processes of the inner namespace have pids in the outer one.
    manager.call(["--clear"]).answer().succeeded_silently();
    assert_eq!(inside.ends().succeeded().len(), 10);
}

#[test]
fn invalid_records_do_not_prevent_the_cleanup_of_dead_sessions() {
    let manager = Manager::with(Plugins::of(["synthetic"]));
    let place = |name: &str| manager.run_directory().join(name);
    fs::create_dir(place("a.session")).expect("the test owns it");
    fs::create_dir(place("a.trace")).expect("the test owns it");
    fs::write(place("tracehook_1_0badcafe.session"), "/no/such/plugin.so").expect("the test owns it");
    fs::write(place("tracehook_1_1badcafe.session"), "").expect("the test owns it");
    fs::write(place("tracehook_1_2badcafe.new"), "").expect("the test owns it");
    fs::write(place("tracehook_1_3badcafe.session"), [0xff; 10]).expect("the test owns it");
    manager.call(["--get-all"]).answer().succeeded();
    assert!(manager.files().is_empty(), "{:?}", manager.files());
    fs::remove_dir(place("a.session")).expect("it is unchanged");
    fs::remove_dir(place("a.trace")).expect("it is unchanged");
}

#[test]
fn a_process_that_reuses_a_dead_workers_pid_is_not_killed() {
    let manager = Manager::with(Plugins::of(["synthetic"]));
    let workload = Workload::start();
    for started in ["1", "18446744073709551615", "", "rubbish"] {
        let plugin = manager.plugins().path().join("libsynthetic.so");
        let record = format!("{}\0{} {started}", plugin.display(), workload.id());
        fs::write(manager.run_directory().join("tracehook_1_0badcafe.session"), record)
            .expect("the test owns it");
        let answer = manager.call(["--get-all"]).answer();
        answer.succeeded();
        assert!(answer.took < AT_ONCE, "it has waited for another session: {answer:#?}");
        assert!(manager.files().is_empty());
        workload.calls(1);
    }
}

/// A session whose standard output and standard error are read by the test, as by a caller.
fn called_by_the_test(call: Call<'_>) -> (Process, [PipeReader; 2]) {
    let ((mut stdout, out), (stderr, err)) = (io::pipe().expect("a pipe"), io::pipe().expect("a pipe"));
    let process = call.stdout(out).stderr(err).spawn();
    path_on(&mut stdout);
    (process, [stdout, stderr])
}

/// Waits for the path of the trace file.
#[track_caller]
fn path_on(stdout: &mut PipeReader) -> String {
    let mut path = String::new();
    BufReader::new(stdout).read_line(&mut path).expect("it is a line of text");
    assert!(path.ends_with(".trace\n"), "not a path: {path:?}");
    path.trim_end().to_owned()
}

#[test]
fn a_session_ends_when_its_caller_has_died() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let workload = Workload::start();
    let run = manager.run("trace_syscalls", format!("--pid {} -s getppid", workload.id()));
    let (mut process, pipes) = called_by_the_test(run);
    let instance = kernel.instance_of(process.pid());
    workload.calls(100);
    drop(pipes);
    wait_until("tracing is off", AT_ONCE, || !instance.is_on());
    process.ends(PATIENCE).succeeded_silently();
    assert!(manager.files().is_empty() && !instance.exists());
    // As by SIGINT: what no reader took is kept.
    let [unread] = &manager.unread_output()[..] else { panic!("one file") };
    assert_eq!(fs::read_to_string(unread).expect("it can be read").lines().count(), 100);
}

#[test]
fn a_reader_that_closes_only_one_stream_does_not_end_the_session() {
    let manager = Manager::with(Plugins::of(["synthetic"]));
    let time = Duration::from_millis(400);
    let me = format!("--pid {} --time {}ms", std::process::id(), time.as_millis());
    for is_stdout in [true, false] {
        let (mut process, [stdout, stderr]) = called_by_the_test(manager.run("synthetic_lines", &me));
        let (closed, kept) = if is_stdout { (stdout, stderr) } else { (stderr, stdout) };
        drop(closed);
        let answer = process.ends(PATIENCE);
        answer.succeeded_silently();
        assert!(answer.took >= time, "it ended early: {answer:#?}");
        drop(kept);
    }
}

#[test]
fn only_pipes_show_that_the_caller_has_died() {
    let manager = Manager::with(Plugins::of(["synthetic"]));
    let endless = || manager.run("synthetic_lines", format!("--pid {}", std::process::id()));
    let null = || OpenOptions::new().write(true).open("/dev/null").expect("there is one");

    let (mut stdout, out) = io::pipe().expect("a pipe");
    let mut process = endless().stdout(out).stderr(null()).spawn();
    path_on(&mut stdout);
    drop(stdout);
    process.ends(AT_ONCE).succeeded_silently();

    let (mut stdout, out) = io::pipe().expect("a pipe");
    let both = out.try_clone().expect("a pipe can be shared");
    let mut process = endless().stdout(out).stderr(both).spawn();
    path_on(&mut stdout);
    drop(stdout);
    process.ends(AT_ONCE).succeeded_silently();

    let (stderr, err) = io::pipe().expect("a pipe");
    let mut process = endless().stdout(null()).stderr(err).spawn();
    drop(stderr);
    process.ends(AT_ONCE).succeeded_silently();
}
