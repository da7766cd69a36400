//! `trace_profile`: where the traced tasks spend their CPU time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lzma_rust2::{XzOptions, XzWriter};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use system_tests::{
    Ended, Log, Loss, Manager, Plugins, Script, Session, Summary, Task, Workload, built, is_root, skip,
    wait_until,
};

fn manager() -> Manager {
    Manager::with(Plugins::of(["perf"]))
}

/// Whether this user may open perf events of all tasks. If not, reports that the test is skipped.
fn may_profile() -> bool {
    let may = is_root() && fs::exists("/proc/sys/kernel/perf_event_paranoid").unwrap_or(false);
    if !may {
        skip("it needs root, and a kernel with perf events");
    }
    may
}

fn profile(manager: &Manager, arguments: &str) -> Session {
    manager.run("trace_profile", format!("--format json -F 999 {arguments}")).start()
}

/// A sample, parsed from its line.
#[derive(Debug)]
struct Sample {
    process: u64,
    thread: u64,
    name: String,
    time: f64,
    /// The innermost frame first.
    stack: Vec<String>,
}

#[track_caller]
fn samples(ended: &Ended) -> Vec<Sample> {
    ended.succeeded().iter().map(|line| sample(line)).collect()
}

#[track_caller]
fn sample(line: &str) -> Sample {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(value["event"], "sample", "{line}");
    let stack = value["stack"].as_array().expect("a stack is a list");
    assert!(!stack.is_empty() && value["cpu"].is_u64(), "{line}");
    Sample {
        process: value["pid"].as_u64().expect("a number"),
        thread: value["tid"].as_u64().expect("a number"),
        name: value["comm"].as_str().expect("a name").to_owned(),
        time: value["time"].as_f64().expect("a number"),
        stack: stack.iter().map(|frame| frame.as_str().expect("a name").to_owned()).collect(),
    }
}

/// The samples in the functions whose share of the time is known.
fn spent(samples: &[Sample]) -> Vec<&Sample> {
    samples.iter().filter(|sample| sample.is_in("spend_three") || sample.is_in("spend_one")).collect()
}

impl Sample {
    fn is_in(&self, function: &str) -> bool {
        self.stack.iter().any(|frame| frame == function)
    }
}

fn share_of(function: &str, samples: &[&Sample]) -> f64 {
    samples.iter().filter(|sample| sample.is_in(function)).count() as f64 / samples.len() as f64
}

fn threads(samples: &[Sample]) -> BTreeSet<u64> {
    samples.iter().map(|sample| sample.thread).collect()
}

#[track_caller]
fn assert_seen(samples: &[Sample], tasks: &[&Task]) {
    for task in tasks {
        let its = samples.iter().filter(|sample| sample.thread == u64::from(task.id()));
        assert!(its.count() > 5, "{} was hardly seen, but {:?}", task.id(), threads(samples));
    }
}

#[test]
fn samples_have_the_requested_rate_and_show_the_hot_functions() {
    if !may_profile() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let session = profile(&manager, &format!("--pid {}", workload.id()));
    workload.spends(600);
    let samples = samples(&session.stop());
    let spent = spent(&samples);
    assert!((400..700).contains(&spent.len()), "{} samples of 600 ms", spent.len());
    let share = share_of("spend_three", &spent);
    assert!((0.65..0.85).contains(&share), "three quarters are {share}");
    for sample in &spent {
        assert_eq!((sample.process, sample.thread), (workload.id().into(), workload.id().into()));
        assert_eq!(sample.name, "workload");
    }
    assert!(samples.is_sorted_by_key(|sample| sample.time as u64), "out of order");
}

#[test]
fn samples_match_perf_record() {
    if !may_profile() {
        return;
    }
    if Command::new("perf").arg("--version").output().is_err() {
        eprintln!("NOT COMPARED with perf record, which is not installed");
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let directory = tempfile::tempdir().expect("a directory can be made");
    let data = directory.path().join("data");
    let session = profile(&manager, &format!("--pid {}", workload.id()));
    let mut perf = Command::new("perf")
        .args(["record", "--quiet", "-g", "-F", "999", "--pid", &workload.id().to_string(), "--output"])
        .arg(&data)
        .stderr(Stdio::null())
        .spawn()
        .expect("perf can be started");
    // perf writes the header of the file when it has opened its events.
    wait_until("perf records", Duration::from_secs(10), || {
        fs::metadata(&data).is_ok_and(|data| data.len() > 0)
    });
    workload.spends(1500);
    kill(Pid::from_raw(perf.id().cast_signed()), Signal::SIGINT).expect("perf is installed");
    perf.wait().expect("it is a child of the test");
    let samples = samples(&session.stop());
    let script = Command::new("perf")
        .args(["script", "--fields", "ip,sym", "--input"])
        .arg(&data)
        .output()
        .expect("perf can be started");
    let script = String::from_utf8_lossy(&script.stdout);
    let theirs: Vec<&str> = script.split("\n\n").filter(|stack| stack.contains(" spend_")).collect();
    let in_three = theirs.iter().filter(|stack| stack.contains(" spend_three")).count();
    let spent = spent(&samples);
    let (ours, perfs) = (share_of("spend_three", &spent), in_three as f64 / theirs.len() as f64);
    assert!(theirs.len() > 200, "perf has seen {}", theirs.len());
    assert!((ours - perfs).abs() < 0.08, "we say {ours}, perf says {perfs}");
    let ratio = spent.len() as f64 / theirs.len() as f64;
    assert!((0.75..1.35).contains(&ratio), "we have {} samples, perf has {}", spent.len(), theirs.len());
}

#[test]
fn old_and_new_threads_and_children_are_sampled() {
    if !may_profile() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let (thread, child) = (workload.thread(), workload.child());
    let session = profile(&manager, &format!("--pid {}", workload.id()));
    let (new_thread, new_child, grandchild) = (thread.thread(), thread.child(), child.child());
    let all: [&Task; 6] = [&workload, &thread, &child, &new_thread, &new_child, &grandchild];
    all.iter().for_each(|task| task.spends(60));
    let samples = samples(&session.stop());
    assert_seen(&samples, &all);
    // No task is sampled twice.
    for task in all {
        let its: Vec<&Sample> =
            samples.iter().filter(|sample| sample.thread == u64::from(task.id())).collect();
        let spent = its.iter().filter(|sample| sample.is_in("spend_three") || sample.is_in("spend_one"));
        assert!(spent.count() < 90, "{} was seen too often", task.id());
    }
}

#[test]
fn exact_excludes_descendants_but_not_threads() {
    if !may_profile() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let (thread, child) = (workload.thread(), workload.child());
    let session = profile(&manager, &format!("--exact --pid {}", workload.id()));
    let (new_thread, new_child) = (workload.thread(), workload.child());
    [&*workload, &thread, &child, &new_thread, &new_child].iter().for_each(|task| task.spends(60));
    let samples = samples(&session.stop());
    assert_seen(&samples, &[&workload, &thread, &new_thread]);
    assert!(samples.iter().all(|sample| sample.process == u64::from(workload.id())));
}

#[test]
fn parent_selects_only_the_children() {
    if !may_profile() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let child = workload.child();
    let session = profile(&manager, &format!("--parent {}", workload.id()));
    let (new_child, thread) = (workload.child(), workload.thread());
    let grandchild = thread.child();
    [&*workload, &child, &new_child, &thread, &grandchild].iter().for_each(|task| task.spends(60));
    let samples = samples(&session.stop());
    assert_seen(&samples, &[&child, &new_child, &grandchild]);
    assert!(samples.iter().all(|sample| sample.process != u64::from(workload.id())));
}

#[test]
fn a_process_can_be_given_by_any_of_its_threads() {
    if !may_profile() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let (thread, child) = (workload.thread(), workload.child());
    let all = profile(&manager, &format!("--pid {}", thread.id()));
    let children = profile(&manager, &format!("--parent {}", thread.id()));
    [&*workload, &thread, &child].iter().for_each(|task| task.spends(60));
    let (all, children) = (samples(&all.stop()), samples(&children.stop()));
    assert_seen(&all, &[&workload, &thread, &child]);
    assert!(spent(&all).iter().any(|sample| sample.thread == u64::from(workload.id())), "names are known");
    assert_seen(&children, &[&child]);
    assert!(children.iter().all(|sample| sample.process == u64::from(child.id())));
}

#[test]
fn after_exec_samples_show_the_new_program() {
    if !may_profile() {
        return;
    }
    let manager = manager();
    let mut shell = shell("read go; exec \"$0\"");
    let session = profile(&manager, &format!("--pid {}", shell.id()));
    // The line for the shell, and the following ones for the workload.
    let commands = shell.stdin.as_mut().expect("it is a pipe");
    commands.write_all(b"go\nspend 200\n").expect("the shell reads");
    let mut answers = BufReader::new(shell.stdout.take().expect("it is a pipe")).lines();
    assert_eq!(answers.next().expect("an id").expect("it is text"), shell.id().to_string());
    assert_eq!(answers.next().expect("an answer").expect("it is text"), "done");
    let samples = samples(&session.stop());
    let spent = spent(&samples);
    assert!(spent.len() > 50, "only {} samples", spent.len());
    assert!(spent.iter().all(|sample| sample.name == "workload" && sample.process == u64::from(shell.id())));
    shell.kill().and_then(|()| shell.wait()).expect("it is a child of the test");
}

fn shell(script: &str) -> Child {
    Command::new("sh")
        .args(["-c", script])
        .arg(built("workload"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell can be started")
}

#[test]
fn names_are_found_in_other_namespaces_and_deleted_files() {
    if !may_profile() {
        return;
    }
    let manager = manager();
    // A program that exists only in its own mount namespace, and one that has been deleted.
    let hidden =
        "unshare --mount sh -e -c 'mount -t tmpfs none /mnt; cp \"$0\" /mnt/hidden; exec /mnt/hidden' \"$0\"";
    let deleted = "d=$(mktemp -d); cp \"$0\" $d/deleted; (sleep 0.3; rm -r $d) >/dev/null & exec $d/deleted";
    for (script, name) in [(hidden, "hidden"), (deleted, "deleted")] {
        let workload = Workload::started_by(script);
        let exe = || fs::read_link(format!("/proc/{}/exe", workload.process_id())).ok();
        wait_until("the file is gone", Duration::from_secs(5), || {
            exe().is_some_and(|exe| exe.to_string_lossy().ends_with(" (deleted)") || name == "hidden")
        });
        let session = profile(&manager, &format!("--pid {}", workload.process_id()));
        workload.spends(100);
        let samples = samples(&session.stop());
        let spent = spent(&samples);
        assert!(spent.len() > 20, "{name}: {samples:#?}");
        assert!(spent.iter().all(|sample| sample.name == name), "{samples:#?}");
    }
}

#[test]
fn a_stripped_program_has_its_dynamic_symbols() {
    if !may_profile() {
        return;
    }
    let (manager, directory) = (manager(), tempfile::tempdir().expect("a directory can be made"));
    let at = |name: &str| directory.path().join(name);
    let run = |command: &mut Command| assert!(command.status().expect("binutils are installed").success());
    run(Command::new("objcopy").arg("--only-keep-debug").args([built("workload"), at("debug")]));
    run(Command::new("strip").args(["--strip-debug", "-o"]).args([at("symbols"), at("debug")]));
    let mut packed = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).expect("xz has this preset");
    packed.write_all(&fs::read(at("symbols")).expect("it exists")).expect("writing to memory succeeds");
    fs::write(at("packed"), packed.finish().expect("writing to memory succeeds")).expect("there is room");
    run(Command::new("strip").args(["--strip-all", "-o"]).args([at("stripped"), built("workload")]));
    let section = format!(".gnu_debugdata={}", at("packed").display());
    run(Command::new("objcopy").args(["--add-section", &section]).args([at("stripped"), at("keeping")]));
    let workload = Workload::started_by(&format!("exec {}", at("keeping").display()));
    let session = profile(&manager, &format!("--pid {}", workload.id()));
    workload.spends(200);
    let samples = samples(&session.stop());
    assert!(spent(&samples).len() > 100, "{samples:#?}");
}

#[test]
fn a_program_without_symbols_has_offsets_for_names() {
    if !may_profile() {
        return;
    }
    let (manager, directory) = (manager(), tempfile::tempdir().expect("a directory can be made"));
    // Clears the offset and number of the section headers (elf(5)).
    let script = r#"cd DIRECTORY; cp "$0" bare
        for part in '40 8' '60 4'; do
            set -- $part; dd if=/dev/zero of=bare bs=1 seek=$1 count=$2 conv=notrunc 2>/dev/null
        done; exec ./bare"#;
    let directory = directory.path().to_str().expect("it is text");
    let workload = Workload::started_by(&script.replace("DIRECTORY", directory));
    let session = profile(&manager, &format!("--pid {}", workload.id()));
    workload.spends(200);
    let samples = samples(&session.stop());
    let is_place = |frame: &String| frame.starts_with("[bare+0x") && frame.ends_with(']');
    let with_places = samples.iter().filter(|sample| sample.stack.iter().any(is_place));
    assert!(with_places.count() > 100, "{samples:#?}");
    assert!(spent(&samples).is_empty() && samples.iter().all(|sample| sample.name == "bare"));
}

#[test]
fn two_sessions_sample_the_same_task() {
    if !may_profile() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let [first, second] = [(); 2].map(|()| profile(&manager, &format!("--pid {}", workload.id())));
    // Long enough to be independent of the load of the machine.
    workload.spends(800);
    let of_first = spent(&samples(&first.stop())).len();
    workload.spends(800);
    let of_second = spent(&samples(&second.stop())).len();
    assert!(of_first > 520 && of_second > of_first + 520, "{of_first} and {of_second}");
}

#[test]
fn ids_are_the_hosts_in_every_namespace() {
    if !may_profile() {
        return;
    }
    let manager = manager();
    let workload = Workload::started_by("exec unshare --user --map-root-user --pid --mount --fork \"$0\"");
    assert_eq!(workload.id(), 1, "it is the first of its namespace");
    let session = profile(&manager, &format!("--pid {}", workload.process_id()));
    workload.spends(100);
    let samples = samples(&session.stop());
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", workload.process_id()));
    let inner: u64 = children.expect("it exists").trim().parse().expect("one child");
    assert!(spent(&samples).len() > 20, "{samples:#?}");
    assert!(spent(&samples).iter().all(|sample| sample.process == inner));
}

#[test]
fn short_lived_processes_have_names() {
    if !may_profile() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let session = profile(&manager, &format!("--pid {}", workload.id()));
    for _ in 0..20 {
        let child = workload.child();
        child.spends(10);
        workload.ends_child(&child);
    }
    let samples = samples(&session.stop());
    let spent = spent(&samples);
    assert!(spent.len() > 60, "only {} samples", spent.len());
    let processes: BTreeSet<u64> = spent.iter().map(|sample| sample.process).collect();
    assert!(processes.len() > 15, "{processes:?}");
}

#[test]
fn kernel_frames_are_marked_and_optional() {
    if !may_profile() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let of = |frames: &str| {
        let session = profile(&manager, &format!("--pid {} --frames {frames}", workload.id()));
        workload.calls(1_000_000);
        samples(&session.stop())
    };
    let is_kernels = |frame: &String| frame.ends_with("_[k]");
    let all = of("all");
    assert!(all.iter().any(|sample| sample.stack.iter().any(is_kernels)), "{all:#?}");
    assert!(
        all.iter()
            .any(|sample| sample.stack.iter().any(|frame| frame.contains("getppid") && is_kernels(frame)))
    );
    let user = of("user");
    assert!(!user.is_empty() && !user.iter().any(|sample| sample.stack.iter().any(is_kernels)));
    let kernel = of("kernel");
    assert!(!kernel.is_empty() && kernel.iter().all(|sample| sample.stack.iter().all(is_kernels)));
}

#[test]
fn folded_stacks_are_ready_for_flame_graphs() {
    if !may_profile() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    workload.is_called("a;b c\n");
    let session =
        manager.run("trace_profile", format!("--pid {} -F 999 --folded 3600", workload.id())).start();
    workload.spends(400);
    let ended = session.stop();
    let lines = ended.succeeded();
    let mut in_three = 0;
    let mut in_one = 0;
    for line in &lines {
        let (stack, count) = line.rsplit_once(' ').expect("a count comes last");
        let count: u64 = count.parse().expect("a number");
        let mut frames = stack.split(';');
        assert_eq!(frames.next(), Some(r"a\u{3b}b c\n"), "{line}");
        let frames: Vec<&str> = frames.collect();
        in_three += if frames.contains(&"spend_three") { count } else { 0 };
        in_one += if frames.contains(&"spend_one") { count } else { 0 };
    }
    let stacks: BTreeSet<&str> = lines.iter().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
    assert_eq!(stacks.len(), lines.len(), "each stack has one line");
    assert!((250..450).contains(&(in_three + in_one)), "{in_three} and {in_one}");
    assert!(in_three > in_one, "{in_three} and {in_one}");
}

#[test]
fn folded_stacks_are_emitted_at_intervals() {
    if !may_profile() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let session = profile(&manager, &format!("--pid {} --folded 1", workload.id()));
    workload.spends(100);
    session.wait_for_lines(1);
    workload.spends(100);
    let ended = session.stop();
    let lines = ended.objects();
    assert!(
        lines
            .iter()
            .all(|line| line["event"] == "stack" && line["count"].is_u64() && line["comm"] == "workload")
    );
    let times: BTreeSet<String> = lines.iter().map(|line| line["time"].to_string()).collect();
    assert!(times.len() >= 2, "{lines:#?}");
}

#[test]
fn the_session_ends_with_its_last_task() {
    if !may_profile() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let child = workload.child();
    let session = profile(&manager, &format!("--exact --pid {}", workload.id()));
    child.spends(10);
    workload.spends(50);
    workload.exits();
    assert!(!samples(&session.ends()).is_empty());
}

#[test]
fn every_sample_is_delivered_or_counted_as_lost() {
    if !may_profile() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    // A ring buffer of one page, which nothing reads; and a spool that fills up without a reader.
    for buffers in ["--buffer-size 4", "--spool-size 1"] {
        let log = Log::new();
        let arguments = format!("--pid {} -F {MOST_OF_TIMER} {buffers}", workload.id());
        let call = log.of(manager.call(["-v", "--run", "trace_profile", "--args", &arguments]));
        let session = call.start_unread();
        match buffers.contains("--buffer-size") {
            true => session.while_worker_is_stopped(|| workload.spends(3000)),
            false => workload.spends(3000),
        }
        let ended = session.stop();
        assert!(ended.answer.status.success(), "{}", log.text());
        let mut lost = BTreeMap::new();
        for loss in ended.unread().iter().filter_map(|line| Loss::of(line)) {
            *lost.entry(loss.cpu).or_default() += loss.count;
        }
        let unread = ended.unread().iter().filter(|line| Loss::of(line).is_none()).count();
        let recorded = unread + lost.values().sum::<usize>();
        assert!(!lost.is_empty(), "{buffers}: nothing of {recorded} is lost");
        assert_eq!(log.summary(), Summary { recorded, unread, lost, ..Summary::default() }, "{buffers}");
    }
}

/// The most samples per second where the kernel's timer triggers them.
const MOST_OF_TIMER: u64 = 10_000;

fn has_cycle_counter() -> bool {
    let counted =
        Command::new("perf").args(["stat", "-e", "cycles", "true"]).output().expect("there is perf");
    counted.status.success() && !String::from_utf8_lossy(&counted.stderr).contains("not supported")
}

fn rate_limit() -> u64 {
    let limit =
        fs::read_to_string("/proc/sys/kernel/perf_event_max_sample_rate").expect("the kernel has this limit");
    limit.trim().parse().expect("a number")
}

#[test]
fn an_invalid_frequency_is_refused() {
    if !may_profile() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let refused = |arguments: &str, mentions: &[&str]| {
        manager
            .run("trace_profile", format!("--pid {} {arguments}", workload.id()))
            .answer()
            .refused(mentions);
    };
    let limit = rate_limit();
    let above = (limit + 1).to_string();
    refused(&format!("-F {above}"), &[&above, &limit.to_string(), "perf_event_max_sample_rate"]);
    if !has_cycle_counter() {
        let above = (MOST_OF_TIMER + 1).to_string();
        refused(&format!("-F {above}"), &[&above, &MOST_OF_TIMER.to_string(), "timer"]);
    }
    refused("-F 99999999999999999999", &["--frequency"]);
    refused("-F 0", &["--frequency", "0"]);
    refused("-F -1", &[]);
    refused("--folded 0", &["--folded", "0"]);
    refused("--frames both", &["--frames", "both"]);
}

#[test]
fn a_buffer_over_the_locked_memory_limit_is_an_error() {
    if !may_profile() {
        return;
    }
    let (manager, workload) = (manager(), Workload::start());
    let arguments = format!("--pid {} --buffer-size 1000000000", workload.id());
    manager.run("trace_profile", arguments).answer().failed(&["--buffer-size"]);
}

#[test]
fn a_limit_of_locked_memory_is_named() {
    if !may_profile() {
        return;
    }
    let manager = manager();
    let run = manager.run("trace_profile", format!("--pid {} --buffer-size 8192", std::process::id()));
    let limited = "ulimit -l 0; exec setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock \"$@\"";
    let answer = run.under(["sh", "-c", limited, "sh"]).answer();
    answer.failed(&["kernel.perf_event_mlock_kb", "ulimit -l", "CAP_IPC_LOCK", "--buffer-size"]);
}

#[test]
fn hidden_kernel_addresses_are_reported() {
    if !may_profile() {
        return;
    }
    let hidden = tempfile::NamedTempFile::new().expect("a file can be made");
    fs::write(&hidden, "0000000000000000 T _stext\n").expect("the test owns it");
    let script = format!("mount --bind {} /proc/kallsyms; exec \"$@\"", hidden.path().display());
    let manager = manager();
    let me = format!("--pid {} --time 500", std::process::id());
    let call = manager.call(["--run", "trace_profile", "--follow", "--args", &me]);
    let answer = call.in_mount_namespace(&script).answer();
    assert!(answer.status.success(), "{answer:#?}");
    for mention in ["kallsyms", "CAP_SYSLOG", "kernel.kptr_restrict"] {
        assert!(answer.stderr.contains(mention), "{answer:#?}");
    }
}

#[test]
fn many_tasks_raise_the_descriptor_limit() {
    if !may_profile() {
        return;
    }
    let manager = manager();
    let workload = Workload::start();
    let children: Vec<Task> = (0..40).map(|_| workload.child()).collect();
    let call = manager.run("trace_profile", format!("--pid {} --format json -F 999", workload.id()));
    let session = call.under(["sh", "-c", "ulimit -Sn 40; exec \"$@\"", "sh"]).start();
    children[39].spends(100);
    assert_seen(&samples(&session.stop()), &[&children[39]]);
    let too_many = manager.run("trace_profile", format!("--pid {}", workload.id()));
    let limited = "ulimit -n 20; exec setpriv --bounding-set -sys_resource --inh-caps -sys_resource \"$@\"";
    too_many.under(["sh", "-c", limited, "sh"]).answer().failed(&["Too many open files"]);
}

#[test]
fn a_thread_that_executes_a_program_has_a_name_in_each_sample() {
    if !may_profile() {
        return;
    }
    let manager = manager();
    let script = Script::start(&format!("exec {} memory 10", built("executor").display()));
    let session =
        manager.run("trace_profile", format!("--pid {} --format json -F 5000", script.id())).start();
    script.run_to_end();
    let samples = session.ends().objects();
    let is_in_exec = |sample: &&Value| sample["stack"].to_string().contains("exit_mmap");
    assert!(samples.iter().filter(is_in_exec).count() > 10, "{}", samples.len());
    let unnamed: Vec<&Value> = samples.iter().filter(|sample| sample["comm"] == "<...>").collect();
    assert!(unnamed.is_empty(), "{} of {}: {}", unnamed.len(), samples.len(), unnamed[0]);
}
