//! `trace_open`. Needs root.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use system_tests::{Kernel, Log, Loss, Manager, Opener, Plugins, Session, Workload};
use tempfile::TempDir;

fn manager() -> Manager {
    Manager::with(Plugins::of(["ebpf"]))
}

fn trace(manager: &Manager, opener: &Opener, arguments: &str) -> Session {
    manager.run("trace_open", format!("--pid {} {arguments}", opener.id)).start()
}

/// Calls that begin while the session ends are recorded completely or not at all.
#[test]
fn the_last_calls_of_a_busy_task_are_complete() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for _ in 0..5 {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", "while :; do : < /dev/null; done"]).spawn().expect("a shell");
        let mut opener = Opener { id: shell.id(), child: shell };
        let session = trace(&manager, &opener, "--format json");
        session.wait_for_lines(1000);
        let ended = session.stop();
        opener.child.kill().expect("it exists");
        let calls = ended.objects();
        // The call that was in progress when the session started is not recorded.
        let whole = |call: &Value| call["duration_ns"].is_u64();
        assert!(calls.iter().skip(1).all(whole), "{:#?}", calls.iter().rev().take(3).collect::<Vec<_>>());
    }
}

/// A directory for `opener each`.
fn place() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("sub")).expect("a directory");
    fs::write(directory.path().join("file"), "").expect("a file");
    directory
}

/// The expected events of `opener each` in this directory, without the fields that differ from run to run.
fn each(directory: &Path) -> Vec<Value> {
    let at = |rest: &str| format!("{}{rest}", directory.display());
    let long = "x".repeat(4095);
    let mut all = vec![
        json!({"path": at("/file"), "call": "openat", "flags": "O_RDONLY|O_CLOEXEC", "result": 3}),
        json!({"path": "/no/such/file", "call": "openat", "flags": "O_RDWR", "error": "ENOENT"}),
        json!({"path": at("/file"), "name": "file", "flags": "O_WRONLY|O_APPEND", "result": 4}),
        json!({"path": at("/../here"), "name": "../here", "flags": "O_RDONLY|O_PATH", "error": "ENOENT"}),
        json!({"path": at("/sub"), "name": "sub", "flags": "O_RDONLY|O_CLOEXEC", "result": 5}),
        json!({
            "path": at("/sub/within"), "name": "within", "dirfd": 5, "flags": "O_RDONLY|O_CREAT", "mode": "0640",
            "result": 6,
        }),
        json!({"path": "file", "name": "file", "dirfd": 999, "error": "EBADF"}),
        json!({
            "path": at("/sub/within"), "name": "/within", "dirfd": 5, "call": "openat2", "flags": "O_RDONLY",
            "resolve": "RESOLVE_IN_ROOT", "result": 7,
        }),
        json!({"path": at("/a\"b\n\u{1b}[2J\u{fffd}"), "error": "ENOENT"}),
        json!({"path": at("/names"), "flags": "O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC", "mode": "0666"}),
        json!({"path": at("/names"), "flags": "O_RDONLY|O_CLOEXEC"}),
        json!({"path": at("/file"), "name": "file", "flags": "O_RDONLY", "result": 8}),
        json!({"path": null, "name": null, "unreadable": true, "error": "EFAULT"}),
        json!({"path": at(&format!("/{long}")), "cut": true, "error": "ENAMETOOLONG"}),
        json!({"path": at("/gone (deleted)/file"), "error": "ENOENT"}),
    ];
    if cfg!(target_arch = "x86_64") {
        all.extend([
            json!({"path": at("/sub/old"), "call": "open", "flags": "O_RDONLY", "error": "ENOENT"}),
            json!({"path": at("/new"), "call": "creat", "flags": "O_WRONLY|O_CREAT|O_TRUNC", "mode": "0600"}),
            json!({"path": at("/sub/compat"), "call": "open", "compat": true, "error": "ENOENT"}),
        ]);
    }
    all.extend([
        json!({"path": "/file", "name": "file"}),
        json!({"path": "/sub/within", "name": "within"}),
        json!({"path": "/file", "name": null}),
    ]);
    all
}

#[test]
fn each_call_has_its_path_and_result() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, directory) = (manager(), place());
    let mut opener = Opener::start(&["each", &directory.path().display().to_string()]);
    let session = trace(&manager, &opener, "--format json");
    opener.proceed();
    let reported = session.ends().objects();
    let expected = each(directory.path());
    for (reported, expected) in reported.iter().zip(&expected) {
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(&reported[name], value, "{name} of {reported}");
        }
        assert_eq!((&reported["event"], &reported["comm"]), (&json!("open"), &json!("opener")), "{reported}");
        assert_eq!(
            (&reported["pid"], &reported["tid"]),
            (&json!(opener.id), &json!(opener.id)),
            "{reported}"
        );
        assert!(reported["duration_ns"].as_u64().is_some_and(|duration| duration > 0), "{reported}");
    }
    assert_eq!(reported.len(), expected.len(), "{reported:#?}");
}

#[test]
fn flags_are_present_where_they_can_be_read() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, directory) = (manager(), place());
    let mut opener = Opener::start(&["how", &directory.path().display().to_string()]);
    let session = trace(&manager, &opener, "--format json --path */file");
    opener.proceed();
    let reported = session.ends().objects();
    let [late, never] = reported.as_slice() else { panic!("two calls, not {reported:#?}") };
    assert_eq!((&late["flags"], &late["error"]), (&json!("O_WRONLY|O_APPEND"), &Value::Null), "{late}");
    assert_eq!((&never["flags"], &never["error"]), (&Value::Null, &json!("EFAULT")), "{never}");
}

#[test]
fn opens_by_io_uring_are_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut opener = Opener::start(&["uring"]);
    let session = trace(&manager, &opener, "--format json");
    opener.proceed();
    let reported = session.ends().objects();
    let reported: Vec<&Value> = reported.iter().filter(|call| call["io_uring"] == true).collect();
    let [there, missing] = reported.as_slice() else { panic!("two calls, not {reported:#?}") };
    assert_eq!((&there["path"], &there["name"]), (&json!("/etc/passwd"), &json!("passwd")), "{there}");
    assert!(there["result"].as_i64().is_some_and(|descriptor| descriptor > 2), "{there}");
    assert_eq!(
        (&missing["path"], &missing["error"]),
        (&json!("/no/such/file"), &json!("ENOENT")),
        "{missing}"
    );
    assert!(
        reported.iter().all(|call| call["pid"] == opener.id && call["comm"] == "opener"),
        "{reported:#?}"
    );
}

#[test]
fn hostile_paths_do_not_break_text_lines() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, directory) = (manager(), place());
    let mut opener = Opener::start(&["each", &directory.path().display().to_string()]);
    let session = trace(&manager, &opener, "");
    opener.proceed();
    let ended = session.ends();
    let lines = ended.succeeded();
    assert_eq!(lines.len(), each(directory.path()).len());
    let hostile = lines.iter().find(|line| line.contains("[2J")).expect("the hostile name");
    assert!(hostile.contains(r#"/a\"b\n\u{1b}[2J\xff" name="a\"b"#), "{hostile}");
    assert!(lines.iter().all(|line| line.contains(" open: ") && line.contains(" duration=")));
}

/// strace shows the paths as given, without directories.
#[test]
fn calls_match_strace() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, directory) = (manager(), place());
    let output = directory.path().join("strace");
    let wrapper = ["strace", "-f", "-qq", "-e", "trace=open,openat,openat2,creat", "-o"];
    let wrapper = [&wrapper[..], &[output.to_str().expect("plain text")]].concat();
    let script = "read go; cat file nothing no/*; ls -R . >listing; cd sub; mkdir -p y; exec cat ../file";
    let mut shell = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .args(["sh", "-c", &format!("cd {}; echo $$; {script}", directory.path().display())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace can be started");
    let mut id = String::new();
    BufReader::new(shell.stdout.as_mut().expect("a pipe")).read_line(&mut id).expect("its id");
    let before = fs::read_to_string(&output).expect("strace's output").lines().count();
    let session = manager.run("trace_open", format!("--pid {} --format json", id.trim())).start();
    shell.stdin.take().expect("a pipe").write_all(b"go\n").expect("the shell reads");
    shell.wait().expect("strace ends");

    let reported = session.ends().objects();
    let ours: Vec<String> =
        reported.iter().map(|reported| with_sorted_flags(&as_strace_would(reported))).collect();
    let theirs = fs::read_to_string(&output).expect("strace's output");
    let theirs = theirs.lines().skip(before).filter(|line| line.contains('('));
    let theirs: Vec<String> = theirs.map(with_sorted_flags).collect();
    assert!(ours.len() > 20, "{ours:#?}");
    assert_eq!(ours, theirs);
}

/// The call with its flags sorted, because strace orders them differently.
fn with_sorted_flags(line: &str) -> String {
    let parts = line.splitn(3, ", ").map(|part| match part.split_once([')', ',']) {
        Some((flags, rest)) if flags.starts_with("O_") => {
            let mut flags: Vec<&str> = flags.split('|').collect();
            flags.sort_unstable();
            format!("{} {rest}", flags.join("|"))
        }
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// `4711  openat(AT_FDCWD, "file", O_RDONLY) = 3`.
fn as_strace_would(reported: &Value) -> String {
    let text = |name: &str| reported[name].as_str().unwrap_or_default();
    let tid = reported["tid"].to_string();
    let directory = reported["dirfd"].as_i64().map_or("AT_FDCWD".to_owned(), |number| number.to_string());
    let name = if reported["name"].is_null() { text("path") } else { text("name") };
    let mode = reported["mode"].as_str().map_or(String::new(), |mode| format!(", {mode}"));
    let result = match reported["error"].as_str() {
        Some("ENOENT") => "-1 ENOENT (No such file or directory)".to_owned(),
        Some(error) => error.to_owned(),
        None => reported["result"].to_string(),
    };
    format!("{tid:<5} openat({directory}, \"{name}\", {}{mode}) = {result}", text("flags"))
}

#[test]
fn failed_and_path_select_the_calls() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let reported = |arguments: &str| {
        let directory = place();
        let mut opener = Opener::start(&["each", &directory.path().display().to_string()]);
        let log = Log::new();
        let arguments = format!("--pid {} --format json {arguments}", opener.id);
        let session = log.of(manager.call(["-v", "--run", "trace_open", "--args", &arguments])).start();
        opener.proceed();
        let reported = session.ends().objects();
        let summary = log.summary();
        assert_eq!((summary.recorded, summary.delivered), (reported.len(), reported.len()));
        (reported, each(directory.path()))
    };
    let (failed, each) = reported("--failed");
    assert_eq!(failed.len(), each.iter().filter(|call| call.get("error").is_some()).count());
    assert!(failed.iter().all(|call| call["result"].as_i64().is_some_and(|result| result < 0)));
    let (some, _) = reported("--path */sub/* /no/*");
    assert!(
        some.len() >= 4
            && some.iter().all(|call| {
                call["path"].as_str().is_some_and(|path| path.contains("/sub/") || path.starts_with("/no/"))
            })
    );
    assert!(reported("--path /nowhere/*").0.is_empty());
}

#[test]
fn an_invalid_pattern_is_refused() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let refused = |pattern: &str, mentions: &[&str]| {
        let arguments = format!("--pid {} --path '{pattern}'", std::process::id());
        manager.run("trace_open", arguments).answer().refused(mentions);
    };
    refused("/a/[b", &["'/a/[b'", "not a pattern"]);
    refused(&"*/x".repeat(34_000), &["102000 bytes", "4096"]);
}

#[test]
fn a_buffer_larger_than_the_kernel_takes_is_refused() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let arguments = format!("--pid {} --buffer-size 4194304", std::process::id());
    let answer = manager().run("trace_open", arguments).answer();
    assert!(!answer.status.success() && answer.stderr.contains("KiB"), "{answer:#?}");
}

#[test]
fn every_short_lived_child_is_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut opener = Opener::start(&["storm", "300"]);
    let session = trace(&manager, &opener, "--format json");
    opener.proceed();
    let reported = session.ends().objects();
    let paths: Vec<String> = (0..300).map(|child| format!("/no/such/file/{child}")).collect();
    assert_eq!(
        reported.iter().map(|call| call["path"].as_str().unwrap_or_default()).collect::<Vec<_>>(),
        paths
    );
    assert!(reported.iter().all(|call| call["pid"] != json!(opener.id)));
}

#[test]
fn calls_denied_by_seccomp_are_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut opener = Opener::start(&["denied"]);
    let session = trace(&manager, &opener, "--format json");
    opener.proceed();
    let reported = session.ends().objects();
    let [denied] = reported.as_slice() else { panic!("one call, not {reported:#?}") };
    assert_eq!((&denied["path"], &denied["error"]), (&json!("/with/an/error"), &json!("EACCES")), "{denied}");
    assert_eq!((&denied["pid"], &denied["duration_ns"]), (&json!(opener.id), &Value::Null), "{denied}");
}

#[test]
fn tracing_continues_after_exec() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut shell = Command::new("sh")
        .args(["-c", "read go; exec cat /no/such/file"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    let session = manager.run("trace_open", format!("--pid {}", shell.id())).start();
    shell.stdin.take().expect("a pipe").write_all(b"go\n").expect("the shell reads");
    shell.wait().expect("it ends");
    let ended = session.ends();
    let lines = ended.succeeded();
    let last = lines.iter().find(|line| line.contains("/no/such/file")).expect("cat opens it");
    assert!(last.trim_start().starts_with(&format!("cat-{} ", shell.id())), "{last}");
}

/// Pids are those of the host, and paths those of the namespace.
#[test]
fn a_process_in_namespaces_of_its_own_is_traced() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, directory) = (manager(), place());
    let unshare = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"];
    let mut opener = Opener::under(&unshare, &["each", &directory.path().display().to_string()]);
    assert_eq!(opener.id, 1, "inside, it is the first");
    let outside = opener.child.id();
    let children = fs::read_to_string(format!("/proc/{outside}/task/{outside}/children"));
    let inner: u32 = children.expect("its children").trim().parse().expect("one child");
    let session = manager.run("trace_open", format!("--pid {inner} --format json")).start();
    opener.proceed();
    let reported = session.ends().objects();
    assert_eq!(reported.len(), each(directory.path()).len());
    for (reported, expected) in reported.iter().zip(each(directory.path())) {
        assert_eq!((&reported["path"], &reported["pid"]), (&expected["path"], &json!(inner)));
    }
}

#[test]
fn two_sessions_of_one_process_both_record_it() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut opener = Opener::start(&["flood", "1000"]);
    let (first, second) = (trace(&manager, &opener, ""), trace(&manager, &opener, "--failed"));
    opener.proceed();
    assert_eq!((first.ends().succeeded().len(), second.ends().succeeded().len()), (1000, 1000));
}

#[test]
fn a_flood_is_recorded_completely() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut opener = Opener::start(&["flood", "100000"]);
    let session = trace(&manager, &opener, "");
    opener.proceed();
    assert_eq!(session.ends().succeeded().len(), 100_000);
}

#[test]
fn unread_lines_wait_for_their_reader() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut opener = Opener::start(&["flood", "100000"]);
    let session = manager.run("trace_open", format!("--pid {}", opener.id)).start_unread();
    opener.proceed();
    assert_eq!(session.stop().unread().len(), 100_000);
}

/// A full ring buffer, and a full spool.
#[test]
fn losses_are_counted_exactly() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for arguments in ["--buffer-size 4", "--spool-size 1"] {
        let mut opener = Opener::start(&["flood", "100000"]);
        let log = Log::new();
        let arguments = format!("--pid {} {arguments}", opener.id);
        let call = manager.call(["-v", "--run", "trace_open", "--args", &arguments]);
        let session = log.of(call).start_unread();
        match arguments.contains("--buffer-size") {
            true => session.while_worker_is_stopped(|| opener.proceed()),
            false => opener.proceed(),
        }
        let ended = session.stop();
        let (losses, calls): (Vec<&str>, Vec<&str>) =
            ended.unread().into_iter().partition(|line| Loss::of(line).is_some());
        let lost: usize = losses.iter().filter_map(|line| Loss::of(line)).map(|loss| loss.count).sum();
        assert!(lost > 0 && !calls.is_empty(), "{arguments}");
        assert_eq!(calls.len() + lost, 100_000, "{arguments}");
        let summary = log.summary();
        assert_eq!((summary.recorded, summary.lost.values().sum()), (100_000, lost), "{arguments}");
    }
}

#[test]
fn other_tasks_are_not_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = manager.run("trace_open", format!("--pid {}", workload.id())).start();
    let mut opener = Opener::start(&["flood", "1000"]);
    opener.proceed();
    workload.calls(1);
    assert!(session.stop().succeeded().is_empty());
}

#[test]
fn without_privileges_the_hook_is_unavailable() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::for_everyone(Plugins::of(["ebpf"]));
    // Each reason once: in the list, or beside the names of the others.
    manager.call(["--get-all"]).as_nobody().answer().succeeded_with_messages(4);
    let answer = manager.call(["--list"]).as_nobody().answer();
    let list = answer.succeeded();
    for hook in ["trace_calls", "trace_latency", "trace_offcpu", "trace_open"] {
        let line = list.lines().find(|line| line.starts_with(hook)).expect("its line");
        assert!(line.contains("CAP_BPF"), "{line}");
        let session = manager.run(hook, format!("--pid {}", std::process::id())).as_nobody().answer();
        session.failed(&["CAP_BPF"]);
    }
}
