//! Nineteen processes are traced beside a hostile one by all hooks at once, and lose nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use system_tests::{Build, Hostile, Kernel, Log, Manager, OnPanic, Plugins, Program, Session, Workload};

/// All hooks, with their options.
const HOOKS: [(&str, &str); 12] = [
    ("trace_syscalls", "-s getppid"),
    ("trace_events", "-e syscalls:sys_enter_getppid"),
    ("trace_user", "-f *:traced_function"),
    ("trace_latency", ""),
    ("trace_profile", "-F 999"),
    ("trace_counters", "--interval 60s"),
    ("trace_open", ""),
    ("trace_sched", "--summary 60s"),
    ("trace_process", ""),
    ("trace_net", ""),
    ("trace_block", ""),
    ("trace_memory", "--summary 60s"),
];

/// How often each of the others calls something.
const CALLS: usize = 50;
/// How much CPU time each of them uses besides, in milliseconds.
const SPENT: u64 = 40;

/// The most memory that a worker may use, in KiB.
const MEMORY: u64 = 64 << 10;

/// What a start or a stop may take longer: for the lists of mappings and the files of the hostile process, and on a busy machine.
const NOISE: Duration = Duration::from_secs(2);

/// Nineteen usual processes.
struct Others {
    workloads: Vec<Workload>,
    programs: Vec<Program>,
}

impl Others {
    fn start() -> Self {
        Self {
            workloads: (0..12).map(|_| Workload::start()).collect(),
            programs: (0..7).map(|_| Program::start()).collect(),
        }
    }

    fn ids(&self) -> BTreeSet<u32> {
        let programs = self.programs.iter().map(Program::id);
        self.workloads.iter().map(|workload| workload.id()).chain(programs).collect()
    }

    fn work(&mut self) {
        for workload in &self.workloads {
            workload.calls(CALLS);
            workload.spends(SPENT);
        }
        self.programs.iter_mut().for_each(|program| program.calls(CALLS));
    }

    /// Checks that nothing of them is missing in the trace of a hook.
    #[track_caller]
    fn assert_are_complete(&self, hook: &str, lines: &[Value]) {
        let ids = self.ids();
        let is_of_others =
            |line: &&Value| line["pid"].as_u64().is_some_and(|pid| ids.contains(&(pid as u32)));
        let of_others: Vec<&Value> = lines.iter().filter(is_of_others).collect();
        let events = |event: &str| of_others.iter().filter(|line| line["event"] == event).count();
        let sum = |key: &str| of_others.iter().filter_map(|line| line[key].as_u64()).sum::<u64>();
        let (workloads, programs) = (self.workloads.len(), self.programs.len());
        let spent = workloads as u64 * SPENT;
        match hook {
            "trace_syscalls" => assert_eq!(of_others.len(), workloads * CALLS),
            "trace_events" => assert_eq!(events("sys_enter_getppid"), workloads * CALLS),
            "trace_user" => assert_eq!(events("call"), programs * CALLS),
            "trace_latency" => {
                let of_call = |line: &&Value| line["call"] == "getppid";
                let counts = lines.iter().filter(of_call).filter_map(|line| line["count"].as_u64());
                assert_eq!(counts.sum::<u64>(), (workloads * CALLS) as u64, "{lines:#?}");
            }
            "trace_profile" => assert!(events("sample") as u64 > spent * 8 / 10, "{}", events("sample")),
            "trace_counters" => assert!(sum("task_clock_ns") > spent * 1_000_000, "{of_others:#?}"),
            _ => {}
        }
    }
}

/// A hook that is traced, and how long its start took.
struct Started {
    hook: &'static str,
    session: Session,
    log: Log,
    took: Duration,
}

/// The times that the start and the stop of each hook took.
type Times = Vec<(Duration, Duration)>;

/// Traces the others and one more process with all hooks.
fn trace(manager: &Manager, others: &mut Others, one_more: u32) -> Times {
    let ids: Vec<String> = others.ids().into_iter().chain([one_more]).map(|id| id.to_string()).collect();
    let start = |(hook, options): &(&'static str, &str)| {
        let (log, began) = (Log::new(), Instant::now());
        let arguments = format!("--pid {} --format json {options}", ids.join(" "));
        let session = log.of(manager.call(["-v", "--run", hook, "--args", &arguments])).start();
        Started { hook, session, log, took: began.elapsed() }
    };
    let started: Vec<Started> = HOOKS.iter().map(start).collect();
    others.work();
    let stop = |Started { hook, session, log, took }| {
        let (memory, began) = (session.peak_memory(), Instant::now());
        let ended = session.stop();
        let stopped = began.elapsed();
        let log = log.text();
        assert!(ended.answer.status.success() && log.contains("none lost"), "{hook}: {log}");
        assert!(memory < MEMORY, "{hook}: its worker used {memory} KiB");
        let context = OnPanic(format!("{hook}: {log}"));
        others.assert_are_complete(hook, &ended.objects());
        drop(context);
        (took, stopped)
    };
    started.into_iter().map(stop).collect()
}

#[test]
fn nineteen_processes_lose_nothing_beside_a_hostile_one() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ebpf", "ftrace", "perf", "uprobe"]));
    let (mut others, usual) = (Others::start(), Workload::start());
    let expected = trace(&manager, &mut others, usual.id());

    let directory = tempfile::tempdir().expect("a directory can be made");
    let [leased, files, maps] = ["library.so", "files", "maps"].map(|name| directory.path().join(name));
    fs::copy(Program::built(Build::Library), &leased).expect("the directory is ours");
    for directory in [&files, &maps] {
        fs::create_dir(directory).expect("the directory is ours");
    }
    let text = |path: &Path| path.to_str().expect("it is UTF-8").to_owned();
    let library = text(&Program::built(Build::Library));
    let (leased, files, maps) = (text(&leased), text(&files), text(&maps));
    let steps: [&[&str]; 7] = [
        &["lease", &leased],
        &["foreign", &library],
        &["maps", "8000", &maps],
        // Each of them has the mappings so far.
        &["children", "50"],
        &["files", "3000", &files],
        &["map", &library],
        &["threads", "500"],
    ];
    let hostile = Hostile::after(&steps.join(&"+"));
    let times = trace(&manager, &mut others, hostile.id());

    for (((hook, _), expected), times) in HOOKS.iter().zip(expected).zip(times) {
        println!(
            "{hook}: start {:?}, usually {:?}; stop {:?}, usually {:?}",
            times.0, expected.0, times.1, expected.1
        );
        assert!(
            times.0 < 2 * expected.0 + NOISE,
            "{hook}: the start took {:?}, usually {:?}",
            times.0,
            expected.0
        );
        assert!(
            times.1 < 2 * expected.1 + NOISE,
            "{hook}: the stop took {:?}, usually {:?}",
            times.1,
            expected.1
        );
    }
}
