//! What a plugin may do to the machine in discovery, and in a session.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use system_tests::{Call, Kernel, Manager, OwnInstance, Plugins, is_root, lock_out_sweeps, skip};
use tempfile::TempDir;

/// Fails with EPERM.
const EPERM: Errno = Errno::EPERM;
/// Fails with EACCES.
const EACCES: Errno = Errno::EACCES;
/// Succeeds: discovery needs it.
const ALLOWED: Errno = Errno::UnknownErrno;

/// Each attempt, and its error in discovery.
const ATTEMPTS: &[(&str, Errno)] = &[
    ("write", EPERM),
    ("write-and-read", EPERM),
    ("truncate-on-open", EPERM),
    ("truncate", EPERM),
    ("create", EPERM),
    ("create-in-run-directory", EPERM),
    ("create-in-tmp", EPERM),
    ("create-nameless", EPERM),
    ("create-by-openat2", Errno::ENOSYS),
    ("rename", EPERM),
    ("link", EPERM),
    ("symlink", EPERM),
    ("mkdir", EPERM),
    ("mkfifo", EPERM),
    ("delete", EPERM),
    ("chmod", EPERM),
    ("chmod-by-fchmodat2", EPERM),
    ("chmod-what-is-open", EPERM),
    ("chown", EPERM),
    ("touch", EPERM),
    ("set-attribute", EPERM),
    ("set-flags", EPERM),
    ("lock", EPERM),
    ("write-own-plugin", EPERM),
    ("chmod-own-plugin", EPERM),
    ("read-file-of-user", EACCES),
    ("list-directory-of-user", EACCES),
    ("list-run-directory", EACCES),
    ("open-fifo", EACCES),
    ("open-terminal", EACCES),
    ("open-device", EACCES),
    ("descriptor-of-supervisor", EACCES),
    ("read-trace", EACCES),
    ("read-trace-pipe", EACCES),
    ("read-ring-buffer", EACCES),
    ("read-library", ALLOWED),
    ("read-procfs", ALLOWED),
    ("read-sysfs", ALLOWED),
    ("read-format", ALLOWED),
    ("read-events", ALLOWED),
    ("internet-socket", EPERM),
    ("datagram-socket", EPERM),
    ("netlink-socket", EPERM),
    ("packet-socket", EPERM),
    ("unix-connect", EPERM),
    ("switch-tracing", EPERM),
    ("enable-event", EPERM),
    ("set-event", EPERM),
    ("mark-trace", EPERM),
    ("clear-trace", EPERM),
    ("define-uprobe", EPERM),
    ("make-instance", EPERM),
    ("load-bpf", EPERM),
    ("attach-bpf", EPERM),
    ("watch-all-tasks", EPERM),
    ("watch-victim", EPERM),
    ("signal-supervisor", EPERM),
    ("signal-all", EPERM),
    ("signal-victim", EPERM),
    ("signal-thread", EPERM),
    ("queue-signal", EPERM),
    ("trace-supervisor", EPERM),
    ("trace-victim", EPERM),
    ("memory-of-victim", EPERM),
    ("limit-victim", EPERM),
    ("fork", EPERM),
    ("execute", EPERM),
    ("leave-group", EPERM),
    ("mount", EPERM),
    ("chroot", EPERM),
    ("new-mounts", EPERM),
    ("new-user-namespace", EPERM),
    ("hostname", EPERM),
    ("become-user", EPERM),
    ("kernel-key", EPERM),
    ("io-uring", EPERM),
    ("userfaultfd", EPERM),
    ("memory-file", EPERM),
];

/// Denied in sessions as well, because tracing does not need it.
const NOT_FOR_SESSIONS: &[&str] = &["packet-socket", "chroot", "become-user"];

/// The objects that the fixture `sandbox_escape` tries to change: files in a directory, an instance, a process.
struct Surroundings {
    directory: TempDir,
    instance: OwnInstance,
    victim: Child,
    _socket: UnixListener,
}

impl Surroundings {
    fn new(kernel: &Kernel, name: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        for file in ["file", "for-constructor", "for-info", "for-probe", "for-session"] {
            fs::write(directory.path().join(file), "content").expect("a file can be written");
        }
        fs::create_dir(directory.path().join("mountpoint")).expect("a directory can be made");
        mkfifo(&directory.path().join("fifo"), Mode::S_IRWXU).expect("a FIFO can be made");
        let socket = UnixListener::bind(directory.path().join("socket")).expect("a socket can be bound");
        let victim = Command::new("sleep").arg("600").spawn().expect("there is sleep");
        let instance = kernel.make_instance(&format!("escape_{name}_{}", std::process::id()));
        Self { directory, instance, victim, _socket: socket }
    }

    fn opened_to<'a>(&self, call: Call<'a>, manager: &Manager) -> Call<'a> {
        call.variable("ESCAPE_DIRECTORY", self.directory.path())
            .variable("ESCAPE_PLUGIN", plugin_of(manager))
            .variable("ESCAPE_INSTANCE", self.instance.path())
            .variable("ESCAPE_VICTIM", self.victim.id().to_string())
    }

    /// The state of everything that could have been changed, seen from outside the sandbox.
    fn seen_from_outside(&self, manager: &Manager) -> Vec<(PathBuf, String)> {
        let mut seen = Vec::new();
        for directory in [self.directory.path(), manager.run_directory(), manager.plugins().path()] {
            seen.extend(files_in(directory).map(|file| {
                let metadata = file.symlink_metadata().expect("it exists");
                let (mode, owner, size) = (metadata.mode(), metadata.uid(), metadata.len());
                let content = metadata.is_file().then(|| fs::read(&file).expect("it can be read"));
                let times = (metadata.mtime_nsec(), metadata.ctime_nsec());
                let content = content.map(|bytes| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>());
                (file, format!("{mode:o} {owner} {size} {times:?} {content:?}"))
            }));
        }
        for file in ["tracing_on", "set_event", "events/enable", "trace"] {
            seen.push((file.into(), self.instance.get(file)));
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.victim.id())).expect("it is running");
        let traced = status.lines().find(|line| line.starts_with("TracerPid")).unwrap_or_default();
        seen.push(("victim".into(), traced.to_owned()));
        seen.sort();
        seen
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

fn plugin_of(manager: &Manager) -> PathBuf {
    manager.plugins().path().join("libsandbox_escape.so")
}

fn files_in(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).expect("it can be listed").map(|entry| entry.expect("an entry").path())
}

/// Parses the results of the fixture, such as `info/mkdir=1`: for each phase, the error number of each attempt.
fn report(text: &str) -> BTreeMap<&str, BTreeMap<&str, i32>> {
    let mut phases = BTreeMap::<&str, BTreeMap<&str, i32>>::new();
    for word in text.split_whitespace() {
        if let Some((attempt, errno)) = word.split_once('=')
            && let Some((phase, attempt)) = attempt.split_once('/')
            && let Ok(errno) = errno.parse()
        {
            phases.entry(phase).or_default().insert(attempt, errno);
        }
    }
    phases
}

/// Checks that the phase made all attempts, and that each had the expected result.
#[track_caller]
fn as_expected(phase: &str, attempts: &BTreeMap<&str, i32>) {
    let expected: BTreeMap<&str, i32> =
        ATTEMPTS.iter().map(|(attempt, errno)| (*attempt, *errno as i32)).collect();
    let differing: Vec<_> =
        attempts.iter().filter(|(name, errno)| expected.get(*name) != Some(errno)).collect();
    assert!(differing.is_empty(), "{phase}: {differing:?}");
    assert_eq!(attempts.len(), expected.len(), "{phase}");
}

#[test]
fn listing_hooks_changes_nothing() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["sandbox_escape"]));
    let surroundings = Surroundings::new(&kernel, "discovery");
    let before = surroundings.seen_from_outside(&manager);

    let listed = surroundings.opened_to(manager.call(["--list", "--json"]), &manager).answer();
    let list: Value = serde_json::from_str(&listed.stdout).expect("the list is JSON");
    let reason = list[0]["reason"].as_str().expect("the reason is given");
    as_expected("probe", &report(reason)["probe"]);

    let described = surroundings.opened_to(manager.call(["--describe", "sandbox_escape"]), &manager).answer();
    let phases = report(described.succeeded());
    as_expected("constructor", &phases["constructor"]);
    as_expected("info", &phases["info"]);

    assert_eq!(surroundings.seen_from_outside(&manager), before);
}

/// Shows that the test above can fail: the same attempts succeed where they are allowed.
#[test]
fn a_session_may_do_what_tracing_needs() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["sandbox_escape"]));
    // It briefly defines a uprobe, which is visible to all.
    let _alone = lock_out_sweeps();
    let surroundings = Surroundings::new(&kernel, "session");

    let run = manager.run("sandbox_escape", format!("--pid {}", std::process::id()));
    let in_namespace = surroundings.opened_to(run, &manager).in_mount_namespace(r#"exec "$@""#);
    let session = in_namespace.start();
    session.wait_for_lines(ATTEMPTS.len());
    let ended = session.stop();
    let lines = ended.succeeded().join(" ");
    let mut attempts = report(&lines).remove("session").expect("a report");
    for attempt in NOT_FOR_SESSIONS {
        assert_eq!(attempts.remove(attempt), Some(EPERM as i32), "{attempt}");
    }
    let failed: Vec<_> = attempts.iter().filter(|(_, errno)| **errno != 0).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(attempts.len() + NOT_FOR_SESSIONS.len(), ATTEMPTS.len());
}

#[test]
fn a_session_keeps_the_capabilities_for_tracing_and_no_others() {
    if !is_root() {
        return skip("it needs root");
    }
    const CAP_SYS_MODULE: u64 = 1 << 16;
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let manager = Manager::with(Plugins::of(["synthetic"]));
    let run = manager.run("synthetic_lines", format!("--pid {} --every 1000", std::process::id()));
    let session = run.start_unread();
    let worker = session.worker();
    let of = |process: u32, field: &str| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it is running");
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
        u64::from_str_radix(value.expect("there is such a field"), 16).expect("a number")
    };
    let manager_has = of(session.pid(), "CapEff");
    assert_ne!(manager_has & CAP_SYS_MODULE, 0, "this test needs all of root's capabilities");
    for set in ["CapEff", "CapPrm"] {
        assert_eq!(of(worker, set) & CAP_SYS_MODULE, 0);
        assert_ne!(of(worker, set) & CAP_SYS_ADMIN, 0);
    }
    assert_eq!(of(worker, "NoNewPrivs"), 1);
    session.stop().succeeded();
}
