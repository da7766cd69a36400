//! Traced processes that are hostile: they cost themselves, and are named. The other processes of the session lose
//! nothing. Needs root and tracefs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use system_tests::{
    Build, Cgroup, Ended, Hostile, Kernel, Log, Manager, PATIENCE, Plugins, Program, Session,
    SyntheticLibrary, Workload, wait_until,
};
use tempfile::TempDir;

/// Normally a start takes a fraction of it, and a stop too.
const SOON: Duration = Duration::from_secs(8);

/// What a worker may use, in KiB.
const MEMORY: u64 = 64 << 10;

/// A traced session beside a hostile process.
struct Beside {
    log: Log,
    session: Session,
}

impl Beside {
    #[track_caller]
    fn start(manager: &Manager, hook: &str, arguments: &str) -> Self {
        let (log, began) = (Log::new(), Instant::now());
        let session = log.of(manager.call(["-v", "--run", hook, "--args", arguments])).start();
        assert!(began.elapsed() < SOON, "the start took {:?}: {}", began.elapsed(), log.text());
        Self { log, session }
    }

    /// Ends it. Returns what it has recorded, and its log.
    #[track_caller]
    fn stop(self) -> (Ended, String) {
        let memory = self.session.peak_memory();
        assert!(memory < MEMORY, "its worker used {memory} KiB");
        let began = Instant::now();
        let ended = self.session.stop();
        assert!(began.elapsed() < SOON, "the stop took {:?}", began.elapsed());
        let log = self.log.text();
        assert!(ended.answer.status.success(), "{log}");
        (ended, log)
    }
}

/// A copy of the library that programs load, which has no function of theirs.
fn library(directory: &TempDir) -> PathBuf {
    let copy = directory.path().join("library.so");
    fs::copy(Program::built(Build::Library), &copy).expect("it can be copied");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
    copy
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory can be made")
}

/// Traces a function in all files of the program and the hostile process; all its calls are recorded.
#[track_caller]
fn assert_all_calls_are_traced(hostile: &Hostile) -> String {
    assert_all_calls_of_are_traced(hostile, "*:traced_function", &[])
}

/// The same, and something with these words is left out.
#[track_caller]
fn assert_all_calls_of_are_traced(hostile: &Hostile, function: &str, left_out: &[&str]) -> String {
    let manager = Manager::with(Plugins::of(["uprobe"]));
    let mut program = Program::start();
    let arguments = format!("--pid {} {} -f {function}", hostile.id(), program.id());
    let traced = Beside::start(&manager, "trace_user", &arguments);
    program.calls(100);
    // Files that take long, as on a busy machine, are searched while the session records.
    let is_named = |line: &str| left_out.iter().all(|word| line.contains(word));
    wait_until("it is left out", PATIENCE, || left_out.is_empty() || traced.log.text().lines().any(is_named));
    let (ended, log) = traced.stop();
    assert_eq!(ended.lines.len(), 100, "{log}");
    if !left_out.is_empty() {
        assert_is_named_once(&log, &[&["left out"], left_out].concat());
    }
    log
}

#[track_caller]
fn assert_is_named_once(log: &str, words: &[&str]) {
    let naming = log.lines().filter(|line| words.iter().all(|word| line.contains(word)));
    assert_eq!(naming.count(), 1, "{words:?} are not on one line of {log}");
}

#[test]
fn a_library_with_a_lease_is_left_out() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let library = library(&directory);
    let hostile = Hostile::after(&["lease", text(&library)]);
    let log = assert_all_calls_are_traced(&hostile);
    assert_is_named_once(&log, &["left out", text(&library), "lease"]);
}

#[test]
fn files_on_fuse_file_systems_are_left_out() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    for kind in ["foreign", "shared"] {
        let hostile = Hostile::after(&[kind, text(&Program::built(Build::Library))]);
        let log = assert_all_calls_are_traced(&hostile);
        assert_is_named_once(&log, &["left out", "/mnt/file", "FUSE"]);
        assert!(!log.contains("CAP_"), "{log}");
    }
}

#[test]
fn a_file_that_does_not_open_in_time_is_left_out() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let library = library(&directory);
    let hostile = Hostile::after(&["silent", text(&library)]);
    assert_all_calls_of_are_traced(&hostile, "*:traced_function", &[text(&library), "does not answer"]);
}

#[test]
fn a_file_that_opens_slowly_is_traced_a_little_later() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let file = directory.path().join("program");
    fs::copy(Program::built(Build::Usual), &file).expect("it can be copied");
    let (mut slow, mut usual) = (Program::run(&mut Command::new(&file)), Program::start());
    let _delays = Hostile::after(&["slow", "200", text(&file)]);
    let manager = Manager::with(Plugins::of(["uprobe"]));
    let arguments = format!("--pid {} {} -f traced_function", slow.id(), usual.id());
    let traced = Beside::start(&manager, "trace_user", &arguments);
    usual.calls(100);
    wait_until("the usual program is traced", PATIENCE, || traced.session.line_count() == 100);
    wait_until("the other program is traced", PATIENCE, || {
        slow.calls(1);
        traced.session.line_count() > 100
    });
    let (_, log) = traced.stop();
    assert!(!log.contains("left out"), "{log}");
}

#[test]
fn a_file_that_does_not_open_is_waited_for_where_no_other_has_the_function() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let library = library(&directory);
    let hostile = Hostile::after(&["silent", text(&library)]);
    let manager = Manager::with(Plugins::of(["uprobe"]));
    let (call, began) =
        (manager.run("trace_user", format!("--pid {} -f *:traced_function", hostile.id())), Instant::now());
    call.answer().failed_with(2, &[text(&library), "does not answer"]);
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
}

#[test]
fn patience_lets_a_file_take_longer_to_open() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let library = library(&directory);
    let hostile = Hostile::after(&["silent", text(&library)]);
    let manager = Manager::with(Plugins::of(["uprobe"]));
    let call = manager.run("trace_user", format!("--pid {} -f *:traced_function", hostile.id()));
    let began = Instant::now();
    call.variable("TRACER_PATIENCE", "3").answer().failed_with(2, &[text(&library), "does not answer"]);
    assert!(began.elapsed() > 3 * Duration::from_millis(500), "{:?}", began.elapsed());
}

#[test]
fn most_of_thirty_thousand_files_are_left_out() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let hostile = Hostile::after(&["files", "30000", text(directory.path())]);
    let left_out = [&*hostile.id().to_string(), "too many"];
    assert_all_calls_of_are_traced(&hostile, "*:traced_function", &left_out);
}

#[test]
fn a_long_list_of_mappings_is_cut() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let hostile = Hostile::after(&["maps", "60000", text(directory.path())]);
    let left_out = [&*hostile.id().to_string(), "too many"];
    assert_all_calls_of_are_traced(&hostile, "*:traced_function", &left_out);
}

#[test]
fn overlapping_symbol_names_are_read_up_to_a_limit() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    for length in [264 << 10, 200_000] {
        let directory = directory();
        let library = directory.path().join("library.so");
        SyntheticLibrary::with_overlapping_names(200_000, length).write(&library);
        let hostile = Hostile::after(&["map", text(&library)]);
        assert_all_calls_of_are_traced(&hostile, "*:*traced_function", &[text(&library), "too long"]);
    }
}

#[test]
fn a_file_with_more_matching_functions_than_the_limit_is_left_out() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let library = directory.path().join("library.so");
    let names = (0..20_000).map(|number| format!("traced_function_{number}"));
    SyntheticLibrary::with_functions(names).write(&library);
    let hostile = Hostile::after(&["map", text(&library)]);
    let left_out = [text(&library), "more than 10000 functions", "limit of 1000"];
    assert_all_calls_of_are_traced(&hostile, "*:traced_function*", &left_out);
    let manager = Manager::with(Plugins::of(["uprobe"]));
    let of_one = manager.run("trace_user", format!("--pid {} -f *:traced_function*", hostile.id()));
    of_one.answer().failed_with(2, &["more than 10000 functions match", "--limit"]);
}

#[test]
fn names_that_are_slow_to_demangle_hold_up_nothing() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let (library, usual) = (directory.path().join("library.so"), Program::start());
    let slow = |number: usize| {
        let (code, depth) = (["nw", "na", "XdlsP"][number % 3], 6 + number % 24);
        format!("_Z15traced_functionIX{}{}{number}f", code.repeat(depth), "1f".repeat(2 * depth))
    };
    SyntheticLibrary::with_functions((0..20_000).map(slow)).write(&library);
    let hostile = Hostile::after(&["map", text(&library)]);
    assert_all_calls_of_are_traced(&hostile, "*:traced_function", &[text(&library), "takes too long"]);
    let (manager, began) = (Manager::with(Plugins::of(["uprobe"])), Instant::now());
    let unknown = format!("--pid {} {} -f *:traced_functions", hostile.id(), usual.id());
    manager.run("trace_user", unknown).answer().failed_with(2, &["traced_functions"]);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn a_go_program_costs_others_no_returns() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let go = Program::run(&mut Command::new(Program::built(Build::GoLike)));
    let mut program = Program::start();
    let manager = Manager::with(Plugins::of(["uprobe"]));
    let arguments = format!("--pid {} {} -f *:traced_function --return", go.id(), program.id());
    let traced = Beside::start(&manager, "trace_user", &arguments);
    program.calls(100);
    // On a busy machine, it may be searched a little later.
    wait_until("the Go program is named", PATIENCE, || traced.log.text().contains("--return would crash"));
    let (ended, log) = traced.stop();
    assert_eq!(ended.lines.len(), 200, "{log}");
    assert_is_named_once(&log, &["left out: --return would crash"]);
}

#[test]
fn a_file_with_a_lease_that_is_given_by_its_path_is_named_once() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let library = library(&directory);
    let hostile = Hostile::after(&["lease", text(&library)]);
    let manager = Manager::with(Plugins::of(["uprobe"]));
    let call = manager.run("trace_user", format!("--pid {} -f {}:f", hostile.id(), text(&library)));
    let answer = call.answer();
    answer.failed_with(2, &["no file can be searched", text(&library), "lease"]);
    assert_eq!(answer.stderr.matches("a process has a lease").count(), 1, "{}", answer.stderr);
}

#[test]
fn functions_at_which_the_kernel_refuses_a_probe_are_left_out() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["uprobe"]));
    let mut program = Program::start();
    let of_all = format!("--pid {} -f traced_function one_of_many_1? unexpected_function", program.id());
    let traced = Beside::start(&manager, "trace_user", &of_all);
    program.calls(100);
    let (ended, log) = traced.stop();
    assert_eq!(ended.lines.len(), 100, "{log}");
    assert_is_named_once(&log, &["left out: 'unexpected_function' in ", "cannot put a probe"]);
    let of_one = format!("--pid {} -f unexpected_function", program.id());
    let refused = manager.run("trace_user", of_one).answer();
    refused.failed(&["at none of the functions", "unexpected_function", "first instruction"]);
}

/// Traces a function in a cgroup, which a process joins while it is empty. After this is named as left out, a program joins, whose
/// calls are recorded.
#[track_caller]
fn assert_later_programs_are_traced(joiner: u32, functions: &str, left_out: &[&str]) {
    let (manager, cgroup) = (Manager::with(Plugins::of(["uprobe"])), Cgroup::create());
    let arguments = format!("--cgroup {} -f {functions}", cgroup.path().display());
    let traced = Beside::start(&manager, "trace_user", &arguments);
    cgroup.takes(joiner);
    wait_until("something is left out", PATIENCE, || traced.log.text().contains("left out"));
    let mut program = Program::start();
    cgroup.takes(program.id());
    wait_until("the program is traced", PATIENCE, || {
        program.calls(1);
        traced.session.line_count() > 0
    });
    let before = traced.session.line_count();
    program.calls(100);
    let (ended, log) = traced.stop();
    // It may have recorded more calls than it had rendered.
    assert!(ended.lines.len() >= before + 100, "{} lines: {log}", ended.lines.len());
    assert_is_named_once(&log, &[&["left out"], left_out].concat());
}

#[test]
fn files_of_processes_that_join_later_are_left_out() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let library = library(&directory);
    let (path, files) = (text(&library), directory.path().join("files"));
    fs::create_dir(&files).expect("the directory is ours");
    let steps: [(&[&str], &[&str]); 4] = [
        (&["lease", path], &[path, "lease"]),
        (&["foreign", path], &["/mnt/file", "FUSE"]),
        (&["silent", path], &[path, "does not answer"]),
        (&["files", "30000", text(&files)], &["too many"]),
    ];
    for (step, left_out) in steps {
        let hostile = Hostile::after(step);
        assert_later_programs_are_traced(hostile.id(), "*:traced_function", left_out);
    }
}

#[test]
fn functions_of_later_programs_at_which_the_kernel_refuses_a_probe_are_left_out() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let refusing = Program::start();
    let functions = "traced_function one_of_many_1? unexpected_function";
    let left_out = ["'unexpected_function' in ", "cannot put a probe"];
    assert_later_programs_are_traced(refusing.id(), functions, &left_out);
}

#[test]
fn a_later_program_with_many_functions_does_not_use_up_the_limit() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let library = directory.path().join("library.so");
    let names = (0..2000).map(|number| format!("traced_function_{number}"));
    SyntheticLibrary::with_functions(names).write(&library);
    let hostile = Hostile::after(&["map", text(&library)]);
    let left_out = ["1500 functions", text(&library), "half"];
    assert_later_programs_are_traced(hostile.id(), "*:traced_function*", &left_out);
}

/// Profiles a workload and a hostile process, which does its step before or during the session. The workload has all its
/// samples, with names.
#[track_caller]
fn assert_profile_is_complete(mut hostile: Hostile, is_step_done: bool) -> String {
    let (manager, workload) = (Manager::with(Plugins::of(["perf"])), Workload::start());
    let arguments = format!("--pid {} {} --format json -F 999", hostile.id(), workload.id());
    let traced = Beside::start(&manager, "trace_profile", &arguments);
    workload.spends(200);
    if !is_step_done {
        hostile.proceeds();
    }
    workload.spends(600);
    let (ended, log) = traced.stop();
    let is_of_workload = |line: &&Value| line["pid"] == workload.id();
    let is_named = |line: &&Value| !line["stack"].to_string().contains("[workload");
    let named = ended.objects().iter().filter(is_of_workload).filter(is_named).count();
    assert!((700..900).contains(&named), "{named} samples of 800 ms with names: {log}");
    log
}

#[test]
fn a_library_with_a_lease_costs_a_profile_its_own_symbols_only() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let library = library(&directory);
    let step = ["lease", text(&library)];
    let log = assert_profile_is_complete(Hostile::waiting(&step), false);
    assert_is_named_once(&log, &[text(&library), "without symbols", "lease"]);
    let log = assert_profile_is_complete(Hostile::after(&step), true);
    assert_is_named_once(&log, &[text(&library), "without symbols", "lease"]);
}

#[test]
fn names_that_are_slow_to_demangle_cost_a_profile_little_time() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let file = |depth: usize| {
        let file = directory.path().join(format!("library{depth}.so"));
        let slow = format!("_Z1fIX{}{}", "nw".repeat(depth), "1f".repeat(depth));
        SyntheticLibrary::with_names([slow]).write(&file);
        file
    };
    let files: Vec<PathBuf> = (5..25).map(file).collect();
    let step = [&["run", "20"], files.iter().map(|file| text(file)).collect::<Vec<_>>().as_slice()].concat();
    assert_profile_is_complete(Hostile::waiting(&step), false);
}

#[test]
fn files_that_do_not_open_in_time_cost_a_profile_their_own_symbols_only() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (one, other) = (directory(), directory());
    let (one, other) = (library(&one), library(&other));
    let hostile = Hostile::after(&["silent", text(&one), text(&other)]);
    let log = assert_profile_is_complete(hostile, true);
    for library in [one, other] {
        assert_is_named_once(&log, &[text(&library), "without symbols", "does not answer"]);
    }
}

#[test]
fn files_on_fuse_file_systems_cost_a_profile_their_own_symbols_only() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    for kind in ["foreign", "shared"] {
        let step = [kind, text(&Program::built(Build::Library))].map(str::to_owned);
        let step = step.each_ref().map(String::as_str);
        let log = assert_profile_is_complete(Hostile::waiting(&step), false);
        assert_is_named_once(&log, &["/mnt/file", "without symbols", "FUSE"]);
    }
}

#[test]
fn long_lists_of_mappings_cost_a_profile_their_own_symbols_only() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let hostile = Hostile::after(&["maps", "60000", text(directory.path())]);
    let log = assert_profile_is_complete(hostile, true);
    assert_is_named_once(&log, &["mappings of process", "too many"]);
}

#[test]
fn symbols_of_many_files_stay_within_one_limit() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    let files = Vec::from_iter((0..40).map(|number| {
        let path = directory.path().join(format!("library{number}.so"));
        SyntheticLibrary::with_symbols(60_000).write(&path);
        path
    }));
    let step: Vec<&str> = ["run", "20"].into_iter().chain(files.iter().map(|path| text(path))).collect();
    let log = assert_profile_is_complete(Hostile::waiting(&step), false);
    assert_is_named_once(&log, &["not all symbols of library", "more files are used"]);
}

/// Runs the manager with this many descriptors, and without the privilege to have more.
fn with_descriptors(count: u32) -> [String; 4] {
    let limited = format!(
        "ulimit -n {count}; exec setpriv --bounding-set -sys_resource --inh-caps -sys_resource \"$@\""
    );
    ["sh", "-c", &limited, "sh"].map(str::to_owned)
}

#[test]
fn a_process_with_more_threads_than_descriptors_costs_others_nothing() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["perf"]));
    for (hook, options) in [("trace_profile", "-F 999"), ("trace_counters", "--interval 60s")] {
        let (mut hostile, workload, log) =
            (Hostile::waiting(&["threads", "1000"]), Workload::start(), Log::new());
        hostile.proceeds();
        let arguments = format!("--pid {} {} --format json {options}", hostile.id(), workload.id());
        let call = manager.call(["-v", "--run", hook, "--args", &arguments]).under(with_descriptors(500));
        let session = log.of(call).start();
        workload.spends(300);
        let lines = session.stop().objects();
        let its_own = |line: &&Value| line["pid"] == workload.id();
        match hook {
            "trace_profile" => assert!(lines.iter().filter(its_own).count() > 250),
            _ => assert!(
                lines.iter().any(|line| its_own(&line) && line["task_clock_ns"].as_u64() > Some(300_000_000))
            ),
        }
        assert_is_named_once(&log.text(), &["perf: ", "threads are left out", "ulimit -n"]);
    }
}

#[test]
fn three_thousand_children_do_not_hold_up_the_stop() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ebpf", "ftrace", "perf", "uprobe"]));
    let mut hostile = Hostile::waiting(&["children", "3000"]);
    let hooks = ["trace_syscalls -s fork", "trace_sched --summary 60s", "trace_open", "trace_user -f *:main"];
    let hooks = hooks.into_iter().chain(["trace_profile", "trace_counters"]);
    let sessions = hooks.map(|words| {
        let (hook, options) = words.split_once(' ').unwrap_or((words, ""));
        let (log, arguments) = (Log::new(), format!("--pid {} {options}", hostile.id()));
        (hook, log.of(manager.call(["-v", "--run", hook, "--args", &arguments])).start(), log)
    });
    let sessions = Vec::from_iter(sessions);
    hostile.proceeds();
    for (hook, session, log) in sessions {
        let began = Instant::now();
        let answer = session.stop().answer;
        assert!(answer.status.success(), "{hook}: {}", log.text());
        assert!(began.elapsed() < SOON, "{hook}: the stop took {:?}", began.elapsed());
    }
}

#[test]
fn cpu_time_without_samples_is_reported() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, log) = (Manager::with(Plugins::of(["perf"])), Log::new());
    let mut hostile = Hostile::waiting(&["forks", "300"]);
    let arguments = format!("--pid {} -F 99", hostile.id());
    let session = log.of(manager.call(["-v", "--run", "trace_profile", "--args", &arguments])).start();
    hostile.proceeds();
    session.stop().succeeded();
    assert_is_named_once(&log.text(), &["CPU time, and the samples stand for"]);
}

#[test]
fn a_long_list_of_mappings_does_not_hold_up_a_memory_trace() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, directory) = (Manager::with(Plugins::of(["ftrace"])), directory());
    let (workload, mut hostile) =
        (Workload::start(), Hostile::after(&["maps", "60000", text(directory.path())]));
    let arguments =
        format!("--pid {} {} --kind faults --summary 1 --format json", hostile.id(), workload.id());
    let traced = Beside::start(&manager, "trace_memory", &arguments);
    hostile.proceeds();
    workload.touches(1000);
    wait_until("its mappings are read", PATIENCE, || traced.log.text().contains("too many mappings"));
    let (ended, log) = traced.stop();
    assert_is_named_once(&log, &[&hostile.id().to_string(), "too many mappings"]);
    let faults = |line: &Value| match line["pid"] == workload.id() {
        true => line["count"].as_u64().unwrap_or(0),
        false => 0,
    };
    let faults: u64 = ended.objects().iter().map(faults).sum();
    assert!(faults >= 1000, "{faults} faults: {log}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("plain text")
}
