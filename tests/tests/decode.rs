//! `trace_syscalls --decode`, compared with strace of the same calls. Needs root, tracefs and strace.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::libc;
use serde_json::Value;
use system_tests::{Kernel, Log, Manager, Plugins, Workload, built, cpus, eventually};
use tempfile::TempDir;

/// Simple programs in sequence: descriptors, files, memory, a child that is killed, an error, a socket.
const SCRIPT: &str = "read go; : > /dev/null; ls / /no/such/file; cat /proc/self/status; sleep 5 & kill -9 $!; wait; exec true";

fn manager() -> Manager {
    Manager::with(Plugins::of(["ftrace"]))
}

/// A program under strace. It is killed when this is dropped.
struct Straced {
    strace: Child,
    directory: TempDir,
}

impl Straced {
    /// A program that reads a line first.
    fn start(program: &[&OsStr]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let strace = Command::new("strace")
            .args(["-ff", "-X", "abbrev", "-o"])
            .arg(directory.path().join("calls"))
            .args(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace can be started");
        let straced = Self { strace, directory };
        let waits = || (straced.processes() == 1 && straced.waits()).then_some(());
        eventually("the program waits", Duration::from_secs(10), waits);
        straced
    }

    fn proceed(&mut self) {
        let mut stdin = self.strace.stdin.take().expect("its standard input");
        stdin.write_all(b"go\n").expect("the program reads");
        drop(stdin);
        self.strace.wait().expect("strace ends");
    }

    fn files(&self) -> Vec<(u32, String)> {
        let files = fs::read_dir(self.directory.path()).expect("the directory");
        let read = |path: std::path::PathBuf| {
            let pid = path.extension()?.to_str()?.parse().ok()?;
            Some((pid, fs::read_to_string(path).ok()?))
        };
        files.filter_map(|entry| read(entry.ok()?.path())).collect()
    }

    fn processes(&self) -> usize {
        self.files().len()
    }

    fn waits(&self) -> bool {
        waits_for_input(self.files()[0].0)
    }
}

impl Drop for Straced {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
        for (pid, _) in self.files() {
            let pid = nix::unistd::Pid::from_raw(pid as i32);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// Whether the process is in a read from its standard input.
fn waits_for_input(pid: u32) -> bool {
    let (read, input) = (libc::SYS_read, 0);
    fs::read_to_string(format!("/proc/{pid}/syscall"))
        .is_ok_and(|call| call.starts_with(&format!("{read} {input:#x} ")))
}

/// The parts of a call that both print in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    name: String,
    /// `None` if it did not return. Addresses are numbers.
    result: Option<i128>,
    error: Option<String>,
    /// Its flags, if it has any.
    flags: BTreeSet<String>,
}

/// `openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3`
fn straced(line: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return None;
    }
    let (arguments, returned) = rest.rsplit_once(" = ")?;
    let mut words = returned.split(' ');
    let number = words.next()?;
    let result = match number.strip_prefix("0x") {
        Some(hex) => Some(i128::from_str_radix(hex, 16).ok()?),
        None if returned.starts_with("? ERESTART") => Some(-1),
        None if number == "?" => None,
        None => Some(number.parse().ok()?),
    };
    // The kernel has no event of its return, which is to the place where a signal arrived: strace shows that call's result.
    let result = result.filter(|_| name != "rt_sigreturn");
    let mut words = words.take_while(|_| name != "rt_sigreturn");
    let error = words.next().filter(|word| word.starts_with('E')).map(str::to_owned);
    let argument = match name {
        "openat" => arguments.rsplit(", ").find(|part| part.starts_with("O_")),
        "mmap" => arguments.split(", ").nth(3),
        "mprotect" => arguments.split(", ").nth(2),
        "fcntl" if arguments.contains("F_SETF") => arguments.split(", ").nth(2),
        _ => None,
    };
    let flags =
        argument.map(|flags| flags.trim_end().trim_end_matches(')').split('|').map(str::to_owned).collect());
    Some(Call { name: name.to_owned(), result, error, flags: flags.unwrap_or_default() })
}

fn decoded(event: &Value) -> Call {
    let number = |value: &Value| match value.as_str() {
        Some(hex) => i128::from_str_radix(hex.trim_start_matches("0x"), 16).ok(),
        None => value.as_i64().map(i128::from),
    };
    let kernels = event["event"].as_str().expect("a name");
    let argument = match kernels {
        "openat" | "mmap" => event["arguments"]["flags"].as_str(),
        "mprotect" => event["arguments"]["prot"].as_str(),
        "fcntl" => event["arguments"]["arg"].as_str(),
        _ => None,
    };
    let error = event["error"].as_str().map(str::to_owned);
    Call {
        name: familiar(kernels).to_owned(),
        // strace shows -1, the value that programs get.
        result: if error.is_some() { Some(-1) } else { number(&event["result"]) },
        error,
        flags: argument.map(|flags| flags.split('|').map(str::to_owned).collect()).unwrap_or_default(),
    }
}

/// The usual names of calls that the kernel has newer versions of.
fn familiar(kernels: &str) -> &str {
    match kernels {
        "newfstatat" => kernels,
        "sendfile64" => "sendfile",
        "umount" => "umount2",
        _ => kernels.strip_prefix("new").unwrap_or(kernels),
    }
}

#[test]
fn calls_are_shown_as_strace_shows_them() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut shell = Straced::start(&["sh", "-c", SCRIPT].map(OsStr::new));
    let first = shell.files()[0].0;
    let arguments = format!("--pid {first} --decode --format json --buffer-size 8192");
    let session = manager.run("trace_syscalls", arguments).start();
    shell.proceed();
    let ended = session.ends();
    let events = ended.objects();
    let files = shell.files();
    assert!(files.len() >= 4, "a shell and three programs: {files:#?}");
    for (pid, text) in &files {
        let mut expected: Vec<Call> = text.lines().filter_map(straced).collect();
        let of_thread = events.iter().filter(|event| event["tid"] == *pid);
        // strace does not print the child's return from the call that created it.
        let mut calls: Vec<Call> = of_thread.filter(|event| event["resumed"] != true).map(decoded).collect();
        if *pid == first {
            // The session started during this call.
            expected.drain(..expected.len() - calls.len());
        }
        if text.contains("+++ killed by") {
            // strace prints the last call incompletely.
            let both = calls.len().min(expected.len());
            calls.truncate(both.saturating_sub(1));
            expected.truncate(both.saturating_sub(1));
        }
        for (call, expected) in calls.iter().zip(&expected) {
            assert_eq!(call, expected, "of process {pid}");
        }
        assert_eq!(calls.len(), expected.len(), "of process {pid}");
    }
    assert!(events.len() > 200, "four programs have made calls: {}", events.len());
    let failed = events.iter().any(|event| event["error"] == "ENOENT");
    let killed =
        events.iter().any(|event| event["event"] == "kill" && event["arguments"]["sig"] == "SIGKILL");
    assert!(failed && killed);
}

/// Calls with constants of all kinds among their arguments, and otherwise invalid arguments.
fn calls_with_constants() -> Vec<Vec<i64>> {
    let calls: &[&[i64]] = &[
        &[libc::SYS_openat, -100, 0, 0o210_2102, 0o640],
        #[cfg(target_arch = "x86_64")]
        &[libc::SYS_openat, -100, 0, 0o10_0001],
        &[libc::SYS_statx, -1, 0, 0x3000, 0x11],
        &[libc::SYS_fcntl, -1, 4, 0o4000],
        &[libc::SYS_fcntl, -1, 1033, 0xf],
        &[libc::SYS_setxattr, 0, 0, 0, 0, 1],
        &[libc::SYS_fanotify_init, 0x205, 0o4001],
        &[libc::SYS_fanotify_mark, -1, 0x111, 0x4800_1008, -100, 0],
        &[libc::SYS_io_uring_enter, -1, 0, 0, 9],
        &[libc::SYS_io_uring_register, -1, 8, 0, 0],
        &[libc::SYS_quotactl, 0x8000_0701_u32 as i32 as i64, 0, 0, 0],
        &[libc::SYS_umount2, 0, 10],
        &[libc::SYS_fsopen, 0, 1],
        &[libc::SYS_fsconfig, -1, 5, 0, 0, 0],
        &[libc::SYS_fspick, -1, 0, 9],
        &[libc::SYS_move_mount, -1, 0, -1, 0, 0x44],
        &[libc::SYS_mmap, 0, 0, 5, 0x8022, -1, 0],
        &[libc::SYS_mprotect, 0, 0, 3],
        &[libc::SYS_madvise, 0, 0, 14],
        &[libc::SYS_mbind, 0, 0, 0x8002, 0, 0, 3],
        &[libc::SYS_get_mempolicy, 0, 0, 0, 0, 4],
        &[libc::SYS_mlock2, 0, 0, 1],
        &[libc::SYS_pkey_alloc, 0, 3],
        &[libc::SYS_memfd_create, 0, 3],
        &[libc::SYS_msgctl, -1, 11, 0],
        &[libc::SYS_msgrcv, -1, 0, 0, 0, 0o14000],
        &[libc::SYS_semctl, -1, 0, 16, 0],
        &[libc::SYS_shmget, 0, 0, 0o3600],
        &[libc::SYS_shmat, -1, 0, 0o10000],
        &[libc::SYS_shmctl, -1, 14, 0],
        &[libc::SYS_mq_open, 0, 0o102, 0o600, 0],
        &[libc::SYS_socket, 2, 0o2000003, 6],
        &[libc::SYS_setsockopt, -1, 6, 18, 0, 4],
        &[libc::SYS_sendmsg, -1, 0, 0x4040],
        &[libc::SYS_rt_sigprocmask, 2, 0, 0, 8],
        &[libc::SYS_wait4, -1, 0, 0x4000_0001, 0],
        &[libc::SYS_waitid, 3, -1, 0, 5, 0],
        &[libc::SYS_prctl, 1, 9],
        &[libc::SYS_prctl, 4, 1],
        &[libc::SYS_prctl, 38, 1],
        &[libc::SYS_ptrace, 0x4206, 0, 0, 0x10_0001],
        &[libc::SYS_ptrace, 24, 0, 0, 5],
        &[libc::SYS_pidfd_open, -1, 0o4000],
        &[libc::SYS_ioprio_get, 1, -1],
        &[libc::SYS_sched_setscheduler, -1, 2, 0],
        &[libc::SYS_kcmp, 0, 0, 6, 0, 0],
        &[libc::SYS_membarrier, 0x100, 1],
        &[libc::SYS_bpf, 18, 0, 0],
        &[libc::SYS_seccomp, 1, 9, 0],
        &[libc::SYS_keyctl, 11, 0, 0, 0],
        &[libc::SYS_landlock_add_rule, -1, 1, 0, 0],
        &[libc::SYS_clock_nanosleep, 7, 1, 0, 0],
        &[libc::SYS_timerfd_create, 1, 0o2004000],
    ];
    calls.iter().map(|call| call.to_vec()).collect()
}

/// The names of constants in a text.
fn constants(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_name = |word: &&str| {
        let has = |kind: fn(&char) -> bool| word.chars().any(|c| kind(&c));
        has(char::is_ascii_uppercase) && !has(char::is_ascii_lowercase) && *word != "NULL"
    };
    words.filter(is_name).map(str::to_owned).collect()
}

#[test]
fn constants_have_the_names_that_strace_uses() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let calls = calls_with_constants();
    let words = |call: &Vec<i64>| call.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let program = [built("caller").into_os_string()];
    let program: Vec<_> = program.into_iter().chain(calls.iter().map(|call| words(call).into())).collect();
    let program: Vec<&OsStr> = program.iter().map(AsRef::as_ref).collect();
    let mut caller = Straced::start(&program);
    let pid = caller.files()[0].0;
    let session = manager.run("trace_syscalls", format!("--pid {pid} --decode --format json")).start();
    caller.proceed();
    let events = session.ends().objects();
    let text = caller.files().remove(0).1;
    // The calls before come from the C library. A kernel that lacks a call has no event of it either.
    let began = |line: &&str| !line.starts_with("openat(AT_FDCWD, NULL");
    let expected: Vec<&str> = text
        .lines()
        .skip_while(began)
        .filter(|line| line.contains(" = ") && !line.contains("ENOSYS"))
        .collect();
    let began = |event: &&Value| event["arguments"]["filename"] != "0x0";
    let reported: Vec<&Value> =
        events.iter().skip_while(began).filter(|event| event["error"] != "ENOSYS").collect();
    assert_eq!(reported.len(), expected.len(), "{expected:#?}");
    assert!(reported.len() >= 40, "{expected:#?}");
    for (event, line) in reported.iter().zip(expected) {
        let (arguments, _) = line.rsplit_once(" = ").unwrap_or_default();
        // A macro that composes a number.
        let arguments = arguments.replace("QCMD(", "");
        assert_eq!(constants(&event["arguments"].to_string()), constants(&arguments), "{event}\n{line}");
    }
}

#[test]
fn a_call_is_a_line_with_its_arguments_result_and_duration() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let arguments = format!("--pid {} -s getppid read --decode", workload.id());
    let session = manager.run("trace_syscalls", arguments).start();
    workload.calls(100);
    let waits = || waits_for_input(workload.id()).then_some(());
    eventually("the workload waits for an order", Duration::from_secs(10), waits);
    let ended = session.stop();
    let lines = ended.succeeded();
    let parent = std::process::id();
    let calls = lines.iter().filter(|line| line.contains(&format!(": getppid: result={parent} duration=")));
    assert_eq!(calls.count(), 100, "{lines:#?}");
    // It waits for the next command.
    let last = lines.last().expect("a line");
    assert!(last.contains(": read: fd=0 buf=0x") && last.ends_with(" unfinished"), "{last}");
}

/// The number of lost events in a line that reports a loss.
fn lost(event: &Value) -> Option<u64> {
    (event["event"] == "lost").then(|| event["count"].as_u64().expect("a count"))
}

#[test]
fn a_return_after_lost_events_is_not_paired_with_an_earlier_call() {
    const MARKS: u64 = 300_000;
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, log, workload) = (manager(), Log::new(), Workload::start());
    workload.stays_on(cpus()[0]);
    // A page of the ring buffer may end between a call and its return.
    let arguments = format!("--pid {} -s getsid --decode --format json --buffer-size 4", workload.id());
    let session = log.of(manager.call(["-v", "--run", "trace_syscalls", "--args", &arguments])).start();
    const ROUND: usize = 5000;
    for first in (0..MARKS as usize).step_by(2 * ROUND) {
        session.while_worker_is_stopped(|| workload.marks(first, ROUND));
        workload.marks(first + ROUND, ROUND);
    }
    let (mut whole, mut halves, mut all_lost) = (0, 0, 0);
    // The mark after the last complete one, and the number of events lost since.
    let (mut next, mut lost_since) = (0, 0);
    for event in session.stop().objects() {
        if let Some(lost) = lost(&event) {
            (lost_since, all_lost) = (lost_since + lost, all_lost + lost);
        } else if event["resumed"] == true || event["unfinished"] == true {
            halves += 1;
        } else {
            let mark = event["arguments"]["pid"].as_u64().expect("a mark");
            assert!(mark > next || lost_since == 0, "its return is another's: {event}");
            (next, lost_since, whole) = (mark + 1, 0, whole + 1);
        }
    }
    assert!(all_lost > 0 && halves > 0, "{all_lost} lost, {halves} without the other half");
    assert_eq!(2 * whole + halves + all_lost, 2 * MARKS);
    let (lines, summary) = ((whole + halves) as usize, log.summary());
    assert_eq!(summary.lost.values().sum::<usize>() as u64, all_lost);
    assert_eq!((summary.delivered, summary.recorded), (lines, lines + all_lost as usize));
}
