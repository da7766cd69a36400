//! `run HOOK -- COMMAND`: the command behaves as if it were not traced, and the trace begins with its execution. Needs root and
//! tracefs, but for the calls that are refused.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use system_tests::{Answer, Build, Call, Kernel, Manager, PATIENCE, Plugins, Program, compile_c, wait_until};

fn manager() -> Manager {
    Manager::with(Plugins::of(["ebpf", "ftrace", "perf", "uprobe"]))
}

/// The manager that runs a hook on a command.
fn run<'a>(manager: &'a Manager, hook: &str, command: &[&str]) -> Call<'a> {
    manager.call(["run"]).words(hook.split_whitespace()).word("--").words(command)
}

fn directly(command: &[&str]) -> Output {
    Command::new(command[0]).args(&command[1..]).output().expect("the command can be run")
}

/// The lines of the trace on standard error, without those of the manager.
fn trace(answer: &Answer) -> Vec<&str> {
    answer.stderr.lines().filter(|line| !line.starts_with("manager: ")).collect()
}

#[test]
fn the_first_call_that_is_traced_executes_the_command() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let answer = run(&manager, "syscalls", &["/bin/true"]).answer();
    let ours: Vec<String> = trace(&answer)
        .iter()
        .map(|line| line.split_once(" sys_").expect("a call").1.split('(').next().expect("a name").to_owned())
        .collect();
    let strace = directly(&["strace", "/bin/true"]);
    let theirs = String::from_utf8_lossy(&strace.stderr).into_owned();
    let theirs: Vec<&str> = theirs
        .lines()
        .filter(|line| !line.starts_with("+++"))
        .map(|line| line.split('(').next().expect("a name"))
        // strace names the calls as the C library does.
        .map(|name| if name == "fstat" { "newfstatat" } else { name })
        .collect();
    let ours: Vec<&str> = ours.iter().map(|name| if name == "fstat" { "newfstatat" } else { name }).collect();
    assert_eq!(ours, theirs, "{}", answer.stderr);
    assert!(answer.stderr.contains("none lost"), "{}", answer.stderr);
}

#[test]
fn the_first_return_that_is_shown_is_that_of_the_execution() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for hook in [
        "syscalls --exit",
        "syscalls --decode",
        "events -e syscalls:sys_exit_*",
        "events -e raw_syscalls:sys_exit",
        "events -e syscalls:sys_exit_read,syscalls:sys_exit_execve --stack",
    ] {
        let answer = run(&manager, hook, &["sh", "-c", "read line </etc/hostname; echo $line"]).answer();
        let first = trace(&answer)[0];
        let number = format!("NR {} ", nix::libc::SYS_execve);
        assert!(first.contains("execve") || first.contains(&number), "{hook}: {answer:#?}");
        assert!(!answer.stderr.contains("resumed"), "{hook}: {answer:#?}");
    }
    // The command's own calls are all shown.
    let answer = run(&manager, "syscalls -s read --exit", &["head", "-c1", "/etc/hostname"]).answer();
    let (begun, returned): (Vec<_>, Vec<_>) =
        trace(&answer).into_iter().partition(|line| line.contains("sys_read("));
    assert!(
        begun.len() == returned.len() && returned.last().is_some_and(|line| line.ends_with("-> 0x1")),
        "{answer:#?}"
    );
}

#[test]
fn every_hook_traces_a_command() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let command = ["sh", "-c", "cat /etc/hostname >/dev/null; exit 3"];
    for (hook, mentions) in [
        ("open", "path=\"/etc/hostname\""),
        ("syscalls --decode", "execve:"),
        ("events -e sched:sched_process_exec", "filename="),
        ("process", "exit: status=3"),
        ("sched", "run:"),
        ("memory --summary 60s", "kind="),
        ("latency", "call=execve"),
        ("counters", "counters:"),
        ("profile", "recorded"),
        ("net", "recorded"),
        ("block", "recorded"),
        ("user -f *:malloc", "function=\"malloc\""),
    ] {
        let answer = run(&manager, hook, &command).answer();
        assert_eq!(answer.status.code(), Some(3), "{hook}: {answer:#?}");
        assert!(answer.stderr.contains(mentions), "{hook}: {answer:#?}");
        assert!(answer.stderr.contains("none lost"), "{hook}: {answer:#?}");
    }
}

#[test]
fn the_exit_status_and_the_fatal_signal_are_those_of_the_command() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for (script, code, signal) in [
        ("exit 0", Some(0), None),
        ("exit 255", Some(255), None),
        ("kill -KILL $$", None, Some(Signal::SIGKILL)),
        ("kill -SEGV $$", None, Some(Signal::SIGSEGV)),
        ("kill -INT $$", None, Some(Signal::SIGINT)),
    ] {
        let answer = run(&manager, "open", &["sh", "-c", script]).answer();
        assert_eq!(answer.status.code(), code, "{script}: {answer:#?}");
        assert_eq!(answer.status.signal(), signal.map(|signal| signal as i32), "{script}: {answer:#?}");
    }
}

#[test]
fn a_command_that_cannot_be_executed_has_the_exit_status_of_a_shell() {
    let manager = manager();
    let directory = tempfile::tempdir().expect("a directory can be made");
    let script = directory.path().join("script");
    fs::write(&script, "#!/no/such/interpreter\n").expect("the directory is ours");
    let script = script.to_str().expect("it is UTF-8");
    let refused = |command: &[&str], status, mentions: &[&str]| {
        let answer = run(&manager, "open", command).answer();
        answer.failed_with(status, mentions);
        assert_eq!(answer.stdout, "");
    };
    refused(&["no-such-command"], 127, &["no-such-command", "PATH"]);
    refused(&["/no/such/command"], 127, &["/no/such/command", "No such file"]);
    refused(&["/"], 126, &["Is a directory"]);
    refused(&[script], 126, &[script, "Permission denied"]);
    if Kernel::or_skip().is_none() {
        return;
    }
    // The kernel refuses these when they are executed.
    directly(&["chmod", "+x", script]);
    refused(&[script], 127, &[script, "No such file"]);
    fs::write(script, "\x7fELF and nothing else").expect("the directory is ours");
    refused(&[script], 126, &[script, "Exec format error"]);
    assert!(manager.files().is_empty(), "{:?}", manager.files());
}

#[test]
fn the_command_has_the_callers_streams_signals_and_descriptors() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    // The shell of the call that is made directly is started by the test, whose runtime changes SIGPIPE.
    for script in [
        "grep -E '^(SigBlk|SigIgn|SigCgt|NoNewPrivs|Seccomp|CapEff)' /proc/self/status",
        "ls /proc/self/fd",
        "pwd; env | grep -v ^_= | sort",
        "ulimit -a; nice; umask",
    ] {
        let command = ["sh", "-c", script];
        let traced = run(&manager, "open -o /dev/null", &command);
        let plain = manager.call_as("sh").words(&command[1..]).answer();
        assert_eq!(traced.answer().stdout, plain.stdout, "{script}");
    }
}

#[test]
fn standard_output_is_the_commands_and_the_trace_goes_where_it_is_told() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("trace");
    fs::write(&file, "an older and longer trace".repeat(1000)).expect("the directory is ours");
    let command = ["sh", "-c", "echo out; echo err >&2; cat /etc/hostname >/dev/null"];
    let answer = run(&manager, &format!("open -o {}", file.display()), &command).answer();
    assert_eq!(answer.stdout, "out\n");
    assert!(answer.stderr.starts_with("err\nmanager: "), "{answer:#?}");
    let trace = fs::read_to_string(&file).expect("the trace is there");
    assert!(trace.contains("/etc/hostname") && !trace.contains("older"), "{trace}");

    let answer = run(&manager, "open -o -", &command).answer();
    assert!(answer.stdout.contains("/etc/hostname") && answer.stdout.contains("out\n"), "{answer:#?}");
    let answer = run(&manager, "open", &command).answer();
    assert!(answer.stderr.contains("/etc/hostname") && answer.stderr.contains("err\n"), "{answer:#?}");
}

#[test]
fn the_session_ends_with_the_last_descendant_or_with_the_command() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let script = "(while [ -e $0 ]; do sleep 0.02; done; cat /etc/passwd >/dev/null) & exit 5";
    let marker = tempfile::NamedTempFile::new().expect("a file can be made");
    let path = marker.path().to_str().expect("it is UTF-8").to_owned();
    let command = ["sh", "-c", script, &path];
    // A stream of its own: the descendant keeps the others open.
    let call = |options: &str| run(&manager, options, &command);
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("trace");
    let answer = call(&format!("open --until-exit -o {}", file.display()))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .answer();
    assert_eq!(answer.status.code(), Some(5));
    assert!(!fs::read_to_string(&file).expect("the trace is there").contains("/etc/passwd"));

    let mut process = call("open").spawn();
    wait_until("the command has ended", PATIENCE, || process.workers().len() == 1);
    marker.close().expect("it is ours");
    let answer = process.ends(PATIENCE);
    assert_eq!(answer.status.code(), Some(5));
    assert!(answer.stderr.contains("/etc/passwd"), "{answer:#?}");
}

#[test]
fn sigterm_is_passed_on_to_the_command() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    let mut process = run(&manager, "open", &["sh", "-c", script]).spawn();
    wait_until("the command runs", PATIENCE, || process.has_output());
    process.signal(Signal::SIGTERM);
    let answer = process.ends(PATIENCE);
    assert_eq!((answer.status.code(), &*answer.stdout), (Some(9), "ready\ngot it\n"), "{answer:#?}");
    assert!(answer.stderr.contains("none lost"), "{answer:#?}");
}

#[test]
fn clear_ends_the_session_and_not_the_command() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let marker = tempfile::NamedTempFile::new().expect("a file can be made");
    let path = marker.path().to_str().expect("it is UTF-8").to_owned();
    let script = "echo ready; while [ -e $0 ]; do sleep 0.02; done; exit 6";
    let mut process = run(&manager, "syscalls", &["sh", "-c", script, &path]).spawn();
    wait_until("the command runs", PATIENCE, || process.has_output());
    manager.call(["clear"]).answer().succeeded_silently();
    assert!(manager.files().is_empty(), "{:?}", manager.files());
    assert!(!process.is_over(), "the command is still running");
    marker.close().expect("it is ours");
    assert_eq!(process.ends(PATIENCE).status.code(), Some(6));
}

#[test]
fn a_command_goes_on_if_its_trace_cannot_be_written() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("trace");
    let script = "i=0; while [ $i -lt 300 ]; do i=$((i + 1)); cat /etc/hostname >/dev/null; done; echo done";
    let call = run(&manager, &format!("open -o {}", file.display()), &["sh", "-c", script]);
    let full = format!("mount -t tmpfs -o size=16k none {}; exec \"$@\"", directory.path().display());
    let answer = call.in_mount_namespace(&full).answer();
    assert_eq!(answer.stdout, "done\n", "{answer:#?}");
    answer.failed_with(1, &["cannot write to", "No space left on device"]);
}

#[test]
fn a_killed_manager_leaves_the_command_alone_and_nothing_in_the_kernel() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let marker = tempfile::NamedTempFile::new().expect("a file can be made");
    let path = marker.path().to_str().expect("it is UTF-8").to_owned();
    let script = "echo $$; while [ -e $0 ]; do sleep 0.02; done; mv $1 $2";
    let directory = tempfile::tempdir().expect("a directory can be made");
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    fs::write(&from, "").expect("the directory is ours");
    let [from, done] = [&from, &to].map(|path| path.to_str().expect("it is UTF-8"));
    let mut process = run(&manager, "syscalls", &["sh", "-c", script, &path, from, done]).spawn();
    wait_until("the command runs", PATIENCE, || process.has_output());
    let command: i32 = process.stdout().trim().parse().expect("a pid");
    let manager_id = process.pid();
    assert!(!kernel.instances_of(&[manager_id]).is_empty(), "the session has an instance");
    process.signal(Signal::SIGKILL);
    wait_until("the worker has removed it", PATIENCE, || kernel.instances_of(&[manager_id]).is_empty());
    assert!(kill(Pid::from_raw(command), None).is_ok(), "the command is alive");
    marker.close().expect("it is ours");
    wait_until("the command has gone on to its end", PATIENCE, || to.exists());
}

#[test]
fn a_signal_before_the_command_is_executed_undoes_the_session() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    // The largest buffer takes long.
    let call = || run(&manager, "syscalls --buffer-size 200000", &["sh", "-c", "echo executed; sleep 60"]);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut process = call().spawn();
        wait_until("it has a worker", PATIENCE, || process.workers().len() >= 2);
        process.signal(signal);
        let answer = process.ends(Duration::from_secs(30));
        assert_eq!(
            (&*answer.stdout, answer.status.signal()),
            ("", Some(Signal::SIGINT as i32)),
            "{answer:#?}"
        );
    }
}

#[test]
fn the_command_runs_as_the_given_user() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let answer = run(&manager, "syscalls -u nobody", &["sh", "-c", "id -u; id -g; id -G"]).answer();
    let ids = directly(&["sh", "-c", "id -u nobody; id -g nobody; id -G nobody"]);
    assert_eq!(answer.stdout, String::from_utf8_lossy(&ids.stdout), "{answer:#?}");
    let first = trace(&answer)[0].to_owned();
    assert!(first.contains("sys_execve"), "{first}");
    run(&manager, "open -u no-such-user", &["true"]).answer().refused(&["--user", "no-such-user"]);
}

#[test]
fn mistakes_are_explained_in_one_line() {
    let manager = manager();
    for (words, mentions) in [
        (&["run"][..], &["run HOOK [OPTIONS]"][..]),
        (&["run", "opne", "-p", "1"], &["did you mean 'open'?"]),
        (&["run", "trace_opne", "-p", "1"], &["did you mean 'trace_open'?"]),
        (&["run", "ls"], &["unknown hook 'ls'", "--list", "run HOOK -- ls"]),
        (&["run", "open"], &["nothing to trace is given", "-- COMMAND"]),
        (&["run", "open", "--"], &["no command is given after --"]),
        (&["run", "open", "-p", "1", "--", "true"], &["a command is traced alone"]),
        (&["run", "open", "--all", "--", "true"], &["a command is traced alone"]),
        (&["run", "open", "-p", "sleep"], &["-p $(pgrep -d, sleep)"]),
        (&["run", "open", "true"], &["run trace_open -- true"]),
        (&["run", "open", "--fialed", "--all"], &["--failed"]),
        (&["run", "open", "-o", "/", "--all"], &["/: is a directory"]),
        (&["run", "open", "-o", "/dev/zero", "--all"], &["/dev/zero: is a device"]),
        (&["run", "open", "--all", "-p", "1"], &["--pid and --all are two choices"]),
        (
            &["run", "open", "--container", "x", "--cgroup", "/"],
            &["--cgroup and --container are two choices"],
        ),
        (&["run", "open", "-p"], &["pgrep"]),
        (&["run", "open", "-u", "nobody", "-p", "1"], &["--user requires a command"]),
        (&["run", "open,net", "--all"], &["one hook"]),
        (&["lsit"], &["did you mean 'list'?"]),
        (&["describe"], &["HOOK"]),
        (&["completions", "cmd"], &["bash, fish and zsh"]),
    ] {
        let answer = manager.call(words).answer();
        assert!(matches!(answer.status.code(), Some(1 | 2)), "{words:?}: {answer:#?}");
        answer.failed_with(answer.status.code().unwrap_or_default(), mentions);
        assert_eq!(answer.stdout, "", "{words:?}");
    }
}

#[test]
fn names_of_hooks_need_no_prefix() {
    let manager = manager();
    let long = manager.call(["--describe", "trace_open"]).answer();
    for words in [
        &["--describe", "open"][..],
        &["describe", "open"],
        &["run", "open", "--help"],
        &["describe", "ebpf/open"],
    ] {
        assert_eq!(manager.call(words).answer().succeeded(), long.succeeded(), "{words:?}");
    }
    let list = manager.call(["list"]).answer().stdout;
    for line in manager.call(["--list"]).answer().stdout.lines().skip(1) {
        let hook = line.split(' ').next().expect("a name");
        let info = manager.call(["describe", hook, "--json"]).answer().stdout;
        let info: serde_json::Value = serde_json::from_str(&info).expect("an object");
        let summary = info["summary"].as_str().expect("a text");
        assert!(list.lines().any(|line| line.starts_with(hook) && line.ends_with(summary)), "{list}");
    }
}

#[test]
fn run_can_be_omitted() {
    let manager = manager();
    let help = manager.call(["run", "open", "--help"]).answer();
    assert_eq!(manager.call(["open", "--help"]).answer().succeeded(), help.succeeded());
    let refused = |words: &[&str], mention: &str| manager.call(words).answer().failed_with(2, &[mention]);
    refused(&["open"], "nothing to trace is given");
    refused(&["opne", "-p", "1"], "unknown hook 'opne'; did you mean 'open'?");
    refused(&["lst"], "unknown subcommand or hook 'lst'; did you mean 'list'?");
    refused(
        &["make", "--", "x"],
        "unknown subcommand or hook 'make'; see --help; to trace a command: HOOK -- make",
    );
    let Some(_kernel) = Kernel::or_skip() else { return };
    let answer =
        manager.call(["-v", "open", "--where", "path==/no/such/file", "--", "cat", "/no/such/file"]).answer();
    assert!(trace(&answer).iter().any(|line| line.contains("error=ENOENT")), "{answer:#?}");
}

#[test]
fn shells_complete_names_of_hooks_and_their_options() {
    let manager = manager();
    let completed = |words: &[&str]| {
        let index = (words.len() - 1).to_string();
        let call = manager.bare_call().variable("TRACE_HOOKS_COMPLETE", "bash");
        let call = call.variable("TRACER_PLUGINS_PATH", manager.plugins().path());
        let call = call.variable("_CLAP_COMPLETE_INDEX", index).variable("_CLAP_IFS", "\n");
        let answer = call.word("--").words(words).answer();
        answer.succeeded().lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(completed(&["trace-hooks", "ru"]), ["run"]);
    assert_eq!(completed(&["trace-hooks", "run", "sy"]), ["syscalls"]);
    assert_eq!(completed(&["th", "sy"]), ["syscalls"]);
    assert_eq!(completed(&["th", "open", "--unti"]), ["--until-exit"]);
    assert_eq!(completed(&["trace-hooks", "describe", "op"]), ["open"]);
    assert_eq!(completed(&["trace-hooks", "run", "latency", "--br"]), ["--brief"]);
    assert_eq!(completed(&["trace-hooks", "run", "open", "--unti"]), ["--until-exit"]);
    assert_eq!(completed(&["trace-hooks", "run", "open", "--format", "js"]), ["json"]);
    let script = manager.call(["completions", "bash"]).answer();
    assert!(script.succeeded().contains("TRACE_HOOKS_COMPLETE"));
}

#[test]
fn events_are_selected_and_shown_by_their_fields() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let command = ["cat", "/etc/hostname", "/no/such/file"];
    let answer =
        run(&manager, "open --where error==ENOENT&&path~/no/* --columns error,path,comm", &command).answer();
    let is_of_trace = |line: &&&str| !line.starts_with("cat: ");
    let rows: Vec<Vec<&str>> =
        trace(&answer).iter().filter(is_of_trace).map(|row| row.split_whitespace().collect()).collect();
    let expected = vec!["ENOENT", "\"/no/such/file\"", "cat"];
    assert!(rows.contains(&expected) && rows.len() == 1, "{answer:#?}");
    assert!(
        answer.stderr.contains(" 1 delivered, ") && answer.stderr.contains(" left out, none lost"),
        "{answer:#?}"
    );
    assert!(!answer.stderr.contains("but the source counted"), "{answer:#?}");

    // The kernel's own text is filtered by the same fields as JSON.
    let lines = |options: &str| {
        let answer =
            run(&manager, &format!("syscalls -s write,read,close {options}"), &["echo", "x"]).answer();
        assert!(!answer.stderr.contains("but the source counted"), "{answer:#?}");
        trace(&answer).len()
    };
    assert_eq!(lines("--where fd==1&&event==sys_enter_write"), 1);
    assert_eq!(lines("--where fd==1&&event==sys_enter_write --format json"), 1);
    assert_eq!(lines("--where fd==77"), 0);
    assert_eq!(lines("--decode --where event==write&&result==2"), 1);
    assert_eq!(lines("--failed"), 0, "a condition on results decodes the calls");

    let delta = run(&manager, "syscalls -s execve,exit_group --time-format delta", &["true"]).answer();
    assert!(trace(&delta)[0].contains("    +0.000000: sys_execve("), "{delta:#?}");
    let wall = run(&manager, "open --time-format wall --format json", &command).answer();
    let year = directly(&["date", "+%Y-"]);
    let year = String::from_utf8_lossy(&year.stdout).trim().to_owned();
    assert!(
        trace(&wall).iter().filter(is_of_trace).all(|line| line.starts_with(&format!("{{\"time\":\"{year}"))),
        "{wall:#?}"
    );
}

#[test]
fn functions_of_a_command_and_of_its_libraries_are_traced_from_their_first_call() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let [program, library] = [Build::Usual, Build::Library].map(Program::built);
    let mut commands = tempfile::NamedTempFile::new().expect("a file can be made");
    writeln!(commands, "call 3 7 9 text\nload {}\nloaded 4", library.display()).expect("it is ours");
    let commands = commands.reopen().expect("it is there");
    let options =
        ["run", "user", "-f", "traced_function", &format!("{}:library_function", library.display())];
    let answer = manager.call(options).word("--").word(&program).stdin(commands).answer();
    let calls = |function: &str| answer.stderr.matches(&format!(" function=\"{function}\"")).count();
    assert_eq!((calls("traced_function"), calls("library_function")), (3, 4), "{answer:#?}");

    // A library that is not loaded yet may have the function; a file whose path is given does not.
    let answer = run(&manager, "user -f no_such_function", &["true"]).answer();
    assert!(answer.stderr.contains("matches 'no_such_function' so far"), "{answer:#?}");
    let wrong = format!("user -f {}:libary_function", library.display());
    let answer = run(&manager, &wrong, &["true"]).answer();
    answer.failed_with(2, &["did you mean", "library_function"]);
}

#[test]
fn libraries_that_a_command_needs_are_traced_from_their_first_call() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, directory) = (manager(), tempfile::tempdir().expect("a directory can be made"));
    let path = |name: &str| directory.path().join(name).to_str().expect("it is UTF-8").to_owned();
    for name in ["own", "caller's"] {
        fs::create_dir(path(name)).expect("the test owns it");
    }
    compile_c(
        directory.path(),
        "int inner(void) { return 1; }",
        &["-shared", "-fPIC", "-o", "caller's/libinner.so"],
    );
    let middle = "int inner(void); int middle(void) { return inner() + inner(); }";
    compile_c(directory.path(), middle, &["-shared", "-fPIC", "-o", "own/libmiddle.so"]);
    let program = "int middle(void); int main(void) { return middle() + middle() != 4; }";
    let linked = ["-o", "program", "-Wl,--no-as-needed", "-Lown", "-lmiddle", "-Wl,-rpath,$ORIGIN/own"];
    compile_c(
        directory.path(),
        program,
        &[&linked[..], &["-Lcaller's", "-linner", "-Wl,--enable-new-dtags"]].concat(),
    );
    fs::write(path("script"), format!("#!{}\n", path("program"))).expect("the test owns it");
    fs::set_permissions(path("script"), fs::Permissions::from_mode(0o755)).expect("the test owns it");

    for command in ["program", "script"] {
        let call = run(&manager, "user -f middle libinner.so:inner libc.so.6:exit", &[&path(command)]);
        let answer = call.variable("LD_LIBRARY_PATH", path("caller's")).answer();
        let calls = |function: &str| answer.stderr.matches(&format!(" function=\"{function}\"")).count();
        assert_eq!([calls("middle"), calls("inner"), calls("exit")], [2, 4, 1], "{answer:#?}");
        assert!(!answer.stderr.contains("so far"), "{answer:#?}");
    }
    let answer = run(&manager, "user -f kill", &["sh", "-c", "kill -0 $$; kill -0 $$"]).answer();
    assert_eq!(answer.stderr.matches(" function=\"kill\"").count(), 2, "{answer:#?}");
}

#[test]
fn classes_of_calls_are_those_of_strace() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let script = "echo x >/dev/null; cat /etc/hostname; sleep 0.01 & wait; kill -0 $$";
    for class in ["file", "desc", "process", "memory", "signal", "network"] {
        let ours = run(&manager, &format!("syscalls -s %{class}"), &["sh", "-c", script]).answer();
        let mut ours: Vec<String> = trace(&ours).iter().map(|line| call_of(line, " sys_")).collect();
        let strace = directly(&[
            "strace",
            "-f",
            "-qq",
            "-e",
            "signal=none",
            "-e",
            &format!("trace=%{class}"),
            "sh",
            "-c",
            script,
        ]);
        let strace = String::from_utf8_lossy(&strace.stderr).into_owned();
        let is_call = |line: &&str| {
            line.contains('(') && !line.contains("resumed>") && !line.contains("strace: Process")
        };
        let mut theirs: Vec<String> = strace
            .lines()
            .filter(is_call)
            .map(|line| {
                line.rsplit_once("] ")
                    .filter(|(before, _)| before.starts_with("[pid"))
                    .map_or(line, |(_, call)| call)
            })
            .map(|line| call_of(&format!(" {line}"), " "))
            .collect();
        for calls in [&mut ours, &mut theirs] {
            calls.sort();
            calls.dedup();
        }
        assert_eq!(ours, theirs, "%{class}");
    }
}

/// The name of the call of a line, after this text; strace names `newfstatat` and `fstat` as the kernel of one machine or another.
fn call_of(line: &str, before: &str) -> String {
    let (_, call) = line.split_once(before).expect("a call");
    let name = call.split('(').next().expect("a name").trim();
    name.strip_prefix("new").unwrap_or(name).to_owned()
}
