//! Each system call of a session's start, recording and end fails in turn, once. In every case the session does not hang or
//! panic, it succeeds or reports one line, and it leaves nothing.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use system_tests::{
    Answer, Build, Fate, Hostile, Kernel, Manager, PATIENCE, Plugins, Program, Reader, Seen,
    SyntheticLibrary, SystemCall, Workload, eventually, lock_out_sweeps,
};

/// The number of concurrent sessions.
const AT_A_TIME: usize = 4;
/// The time that a session may take to end on a busy machine.
const END: Duration = Duration::from_secs(10);

/// A hook whose sessions create kernel objects.
#[derive(Debug)]
struct Hook {
    plugins: fn() -> Plugins,
    name: &'static str,
    arguments: &'static str,
    /// Whether a hostile process is traced as well.
    is_beside_hostile: bool,
    /// What the workload does, and how many lines that makes.
    work: fn(&Workload),
    lines: RangeInclusive<usize>,
}

const HOOKS: [Hook; 6] = [
    Hook {
        plugins: || Plugins::of(["ftrace"]),
        name: "trace_syscalls",
        arguments: "-s getppid",
        is_beside_hostile: false,
        work: |workload| workload.calls(3),
        lines: 3..=3,
    },
    Hook {
        plugins: || Plugins::of(["uprobe"]),
        name: "trace_user",
        arguments: "-f libc.so.6:getppid",
        is_beside_hostile: false,
        work: |workload| workload.calls(3),
        lines: 3..=3,
    },
    Hook {
        plugins: || Plugins::of(["perf"]),
        name: "trace_profile",
        arguments: "-F 999",
        is_beside_hostile: false,
        work: |workload| workload.spends(30),
        // On a busy machine, a timer can be late.
        lines: 20..=50,
    },
    Hook {
        plugins: || Plugins::of(["perf"]),
        name: "trace_counters",
        arguments: "-i 60s",
        is_beside_hostile: false,
        work: |workload| workload.calls(3),
        // The counters, and a line for each reason why some are missing.
        lines: 1..=3,
    },
    Hook {
        plugins: || Plugins::of(["uprobe"]),
        name: "trace_user",
        arguments: "-f *:getppid",
        is_beside_hostile: true,
        work: |workload| workload.calls(3),
        lines: 3..=3,
    },
    // Its plugin brings a library along.
    Hook {
        plugins: Plugins::with_a_library,
        name: "synthetic_lines",
        arguments: "--count 3",
        is_beside_hostile: false,
        work: |_| {},
        lines: 3..=3,
    },
];

/// A process with a file on which it has a lease, one with a function at which the kernel refuses a probe, one with many functions, and one
/// on a FUSE file system.
fn hostile(directory: &Path) -> Hostile {
    let [leased, refused, many] = ["leased", "refused", "many"].map(|name| directory.join(name));
    let library = Program::built(Build::Library);
    fs::copy(&library, &leased).expect("the directory is ours");
    SyntheticLibrary::with_functions_without_probes(["getppid".to_owned()]).write(&refused);
    SyntheticLibrary::with_functions((0..2000).map(|number| format!("_Z7getppid5t{number:05}"))).write(&many);
    let [leased, refused, many, library] =
        [&leased, &refused, &many, &library].map(|path| path.to_str().expect("it is UTF-8"));
    let steps: [&[&str]; 4] = [&["lease", leased], &["map", refused], &["map", many], &["foreign", library]];
    Hostile::after(&steps.join(&"+"))
}

/// Each hook, with a reader and without one.
fn scenes() -> impl Iterator<Item = (&'static Hook, bool)> {
    HOOKS.iter().flat_map(|hook| [(hook, true), (hook, false)])
}

impl Hook {
    /// Whether each run of the tests fails such a call. Of the hooks after the first two, these are the calls that the others make otherwise
    /// or not at all.
    fn is_sampled(&self, call: &str, reads: bool) -> bool {
        match self.name {
            "trace_profile" => {
                reads && matches!(call, "perf_event_open" | "mmap" | "ioctl" | "openat" | "pread64")
            }
            "trace_counters" => false,
            "trace_user" if self.is_beside_hostile => {
                reads && matches!(call, "openat" | "openat2" | "pread64" | "write" | "fcntl")
            }
            "synthetic_lines" => reads && matches!(call, "openat" | "memfd_create" | "fcntl" | "read"),
            _ => true,
        }
    }
}

/// One call of each kind of each thread with one of its errors: with a reader the last error, without a reader another
/// one.
#[test]
fn a_session_survives_single_failed_system_calls() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let problems: Vec<_> = scenes()
        .map(|(hook, reads)| {
            let mut kinds: BTreeMap<_, Vec<SystemCall>> = BTreeMap::new();
            for call in
                calls_of_a_session(hook, reads).into_iter().filter(|call| hook.is_sampled(call.name(), reads))
            {
                kinds.entry((call.process, call.thread, call.name())).or_default().push(call);
            }
            let sample = kinds.into_values().enumerate().filter_map(|(n, calls)| {
                let call = if reads { calls[calls.len() - 1] } else { calls[n * 7 % calls.len()] };
                let errnos = errnos(call.name());
                Some((call, *errnos.get(n % errnos.len().max(1))?))
            });
            problems_with(&kernel, hook, reads, &sample.collect::<Vec<_>>())
        })
        .collect();
    assert!(problems.concat().is_empty(), "{}", problems.concat().join("\n"));
}

#[test]
#[ignore = "takes minutes: cargo xtask faults"]
fn a_session_survives_the_failure_of_any_system_call() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let problems: Vec<_> = scenes()
        .map(|(hook, reads)| {
            let calls = calls_of_a_session(hook, reads).into_iter();
            let failures = calls.flat_map(|call| errnos(call.name()).iter().map(move |errno| (call, *errno)));
            problems_with(&kernel, hook, reads, &failures.collect::<Vec<_>>())
        })
        .collect();
    assert!(problems.concat().is_empty(), "{}", problems.concat().join("\n"));
}

/// The errors that a call of this name may fail with.
fn errnos(name: &str) -> &'static [Errno] {
    match name {
        // They do not fail, or not without taking effect (close(2)), or the C library aborts on a failure.
        "close" | "exit" | "exit_group" | "futex" | "geteuid" | "getpid" | "getppid" | "getrandom"
        | "gettid" | "restart_syscall" | "rseq" | "rt_sigaction" | "rt_sigprocmask" | "rt_sigreturn"
        | "sched_yield" | "set_robust_list" | "set_tid_address" | "sigaltstack" => &[],
        // It reports a failure by the old break, and never by an error: the C library takes one for an address.
        "brk" => &[],
        // EAGAIN: another process has a lease on the file. ETIMEDOUT, ESTALE: its network file system does not answer.
        "openat" | "open" | "openat2" => {
            &[Errno::EMFILE, Errno::EIO, Errno::EINTR, Errno::EAGAIN, Errno::ETIMEDOUT, Errno::ESTALE]
        }
        "read" | "recvfrom" | "wait4" | "waitid" => &[Errno::EIO, Errno::EINTR],
        "write" | "sendto" | "pwrite64" => &[Errno::ENOSPC, Errno::EINTR],
        "poll" | "ppoll" | "fcntl" | "flock" => &[Errno::ENOMEM, Errno::EINTR],
        "socketpair" | "memfd_create" => &[Errno::EMFILE],
        "clone" | "clone3" | "fork" => &[Errno::EAGAIN],
        "mkdir" | "mkdirat" | "mknodat" | "rename" | "renameat2" => &[Errno::ENOSPC],
        "rmdir" | "unlink" | "unlinkat" => &[Errno::EIO, Errno::EBUSY],
        // EPERM: the limit of locked memory.
        "mmap" => &[Errno::ENOMEM, Errno::EPERM],
        "mprotect" | "munmap" | "mremap" | "madvise" => &[Errno::ENOMEM],
        "perf_event_open" => &[Errno::EMFILE, Errno::EACCES, Errno::ENOSPC, Errno::EINTR],
        "pread64" => &[Errno::EIO, Errno::ESTALE],
        "kill" | "prctl" | "setpriority" => &[Errno::EPERM],
        _ => &[Errno::EIO],
    }
}

/// Every system call from the begin of `main`.
fn calls_of_a_session(hook: &'static Hook, reads: bool) -> Vec<SystemCall> {
    let manager = Manager::with((hook.plugins)());
    let attempt = Attempt::at(&manager, hook, reads, None);
    assert_eq!(attempt.problem(None), None);
    let calls = attempt.seen.calls.into_iter();
    // `main` begins with a socket pair for the signals.
    calls.skip_while(|call| call.name() != "socketpair").collect()
}

/// Injects all these failures; returns the violations.
fn problems_with(
    kernel: &Kernel,
    hook: &'static Hook,
    reads: bool,
    failures: &[(SystemCall, Errno)],
) -> Vec<String> {
    let (next, happened) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let problems = Mutex::new(Vec::new());
    let try_one = |manager: &Manager, call, errno| {
        let attempt = catch_unwind(|| Attempt::at(manager, hook, reads, Some((call, Fate::Fails(errno)))));
        let Ok(attempt) = attempt else { return Some("it hangs".to_owned()) };
        happened.fetch_add(usize::from(attempt.seen.happened), Ordering::Relaxed);
        attempt.problem(attempt.left_after_the_next_call(kernel, manager))
    };
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                let manager = Manager::with((hook.plugins)());
                while let Some((call, errno)) = failures.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(problem) = try_one(&manager, *call, *errno) {
                        let problem =
                            format!("{}: {errno} from {call}, with a reader: {reads}: {problem}", hook.name);
                        problems.lock().expect("no thread panics").push(problem);
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().expect("no thread panics");
    let (tried, happened) = (failures.len(), happened.into_inner());
    println!("{tried} failures, {happened} of which happened; {} problems", problems.len());
    assert!(happened * 10 >= tried * 8, "only {happened} of {tried} failures happened");
    problems
}

/// A session of a workload, to the point that it reached.
struct Attempt {
    hook: &'static Hook,
    pid: u32,
    answer: Answer,
    lines: Vec<String>,
    seen: Seen,
}

impl Attempt {
    fn at(manager: &Manager, hook: &'static Hook, reads: bool, at: Option<(SystemCall, Fate)>) -> Self {
        let workload = Workload::start();
        let directory = tempfile::tempdir().expect("a directory can be made");
        let hostile = hook.is_beside_hostile.then(|| hostile(directory.path()));
        let processes = [Some(workload.id()), hostile.as_ref().map(Hostile::id)].into_iter().flatten();
        let processes = processes.map(|id| id.to_string()).collect::<Vec<_>>().join(" ");
        let run = manager.run(hook.name, format!("--pid {processes} {}", hook.arguments));
        let (call, watch) = run.watched(at);
        let mut process = call.spawn();
        let printed = eventually("it prints a path, or ends", PATIENCE, || {
            (process.has_output() || process.is_over()).then(|| process.has_output())
        });
        let path = printed.then(|| PathBuf::from(process.stdout().trim_end()));
        let reader = path.as_deref().filter(|_| reads).and_then(Reader::if_there);
        if printed {
            (hook.work)(&workload);
            process.signal(Signal::SIGINT);
        }
        let answer = process.ends(PATIENCE);
        let mut lines = reader.map(Reader::finish).unwrap_or_default();
        if let Some(path) = path.filter(|path| path.is_file()) {
            let unread = fs::read_to_string(path).expect("the unread output is text");
            lines.extend(unread.split_inclusive('\n').map(str::to_owned));
        }
        Self { hook, pid: process.pid(), answer, lines, seen: watch.ends(PATIENCE) }
    }

    fn problem(&self, left: Option<String>) -> Option<String> {
        let Answer { status, stdout, stderr, took } = &self.answer;
        let messages: Vec<&str> = stderr.lines().collect();
        let has_path = stdout.starts_with('/') && stdout.ends_with('\n') && stdout.lines().count() == 1;
        let problem = match status.code() {
            _ if messages.iter().any(|line| !line.starts_with("manager: ")) => {
                "another program reported an error"
            }
            _ if !stdout.is_empty() && !has_path => "half a path",
            Some(0) if !has_path => "status 0 without a path",
            Some(0) if !messages.is_empty() => "status 0 with messages",
            Some(0) if !self.hook.lines.contains(&self.lines.len()) => "status 0 with missing lines",
            _ if *took > END => "it ended too late",
            Some(1 | 2) if messages.is_empty() => "it failed without a message",
            Some(0..=2) => return left,
            _ => "it crashed",
        };
        Some(format!("{problem}: {:?}, {:?}", self.answer, self.lines))
    }

    fn left_after_the_next_call(&self, kernel: &Kernel, manager: &Manager) -> Option<String> {
        let answer = manager.call(["--get-all"]).answer();
        let left = (kernel.instances_of(&[self.pid]), kernel.probes_of(&[self.pid]), manager.files());
        let is_clean = answer.status.success() && left.0.is_empty() && left.1.is_empty() && left.2.is_empty();
        (!is_clean).then(|| format!("left: {left:?}, after {answer:?}"))
    }
}
