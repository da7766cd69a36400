//! What a reader gets, and how long it can delay the end of a session. Needs no kernel: the lines are synthetic, so that
//! every line is known.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use nix::sys::signal::Signal;
use system_tests::{Call, Manager, Plugins, Workload};

fn manager() -> Manager {
    Manager::with(Plugins::of(["synthetic"]))
}

/// A run of the hook `synthetic_lines`.
fn run<'a>(manager: &'a Manager, arguments: &str) -> Call<'a> {
    manager.run("synthetic_lines", format!("--pid {} {arguments}", std::process::id()))
}

/// The lines that the hook emits.
fn synthetic(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("synthetic: line {n}")).collect()
}

/// More lines than fit into the pipe.
const MANY: usize = 100_000;

#[test]
fn each_read_gives_one_line() {
    let manager = manager();
    let session = run(&manager, "--count 1000").start_unread();
    let mut file = File::open(session.path()).expect("the caller can open the trace");
    let mut buffer = vec![0; 1 << 16];
    for line in synthetic(1000) {
        let length = file.read(&mut buffer).expect("there is a line");
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), line + "\n");
    }
    session.stop().succeeded();
    assert_eq!(file.read(&mut buffer).expect("the file has an end"), 0);
}

#[test]
fn an_immediate_stop_loses_no_line() {
    let manager = manager();
    let session = run(&manager, &format!("--count {MANY}")).start();
    session.wait_for_lines(1);
    let ended = session.stop();
    assert_eq!(ended.succeeded(), synthetic(MANY));
    assert!(manager.unread_output().is_empty(), "it was all taken");
}

#[test]
fn a_session_that_ends_by_itself_loses_no_line() {
    let manager = manager();
    let workload = Workload::start();
    let arguments = format!("--pid {} --count {MANY}", workload.id());
    let session = manager.run("synthetic_lines", arguments).start();
    workload.exits();
    assert_eq!(session.ends().succeeded(), synthetic(MANY));
}

#[test]
fn a_line_arrives_soon_after_it_was_recorded() {
    let manager = manager();
    let session = run(&manager, "--count 3 --every 300").start();
    session.wait_for_lines(3);
    assert_eq!(session.stop().succeeded(), synthetic(3));
}

#[test]
fn lines_longer_than_a_pipe_packet_arrive_whole() {
    let manager = manager();
    // With its newline, each line is about as long as one or two packets, or much longer.
    for length in [4094, 4095, 4096, 8191, 8192, 60_000] {
        let session = run(&manager, &format!("--count 20 --length {length}")).start();
        let lines = session.stop();
        let expected: Vec<String> = synthetic(20).iter().map(|line| format!("{line:.<length$}")).collect();
        assert!(lines.succeeded() == expected, "lines of {length} bytes");
    }
}

#[test]
fn without_a_reader_a_session_ends_at_once() {
    let manager = manager();
    let ended = run(&manager, &format!("--count {MANY}")).start_unread().stop();
    ended.succeeded();
    assert!(ended.answer.took < Duration::from_secs(1), "it took {:?}", ended.answer.took);
}

#[test]
fn a_stuck_reader_delays_the_end_by_two_seconds_at_most() {
    let manager = manager();
    for count in [10, MANY] {
        let session = run(&manager, &format!("--count {count}")).start_unread();
        let _stuck = File::open(session.path()).expect("the caller can open the trace");
        let ended = session.stop();
        ended.succeeded();
        assert!(ended.answer.took < Duration::from_secs(3), "it took {:?}", ended.answer.took);
    }
}

#[test]
fn a_stuck_reader_that_closes_ends_the_delay() {
    let manager = manager();
    let mut session = run(&manager, &format!("--count {MANY}")).start_unread();
    let stuck = File::open(session.path()).expect("the caller can open the trace");
    session.process().signal(Signal::SIGINT);
    drop(stuck);
    let ended = session.ends();
    ended.succeeded();
    assert!(ended.answer.took < Duration::from_secs(1), "it took {:?}", ended.answer.took);
}

#[test]
fn a_slow_reader_gets_everything_as_long_as_it_makes_progress() {
    let manager = manager();
    let session = run(&manager, "--count 1200").start_unread().read_slowly(Duration::from_millis(4));
    session.wait_for_lines(1);
    assert_eq!(session.stop().succeeded(), synthetic(1200));
}

#[test]
fn drain_limits_the_wait_for_a_slow_reader() {
    let manager = manager();
    let session =
        run(&manager, "--count 1200 --drain 1").start_unread().read_slowly(Duration::from_millis(4));
    session.wait_for_lines(1);
    let ended = session.stop();
    let lines = ended.succeeded();
    assert!(lines.len() < 1200, "the reader was not slow");
    // The first reader may still be reading, so their lines may be interleaved; but no line is read twice.
    let mut all = [lines, ended.unread()].concat();
    all.sort_by_key(|line| line.rsplit(' ').next().and_then(|number| number.parse::<u32>().ok()));
    assert_eq!(all, synthetic(1200));
    let took = ended.answer.took;
    assert!((Duration::from_millis(500)..Duration::from_secs(2)).contains(&took), "it took {took:?}");
}

/// Without the factor, the wait ends after ten seconds.
#[test]
fn patience_multiplies_the_default_of_drain() {
    let manager = manager();
    let call = run(&manager, "--count 3000").variable("TRACER_PATIENCE", "2");
    let session = call.start_unread().read_slowly(Duration::from_millis(4));
    session.wait_for_lines(1);
    let ended = session.stop();
    assert_eq!(ended.succeeded(), synthetic(3000));
    assert!(ended.answer.took > Duration::from_secs(10), "the reader was not slow");
}

#[test]
fn a_second_reader_continues_where_the_first_stopped() {
    let manager = manager();
    let session = run(&manager, "--count 1000").start_unread();
    let mut first = File::open(session.path()).expect("the caller can open the trace");
    let mut buffer = [0; 4096];
    for line in synthetic(5) {
        let length = first.read(&mut buffer).expect("there is a line");
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), line + "\n");
    }
    drop(first);
    let session = session.read();
    session.wait_for_lines(995);
    assert_eq!(session.stop().succeeded(), synthetic(1000)[5..]);
}
