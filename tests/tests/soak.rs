//! Many sessions that start and end at random times leave nothing behind.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use system_tests::{
    Build, Cgroup, Hostile, Kernel, Manager, OnPanic, PATIENCE, Plugins, Program, Random, Reader,
    SyntheticLibrary, Workload, eventually, lock_out_sweeps, wait_until,
};
use tempfile::TempDir;

/// The number of sessions, unless `SESSIONS` is set.
const SESSIONS: usize = 1000;

/// All hooks. Together they create every kind of kernel object: instances, one or two for a session, uprobes, eBPF programs, and perf
/// events that sample or count.
const HOOKS: [(&str, &str); 14] = [
    ("trace_syscalls", ""),
    ("trace_events", "-e sched:sched_switch --stack"),
    ("trace_net", ""),
    ("trace_sched", ""),
    ("trace_block", ""),
    ("trace_memory", ""),
    ("trace_process", ""),
    ("trace_user", "-f libc.so.6:getppid *:traced_function*"),
    ("trace_open", ""),
    ("trace_calls", ""),
    ("trace_latency", ""),
    ("trace_offcpu", ""),
    ("trace_profile", ""),
    ("trace_counters", ""),
];

#[test]
#[ignore = "takes minutes: cargo xtask soak"]
fn after_a_thousand_sessions_everything_is_unchanged() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let number =
        std::env::var("SESSIONS").map_or(SESSIONS, |number| number.parse().expect("SESSIONS is a number"));
    let manager = Manager::with(Plugins::of(["ebpf", "ftrace", "perf", "uprobe"]));
    let scene = Scene::new();
    let mut random = Random::from_environment();
    let one = |random: &mut Random| session(&kernel, &manager, &scene, random);
    // The kernel allocates objects with the first sessions, and keeps them.
    for _ in 0..20 {
        one(&mut random);
    }
    manager.call(["--clear"]).answer().succeeded_silently();

    let (began, before) = (Instant::now(), Counts::of(&kernel, &manager));
    let mut ends = [0; Ending::ALL.len()];
    for done in 0..number {
        let context = OnPanic(format!("after {done} sessions"));
        ends[one(&mut random) as usize] += 1;
        drop(context);
    }
    manager.call(["--clear"]).answer().succeeded_silently();
    println!("{number} sessions in {:.0} s:", began.elapsed().as_secs_f64());
    for (ending, count) in Ending::ALL.iter().zip(ends) {
        println!("{count:6} {ending:?}");
    }
    // Some memory is freed later, after an RCU grace period.
    let after = eventually("the counts are as they were", PATIENCE, || {
        let after = Counts::of(&kernel, &manager);
        (after.exceed(&before).is_empty()).then_some(after)
    });
    before.print_beside(&after);
}

/// What the sessions trace.
struct Scene {
    workload: Workload,
    hostile: Hostile,
    cgroup: Cgroup,
    _files: TempDir,
}

impl Scene {
    fn new() -> Self {
        let files = tempfile::tempdir().expect("a directory can be made");
        let (library, leased) = (Program::built(Build::Library), files.path().join("library.so"));
        fs::copy(&library, &leased).expect("the directory is ours");
        let text = |path: &Path| path.to_str().expect("it is UTF-8").to_owned();
        let [overlapping, many, slow, refused] =
            ["overlapping", "many", "slow", "refused"].map(|name| files.path().join(name));
        SyntheticLibrary::with_overlapping_names(20_000, 64 << 10).write(&overlapping);
        let functions = (0..5000).map(|number| format!("traced_function_{number}"));
        SyntheticLibrary::with_functions(functions).write(&many);
        let name = |number: usize| {
            format!("_Z15traced_functionIX{}{}{number}f", "nw".repeat(6 + number % 24), "1f".repeat(30))
        };
        SyntheticLibrary::with_functions((0..1000).map(name)).write(&slow);
        SyntheticLibrary::with_functions_without_probes(["traced_function".to_owned()]).write(&refused);
        let (library, leased, directory) = (text(&library), text(&leased), text(files.path()));
        let [overlapping, many, slow, refused] = [overlapping, many, slow, refused].map(|path| text(&path));
        let steps: [&[&str]; 10] = [
            &["lease", &leased],
            &["foreign", &library],
            &["map", &overlapping],
            &["map", &many],
            &["map", &slow],
            &["map", &refused],
            &["breeds", "20"],
            &["children", "5"],
            &["files", "100", &directory],
            &["threads", "20"],
        ];
        Self {
            workload: Workload::start(),
            hostile: Hostile::after(&steps.join(&"+")),
            cgroup: Cgroup::create(),
            _files: files,
        }
    }

    /// The arguments of a session that traces the workload, alone, with a hostile process, or as a member of a cgroup.
    fn arguments(&self, random: &mut Random) -> String {
        match random.below(3) {
            0 => format!("--pid {}", self.workload.id()),
            1 => format!("--pid {} {}", self.workload.id(), self.hostile.id()),
            _ => format!("--cgroup {}", self.cgroup.path().display()),
        }
    }
}

/// Another tool changes the instances of a session, which may end meanwhile.
fn tamper(kernel: &Kernel, session: u32, random: &mut Random) {
    let settings = [
        ("tracing_on", "0"),
        ("set_event_pid", ""),
        ("set_event_pid", "1"),
        ("set_event", ""),
        ("trace", ""),
        ("trace_marker", "a line of another tool"),
        ("tracing_cpumask", "1"),
        ("buffer_size_kb", "64"),
        ("options/overwrite", "0"),
        ("events/sched/enable", "1"),
        ("events/sched/sched_process_exit/filter", "prio < 0"),
    ];
    for instance in kernel.instances_of(&[session]) {
        let (file, value) = settings[random.below(settings.len())];
        let _ = fs::write(instance.path().join(file), value);
    }
}

/// How a session ends.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Sigint,
    Sigterm,
    SupervisorKilled,
    WorkerKilled,
    BothKilled,
    Time,
    Clear,
}

impl Ending {
    const ALL: [Self; 7] = [
        Self::Sigint,
        Self::Sigterm,
        Self::SupervisorKilled,
        Self::WorkerKilled,
        Self::BothKilled,
        Self::Time,
        Self::Clear,
    ];
}

/// One session that ends in a random way at a random time, with or without a reader.
fn session(kernel: &Kernel, manager: &Manager, scene: &Scene, random: &mut Random) -> Ending {
    let ending = Ending::ALL[random.below(Ending::ALL.len())];
    let moment = Duration::from_micros(random.below(60_000) as u64);
    let time = if matches!(ending, Ending::Time) { "--time 20" } else { "" };
    let (hook, arguments) = HOOKS[random.below(HOOKS.len())];
    let _context = OnPanic(format!("{hook}, {ending:?} after {moment:?}"));
    let tasks = scene.arguments(random);
    let mut process = manager.run(hook, format!("{tasks} {arguments} {time}")).spawn();
    let mut reader = None;
    if random.below(2) == 0 {
        wait_until("it prints its path", PATIENCE, || process.has_output() || process.is_over());
        reader = Reader::if_there(process.stdout().trim_end().as_ref());
        scene.cgroup.takes(scene.workload.id());
        scene.workload.calls(10);
        if random.below(4) == 0 {
            tamper(kernel, process.pid(), random);
        }
        scene.cgroup.releases(scene.workload.id());
    }
    // The delay chooses the time that is tested.
    thread::sleep(moment);
    match ending {
        Ending::Sigint => process.signal(Signal::SIGINT),
        Ending::Sigterm => process.signal(Signal::SIGTERM),
        Ending::SupervisorKilled => process.signal(Signal::SIGKILL),
        Ending::BothKilled => process.signal_group(Signal::SIGKILL),
        Ending::WorkerKilled => {
            for worker in process.workers() {
                let _ = kill(Pid::from_raw(worker.cast_signed()), Signal::SIGKILL);
            }
            process.signal(Signal::SIGINT);
        }
        Ending::Time => {}
        Ending::Clear => {
            manager.call(["--clear"]).answer().succeeded_silently();
            // The session had not started yet when the clear ran.
            process.signal(Signal::SIGINT);
        }
    }
    process.ends(PATIENCE);
    drop(reader.map(Reader::finish));
    ending
}

/// Counts of the resources of the whole machine that sessions use.
struct Counts(Vec<Count>);

struct Count {
    what: &'static str,
    value: u64,
    /// The allowed increase, because other processes run on the machine as well.
    tolerance: u64,
}

impl Counts {
    fn of(kernel: &Kernel, manager: &Manager) -> Self {
        let count = |what, value, tolerance| Count { what, value, tolerance };
        let memory = |name| number_after("/proc/meminfo", name);
        Self(vec![
            count("tracing instances", kernel.instances().len() as u64, 0),
            count("probes in programs", kernel.top().get("uprobe_events").lines().count() as u64, 0),
            count("eBPF programs", ebpf_programs(), 5),
            count("processes of the manager", processes_of(manager), 0),
            count(
                "files in the run directory",
                (manager.files().len() + manager.unread_output().len()) as u64,
                0,
            ),
            count("open files", number_after("/proc/sys/fs/file-nr", ""), 500),
            count("KiB of slab that stays", memory("SUnreclaim:"), 30_000),
            count("KiB per CPU", memory("Percpu:"), 2_000),
            count("KiB of memory in use", memory("MemTotal:") - memory("MemAvailable:"), 500_000),
        ])
    }

    /// The counts that have increased.
    fn exceed(&self, before: &Self) -> Vec<&'static str> {
        let more = self
            .0
            .iter()
            .zip(&before.0)
            .filter(|(after, before)| after.value > before.value + before.tolerance);
        more.map(|(after, _)| after.what).collect()
    }

    fn print_beside(&self, after: &Self) {
        line("", "before", "after");
        self.0.iter().zip(&after.0).for_each(|(before, after)| line(before.what, before.value, after.value));
    }
}

fn line(what: &str, before: impl Display, after: impl Display) {
    println!("{what:28} {before:>10} {after:>10}");
}

/// The number after a name in one of the kernel's files.
fn number_after(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).expect("the kernel has this file");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_else(|| panic!("no {name} in {file}"));
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number follows")
}

/// For those that the kernel gives separate names.
fn ebpf_programs() -> u64 {
    let symbols = fs::read_to_string("/proc/kallsyms").expect("the kernel has this file");
    symbols.lines().filter(|symbol| symbol.ends_with("[bpf]")).count() as u64
}

fn processes_of(manager: &Manager) -> u64 {
    let processes = fs::read_dir("/proc").expect("it can be listed").flatten();
    let is_manager = |process: &fs::DirEntry| {
        fs::read_link(process.path().join("exe")).is_ok_and(|executable| executable == manager.executable())
    };
    processes.filter(is_manager).count() as u64
}
