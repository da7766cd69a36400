//! `trace_sched` with real tasks, compared with the kernel's own accounting and perf. Needs root and tracefs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde_json::Value;
use system_tests::{
    Kernel, Log, Manager, PATIENCE, Plugins, Session, Task, Workload, cpus, skip, wait_until,
};

fn manager() -> Manager {
    Manager::with(Plugins::of(["ftrace"]))
}

/// A session that traces this task as JSON, with more arguments.
#[track_caller]
fn trace(manager: &Manager, task: &Task, arguments: &str) -> Session {
    manager.run("trace_sched", format!("--pid {} --format json {arguments}", task.id())).start()
}

/// A workload that is bound to one CPU. On other CPUs than the first, some kernels do not record switches from the idle
/// task to another (6.18 in a virtual machine).
fn pinned(cpu: u32) -> Workload {
    let workload = Workload::start();
    workload.stays_on(cpu);
    workload
}

/// Makes the task sleep and wake repeatedly.
fn naps(task: &Task, count: usize) {
    for _ in 0..count {
        sleeps(task.id());
        task.calls(1);
    }
    sleeps(task.id());
}

/// Waits until the task sleeps.
#[track_caller]
fn sleeps(task: u32) {
    wait_until("the task sleeps", PATIENCE, || {
        let status = fs::read_to_string(format!("/proc/{task}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:\tS"))
    });
}

/// The time that the task has waited for a CPU, in nanoseconds, and the number of times it got one
/// (Documentation/scheduler/sched-stats.rst).
fn kernels_counts(task: u32) -> (u64, u64) {
    let text =
        fs::read_to_string(format!("/proc/{task}/task/{task}/schedstat")).expect("a task has schedstat");
    let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    (numbers[1], numbers[2])
}

/// The time by the clock of the traces.
fn seconds_since_boot() -> f64 {
    Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).expect("there is a clock")).as_secs_f64()
}

fn waited(run: &Value) -> Option<u64> {
    run["waited_ns"].as_u64()
}

#[test]
fn the_hook_is_listed_and_described() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    assert!(manager.call(["--get-all"]).answer().succeeded().lines().any(|hook| hook == "trace_sched"));
    let described = manager.call(["--describe", "trace_sched"]).answer();
    for word in
        ["--over", "--summary", "waited", "preempted", "unknown", "prev_tid", "p99", "--format", "Examples"]
    {
        assert!(described.succeeded().contains(word), "no {word} in {described:#?}");
    }
}

#[test]
fn waits_match_the_kernels_own_statistics() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    // The kernel counts by the clock of the run queue, which it does not update at each switch (rq_clock_skip_update). A
    // delay before the switch, by a long soft interrupt or the hypervisor, makes the kernel's count wrong, not ours.
    let differences: Vec<String> = (0..3).map_while(|_| difference_to_the_kernels_counts().err()).collect();
    assert!(differences.len() < 3, "{differences:#?}");
}

/// Makes a task wait for a competing task and for wakeups.
fn difference_to_the_kernels_counts() -> Result<(), String> {
    let manager = manager();
    let (workload, rival) = (pinned(cpus()[0]), pinned(cpus()[0]));
    let session = trace(&manager, &workload, "");
    sleeps(workload.id());
    let began = seconds_since_boot();
    let (waited_before, times_before) = kernels_counts(workload.id());
    rival.begins_to_call(1_000_000);
    workload.calls(1_000_000);
    naps(&workload, 100);
    let (waited_after, times_after) = kernels_counts(workload.id());
    let mut runs = session.stop().objects();
    runs.retain(|run| run["time"].as_f64().is_some_and(|time| time > began));
    let (times, waited_by_kernel) = (times_after - times_before, waited_after - waited_before);
    let sum: u64 = runs.iter().filter_map(waited).sum();
    let unknown = runs.iter().filter(|run| waited(run).is_none()).count() as u64;
    // The kernel misses a few while the pid filters of other instances change.
    let missed = times.saturating_sub(runs.len() as u64) + unknown;
    if missed > times / 20 {
        return Err(format!("{} of {times} runs, {unknown} of them unknown", runs.len()));
    }
    // It counts from when a task is queued, not from the begin of the wakeup.
    let near = waited_by_kernel / 20 + times * 20_000;
    // A missed event may have been the longest wait.
    if sum > waited_by_kernel + near || (missed == 0 && sum + near < waited_by_kernel) {
        return Err(format!("{sum} ns in all, and the kernel counts {waited_by_kernel}"));
    }
    Ok(())
}

#[test]
fn wakeups_and_preemptions_are_distinguished() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (workload, rival) = (pinned(cpus()[0]), pinned(cpus()[0]));
    let session = trace(&manager, &workload, "");
    naps(&workload, 20);
    rival.begins_to_call(2_000_000);
    workload.calls(2_000_000);
    let runs = session.stop().objects();
    let since = |reason: &str| runs.iter().filter(|run| run["since"] == reason).count();
    assert!(since("woken") >= 15, "{runs:#?}");
    let after_rival = |run: &&Value| run["since"] == "preempted" && run["prev_tid"] == rival.id();
    let preempted = runs.iter().find(after_rival).unwrap_or_else(|| panic!("never by its rival: {runs:#?}"));
    assert_eq!(preempted["prev_comm"], "workload");
    assert!(waited(preempted).is_some_and(|waited| waited > 100_000), "a time slice is longer: {preempted}");
    let (missed, seen): (Vec<&Value>, Vec<&Value>) = runs.iter().partition(|run| run["missed"] == true);
    assert!(missed.len() <= runs.len() / 20, "{missed:#?}");
    for run in seen {
        let (id, name) = (workload.id(), "workload");
        assert!(
            run["event"] == "run" && run["tid"] == id && run["pid"] == id && run["comm"] == name,
            "{run}"
        );
        assert!(run["cpu"] == cpus()[0] && run["prev_tid"].is_u64() && run["prev_comm"].is_string(), "{run}");
    }
}

#[test]
fn a_new_task_waits_from_its_start() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = pinned(cpus()[0]);
    let session = trace(&manager, &workload, "");
    let children = workload.storm(20);
    let runs = session.stop().objects();
    let first_runs: Vec<&Value> =
        children.iter().filter_map(|child| runs.iter().find(|run| run["tid"] == *child)).collect();
    let new = first_runs.iter().filter(|run| run["since"] == "new" && waited(run).is_some()).count();
    assert!(new >= 18, "{first_runs:#?}");
}

#[test]
fn only_traced_tasks_get_lines() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (workload, bystander) = (pinned(cpus()[0]), pinned(cpus()[0]));
    let child = workload.child();
    let exact = trace(&manager, &workload, "--exact");
    let family = trace(&manager, &workload, "");
    let parent = manager.run("trace_sched", format!("--parent {} --format json", workload.id())).start();
    bystander.begins_to_call(300_000);
    workload.calls(300_000);
    child.calls(300_000);
    naps(&child, 5);
    bystander.calls(1);
    let tids = |session: Session| {
        let mut tids = BTreeMap::new();
        for run in session.stop().objects() {
            *tids.entry(run["tid"].as_u64().expect("an id") as u32).or_insert(0) += 1;
        }
        tids.into_keys().collect::<Vec<u32>>()
    };
    assert_eq!(tids(exact), [workload.id()]);
    let mut both = [workload.id(), child.id()];
    both.sort_unstable();
    assert_eq!(tids(family), both);
    assert_eq!(tids(parent), [child.id()]);
}

#[test]
fn over_excludes_short_waits() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (workload, rival) = (pinned(cpus()[0]), pinned(cpus()[0]));
    let all = trace(&manager, &workload, "");
    let long = trace(&manager, &workload, "--over 500");
    naps(&workload, 20);
    rival.begins_to_call(2_000_000);
    workload.calls(2_000_000);
    let (all, long) = (all.stop().objects(), long.stop().objects());
    let is_long = |run: &&Value| waited(run).is_some_and(|waited| waited > 500_000);
    assert!(!long.is_empty() && long.iter().all(|run| is_long(&run)), "{long:#?}");
    assert!(long.len() < all.len());
    // The two sessions read the clock at different times.
    assert!(long.len().abs_diff(all.iter().filter(is_long).count()) <= 1 + all.len() / 20);
}

#[test]
fn a_summary_covers_each_task_and_the_total() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = pinned(cpus()[0]);
    let child = workload.child();
    let single = trace(&manager, &workload, "");
    let summary = trace(&manager, &workload, "--summary 3600");
    naps(&workload, 30);
    naps(&child, 10);
    let (summary, single) = (summary.stop().objects(), single.stop().objects());
    let of = |task: &Task| {
        let own: Vec<u64> = single.iter().filter(|run| run["tid"] == task.id()).filter_map(waited).collect();
        let line = summary.iter().find(|line| line["tid"] == task.id()).expect("a line");
        let count = line["count"].as_u64().expect("a count");
        assert!(count.abs_diff(own.len() as u64) <= 2, "{line}, and {} single lines", own.len());
        assert!(line["event"] == "waits" && line["comm"].is_string(), "{line}");
        let number = |name: &str| line[name].as_u64().unwrap_or_else(|| panic!("no {name}: {line}"));
        let max = own.iter().max().expect("a wait");
        assert!(number("max_ns").abs_diff(*max) <= max / 2 + 20_000, "{line}, and {max}");
        assert!(number("p50_ns") <= number("p99_ns") && number("p99_ns") <= number("max_ns"), "{line}");
        count
    };
    let counts = of(&workload) + of(&child);
    let all = summary.last().expect("lines");
    assert_eq!((&all["event"], &all["count"], all.get("tid")), (&"all_waits".into(), &counts.into(), None));
    let in_buckets: u64 =
        all["buckets"].as_array().expect("buckets").iter().filter_map(|b| b["count"].as_u64()).sum();
    assert_eq!(in_buckets, counts);
    assert_eq!(summary.len(), 3, "{summary:#?}");
}

#[test]
fn summaries_are_on_time_and_have_a_histogram() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = pinned(cpus()[0]);
    let session = manager.run("trace_sched", format!("--pid {} --summary 1", workload.id())).start();
    naps(&workload, 10);
    // The summary is emitted although there are no events.
    session.wait_for_lines(3);
    naps(&workload, 10);
    let ended = session.stop();
    let lines = ended.succeeded();
    let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert!(count(": waits: count=") >= 2 && count(": all_waits: count=") >= 2, "{lines:#?}");
    assert!(count(" => ") >= 2 && count("|@") >= 2, "{lines:#?}");
    assert!(lines[0].starts_with("        workload-"), "{lines:#?}");
}

#[test]
fn invalid_numbers_are_refused() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let refused = |arguments: &str, mentions: &[&str]| {
        let arguments = format!("--pid {} {arguments}", std::process::id());
        manager.run("trace_sched", arguments).answer().refused(mentions);
    };
    refused("--summary 0", &["--summary", "0"]);
    refused("--summary -1", &["-1"]);
    refused("--summary soon", &["--summary", "soon"]);
    refused("--over -1", &["-1"]);
    refused("--over 99999999999999999999", &["--over"]);
    refused("--ovr 5", &["--ovr", "--over"]);
}

#[test]
fn every_record_is_counted() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    for arguments in ["", "--summary 1", "--over 100000"] {
        let log = Log::new();
        let arguments = format!("--pid {} {arguments}", workload.id());
        let session = log.of(manager.call(["-v", "--run", "trace_sched", "--args", &arguments])).start();
        naps(&workload, 20);
        let ended = session.stop();
        let lines = ended.lines.iter().filter(|line| !line.starts_with(" => ")).count();
        let summary = log.summary();
        assert_eq!((summary.recorded, summary.delivered), (lines, lines), "{arguments}");
        assert!(summary.lost.is_empty(), "{summary:?}");
    }
}

#[test]
fn waits_match_perf_sched() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    if Command::new("perf").arg("version").output().is_err() {
        return skip("there is no perf");
    }
    let manager = manager();
    let (workload, rival) = (pinned(cpus()[0]), pinned(cpus()[0]));
    let session = trace(&manager, &workload, "");
    let theirs = with_perf(workload.id(), || {
        naps(&workload, 50);
        rival.begins_to_call(1_000_000);
        workload.calls(1_000_000);
        naps(&workload, 50);
    });
    let runs = session.stop().objects();
    assert!(theirs.len() >= 100, "perf saw {theirs:?}");
    let ours: Vec<(f64, f64)> = runs.iter().filter_map(start_and_wait).collect();
    let same = matches(&theirs, &ours);
    // Both may miss some events.
    assert!(same * 20 >= theirs.len() * 19, "{same} of {}:\n{theirs:?}\n{ours:?}", theirs.len());
}

/// When a task got a CPU, and how long it had waited, both in microseconds.
fn start_and_wait(run: &Value) -> Option<(f64, f64)> {
    Some((run["time"].as_f64()? * 1e6, waited(run)? as f64 / 1e3))
}

/// How many of `theirs` are among `ours`. The clock of perf has an offset.
fn matches(theirs: &[(f64, f64)], ours: &[(f64, f64)]) -> usize {
    let is_near = |a: f64, b: f64| (a - b).abs() <= 20.0;
    let matches_at = |offset: f64| {
        let is_among_ours = |(start, wait): &&(f64, f64)| {
            let first = ours.partition_point(|(ours, _)| *ours < start + offset - 20.0);
            let near = ours[first..].iter().take_while(|(ours, _)| is_near(*ours, start + offset));
            near.into_iter().any(|(_, ours)| (ours - wait).abs() <= 1.5 + wait / 20.0)
        };
        theirs.iter().filter(is_among_ours).count()
    };
    // One of three events is enough to find the offset, unless all three are missing in ours.
    let some = theirs.iter().step_by(theirs.len() / 3);
    let offsets = some.flat_map(|(theirs, _)| ours.iter().map(move |(ours, _)| ours - theirs));
    offsets.map(matches_at).max().unwrap_or(0)
}

/// When the task got a CPU during `work`, and how long it had waited, both in microseconds, from perf.
fn with_perf(task: u32, work: impl FnOnce()) -> Vec<(f64, f64)> {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("perf.data");
    // perf begins to record before it runs the command, and ends with it.
    let mut recording = Command::new("perf")
        .args(["sched", "record", "-q", "-o"])
        .arg(&data)
        .args(["--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("perf can be started");
    let mut input = recording.stdin.take().expect("it is a pipe");
    input.write_all(b"ready\n").expect("the command reads");
    let mut answer = String::new();
    let mut output = BufReader::new(recording.stdout.take().expect("it is a pipe"));
    output.read_line(&mut answer).expect("the command writes");
    assert_eq!(answer, "ready\n");
    work();
    drop(input);
    recording.wait().expect("perf ends");
    let timehist = Command::new("perf")
        .args(["sched", "timehist", "-i"])
        .arg(&data)
        .output()
        .expect("perf can be started");
    String::from_utf8_lossy(&timehist.stdout).lines().filter_map(|line| run_of(task, line)).collect()
}

/// Parses `15848.579903 [0000]  workload[4711]      0.000      0.006      0.023`: when the task left its CPU, in seconds, and its
/// sleep, its wait and its run, in milliseconds.
fn run_of(task: u32, line: &str) -> Option<(f64, f64)> {
    let (before, after) = line.split_once(&format!("[{task}]"))?;
    let left: f64 = before.split_whitespace().next()?.parse().ok()?;
    let numbers: Vec<f64> = after.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [_, waited, ran] = numbers[..] else { return None };
    // perf does not know the begin of the first run, nor the wait before some others.
    (ran > 0.0 && waited > 0.0).then_some((left * 1e6 - ran * 1e3, waited * 1e3))
}
