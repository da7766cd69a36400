//! Plays the DaemonSet of container-tracer with the component in packaging/kubernetes: an init container installs into an
//! `emptyDir`, and the daemon, in a container with a read-only root, finds and runs hooks there.
//!
//! Here, what is installed is the build for this machine, in a container that has this machine's C library. Two variables
//! replace both: [`KERNEL_DIRECTORY`] and [`ROOT`]. `cargo xtask release --test` runs these tests with the files of the release
//! and Debian 11, from which container-tracer's image is made.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use system_tests::{
    Call, Kernel, Manager, PATIENCE, Plugins, Process, Reader, Workload, built, is_root, skip, wait_until,
};
use tempfile::TempDir;

/// The mount points of the container. The others are below them.
const MOUNT_POINTS: [&str; 8] =
    ["proc", "sys", "dev", "run", "host/proc", "host/sys", "tracer/trace-hooks", "var/tmp"];

const PLUGINS: [&str; 4] = ["ebpf", "ftrace", "perf", "uprobe"];
/// Names the directory with the manager, and with the plugins in `plugins/`.
const KERNEL_DIRECTORY: &str = "DAEMON_SET_KERNEL_DIRECTORY";
/// Names the root file system of the tracer's image.
const ROOT: &str = "DAEMON_SET_ROOT";

/// A node with the pod of the DaemonSet, without its daemon.
struct Pod {
    manager: Manager,
    root: Root,
    /// The `emptyDir` with the manager and the plugins.
    hooks: TempDir,
}

/// The root file system of the tracer's image.
enum Root {
    Given(PathBuf),
    /// Nothing but the C library.
    Minimal(TempDir),
}

impl Pod {
    fn or_skip() -> Option<Self> {
        if !is_root() {
            skip("it needs root");
            return None;
        }
        let pod =
            Self { manager: Manager::with(Plugins::of(PLUGINS)), root: Root::new(), hooks: directory() };
        for volume in [pod.hooks.path(), pod.manager.run_directory()] {
            fs::set_permissions(volume, Permissions::from_mode(0o777)).expect("the test owns it");
        }
        Some(pod)
    }

    /// What the init container does, as root without any capability.
    fn install(&self) {
        let call = match env::var_os(KERNEL_DIRECTORY).map(PathBuf::from) {
            Some(kernel) => self.manager.call_as(kernel.join("manager")).word("install"),
            None => {
                let plugins = self.manager.plugins().path();
                self.manager.bare_call().word("install").word("--plugins").word(plugins)
            }
        };
        let without_capabilities =
            ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];
        let installed = call.word(self.hooks.path().join("kernel")).under(without_capabilities).answer();
        assert!(installed.succeeded_with_messages(1)[0].contains("sticky"), "{installed:#?}");
    }

    /// A call as the daemon makes it: in the manager's directory, in the container.
    fn call(&self, words: &[&str]) -> Call<'_> {
        self.call_in_container(words, "mkdir run/trace-hooks; mount --bind \"$volume\" run/trace-hooks")
    }

    fn call_in_container(&self, words: &[&str], run_directory: &str) -> Call<'_> {
        let script = format!(
            r#"
            cd {root}
            mount --bind . .
            cd {root}
            mount -t proc proc proc
            mount --bind -o ro /sys sys
            mount --bind /dev dev
            mount --bind /proc host/proc
            mount -o remount,bind,ro host/proc
            mount --rbind /sys host/sys
            mount --bind {hooks} tracer/trace-hooks
            mount -o remount,bind,ro tracer/trace-hooks
            mount -t tmpfs none run
            volume={volume}
            {run_directory}
            mount -o remount,bind,ro .
            exec unshare --root=. --wd=/tracer/trace-hooks/kernel "$@"
            "#,
            root = self.root.path().display(),
            hooks = self.hooks.path().display(),
            volume = self.manager.run_directory().display(),
        );
        let call = self.manager.call_as("./manager.bin").words(words).in_mount_namespace(&script);
        let call =
            call.variable("TRACER_PROCFS_PATH", "/host/proc").variable("TRACER_SYSFS_PATH", "/host/sys");
        call.variable("TRACER_RUN_PATHS", "/host/run").variable("TRACER_RUN_PATH", "/run/trace-hooks")
    }

    /// Starts a session, and waits for its path; returns where that is outside of the container.
    #[track_caller]
    fn run(&self, arguments: &str) -> (Process, PathBuf) {
        let mut process = self.call(&["--run", "trace_syscalls", "--args", arguments]).spawn();
        wait_until("it prints a path, or ends", PATIENCE, || process.has_output() || process.is_over());
        let path = process.stdout();
        let in_volume = path.trim_end().strip_prefix("/run/trace-hooks/");
        let in_volume = in_volume.unwrap_or_else(|| panic!("{path:?}: {:#?}", process.ends(PATIENCE)));
        (process, self.manager.run_directory().join(in_volume))
    }
}

impl Root {
    fn new() -> Self {
        let root = match env::var_os(ROOT) {
            Some(given) => Self::Given(given.into()),
            None => Self::minimal(),
        };
        for place in MOUNT_POINTS {
            fs::create_dir_all(root.path().join(place)).expect("a directory can be made");
        }
        root
    }

    fn minimal() -> Self {
        let root = directory();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).expect("the test owns it");
        for library in libraries() {
            let copy = root.path().join(library.strip_prefix("/").expect("an absolute path"));
            fs::create_dir_all(copy.parent().expect("it is in a directory"))
                .expect("a directory can be made");
            fs::copy(library, copy).expect("a library can be copied");
        }
        Self::Minimal(root)
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(root) => root,
            Self::Minimal(root) => root.path(),
        }
    }
}

/// The libraries of the manager and the plugins.
fn libraries() -> Vec<PathBuf> {
    let plugins = PLUGINS.map(|plugin| built(format!("lib{plugin}.so")));
    let output = Command::new("ldd").arg(built("manager")).args(plugins).output();
    let output = String::from_utf8(output.expect("ldd can be started").stdout).expect("it is text");
    let words = output.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'));
    words.map(PathBuf::from).collect()
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory can be made")
}

#[test]
fn the_daemon_finds_the_hooks_and_gets_every_line() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let Some(pod) = Pod::or_skip() else { return };
    pod.install();
    pod.call(&["--clear"]).answer().succeeded_silently();
    let hooks = pod.call(&["--get-all"]).answer();
    let hooks: Vec<&str> = hooks.succeeded().split_whitespace().collect();
    assert!(hooks.contains(&"trace_syscalls") && hooks.contains(&"trace_profile"), "{hooks:?}");
    for hook in &hooks {
        let described = pod.call(&["--describe", hook]).answer();
        assert!(!described.succeeded().contains("Cannot run here"), "{described:#?}");
    }

    let (workload, other) = (Workload::start(), Workload::start());
    let (mut process, path) = pod.run(&format!("--pid {} {} -s getppid", workload.id(), other.id()));
    let reader = Reader::of(&path);
    workload.calls(1000);
    other.calls(1000);
    process.signal(Signal::SIGINT);
    process.ends(PATIENCE).succeeded();
    assert_eq!(reader.finish().len(), 2000);
}

#[test]
fn what_the_daemon_does_not_read_is_in_the_volume_until_it_starts_again() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let Some(pod) = Pod::or_skip() else { return };
    pod.install();
    let workload = Workload::start();
    let (mut process, path) = pod.run(&format!("--pid {} -s getppid", workload.id()));
    workload.calls(100);
    process.signal(Signal::SIGINT);
    process.ends(PATIENCE).succeeded();
    assert_eq!(fs::read_to_string(&path).expect("unread output").lines().count(), 100);
    let summary = fs::read_to_string(path.with_extension("summary")).expect("a summary");
    assert!(summary.contains("100 not taken by a reader"), "{summary}");
    pod.call(&["--clear"]).answer().succeeded_silently();
    assert!(pod.manager.unread_output().is_empty() && pod.manager.summaries().is_empty());
}

#[test]
fn without_a_volume_for_the_run_directory_the_error_names_the_variable() {
    let Some(pod) = Pod::or_skip() else { return };
    pod.install();
    let run = ["--run", "trace_profile", "--args", "--pid 1"];
    let answer = pod.call_in_container(&run, "mount -o remount,ro run").answer();
    answer.failed(&["Read-only file system", "/run/trace-hooks", "TRACER_RUN_PATH"]);
}
