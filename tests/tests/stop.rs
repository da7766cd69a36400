//! How sessions stop: with slow readers, much unread output, repeated signals, losses, and many of them at once.

use std::io::{Read, pipe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use system_tests::{
    Answer, Call, Kernel, Manager, PATIENCE, Plugins, Session, Workload, lock_out_sweeps, wait_until,
};

/// Longer than `--drain` is by default.
const LONG_DRAIN: Duration = Duration::from_secs(12);

fn manager() -> Manager {
    Manager::with(Plugins::of(["synthetic"]))
}

fn run<'a>(manager: &'a Manager, arguments: &str) -> Call<'a> {
    manager.run("synthetic_lines", format!("--pid {} {arguments}", std::process::id()))
}

fn follow<'a>(manager: &'a Manager, arguments: &str) -> Call<'a> {
    let arguments = format!("--pid {} {arguments}", std::process::id());
    manager.call(["--run", "synthetic_lines", "--follow", "--args", &arguments])
}

#[test]
fn unread_output_that_takes_long_to_give_is_kept_whole() {
    let manager = manager();
    // A read gives 64 lines and takes half a second.
    let session = run(&manager, "--count 1000 --length 4095 --pause 500 --drain 0").start_unread();
    let began = Instant::now();
    let ended = session.stop();
    ended.succeeded();
    assert!(began.elapsed() > Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(ended.unread().len(), 1000);
}

#[test]
fn follow_drains_for_as_long_as_its_reader_makes_progress() {
    let manager = manager();
    let (output, writer) = pipe().expect("a pipe can be created");
    let mut process = follow(&manager, "--count 20000 --length 1000 --time 1").stdout(writer).spawn();
    let reading = thread::spawn(move || read_slowly_at_first(output, LONG_DRAIN, &AtomicUsize::new(0)));
    let answer = process.ends(LONG_DRAIN + PATIENCE);
    let lines = reading.join().expect("the reader ends");
    assert_eq!(
        answer.succeeded_with_messages(1),
        ["manager: 20000 events recorded: 20000 delivered, none lost"]
    );
    assert_eq!(lines, 20_000);
}

#[test]
fn a_second_sigint_ends_the_drain_and_reports_dropped_events() {
    let manager = manager();
    let (output, writer) = pipe().expect("a pipe can be created");
    let mut process = follow(&manager, "--count 20000 --length 1000").stdout(writer).spawn();
    let taken = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&taken);
    let reading = thread::spawn(move || read_slowly_at_first(output, LONG_DRAIN, &counter));
    wait_until("the reader has lines", PATIENCE, || taken.load(Relaxed) > 0);
    process.signal(Signal::SIGINT);
    thread::sleep(Duration::from_secs(1));
    let second = Instant::now();
    process.signal(Signal::SIGINT);
    let answer = process.ends(PATIENCE);
    assert!(second.elapsed() < LONG_DRAIN / 2, "{:?}", second.elapsed());
    let messages: Vec<&str> = answer.stderr.lines().collect();
    let (unprinted, summary) = match messages[..] {
        [summary] => (0, summary),
        [unprinted, summary] => {
            (number_before(unprinted, " of the delivered lines were not printed"), summary)
        }
        _ => panic!("{answer:#?}"),
    };
    let lines = reading.join().expect("the reader ends");
    assert_eq!(number_before(summary, " events recorded"), 20_000);
    assert_eq!(number_before(summary, " delivered") + number_before(summary, " dropped"), 20_000);
    assert_eq!(lines + unprinted, number_before(summary, " delivered"), "{answer:#?}");
}

#[test]
fn one_sigint_never_ends_the_drain() {
    stops_lose_nothing(20);
}

#[test]
#[ignore = "takes minutes; one signal counted as two in one of twenty stops"]
fn five_hundred_stops_under_load_lose_nothing() {
    stops_lose_nothing(500);
}

fn stops_lose_nothing(stops: usize) {
    let manager = manager();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = OnDrop(&is_over);
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        for stop in 0..stops {
            let mut process = follow(&manager, "--count 20000").spawn();
            wait_until("the trace is there", PATIENCE, || process.has_output());
            process.signal_group(Signal::SIGINT);
            let answer = process.ends(PATIENCE);
            let summary = ["manager: 20000 events recorded: 20000 delivered, none lost"];
            assert_eq!(answer.succeeded_with_messages(1), summary, "stop {stop}");
            assert_eq!(answer.stdout.lines().count(), 20_000, "stop {stop}");
        }
    });
}

/// Sets the flag when it is dropped, so that the load ends after a failure, too.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn follow_reports_losses_and_their_cause_as_they_happen() {
    let manager = manager();
    let mut process = follow(&manager, "--lose 7 --every 100 --count 100000").spawn();
    thread::sleep(Duration::from_secs(3));
    process.signal(Signal::SIGINT);
    let answer = process.ends(PATIENCE);
    let lines = messages(&answer);
    let place = |text: &str| {
        let found = lines.iter().position(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("no {text:?} in {lines:#?}"))
    };
    assert!(place("the spool is full") < place("CPU 0 lost 7 events"));
    assert!(place("CPU 0 lost 7 events") < place("7 lost (CPU 0: 7)"));
    assert_eq!(lines.len(), 3, "each loss is reported once: {lines:#?}");
}

#[test]
fn without_follow_losses_are_not_reported_on_stderr() {
    let manager = manager();
    let session = run(&manager, "--lose 7 --count 10").start();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(session.stop().succeeded().len(), 11);
}

#[test]
fn summary_reports_losses_that_the_lines_do_not() {
    let manager = manager();
    let mut process = follow(&manager, "--lose 7 --unreported --count 5 --time 100").spawn();
    let answer = process.ends(PATIENCE);
    let lines = messages(&answer);
    let summary = lines.last().expect("there is a summary");
    assert!(summary.contains("7 lost (CPU 0: 7); but the lines of the trace report 0 lost"), "{summary}");
}

#[test]
fn lines_that_look_like_stack_frames_are_counted() {
    let manager = manager();
    let answer = follow(&manager, "--frames --count 25 --time 100").answer();
    assert_eq!(answer.stdout.lines().filter(|line| line.starts_with(" => ")).count(), 25);
    assert_eq!(answer.succeeded_with_messages(1), ["manager: 25 events recorded: 25 delivered, none lost"]);
    let ended = run(&manager, "--frames --count 25").start_unread().stop();
    assert_eq!(ended.unread().len(), 25);
}

#[test]
fn a_hundred_sessions_stop_at_once() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    stop_at_once(&kernel, 100);
}

#[test]
#[ignore = "takes minutes"]
fn two_hundred_sessions_stop_at_once() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    stop_at_once(&kernel, 200);
}

fn stop_at_once(kernel: &Kernel, count: usize) {
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let workload = Workload::start();
    let traced = format!("--pid {} -s getppid", workload.id());
    let mut sessions: Vec<Session> =
        (0..count).map(|_| manager.run("trace_syscalls", &traced).start()).collect();
    let pids: Vec<u32> = sessions.iter().map(Session::pid).collect();
    workload.calls(10);
    // The kernel removes instances one at a time, at up to a tenth of a second each.
    sessions.iter_mut().for_each(|session| session.process().signal(Signal::SIGINT));
    wait_until("all have ended", PATIENCE * 3, || {
        sessions.iter_mut().all(|session| session.process().is_over())
    });
    for session in sessions {
        assert_eq!(session.ends().succeeded().len(), 10);
    }
    assert!(kernel.instances_of(&pids).is_empty());
    assert!(manager.files().is_empty());
}

#[test]
fn a_record_outlives_a_failed_sweep() {
    let manager = Manager::with(Plugins::of(["misbehaving"]));
    let me = format!("--pid {}", std::process::id());
    let mut session = manager.run("behaves", me).start();
    let worker = session.worker();
    session.process().signal(Signal::SIGSTOP);
    kill(Pid::from_raw(worker.cast_signed()), Signal::SIGKILL).expect("it exists");
    session.process().signal(Signal::SIGKILL);
    wait_until("the supervisor is gone", PATIENCE, || session.process().is_over());
    let records = || {
        let files = manager.files();
        files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "session")).count()
    };
    assert_eq!(records(), 1);
    for _ in 0..2 {
        let answer = manager.call(["--get-all"]).variable("MISBEHAVE", "fail:sweep").answer();
        answer.succeeded();
        assert_eq!(records(), 1, "nothing was removed");
    }
    manager
        .call(["--clear"])
        .variable("MISBEHAVE", "fail:sweep")
        .answer()
        .failed(&["a failure like any other"]);
    assert_eq!(records(), 1, "nothing was removed");
    manager.call(["--clear"]).answer().succeeded_silently();
    assert_eq!(records(), 0);
    drop(session);
}

/// Takes a little every half second for this long, then the rest. Counts the lines.
fn read_slowly_at_first(mut output: impl Read, time: Duration, lines: &AtomicUsize) -> usize {
    let began = Instant::now();
    let mut buffer = vec![0; 256 << 10];
    while let Ok(length @ 1..) = output.read(&mut buffer) {
        lines.fetch_add(buffer[..length].iter().filter(|byte| **byte == b'\n').count(), Relaxed);
        if began.elapsed() < time {
            thread::sleep(Duration::from_millis(500));
        }
    }
    lines.load(Relaxed)
}

fn number_before(text: &str, what: &str) -> usize {
    let before = text.split(what).next().unwrap_or_default();
    let number = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    number.parse().unwrap_or_else(|_| panic!("no number before {what:?} in {text:?}"))
}

fn messages(answer: &Answer) -> Vec<String> {
    assert!(answer.status.success(), "{answer:#?}");
    answer.stderr.lines().map(str::to_owned).collect()
}
