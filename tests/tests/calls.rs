//! `trace_calls`. Needs root.

#[path = "calls/notation.rs"]
mod notation;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use system_tests::{Kernel, Log, Manager, Opener, Plugins, Session};

use notation::Call;

fn manager() -> Manager {
    Manager::with(Plugins::of(["ebpf"]))
}

fn caller(step: &[&str]) -> Opener {
    Opener::of("syscalls", &[], step)
}

fn trace(manager: &Manager, caller: &Opener, arguments: &str) -> Session {
    manager.run("trace_calls", format!("--pid {} {arguments}", caller.id)).start()
}

/// The events of this step of the caller, after the call that it waits in.
fn events(step: &[&str], arguments: &str) -> Vec<Value> {
    let (manager, mut caller) = (manager(), caller(step));
    let session = trace(&manager, &caller, &format!("--format json {arguments}"));
    caller.proceed();
    session.ends().objects()
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

/// The calls of the same processes, as strace shows them at the same time.
#[test]
fn calls_are_shown_as_by_strace() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, directory) = (manager(), tempfile::tempdir().expect("a directory"));
    let output = directory.path().join("strace");
    let place = directory.path().join("place");
    fs::create_dir(&place).expect("a directory");
    let strace = ["strace", "-f", "-qq", "-yy", "-s", "32", "-o", output.to_str().expect("plain text")];
    let mut caller = Opener::of("syscalls", &strace, &["corpus", place.to_str().expect("plain text")]);
    let session = trace(&manager, &caller, "");
    caller.proceed();
    let ended = session.ends();
    let ours = notation::of_hook(ended.succeeded());
    let theirs = notation::of_strace(&fs::read_to_string(&output).expect("strace's output"));

    let names: BTreeSet<&str> = ours.iter().map(|call| call.name.as_str()).collect();
    assert!(names.len() > 190, "{} different calls", names.len());
    let tasks: BTreeSet<u32> = theirs.iter().map(|call| call.tid).collect();
    assert!(tasks.len() > 3, "{tasks:?}");
    for task in tasks {
        let (ours, theirs) = (of_task(&ours, task, caller.id), of_task(&theirs, task, caller.id));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(ours.len(), theirs.len(), "task {task}");
    }
}

/// The calls of a task, those of the first one from the first call of the corpus on. What differs for a known reason is left out.
fn of_task(calls: &[Call], task: u32, first_task: u32) -> Vec<Call> {
    let is_before = |call: &&Call| task == first_task && call.name != "chdir";
    let calls = calls.iter().filter(|call| call.tid == task).skip_while(is_before);
    calls.cloned().map(without_explained).collect()
}

/// Leaves out what is shown otherwise than by strace: docs/operators.md has the reasons.
fn without_explained(mut call: Call) -> Call {
    let forget = |call: &mut Call, argument: usize| {
        call.arguments.get_mut(argument).into_iter().for_each(String::clear);
    };
    match call.name.as_str() {
        // The names of commands that are no part of the tables.
        "ioctl" => forget(&mut call, 1),
        // What other processes' descriptors are.
        "kcmp" => call.arguments.truncate(3),
        "arch_prctl" | "sethostname" => forget(&mut call, 1),
        // The signal that ended a child is a number.
        "waitid" => forget(&mut call, 2),
        "recvmsg" if call.result.starts_with("-1") => forget(&mut call, 1),
        "copy_file_range" => call.changed.clear(),
        // strace remembers what it once learnt of a socket.
        "close" if call.arguments[0].contains(":[") => forget(&mut call, 0),
        // strace does not see the return of the call that kills the caller.
        "kill" if call.result.is_empty() => "0".clone_into(&mut call.result),
        _ => {}
    }
    call
}

#[test]
fn fields_are_typed_in_json() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().to_str().expect("plain text");
    let events = events(&["corpus", place], "-S 4");
    let opened = named(&events, "openat")[0];
    let file = format!("{place}/file");
    assert_eq!(opened["arguments"]["dfd_is"], place, "{opened}");
    assert_eq!((&opened["arguments"]["filename"], &opened["result_is"]), (&json!("file"), &json!(file)));
    assert_eq!((&opened["arguments"]["mode"], &opened["error"]), (&json!("0640"), &Value::Null));
    let written = &named(&events, "write")[0]["arguments"];
    assert_eq!(
        (&written["fd_is"], &written["buf"], &written["buf_cut"], &written["count"]),
        (&json!(file), &json!("0123"), &json!(true), &json!(41))
    );
    let connected = &named(&events, "connect")[0]["arguments"];
    let address = &connected["uservaddr"];
    assert_eq!((&address["sa_family"], &address["sin_addr"]), (&json!("AF_INET"), &json!("127.0.0.1")));
    assert!(address["sin_port"].as_u64().is_some_and(|port| port > 0), "{connected}");
    let polled = &named(&events, "ppoll")[0]["arguments"];
    let first = &polled["ufds"][0];
    assert_eq!(
        (&first["fd_is"], &first["events"]),
        (&json!("anon_inode:[eventfd]"), &json!("POLLIN|POLLPRI"))
    );
    assert_eq!(polled["ufds_after"][0]["revents"], "POLLIN", "{polled}");
    let pipe = &named(&events, "pipe2")[0]["arguments"]["fildes"];
    assert!(pipe[0]["number_is"].as_str().is_some_and(|is| is.starts_with("pipe:[")), "{pipe}");
    let executed = &named(&events, "execve")[0]["arguments"];
    assert_eq!((&executed["argv"], &executed["argv_count"]), (&json!(["prog", "a\"b\n"]), &json!(2)));
}

#[test]
fn hard_arguments_are_shown_or_marked() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events(&["bytes"], "-s openat,renameat2,write");
    let from = events.iter().position(|event| {
        event["arguments"]["filename"].as_str().is_some_and(|name| name.starts_with("a\"b"))
    });
    let events = &events[from.expect("the first call")..];
    let [odd, long, longer, renamed, edge, written, .., fresh] = events else { panic!("{events:#?}") };
    let name = |event: &Value| event["arguments"]["filename"].clone();
    assert_eq!(name(odd), "a\"b\n\u{1b}[2J\u{fffd}\\");
    assert_eq!(
        (name(long).as_str().map(str::len), &long["arguments"]["filename_cut"]),
        (Some(4090), &Value::Null)
    );
    assert_eq!((&long["error"], &longer["error"]), (&json!("ENAMETOOLONG"), &json!("ENAMETOOLONG")));
    assert_eq!(
        (name(longer).as_str().map(str::len), &longer["arguments"]["filename_cut"]),
        (Some(4095), &json!(true))
    );
    // Two paths of this length find no room.
    assert_eq!(
        (&renamed["cut"], &renamed["arguments"]["newname_cut"]),
        (&json!(true), &json!(true)),
        "{renamed}"
    );
    assert_eq!(renamed["arguments"]["oldname"].as_str().map(str::len), Some(4090));
    let unread =
        |value: &Value| value.as_str().is_some_and(|text| text.starts_with("0x") && text.ends_with('?'));
    assert!(unread(&name(edge)) && edge["error"] == "EFAULT", "{edge}");
    assert!(unread(&written["arguments"]["buf"]), "{written}");
    // It was not in memory when the call began.
    assert_eq!(name(fresh), "\u{7f}ELF\u{2}\u{1}\u{1}", "{fresh}");
}

#[test]
fn arguments_are_those_of_the_beginning() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events(&["vanishing"], "-s nanosleep,clock_nanosleep");
    let sleep = named(&events, "nanosleep")[0];
    assert_eq!(sleep["arguments"]["rqtp"], json!({"tv_sec": 0, "tv_nsec": 200_000_000}), "{sleep}");
    assert!(sleep["duration_ns"].as_u64().is_some_and(|took| took >= 200_000_000), "{sleep}");
}

#[test]
fn many_arguments_are_counted() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    // The last takes more memory than the kernel lets arguments have.
    for (count, result) in [(3, 0), (100, 0), (200_000, 0), (600_000, -7)] {
        let shown = json!(count.min(4096));
        let events = events(&["argv", &count.to_string()], "-s execve");
        let [executed] = events.as_slice() else { panic!("one call, not {events:#?}") };
        let arguments = &executed["arguments"];
        assert_eq!((&arguments["argv_count"], &arguments["envp_count"]), (&shown, &json!(0)), "{executed}");
        let (strings, is_cut) = if count < 32 { (count, Value::Null) } else { (32, json!(true)) };
        assert_eq!(
            (arguments["argv"].as_array().map(Vec::len), &arguments["argv_cut"]),
            (Some(strings), &is_cut)
        );
        assert_eq!(arguments["argv"][2], "000000002");
        let is_more = if count > 4096 { json!("or more") } else { Value::Null };
        assert_eq!(arguments["argv_count_is"], is_more);
        assert_eq!(executed["result"], result);
    }
}

/// The memory of the call is gone when it returns.
#[test]
fn arguments_of_an_executed_program_are_those_that_it_got() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events(&["untouched"], "-s execve");
    let [executed] = events.as_slice() else { panic!("one call, not {events:#?}") };
    let arguments = &executed["arguments"];
    assert_eq!(arguments["filename"], "/bin/true", "{executed}");
    assert_eq!(arguments["argv"], json!(["true", "an argument"]), "{executed}");
}

#[test]
fn a_thread_that_executes_a_program_is_followed() {
    const PROCESSES: usize = 50;
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events(&["execs", &PROCESSES.to_string()], "-s execve,futex,clone,exit_group");
    let executed = named(&events, "execve");
    assert_eq!(executed.len(), PROCESSES);
    for call in executed {
        assert_eq!(
            (&call["result"], &call["arguments"]["filename"]),
            (&json!(0), &json!("/bin/true")),
            "{call}"
        );
        assert_ne!(call["tid"], call["pid"], "it began in another thread than the first: {call}");
    }
    // The first thread was waiting for the other when it was ended, if it had come so far.
    let waiting = named(&events, "futex");
    let waiting = waiting.iter().filter(|call| call["error"] == "ERESTARTSYS").count();
    assert!(waiting > 0, "no call was ended");
}

#[test]
fn of_a_thousand_threads_that_execute_a_program_one_succeeds() {
    const THREADS: &str = "1000";
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events(&["race", THREADS], "-s execve,exit_group");
    let executed = named(&events, "execve");
    let succeeded: Vec<_> = executed.iter().filter(|call| call["result"] == 0).collect();
    let [succeeded] = succeeded.as_slice() else { panic!("one succeeds, not {succeeded:#?}") };
    let others = executed.iter().filter(|call| call["error"].is_string()).count();
    assert_eq!(others + 1, executed.len(), "each of them returned");
    let last = named(&events, "exit_group")[0];
    assert_eq!((&last["pid"], &last["comm"]), (&succeeded["pid"], &json!("true")));
    assert!(named(&events, "lost").is_empty());
}

#[test]
fn interrupted_calls_are_shown_with_their_errors() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events(&["interrupted"], "-s nanosleep,read,rt_sigreturn");
    let sleep = named(&events, "nanosleep")[0];
    assert_eq!(sleep["error"], "ERESTART_RESTARTBLOCK", "{sleep}");
    assert_eq!(sleep["arguments"]["rmtp"]["tv_sec"], 9, "{sleep}");
    let read = *named(&events, "read").last().expect("a read");
    assert_eq!(read["error"], "ERESTARTSYS", "{read}");
    assert!(!named(&events, "rt_sigreturn").is_empty());
}

#[test]
fn calls_that_do_not_return_are_shown_at_the_end() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, log) = (manager(), Log::new());
    let mut caller = caller(&["waits"]);
    let arguments = format!("--pid {} -s pipe2,read --format json", caller.id);
    let session = log.of(manager.call(["-v", "--run", "trace_calls", "--args", &arguments])).start();
    std::io::Write::write_all(&mut caller.child.stdin.take().expect("a pipe"), b"go\n").expect("it reads");
    session.wait_for_lines(2);
    let events = session.stop().objects();
    let waiting = events.last().expect("an event");
    assert_eq!(
        (&waiting["event"], &waiting["unfinished"], &waiting["result"]),
        (&json!("read"), &json!(true), &Value::Null)
    );
    assert!(waiting["arguments"]["fd_is"].as_str().is_some_and(|is| is.starts_with("pipe:[")), "{waiting}");
    let summary = log.summary();
    assert_eq!((summary.recorded, summary.delivered), (events.len(), events.len()));
}

#[test]
fn options_choose_calls() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let corpus = |arguments: &str| {
        let directory = tempfile::tempdir().expect("a directory");
        events(&["corpus", directory.path().to_str().expect("plain text")], arguments)
    };
    let failed = corpus("--failed");
    assert!(
        failed.len() > 20
            && failed.iter().all(|call| call["result"].as_i64().is_some_and(|result| result < 0))
    );
    let slow = corpus("--over 40us -s nanosleep,clock_nanosleep,getpid");
    assert!(
        !slow.is_empty() && slow.iter().all(|call| call["duration_ns"].as_u64() > Some(40_000)),
        "{slow:#?}"
    );
    let networks = corpus("-s %network");
    assert!(!named(&networks, "connect").is_empty() && named(&networks, "openat").is_empty());
    let about = corpus("--where \"sin_addr ~ '127.*' && fd_is ~ 'TCP:*'\"");
    assert!(
        !about.is_empty() && about.iter().all(|call| call["arguments"]["fd_is"].is_string()),
        "{about:#?}"
    );
    manager().run("trace_calls", "--pid 1 -s opnat").answer().refused(&["opnat", "did you mean 'open"]);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_the_32_bit_interface_are_decoded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let events = events(&["compat"], "-s open,nanosleep,writev");
    let events: Vec<&Value> = events.iter().filter(|event| event["compat"] == true).collect();
    let [opened, slept, written] = events.as_slice() else { panic!("three calls, not {events:#?}") };
    assert_eq!(opened["arguments"]["filename"], "/no/such/file");
    assert_eq!(slept["arguments"]["rqtp"], json!({"tv_sec": 0, "tv_nsec": 1000}));
    let vectors = json!([{"iov_base": "/no", "iov_len": 3}, {"iov_base": "such", "iov_len": 4}]);
    assert_eq!((&written["arguments"]["vec"], &written["error"]), (&vectors, &json!("EBADF")));
}

/// A record that finds no room is counted, and reported where it is missing.
#[test]
fn lost_calls_are_counted() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, log) = (manager(), Log::new());
    let workload = system_tests::Workload::start();
    let arguments = format!("--pid {} -s getppid --format json --buffer-size 4", workload.id());
    let session = log.of(manager.call(["-v", "--run", "trace_calls", "--args", &arguments])).start();
    session.while_worker_is_stopped(|| workload.calls(5000));
    workload.calls(10);
    let events = session.stop().objects();
    let lost: u64 = events
        .iter()
        .filter(|event| event["event"] == "lost")
        .filter_map(|event| event["count"].as_u64())
        .sum();
    let seen = named(&events, "getppid").len() as u64;
    assert!(lost > 0, "nothing was lost");
    assert_eq!(seen + lost, 5010);
    assert_eq!(log.summary().lost.values().sum::<usize>() as u64, lost);
}

/// Each line is one line, whatever the program passes.
#[test]
fn hostile_arguments_do_not_break_lines() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, mut caller) = (manager(), caller(&["bytes"]));
    let session = trace(&manager, &caller, "-s openat");
    caller.proceed();
    let ended = session.ends();
    let lines = ended.succeeded();
    let hostile = lines.iter().find(|line| line.contains("[2J")).expect("the hostile name");
    assert!(hostile.contains(r#"filename="a\"b\n\u{1b}[2J\xff\\""#), "{hostile}");
    assert!(lines.iter().all(|line| line.contains(": openat: dfd=")));
}

#[test]
fn paths_are_those_of_the_call() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let events = events(&["corpus", directory.path().to_str().expect("plain text")], "-s close");
    let is = |event: &Value| event["arguments"]["fd_is"].as_str().map(str::to_owned);
    let closed: BTreeSet<String> = events.iter().filter_map(is).collect();
    let here = Path::new(directory.path()).join("file").display().to_string();
    for known in [&here, "/memfd:name (deleted)", "anon_inode:[eventpoll]"] {
        assert!(closed.contains(known), "{known} is not in {closed:?}");
    }
    assert!(closed.iter().any(|is| is.starts_with("TCP:[127.0.0.1:") && is.contains("->")), "{closed:?}");
}
