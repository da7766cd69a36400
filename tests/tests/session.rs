//! A session from the printed path to the exit. Needs no kernel: the lines are synthetic.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use system_tests::{Call, Manager, PATIENCE, Plugins, Workload, wait_until};

fn manager() -> Manager {
    Manager::with(Plugins::of(["synthetic", "failing"]))
}

/// A run of the hook `synthetic_lines`.
fn run<'a>(manager: &'a Manager, arguments: &str) -> Call<'a> {
    manager.run("synthetic_lines", format!("--pid {} {arguments}", std::process::id()))
}

/// The lines that the hook emits.
fn synthetic(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("synthetic: line {n}")).collect()
}

#[test]
fn the_path_is_that_of_a_fifo_in_the_run_directory() {
    let manager = manager();
    let session = run(&manager, "").start_unread();
    assert!(session.path().starts_with(manager.run_directory()));
    let metadata = session.path().symlink_metadata().expect("the trace file is there");
    assert!(metadata.file_type().is_fifo());
    session.stop().succeeded();
}

#[test]
fn a_session_that_is_stopped_leaves_no_process() {
    let manager = manager();
    let mut session = run(&manager, "").start();
    let processes = session.process().workers();
    assert!(!processes.is_empty(), "a session has a worker");
    session.stop().succeeded();
    for pid in processes {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} is left");
    }
}

#[test]
fn no_process_but_the_manager_holds_the_callers_streams() {
    let manager = manager();
    let mut session = run(&manager, "").start();
    let streams =
        [1, 2].map(|fd| open_file(session.pid(), &fd.to_string()).expect("the manager has its streams"));
    for worker in session.process().workers() {
        let files = fs::read_dir(format!("/proc/{worker}/fd")).expect("the worker is running");
        for file in files.flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let held = open_file(worker, &name);
            assert!(
                !held.is_some_and(|held| streams.contains(&held)),
                "fd {name} of the worker is the caller's"
            );
        }
    }
    session.stop().succeeded();
}

/// The file that a process has open as this descriptor.
fn open_file(pid: u32, fd: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()
}

#[test]
fn a_session_lasts_until_it_is_stopped() {
    let manager = manager();
    let mut session = run(&manager, "--count 3").start();
    session.wait_for_lines(3);
    assert!(!session.process().is_over());
    assert_eq!(session.stop().succeeded(), synthetic(3));
}

#[test]
fn a_session_ends_when_all_traced_processes_are_gone() {
    let manager = manager();
    let (first, last) = (Workload::start(), Workload::start());
    let arguments = format!("--pid {} {} --count 1000", first.id(), last.id());
    let mut session = manager.run("synthetic_lines", arguments).start();
    first.exits();
    session.wait_for_lines(1000);
    assert!(!session.process().is_over(), "one of them is still there");
    last.exits();
    assert_eq!(session.ends().succeeded(), synthetic(1000));
}

#[test]
fn a_session_without_lines_ends_cleanly() {
    let manager = manager();
    assert!(run(&manager, "--count 0").start().stop().succeeded().is_empty());
    assert!(run(&manager, "--count 0 --time 50").start_unread().ends().succeeded().is_empty());
}

#[test]
fn a_session_ends_when_its_time_is_up() {
    let manager = manager();
    let ended = run(&manager, "--every 10 --count 1000000 --time 500").start().ends();
    let lines = ended.succeeded();
    assert_eq!(lines, synthetic(lines.len()));
    let took = ended.answer.took;
    let most = took.as_millis() as usize / 10 + 1;
    assert!((20..=most).contains(&lines.len()), "{} lines, one every 10 ms, in {took:?}", lines.len());
    assert!((Duration::from_millis(500)..Duration::from_secs(2)).contains(&took), "it took {took:?}");
}

#[test]
fn many_sessions_run_concurrently() {
    let manager = manager();
    let sessions: Vec<_> =
        (0..20).map(|n| (n, run(&manager, &format!("--count 200 --word ,{n}")).start())).collect();
    let paths: std::collections::HashSet<_> =
        sessions.iter().map(|(_, session)| session.path().to_owned()).collect();
    assert_eq!(paths.len(), 20, "each has a file of its own");
    for (n, session) in sessions {
        let own: Vec<String> = synthetic(200).iter().map(|line| format!("{line},{n}")).collect();
        assert_eq!(session.stop().succeeded(), own);
    }
}

#[test]
fn follow_prints_the_trace_itself() {
    let manager = manager();
    let call = manager.call(["--run", "synthetic_lines", "--follow", "--args"]);
    let answer = call.word(format!("--pid {} --time 1 --count 10000", std::process::id())).answer();
    assert_eq!(
        answer.succeeded_with_messages(1),
        ["manager: 10000 events recorded: 10000 delivered, none lost"]
    );
    assert_eq!(answer.stdout.lines().collect::<Vec<_>>(), synthetic(10_000));
    assert!(manager.unread_output().is_empty());
}

#[test]
fn follow_ends_cleanly_on_sigint() {
    let manager = manager();
    let me = format!("--pid {} --count 5", std::process::id());
    let mut process = manager.call(["--run", "synthetic_lines", "--follow", "--args", &me]).spawn();
    wait_until("it says something", PATIENCE, || process.has_output());
    process.signal(Signal::SIGINT);
    let answer = process.ends(PATIENCE);
    assert_eq!(answer.succeeded_with_messages(1), ["manager: 5 events recorded: 5 delivered, none lost"]);
    assert_eq!(answer.stdout.lines().collect::<Vec<_>>(), synthetic(5));
    assert!(manager.unread_output().is_empty());
}

#[test]
fn follow_into_a_pipe_that_is_closed_ends() {
    let manager = manager();
    let me = format!("--pid {} --count 1000000000", std::process::id());
    let script = "exec \"$@\" | head -n 3";
    let call = manager.call(["--run", "synthetic_lines", "--follow", "--args", &me]);
    let answer = call.under(["sh", "-c", script, "sh"]).answer();
    assert_eq!(answer.stdout.lines().collect::<Vec<_>>(), synthetic(3));
    assert!(answer.stderr.lines().all(|line| line.starts_with("manager: ")), "{answer:#?}");
    assert!(manager.unread_output().is_empty());
}

#[test]
fn follow_ends_with_its_reader_even_without_another_line() {
    let manager = manager();
    let me = format!("--pid {} --count 1", std::process::id());
    for connected in [connected_pipe, connected_sockets] {
        let (reader, writer) = connected();
        let call = manager.call(["--run", "synthetic_lines", "--follow", "--args", &me]);
        let mut process = call.stdout(writer).spawn();
        let mut byte = [0];
        let mut reader: File = reader.into();
        reader.read_exact(&mut byte).expect("the line is printed");
        drop(reader);
        let answer = process.ends(PATIENCE);
        assert!(answer.status.success(), "{answer:#?}");
        assert!(manager.unread_output().is_empty());
    }
}

fn connected_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe().expect("a pipe can be made");
    (reader.into(), writer.into())
}

fn connected_sockets() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = UnixStream::pair().expect("sockets can be made");
    (reader.into(), writer.into())
}

#[test]
fn a_closed_stdout_ends_the_session() {
    let manager = manager();
    run(&manager, "").under(["sh", "-c", "exec \"$@\" >&-", "sh"]).answer().failed(&["standard output"]);
}

#[test]
fn an_stdout_without_reader_ends_the_session() {
    let manager = manager();
    let (reader, writer) = pipe().expect("a pipe can be made");
    drop(reader);
    run(&manager, "").stdout(writer).answer().failed(&["standard output"]);
}

#[test]
fn a_full_stdout_ends_the_session() {
    let manager = manager();
    let full = OpenOptions::new().write(true).open("/dev/full").expect("there is a /dev/full");
    run(&manager, "").stdout(full).answer().failed(&["standard output"]);
}

#[test]
fn an_stdout_pipe_that_stays_full_ends_the_session() {
    let manager = manager();
    let (_reader, writer) = full_pipe();
    run(&manager, "").stdout(writer).answer().failed(&["standard output"]);
}

#[test]
fn an_stdout_pipe_that_was_full_briefly_gets_the_path() {
    let manager = manager();
    let (mut reader, writer) = full_pipe();
    let mut process = run(&manager, "").stdout(writer).spawn();
    wait_until("the session is there", PATIENCE, || process.is_over() || !manager.files().is_empty());
    let mut content = vec![0; PIPE_SIZE];
    reader.read_exact(&mut content).expect("the pipe is full");
    let mut path = String::new();
    while !path.ends_with('\n') {
        let mut byte = [0];
        reader.read_exact(&mut byte).expect("the path follows");
        path.push(byte[0].into());
    }
    assert!(manager.files().contains(&path.trim_end().into()), "{path}");
    process.signal(Signal::SIGINT);
    process.ends(PATIENCE).succeeded_silently();
}

#[test]
fn sigint_ends_a_session_that_cannot_print_its_path() {
    let manager = manager();
    let (mut reader, writer) = full_pipe();
    let mut process = run(&manager, "").stdout(writer).spawn();
    wait_until("the session is there", PATIENCE, || process.is_over() || !manager.files().is_empty());
    process.signal(Signal::SIGINT);
    process.ends(PATIENCE).succeeded_silently();
    let mut content = Vec::new();
    reader.read_to_end(&mut content).expect("all writers are gone");
    assert_eq!(content.len(), PIPE_SIZE, "nothing was printed");
}

const PIPE_SIZE: usize = 4096;

/// A full pipe.
fn full_pipe() -> (std::io::PipeReader, File) {
    let (reader, writer) = pipe().expect("a pipe can be made");
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE as i32)).expect("a pipe can be small");
    let mut writer = File::from(std::os::fd::OwnedFd::from(writer));
    writer.write_all(&[b'.'; PIPE_SIZE]).expect("the pipe has room");
    assert!(writer.as_raw_fd() > 2);
    (reader, writer)
}

#[test]
fn a_run_directory_that_cannot_be_created_is_an_error() {
    let manager = manager();
    run(&manager, "").variable("TRACER_RUN_PATH", "/proc/nowhere").answer().failed(&["/proc/nowhere"]);
}

#[test]
fn a_run_directory_with_blanks_is_an_error() {
    let manager = manager();
    let directory = manager.run_directory().join("with blanks");
    run(&manager, "").variable("TRACER_RUN_PATH", directory).answer().failed(&["TRACER_RUN_PATH"]);
}

#[test]
fn a_failed_start_is_reported_in_one_line() {
    let manager = manager();
    let failing = |kind: &str| {
        let arguments = format!("--pid {} --when start --failure {kind}", std::process::id());
        manager.run("failing_lines", arguments).answer()
    };
    failing("fail").failed(&["failing", "nothing works today"]);
    failing("refuse").refused(&["failing", "ask for something else"]);
    failing("panic").failed(&["failing", "no way out"]);
    failing("abort").failed(&["failing"]);
    failing("exit").failed(&["failing"]);
}

#[test]
fn a_hanging_hook_does_not_hang_the_caller() {
    let manager = manager();
    let mut processes = ["start", "read", "stop", "close"].map(|call| {
        let arguments = format!("--pid {} --drain 0 --failure hang --when {call}", std::process::id());
        let mut process = manager.run("failing_lines", arguments).spawn();
        match call {
            "stop" => wait_until("the session is there", PATIENCE, || process.has_output()),
            _ => wait_until("the worker hangs", PATIENCE, || process.workers().into_iter().any(hangs)),
        }
        process
    });
    processes.iter_mut().for_each(|process| process.signal(Signal::SIGINT));
    let [starting, recording @ ..] = &mut processes;
    // Nothing was printed yet, so an aborted start is a success: there is no session.
    starting.ends(PATIENCE).succeeded_silently();
    recording.iter_mut().for_each(|process| process.ends(PATIENCE).failed_with(1, &["failing"]));
}

/// Whether the hook in this worker hangs already.
fn hangs(worker: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{worker}/task")).into_iter().flatten().flatten();
    tasks
        .map(|task| fs::read_to_string(task.path().join("comm")))
        .any(|name| name.is_ok_and(|name| name == "hung\n"))
}

#[test]
fn a_hook_that_fails_later_ends_the_session_in_one_line() {
    let manager = manager();
    for call in ["read", "stop", "close"] {
        for kind in ["fail", "panic", "abort", "exit"] {
            let arguments = format!("--pid {} --time 50 --when {call} --failure {kind}", std::process::id());
            manager.run("failing_lines", arguments).answer().failed_with(1, &["failing"]);
        }
    }
}

#[test]
fn lines_of_a_failing_hook_are_kept_and_counted() {
    let manager = manager();
    for (call, line) in [("read", "before the failure\n"), ("stop", "after the failure\n")] {
        let arguments = format!("--pid {} --time 50 --when {call}", std::process::id());
        let answer = manager.call(["-v", "--run", "failing_lines", "--args", &arguments]).answer();
        assert_eq!(answer.status.code(), Some(1), "{answer:#?}");
        let summary = "1 events recorded: 0 delivered, 1 not taken by a reader, none lost";
        for message in ["nothing works today", summary] {
            assert!(answer.stderr.contains(message), "{message}: {answer:#?}");
        }
        assert_eq!(
            fs::read_to_string(answer.stdout.trim_end()).expect("the unread output can be read"),
            line
        );
    }
}
