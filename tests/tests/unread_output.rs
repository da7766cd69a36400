//! Lines that no reader took are kept in the place of the trace file when a session has ended: none twice, none missing.
//! Needs no kernel: the lines are synthetic, so that every line is known.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use system_tests::{Call, Log, Manager, PATIENCE, Plugins, Reader, wait_until};

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
const MANY: usize = 50_000;

#[test]
fn without_a_reader_every_line_is_kept() {
    let manager = manager();
    for count in [1, 10, MANY] {
        let session = run(&manager, &format!("--count {count}")).start_unread();
        let path = session.path().to_owned();
        let ended = session.stop();
        ended.succeeded();
        assert_eq!(ended.unread(), synthetic(count));
        assert_eq!(path.metadata().expect("it exists").mode() & 0o077, 0, "other users cannot access it");
    }
}

#[test]
fn without_lines_no_file_is_kept() {
    let manager = manager();
    run(&manager, "--count 0").start_unread().stop().succeeded();
    assert!(manager.unread_output().is_empty());
}

#[test]
fn unread_output_of_a_session_that_ends_by_itself_is_complete() {
    let manager = manager();
    let ended = run(&manager, "--count 1000 --time 20").start_unread().ends();
    ended.succeeded();
    assert_eq!(ended.unread(), synthetic(1000));
}

#[test]
fn long_lines_are_kept_whole() {
    let manager = manager();
    let length = 60_000;
    let ended = run(&manager, &format!("--count 50 --length {length}")).start_unread().stop();
    ended.succeeded();
    let expected: Vec<String> = synthetic(50).iter().map(|line| format!("{line:.<length$}")).collect();
    assert!(ended.unread() == expected);
}

#[test]
fn lines_that_a_reader_took_are_not_kept() {
    let manager = manager();
    let session = run(&manager, &format!("--count {MANY}")).start_unread();
    let mut reader = File::open(session.path()).expect("the caller can open the trace");
    let taken = take(&mut reader, 300);
    drop(reader);
    let ended = session.stop();
    ended.succeeded();
    assert_eq!([taken, owned(&ended.unread())].concat(), synthetic(MANY));
}

#[test]
fn lines_in_the_pipe_of_a_stuck_reader_are_not_kept() {
    let manager = manager();
    for (count, before) in [(10, 0), (10, 3), (MANY, 0), (MANY, 300)] {
        let session = run(&manager, &format!("--count {count}")).start_unread();
        let mut stuck = File::open(session.path()).expect("the caller can open the trace");
        let taken = take(&mut stuck, before);
        let ended = session.stop();
        ended.succeeded();
        let rest = Reader::of_file(stuck, Duration::ZERO).finish();
        let rest = rest.iter().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!([taken, rest, owned(&ended.unread())].concat(), synthetic(count));
    }
}

/// Three packets make a line.
const LONG: usize = 10_000;

fn long_lines() -> Vec<String> {
    synthetic(50).iter().map(|line| format!("{line:.<LONG$}")).collect()
}

fn next_packet(reader: &mut File) -> String {
    let mut buffer = [0; 4096];
    let length = reader.read(&mut buffer).expect("a trace can be read");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn a_long_line_partly_in_the_pipe_is_completed_for_a_stuck_reader() {
    let manager = manager();
    let expected = long_lines();
    for packets in 1..=4 {
        let session = run(&manager, &format!("--count 50 --length {LONG}")).start_unread();
        let mut stuck = File::open(session.path()).expect("the caller can open the trace");
        let mut taken: String = (0..packets).map(|_| next_packet(&mut stuck)).collect();
        let ended = session.stop();
        ended.succeeded();
        taken
            .extend(std::iter::from_fn(|| Some(next_packet(&mut stuck)).filter(|packet| !packet.is_empty())));
        let taken: Vec<&str> = taken.lines().collect();
        assert!([taken, ended.unread()].concat() == expected, "torn after {packets} packets");
    }
}

#[test]
fn a_long_line_that_a_reader_took_partly_is_kept_whole() {
    let manager = manager();
    let expected = long_lines();
    for packets in 1..=6 {
        let session = run(&manager, &format!("--count 50 --length {LONG}")).start_unread();
        let mut reader = File::open(session.path()).expect("the caller can open the trace");
        (0..packets).for_each(|_| _ = next_packet(&mut reader));
        drop(reader);
        let ended = session.stop();
        ended.succeeded();
        assert!(ended.unread() == expected[packets / 3..], "left after {packets} packets");
    }
}

#[test]
fn the_next_reader_gets_a_partly_read_long_line_whole() {
    let manager = manager();
    let expected = long_lines();
    for packets in 1..=6 {
        let mut session = run(&manager, &format!("--count 50 --length {LONG}")).start_unread();
        let mut first = File::open(session.path()).expect("the caller can open the trace");
        (0..packets).for_each(|_| _ = next_packet(&mut first));
        drop(first);
        // The delay chooses the time that is tested: a reader that opens at once may find the packets of the one before.
        thread::sleep(Duration::from_millis(200));
        let second = Reader::of(session.path());
        session.process().signal(Signal::SIGINT);
        let lines = second.finish();
        session.ends().succeeded();
        assert!(
            lines.iter().map(|line| line.trim_end()).eq(&expected[packets / 3..]),
            "the first left after {packets} packets"
        );
    }
}

#[test]
fn a_reader_that_closes_during_the_drain_keeps_its_lines() {
    let manager = manager();
    let mut session = run(&manager, &format!("--count {MANY}")).start_unread();
    let mut reader = File::open(session.path()).expect("the caller can open the trace");
    session.process().signal(Signal::SIGINT);
    let taken = take(&mut reader, 1000);
    drop(reader);
    let ended = session.ends();
    ended.succeeded();
    assert_eq!([taken, owned(&ended.unread())].concat(), synthetic(MANY));
}

#[test]
fn a_reader_that_opens_the_path_late_gets_everything() {
    let manager = manager();
    for moment in (0..100).map(|n| Duration::from_micros(n * 200)) {
        let session = run(&manager, "--time 1").start_unread();
        // The delay chooses the time that is tested.
        thread::sleep(moment);
        let content = content_of(session.path());
        assert_eq!(content.lines().collect::<Vec<_>>(), synthetic(10), "{moment:?} after the path");
        session.ends().succeeded();
    }
}

/// Reads the file to its end, whether it is still the trace file or the unread output.
fn content_of(path: &Path) -> String {
    let (send, content) = mpsc::channel();
    let path = path.to_owned();
    // Opening a FIFO blocks until it has a writer, so another thread does it.
    thread::spawn(move || {
        let mut file = File::open(path)?;
        let (mut content, mut buffer) = (Vec::new(), [0; 1 << 16]);
        // The part of a packet that does not fit into the buffer is lost, so `read_to_end`, which begins with a small
        // buffer, cannot be used.
        while let length @ 1.. = file.read(&mut buffer)? {
            content.extend_from_slice(&buffer[..length]);
        }
        let _ = send.send(String::from_utf8_lossy(&content).into_owned());
        std::io::Result::Ok(())
    });
    content.recv_timeout(PATIENCE).expect("the path can be opened and read to an end")
}

#[test]
fn clear_removes_unread_output() {
    let manager = manager();
    for _ in 0..3 {
        run(&manager, "").start_unread().stop().succeeded();
    }
    assert_eq!(manager.unread_output().len(), 3);
    manager.call(["--clear"]).answer().succeeded_silently();
    assert!(manager.unread_output().is_empty());
}

#[test]
fn the_next_session_keeps_unread_output() {
    let manager = manager();
    run(&manager, "").start_unread().stop().succeeded();
    run(&manager, "").start().stop().succeeded();
    assert_eq!(manager.unread_output().len(), 1);
}

#[test]
fn a_session_that_cannot_print_its_path_keeps_nothing() {
    let manager = manager();
    let full = File::options().write(true).open("/dev/full").expect("there is a /dev/full");
    run(&manager, "").stdout(full).answer().failed(&["standard output"]);
    assert!(manager.unread_output().is_empty());
}

#[test]
fn the_summary_counts_delivered_and_unread_events() {
    let manager = manager();
    let me = format!("--pid {} --count 1000", std::process::id());
    let mut process = manager.call(["-v", "--run", "synthetic_lines", "--args", &me]).spawn();
    wait_until("the path is printed", PATIENCE, || process.has_output());
    process.signal(Signal::SIGINT);
    let answer = process.ends(PATIENCE);
    assert!(answer.status.success());
    let summary = "1000 events recorded: 0 delivered, 1000 not taken by a reader, none lost";
    assert!(answer.stderr.contains(summary), "{answer:#?}");
}

/// Reads `count` lines as container-tracer does.
fn take(file: &mut File, count: usize) -> Vec<String> {
    let mut buffer = [0; 4096];
    let mut line = || {
        let length = file.read(&mut buffer).expect("there is a line");
        String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned()
    };
    (0..count).map(|_| line()).collect()
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// The text of the only summary.
#[track_caller]
fn summary(manager: &Manager) -> String {
    let [file] = &manager.summaries()[..] else { panic!("one summary, not {:?}", manager.summaries()) };
    fs::read_to_string(file).expect("it can be read")
}

#[test]
fn a_file_reports_what_no_reader_took_until_the_next_clear() {
    let (manager, log) = (manager(), Log::new());
    let call = manager.call([
        "-v",
        "--run",
        "synthetic_lines",
        "--args",
        &format!("--pid {} --count {MANY} --lose 7", std::process::id()),
    ]);
    let mut process = log.of(call).spawn();
    wait_until("it prints the path", PATIENCE, || process.has_output());
    process.signal(Signal::SIGINT);
    let path = process.ends(PATIENCE).stdout;
    let (path, summary) = (path.trim_end(), summary(&manager));
    let counts =
        format!("{} events recorded: 0 delivered, {MANY} not taken by a reader, 7 lost (CPU 0: 7)", MANY + 7);
    assert_eq!(summary, format!("{counts}\nunread: {path}\n"));
    assert!(log.text().contains(&format!("the unread output is in {path}")), "{}", log.text());
    assert_eq!(Path::new(path).with_extension("summary"), manager.summaries()[0]);
    assert_eq!(manager.summaries()[0].metadata().expect("it exists").mode() & 0o777, 0o600);
    manager.call(["--clear"]).answer().succeeded_silently();
    assert!(manager.summaries().is_empty() && manager.unread_output().is_empty());
}

#[test]
fn a_file_reports_lost_events_although_all_others_were_delivered() {
    let manager = manager();
    let session = run(&manager, "--count 10 --lose 7").start();
    session.wait_for_lines(11);
    session.stop().succeeded();
    assert_eq!(summary(&manager), "17 events recorded: 10 delivered, 7 lost (CPU 0: 7)\n");
}

#[test]
fn sessions_whose_events_were_all_delivered_leave_no_file() {
    let manager = manager();
    let session = run(&manager, "--count 10").start();
    session.wait_for_lines(10);
    session.stop().succeeded();
    assert!(manager.summaries().is_empty());
}

const LEFTOVER: &str = "TRACER_LEFTOVER_MIB";

#[test]
fn the_oldest_unread_output_is_removed_when_all_of_it_takes_too_much() {
    let manager = manager();
    let leave = || {
        // More than half a MiB.
        let session = run(&manager, "--count 10 --length 60000").variable(LEFTOVER, "1").start_unread();
        let path = session.path().to_owned();
        session.stop().succeeded();
        path
    };
    let (first, second, third) = (leave(), leave(), leave());
    assert_eq!(manager.unread_output(), [third]);
    for removed in [first, second] {
        let summary = fs::read_to_string(removed.with_extension("summary")).expect("it can be read");
        let last = summary.lines().last().expect("it has lines");
        assert_eq!(last, "removed to keep within TRACER_LEFTOVER_MIB=1");
    }
}

/// As when their caller dies.
#[test]
fn sessions_that_end_at_once_share_the_limit() {
    let manager = manager();
    let start = || run(&manager, "--count 100 --length 60000").variable(LEFTOVER, "8").start_unread();
    let mut sessions: Vec<_> = (0..6).map(|_| start()).collect();
    sessions.iter_mut().for_each(|session| session.process().signal(Signal::SIGINT));
    sessions.into_iter().for_each(|session| drop(session.ends()));
    let size = |path: PathBuf| fs::metadata(path).expect("it is there").len();
    let total: u64 = manager.unread_output().into_iter().map(size).sum();
    // Each looks at the others after each MiB of its own.
    assert!(total <= (8 + 6) << 20, "{total} bytes");
}

#[test]
fn unread_output_that_takes_too_much_alone_is_cut_off_and_reported() {
    let manager = manager();
    let ended = run(&manager, "--count 50 --length 60000").variable(LEFTOVER, "1").start_unread().stop();
    let kept = ended.unread().len();
    assert!((12..=17).contains(&kept), "what fits into 1 MiB, in steps of 256 KiB, not {kept}");
    ended.failed(&["TRACER_LEFTOVER_MIB=1", &format!("{} events are missing there", 50 - kept)]);
    let summary = summary(&manager);
    assert!(summary.contains(&format!("{} dropped", 50 - kept)), "{summary}");
    assert!(summary.contains("failed: ") && summary.contains(LEFTOVER), "{summary}");
}

#[test]
fn an_invalid_limit_is_refused_before_the_session_starts() {
    for invalid in ["0", "-1", "many", "1.5", "99999999999999999999"] {
        let answer = run(&manager(), "").variable(LEFTOVER, invalid).answer();
        answer.failed(&[&format!("{LEFTOVER}={invalid}: is not a size in MiB")]);
    }
}
