//! `trace_syscalls --decode`, beside strace of the very same calls. All of it needs root, tracefs and strace.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use system_tests::{Kernel, Manager, Plugins, Workload, eventually};
use tempfile::TempDir;

/// Simple programs, one after the other: descriptors, files, memory, a child that is killed, an error, a socket.
const SCRIPT: &str = "read go; : > /dev/null; ls / /no/such/file; cat /proc/self/status; sleep 5 & kill -9 $!; wait; exec true";

fn manager() -> Manager {
    Manager::with(Plugins::of(["ftrace"]))
}

/// A shell under strace. It is killed when this is dropped.
struct Straced {
    strace: Child,
    directory: TempDir,
}

impl Straced {
    /// Waits for `go`.
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let strace = Command::new("strace")
            .args(["-ff", "-X", "abbrev", "-o"])
            .arg(directory.path().join("calls"))
            .args(["sh", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace can be started");
        let straced = Self { strace, directory };
        let waits = || (straced.processes() == 1 && straced.waits()).then_some(());
        eventually("the shell waits", Duration::from_secs(10), waits);
        straced
    }

    fn go(&mut self) {
        let mut stdin = self.strace.stdin.take().expect("its standard input");
        stdin.write_all(b"go\n").expect("the shell reads");
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
    let (read, input) = (nix::libc::SYS_read, 0);
    fs::read_to_string(format!("/proc/{pid}/syscall"))
        .is_ok_and(|call| call.starts_with(&format!("{read} {input:#x} ")))
}

/// A call, as far as both tell of it in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    name: String,
    /// None: it did not return. Addresses are numbers.
    result: Option<i128>,
    error: Option<String>,
    /// The flags it was given, where it takes some.
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
    // The kernel does not tell of its return, which is to where a signal came: strace shows that call's result.
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
        // strace shows -1, as programs see it.
        result: if error.is_some() { Some(-1) } else { number(&event["result"]) },
        error,
        flags: argument.map(|flags| flags.split('|').map(str::to_owned).collect()).unwrap_or_default(),
    }
}

/// What programs call the calls that the kernel has new versions of.
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
    let mut shell = Straced::start();
    let first = shell.files()[0].0;
    let arguments = format!("--pid {first} --decode --format json --buffer-size 8192");
    let session = manager.run("trace_syscalls", arguments).start();
    shell.go();
    let ended = session.ends();
    let events = ended.objects();
    let files = shell.files();
    assert!(files.len() >= 4, "a shell and three programs: {files:#?}");
    for (pid, text) in &files {
        let mut expected: Vec<Call> = text.lines().filter_map(straced).collect();
        let of_thread = events.iter().filter(|event| event["tid"] == *pid);
        // strace does not tell of the call that a child is born in.
        let mut calls: Vec<Call> = of_thread.filter(|event| event["resumed"] != true).map(decoded).collect();
        if *pid == first {
            // The session has begun in the middle of its life.
            expected.drain(..expected.len() - calls.len());
        }
        if text.contains("+++ killed by") {
            // strace makes of the last call what it can.
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
    let lines = ended.well();
    let parent = std::process::id();
    let calls = lines.iter().filter(|line| line.contains(&format!(": getppid: result={parent} duration=")));
    assert_eq!(calls.count(), 100, "{lines:#?}");
    // It waits for the next order.
    let last = lines.last().expect("a line");
    assert!(last.contains(": read: fd=0 buf=0x") && last.ends_with(" unfinished"), "{last}");
}
