//! Nineteen processes are traced beside a hostile one by all hooks at once, and lose nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use system_tests::{
    Build, Hostile, Kernel, Log, LoopDevice, Manager, OnPanic, PATIENCE, Plugins, Program, Session,
    SyntheticLibrary, Workload, wait_until,
};
use tempfile::TempDir;

/// All hooks, with their options.
const HOOKS: [(&str, &str); 14] = [
    ("trace_syscalls", "-s getppid getsid"),
    ("trace_events", "-e syscalls:sys_enter_getppid syscalls:sys_enter_getsid"),
    ("trace_user", "-f *:getppid"),
    ("trace_latency", ""),
    ("trace_profile", "-F 999"),
    ("trace_counters", "--interval 60s"),
    ("trace_offcpu", ""),
    ("trace_open", ""),
    ("trace_calls", "-s openat"),
    ("trace_sched", ""),
    ("trace_process", ""),
    ("trace_net", ""),
    ("trace_block", ""),
    ("trace_memory", "--kind faults"),
];

/// How many usual processes there are.
const OTHERS: usize = 19;
/// How often each of them does its work.
const ROUNDS: usize = 2;
/// What each does every time: calls of getppid, children that call it as well, CPU time in milliseconds, pages that it
/// touches, sleeps, files that it opens, datagrams that it sends, blocks that it writes.
const CALLS: usize = 50;
const CHILDREN: usize = 4;
const SPENT: u64 = 40;
const PAGES: usize = 10;
const SLEEPS: usize = 10;
const OPENED: usize = 10;
const SENT: usize = 10;
const WRITTEN: usize = 5;

/// The most memory that a worker may use, in KiB.
const MEMORY: u64 = 64 << 10;

/// How often a start and a stop are tried, of which the shortest counts: others use this machine as well.
const ATTEMPTS: usize = 4;

/// Some switches to other processes, by which a start or a stop may take longer.
const NOISE: Duration = Duration::from_millis(100);

/// Nineteen usual processes.
struct Others {
    all: Vec<Other>,
    file: PathBuf,
    device: Option<LoopDevice>,
}

/// One of them, and what only it has done.
struct Other {
    workload: Workload,
    /// The address of its socket.
    socket: String,
    children: Vec<u32>,
    /// The addresses of the pages that it touched.
    pages: Vec<u64>,
}

impl Others {
    fn start() -> Self {
        let start = || {
            let workload = Workload::start();
            let socket = workload.network("bind 127.0.0.1:0");
            Other { workload, socket, children: Vec::new(), pages: Vec::new() }
        };
        Self {
            all: (0..OTHERS).map(|_| start()).collect(),
            file: Program::built(Build::Library),
            device: LoopDevice::or_skip(),
        }
    }

    fn ids(&self) -> impl Iterator<Item = u32> {
        self.all.iter().map(|other| other.workload.id())
    }

    /// Forgets what they have done.
    fn begin_again(&mut self) {
        for other in &mut self.all {
            (other.children, other.pages) = (Vec::new(), Vec::new());
        }
    }

    fn work(&mut self) {
        for (number, other) in self.all.iter_mut().enumerate() {
            let workload = &other.workload;
            workload.calls(CALLS);
            other.children.extend(workload.storm(CHILDREN));
            workload.spends(SPENT);
            let first = workload.touches(PAGES);
            other.pages.extend((0..PAGES as u64).map(|page| first + page * 4096));
            workload.sleeps(SLEEPS);
            workload.opens(&self.file, OPENED);
            workload.network(format!("flood 0 {} {SENT}", other.socket));
            if let Some(device) = &self.device {
                // Not beside those of others, with which they could be merged.
                workload.writes(2 * number * WRITTEN, WRITTEN, &device.path);
            }
        }
    }

    /// Checks that nothing of them is missing in the trace of a hook, and nothing of others is taken for theirs.
    #[track_caller]
    fn assert_are_complete(&self, hook: &str, lines: &[Value]) {
        let by_process = by_process(lines);
        let of = |process: u32| by_process.get(&process).map_or(&[][..], Vec::as_slice);
        for other in &self.all {
            self.assert_is_complete(hook, other, of(other.workload.id()));
            if matches!(hook, "trace_syscalls" | "trace_events" | "trace_user") {
                assert!(other.children.iter().all(|child| of(*child).len() == 1), "{:?}", other.children);
            }
        }
        if hook == "trace_latency" {
            let of_call = lines.iter().filter(|line| line["call"] == "getppid");
            let count: u64 = of_call.filter_map(|line| line["count"].as_u64()).sum();
            assert_eq!(count, (OTHERS * ROUNDS * (CALLS + CHILDREN)) as u64);
        }
    }

    #[track_caller]
    fn assert_is_complete(&self, hook: &str, other: &Other, lines: &[&Value]) {
        let count = |is: &dyn Fn(&Value) -> bool| lines.iter().filter(|line| is(line)).count();
        let of_event = |event: &str| count(&|line| line["event"] == event);
        let all = |each: usize| ROUNDS * each;
        let spent = all(SPENT as usize);
        match hook {
            "trace_syscalls" | "trace_events" => assert_eq!(lines.len(), all(CALLS)),
            "trace_user" => assert_eq!(of_event("call"), all(CALLS)),
            "trace_profile" => {
                let named = count(&|line| line["stack"].to_string().contains("spend_"));
                assert!(named > spent * 8 / 10, "{named} samples of {spent} ms: {lines:?}");
            }
            "trace_counters" => {
                let sum =
                    |key: &str| lines.iter().filter_map(|line| line[key].as_u64()).sum::<u64>() as usize;
                assert!(sum("task_clock_ns") > spent * 1_000_000 && sum("page_faults") >= all(PAGES));
                assert!(sum("context_switches") >= all(SLEEPS), "{lines:?}");
            }
            "trace_open" => {
                let file = self.file.to_str().expect("plain text");
                assert_eq!(count(&|line| line["path"] == file), all(OPENED));
            }
            "trace_calls" => {
                let file = self.file.to_str().expect("plain text");
                assert_eq!(count(&|line| line["arguments"]["filename"] == file), all(OPENED));
            }
            "trace_sched" => {
                assert!(count(&|line| line["event"] == "run" && line["since"] == "woken") >= all(SLEEPS));
            }
            "trace_offcpu" => {
                assert!(count(&|line| line["state"] == "interruptible") >= all(SLEEPS));
            }
            "trace_process" => {
                let forks = lines.iter().filter(|line| line["event"] == "fork");
                let children: Vec<u32> =
                    forks.filter_map(|line| line["child_tid"].as_u64()).map(|id| id as u32).collect();
                assert_eq!(children, other.children);
            }
            "trace_net" => assert_eq!(of_event("send"), all(SENT)),
            "trace_block" => {
                let Some(device) = &self.device else { return };
                assert_eq!(count(&|line| line["disk"] == device.name()), all(WRITTEN));
            }
            "trace_memory" => {
                let faults: BTreeSet<&str> =
                    lines.iter().filter_map(|line| line["address"].as_str()).collect();
                let is_there = |page: &u64| faults.contains(&*format!("{page:#x}"));
                assert!(other.pages.iter().all(is_there), "{:x?} of {faults:?}", other.pages);
            }
            _ => {}
        }
    }
}

/// The lines of each process.
fn by_process(lines: &[Value]) -> BTreeMap<u32, Vec<&Value>> {
    let mut by_process = BTreeMap::<u32, Vec<&Value>>::new();
    for line in lines {
        if let Some(process) = line["pid"].as_u64() {
            by_process.entry(process as u32).or_default().push(line);
        }
    }
    by_process
}

/// A hook that is traced, and how long its start took.
struct Started {
    hook: &'static str,
    session: Session,
    log: Log,
    took: Duration,
}

impl Started {
    fn new(manager: &Manager, (hook, options): (&'static str, &str), processes: &[u32]) -> Self {
        let processes: Vec<String> = processes.iter().map(u32::to_string).collect();
        let arguments = format!("--pid {} --format json {options}", processes.join(" "));
        let (log, began) = (Log::new(), Instant::now());
        let session = log.of(manager.call(["-v", "--run", hook, "--args", &arguments])).start();
        Self { hook, session, log, took: began.elapsed() }
    }

    /// Ends it. Returns its lines, and how long its start and its stop took.
    fn stop(self) -> (Vec<Value>, Times) {
        let Self { hook, session, log, took } = self;
        let (memory, began) = (session.peak_memory(), Instant::now());
        let ended = session.stop();
        let stop = began.elapsed();
        let (summary, log) = (log.summary(), log.text());
        assert!(ended.answer.status.success() && summary.lost.is_empty(), "{hook}: {log}");
        assert!(memory < MEMORY, "{hook}: its worker used {memory} KiB");
        println!("{hook}: {memory} KiB");
        let _context = OnPanic(format!("{hook}: {log}"));
        (ended.objects(), Times { start: took, stop })
    }
}

/// How long a start and a stop took.
#[derive(Debug, Clone, Copy)]
struct Times {
    start: Duration,
    stop: Duration,
}

impl Times {
    /// Whether it is twice the usual time at most.
    fn are_within(self, usually: Self) -> bool {
        self.start < 2 * usually.start + NOISE && self.stop < 2 * usually.stop + NOISE
    }

    fn shortest(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), stop: self.stop.min(other.stop) }
    }
}

/// Traces the others and one more process with all hooks, while the others work and `disturb` is called in between.
fn trace(
    manager: &Manager,
    others: &mut Others,
    one_more: u32,
    disturb: impl FnOnce(&[Started], &Others),
) -> Vec<Times> {
    others.begin_again();
    let processes: Vec<u32> = [one_more].into_iter().chain(others.ids()).collect();
    let started = Vec::from_iter(HOOKS.iter().map(|hook| Started::new(manager, *hook, &processes)));
    others.work();
    disturb(&started, others);
    (1..ROUNDS).for_each(|_| others.work());
    let stop = |started: Started| {
        let (hook, log) = (started.hook, started.log.text());
        let (lines, times) = started.stop();
        let _context = OnPanic(format!("{hook}: {log}"));
        others.assert_are_complete(hook, &lines);
        times
    };
    started.into_iter().map(stop).collect()
}

/// What another tool does to the instances of the sessions, in turns.
const TAMPERINGS: [(&str, &str); 4] =
    [("set_event_pid", ""), ("tracing_on", "0"), ("set_event", ""), ("tracing_cpumask", "1")];

/// Does harm: another tool changes the instances of the sessions, a process that is not traced makes events and gets the pids of
/// children that have ended, and the hostile process runs code in its files.
fn disturb(kernel: &Kernel, sessions: &[Started], others: &Others, hostile: &mut Hostile) {
    let stranger = Workload::start();
    for (started, (file, value)) in sessions.iter().zip(TAMPERINGS.iter().cycle()) {
        for instance in kernel.instances_of(&[started.session.pid()]) {
            instance.set(file, value);
        }
    }
    stranger.calls(CALLS);
    hostile.proceeds();
    for Started { hook, session, log, .. } in sessions {
        let is_noticed =
            || kernel.instances_of(&[session.pid()]).is_empty() || log.text().contains("another process");
        wait_until(&format!("{hook} notices it"), PATIENCE, is_noticed);
    }
    for child in others.all.iter().flat_map(|other| &other.children) {
        stranger.reuses(*child, 1);
    }
}

/// Starts a process that is hostile in every way that there is (`hostile.rs` has a test for each).
fn hostile(directory: &TempDir) -> Hostile {
    let path = |name: &str| directory.path().join(name);
    let text = |path: &Path| path.to_str().expect("it is UTF-8").to_owned();
    let library = text(&Program::built(Build::Library));
    for name in ["leased", "silent1", "silent2", "silent3", "silent4"] {
        fs::copy(&library, path(name)).expect("the directory is ours");
    }
    for name in ["files", "maps"] {
        fs::create_dir(path(name)).expect("the directory is ours");
    }
    SyntheticLibrary::with_overlapping_names(200_000, 264 << 10).write(&path("overlapping"));
    for number in 0..20 {
        SyntheticLibrary::with_symbols(60_000).write(&path(&format!("symbols{number}")));
    }
    let named = |name: fn(u32) -> String| (0..20_000).map(name);
    SyntheticLibrary::with_functions(named(|number| format!("_Z7getppid5t{number:05}"))).write(&path("many"));
    let slow = |number: u32| {
        format!("_Z7getppidIX{}{}{number}f", "nw".repeat(6 + number as usize % 24), "1f".repeat(30))
    };
    SyntheticLibrary::with_functions(named(slow)).write(&path("slow"));
    SyntheticLibrary::with_functions_without_probes(["getppid".to_owned()]).write(&path("refused"));
    let [leased, overlapping, files, maps, many, slow, refused] =
        ["leased", "overlapping", "files", "maps", "many", "slow", "refused"].map(|name| text(&path(name)));
    let silent = [1, 2, 3, 4].map(|number| text(&path(&format!("silent{number}"))));
    let symbols = Vec::from_iter((0..20).map(|number| text(&path(&format!("symbols{number}")))));
    let words = |first: &[&str], rest: &[String]| {
        first.iter().map(|word| (*word).to_owned()).chain(rest.iter().cloned()).collect::<Vec<String>>()
    };
    let steps = [
        words(&["lease", &leased], &[]),
        words(&["silent"], &silent),
        // After this it has no privileges.
        words(&["foreign", &library], &[]),
        words(&["map", &overlapping], &[]),
        words(&["map", &many], &[]),
        words(&["map", &slow], &[]),
        words(&["map", &refused], &[]),
        words(&["maps", "8000", &maps], &[]),
        // Each of them has the mappings so far.
        words(&["children", "50"], &[]),
        words(&["files", "3000", &files], &[]),
        words(&["map", &library], &[]),
        words(&["threads", "500"], &[]),
        words(&["run", "5"], &symbols),
    ];
    let steps = steps.join(&"+".to_owned());
    Hostile::after(&steps.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn nineteen_processes_lose_nothing_beside_a_hostile_one() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ebpf", "ftrace", "perf", "uprobe"]));
    let (mut others, usual) = (Others::start(), Workload::start());
    let usually = trace(&manager, &mut others, usual.id(), |_, _| {});

    let directory = tempfile::tempdir().expect("a directory can be made");
    let mut hostile = hostile(&directory);
    let id = hostile.id();
    let times = trace(&manager, &mut others, id, |sessions, others| {
        disturb(&kernel, sessions, others, &mut hostile);
    });

    let processes = |one_more| Vec::from_iter([one_more].into_iter().chain(others.ids()));
    let (with_usual, with_hostile) = (processes(usual.id()), processes(id));
    for ((hook, usually), times) in HOOKS.into_iter().zip(usually).zip(times) {
        let again = |processes: &[u32]| Started::new(&manager, hook, processes).stop().1;
        let (mut usually, mut times) = (usually, times);
        for _ in 1..ATTEMPTS {
            if !times.are_within(usually) {
                usually = usually.shortest(again(&with_usual));
                times = times.shortest(again(&with_hostile));
            }
        }
        println!("{}: {times:?}, usually {usually:?}", hook.0);
        assert!(times.are_within(usually), "{}: {times:?}, usually {usually:?}", hook.0);
    }
}
