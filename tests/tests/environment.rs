//! Environment variables, and where the manager looks for procfs, sysfs and tracefs.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use system_tests::{
    Answer, Call, Event, Kernel, Manager, PATIENCE, Plugins, Script, Workload, is_root, skip, wait_until,
};
use tempfile::TempDir;

const VARIABLES: [&str; 2] = ["TRACER_PROCFS_PATH", "TRACER_SYSFS_PATH"];

fn synthetic() -> Manager {
    Manager::with(Plugins::of(["synthetic"]))
}

fn arguments() -> String {
    format!("--pid {} --time 100", std::process::id())
}

/// Paths that are neither a procfs nor a sysfs.
fn wrong_places() -> [&'static str; 3] {
    ["/nowhere/at/all", "/", "/etc/passwd"]
}

#[test]
fn run_names_the_variable_whose_path_is_missing() {
    let manager = synthetic();
    for variable in VARIABLES {
        for place in wrong_places() {
            let call = manager.run("synthetic_lines", arguments()).variable(variable, place);
            call.answer().failed(&[variable, place]);
        }
    }
}

#[test]
fn patience_that_is_no_factor_is_refused() {
    let manager = synthetic();
    let run = |value: &str| manager.run("synthetic_lines", arguments()).variable("TRACER_PATIENCE", value);
    for value in ["0", "-3", "2s"] {
        run(value).answer().failed(&["TRACER_PATIENCE", value, "whole number from 1 to 1000"]);
    }
    manager.call(["--get-all"]).variable("TRACER_PATIENCE", "x").answer().succeeded();
}

/// The plugin hangs while it is described. Without the factor, this takes two seconds.
#[test]
fn patience_multiplies_time_limits() {
    let manager = Manager::with(Plugins::of(["misbehaving"]));
    let limit = |patience: &str| {
        let call = manager.call(["--get-all"]).variable("TRACER_PATIENCE", patience);
        let began = std::time::Instant::now();
        call.variable("MISBEHAVE", "hang:load").answer();
        began.elapsed()
    };
    // On a busy machine, the limit without the factor is longer, too.
    assert!((0..3).any(|_| limit("3") > limit("1") + std::time::Duration::from_secs(2)));
}

#[test]
fn each_variable_is_used_for_its_own_path() {
    let manager = synthetic();
    for (variable, place) in VARIABLES.iter().zip(["/sys", "/proc"]) {
        manager
            .run("synthetic_lines", arguments())
            .variable(variable, place)
            .answer()
            .failed(&[variable, place]);
    }
}

#[test]
fn clear_names_the_variable_whose_path_is_missing() {
    let manager = synthetic();
    for variable in VARIABLES {
        manager.call(["--clear"]).variable(variable, "/nowhere").answer().failed(&[variable, "/nowhere"]);
    }
}

#[test]
fn discovery_works_with_a_variable_whose_path_is_missing() {
    let manager = synthetic();
    for variable in VARIABLES {
        for place in wrong_places() {
            let listed = manager.call(["--get-all"]).variable(variable, place).answer();
            assert!(listed.status.success(), "{listed:#?}");
            let described =
                manager.call(["--describe", "synthetic_lines"]).variable(variable, place).answer();
            assert!(described.succeeded().contains("Makes up lines"));
        }
    }
}

#[test]
fn without_tracefs_its_hooks_are_described_but_unavailable() {
    let manager = Manager::with(Plugins::of(["ftrace", "synthetic"]));
    let answer_to = |words: &[&str]| manager.call(words).variable("TRACER_SYSFS_PATH", "/nowhere").answer();
    let answer = answer_to(&["--get-all"]);
    assert!(!answer.stdout.contains("trace_syscalls"), "{answer:#?}");
    assert!(answer.status.success() && answer.stderr.contains("trace_syscalls"), "{answer:#?}");
    assert!(answer_to(&["--describe", "trace_syscalls"]).succeeded().contains("--syscall"));
}

/// The hooks of the plugin `ftrace`.
const OF_FTRACE: [&str; 7] = [
    "trace_block",
    "trace_events",
    "trace_memory",
    "trace_net",
    "trace_process",
    "trace_sched",
    "trace_syscalls",
];

/// Checks that each of these hooks of the plugin `ftrace` is reported in its own line.
#[track_caller]
fn assert_complaints(answer: &Answer, hooks: impl Iterator<Item = &'static str>) {
    let hooks: Vec<_> = hooks.collect();
    let complaints = answer.succeeded_with_messages(hooks.len());
    for (complaint, hook) in complaints.iter().zip(hooks) {
        assert!(
            complaint.starts_with(&format!("manager: hook ftrace/{hook} cannot run here: ")),
            "{complaints:#?}"
        );
    }
}

#[test]
fn an_empty_variable_means_the_default() {
    let manager = synthetic();
    let empty = VARIABLES.iter().chain(&["TRACER_PLUGINS_PATH"]);
    let call = empty.fold(manager.run("synthetic_lines", arguments()), |call, name| call.variable(name, ""));
    call.start_unread().ends().succeeded();
}

#[test]
fn an_unprivileged_user_gets_the_reason_and_the_other_hooks() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::for_everyone(Plugins::of(["ftrace", "synthetic"]));
    let answer = manager.call(["--get-all"]).as_nobody().answer();
    assert_eq!(answer.stdout, "synthetic_lines\n");
    assert_complaints(&answer, OF_FTRACE.into_iter());

    assert!(
        manager.call(["--describe", "trace_syscalls"]).as_nobody().answer().succeeded().contains("--syscall")
    );
    let me = format!("--pid {}", std::process::id());
    manager.run("trace_syscalls", &me).as_nobody().answer().failed(&["root"]);
    assert_eq!(manager.run("synthetic_lines", me).as_nobody().start().stop().succeeded().len(), 10);
}

#[test]
fn a_tracefs_that_is_not_mounted_is_mounted() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let without_tracefs = r#"umount -a -t tracefs,debugfs; test ! -e /sys/kernel/tracing/trace; exec "$@""#;
    let listed = manager.call(["--get-all"]).in_mount_namespace(without_tracefs).answer();
    assert!(listed.succeeded().contains("trace_syscalls\n"));
    traces_a_call(|arguments| manager.run("trace_syscalls", arguments).in_mount_namespace(without_tracefs));
}

#[test]
fn a_tracefs_that_cannot_be_mounted_makes_its_hooks_unavailable() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ftrace", "synthetic"]));
    let without_any = r#"umount -a -t tracefs,debugfs
        exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$@""#;
    let answer = manager.call(["--get-all"]).in_mount_namespace(without_any).answer();
    assert_eq!(answer.stdout, "synthetic_lines\ntrace_process\n", "eBPF is enough for trace_process");
    assert_complaints(&answer, OF_FTRACE.into_iter().filter(|hook| *hook != "trace_process"));

    let me = format!("--pid {}", std::process::id());
    manager.run("trace_syscalls", me).in_mount_namespace(without_any).answer().failed(&["trac"]);
}

#[test]
fn a_tracefs_below_debugfs_is_found() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let in_debugfs = r#"umount -a -t tracefs,debugfs
        mount -t debugfs none /sys/kernel/debug
        exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$@""#;
    traces_a_call(|arguments| manager.run("trace_syscalls", arguments).in_mount_namespace(in_debugfs));
}

#[test]
fn what_must_be_on_sys_and_proc_is_named() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ebpf", "ftrace", "perf", "uprobe"]));
    let host = HostMounts::new();
    let without = |directory: &str| format!(r#"{} mount -t tmpfs none {directory}; exec "$@""#, host.bound());

    let listed = host.named(manager.call(["--list"])).in_mount_namespace(&without("/sys")).answer();
    let (ebpf, others): (Vec<_>, Vec<_>) =
        listed.stdout.lines().skip(1).partition(|line| line.contains(" ebpf "));
    assert!(ebpf.iter().all(|line| line.contains("/sys/devices/system/cpu/possible")), "{ebpf:?}");
    assert!(others.iter().all(|line| line.ends_with(" available")), "{others:?}");
    assert_eq!((ebpf.len(), others.len()), (4, 10));

    for words in [&["--get-all"][..], &["--list"], &["--describe", "trace_open"], &["--clear"]] {
        let call = host.named(manager.call(words)).in_mount_namespace(&without("/proc"));
        call.answer().failed(&["/proc/self", "mount -t proc", "TRACER_PROCFS_PATH"]);
    }
}

#[test]
fn host_sys_and_proc_may_be_mounted_elsewhere() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let host = HostMounts::new();
    let script = format!(r#"{} mount -t tmpfs none /sys; exec "$@""#, host.bound());
    let listed = host.named(manager.call(["--get-all"])).in_mount_namespace(&script).answer();
    assert!(listed.succeeded().contains("trace_syscalls\n"));
    traces_a_call(|arguments| {
        host.named(manager.run("trace_syscalls", arguments)).in_mount_namespace(&script)
    });
}

#[test]
fn pids_in_a_container_are_those_of_the_host() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let host = HostMounts::new();
    let script = format!(r#"{} mount -t proc none /proc; mount -t tmpfs none /sys; exec "$@""#, host.bound());
    let container =
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-e", "-c", &script, "sh"];

    let workload = Workload::start();
    let arguments = format!("--pid {} -s getppid", workload.id());
    let mut session = host.named(manager.run("trace_syscalls", arguments).under(container)).start();
    workload.calls(7);
    session.wait_for_lines(7);
    // Our child is `unshare`; its child is the manager.
    let [inner] = session.process().workers()[..] else { panic!("one container") };
    // In its pid namespace, it is process 1.
    let its_instances = || kernel.instances_of(&[1]).into_iter().any(|it| it.pids().contains(&workload.id()));
    assert!(its_instances());
    kill(Pid::from_raw(inner.cast_signed()), Signal::SIGINT).expect("it exists");
    assert_eq!(session.ends().succeeded().len(), 7);
    assert!(!its_instances(), "left in the kernel");
}

#[test]
fn a_session_survives_that_tracefs_is_unmounted_lazily() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let workload = Workload::start();
    for hook in ["trace_syscalls -s getppid", "trace_events -e syscalls:sys_enter_getppid"] {
        let (hook, choice) = hook.split_once(' ').expect("a hook and its arguments");
        let run = manager.run(hook, format!("--pid {} {choice}", workload.id()));
        let session = run.in_mount_namespace(r#"exec "$@""#).start();
        workload.calls(5);
        let mut unmount = Command::new("nsenter");
        unmount.args(["--target", &session.pid().to_string(), "--mount"]);
        unmount.args(["umount", "--lazy", "/sys/kernel/tracing"]);
        assert!(unmount.status().expect("nsenter runs").success());
        workload.calls(5);
        let pid = session.pid();
        let ended = session.stop();
        let lines = ended.succeeded();
        assert_eq!(lines.iter().filter(|line| line.ends_with("sys_getppid()")).count(), 10, "{lines:#?}");
        wait_until("no instance is left", PATIENCE, || kernel.instances_of(&[pid]).is_empty());
    }
}

#[test]
fn processes_that_hidepid_hides_are_not_called_ended() {
    if !is_root() {
        return skip("it needs root");
    }
    let manager = Manager::for_everyone(Plugins::of(["synthetic"]));
    for option in ["noaccess", "invisible"] {
        let script = format!(
            r#"mount -t proc -o hidepid={option} proc /proc
            exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@""#
        );
        let call = manager.run("synthetic_lines", arguments()).in_mount_namespace(&script);
        call.answer().failed(&[&std::process::id().to_string(), "hidepid", "CAP_SYS_PTRACE"]);
    }
}

#[test]
fn without_a_variable_the_run_directory_is_in_run() {
    if !is_root() {
        return skip("it needs root");
    }
    let manager = synthetic();
    let in_an_empty_run = r#"mount -t tmpfs none /run; exec "$@""#;
    let call = manager.run("synthetic_lines", arguments()).variable("TRACER_RUN_PATH", "");
    let session = call.in_mount_namespace(in_an_empty_run).start_unread();
    assert!(session.path().starts_with("/run/trace-hooks"), "{}", session.path().display());
    session.ends().succeeded();
}

/// Checks that such a session records the workload.
#[track_caller]
fn traces_a_call<'a>(call: impl FnOnce(&str) -> Call<'a>) {
    let workload = Workload::start();
    let session = call(&format!("--pid {} -s getppid", workload.id())).start();
    workload.calls(5);
    let ended = session.stop();
    let lines = ended.succeeded();
    assert_eq!(lines.len(), 5);
    assert!(lines.iter().all(|line| Event::of(line).id == workload.id()));
}

/// A directory for the host's `/sys` and `/proc`, as in a container.
struct HostMounts(TempDir);

impl HostMounts {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        for mount in ["sys", "proc"] {
            fs::create_dir(directory.path().join(mount)).expect("a directory can be made");
        }
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The commands that mount them, in a mount namespace.
    fn bound(&self) -> String {
        let path = self.path().display();
        format!("mount --rbind /sys {path}/sys; mount --rbind /proc {path}/proc;")
    }

    /// The call with the variables set to these paths.
    fn named<'a>(&self, call: Call<'a>) -> Call<'a> {
        let call = call.variable("TRACER_SYSFS_PATH", self.path().join("sys"));
        call.variable("TRACER_PROCFS_PATH", self.path().join("proc"))
    }
}

/// The kernel stamps its records by the clocks of the initial time namespace.
#[test]
fn all_hooks_have_one_clock_in_another_time_namespace() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ftrace", "perf", "ebpf", "uprobe"]));
    // It takes CPU time, opens files, and allocates.
    let mut busy = Script::start("while :; do : < /dev/null; done");
    busy.proceed();
    let own_clocks =
        ["unshare", "--time", "--boottime", "100000", "--monotonic", "5000", "--fork", "--kill-child"];
    let before = boot_seconds();
    for hook in
        ["trace_syscalls", "trace_open", "trace_counters", "trace_profile", "trace_user -f libc.so.6:malloc"]
    {
        let (hook, choice) = hook.split_once(' ').unwrap_or((hook, ""));
        let words = format!("--pid {} --time 500 --format json {choice}", busy.id());
        let call = manager.call(["--run", hook, "--follow", "--args", &words]).under(own_clocks);
        let answer = call.answer();
        let after = boot_seconds();
        assert!(answer.status.success(), "{hook}: {answer:#?}");
        let objects = answer.stdout.lines().map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        });
        let times: Vec<f64> = objects.filter_map(|object| object["time"].as_f64()).collect();
        assert!(!times.is_empty(), "{hook}: {answer:#?}");
        let outside = times.iter().find(|time| !(before..after).contains(*time));
        assert_eq!(outside, None, "{hook}: not between {before} and {after}");
    }
}

fn boot_seconds() -> f64 {
    let time: std::time::Duration =
        clock_gettime(ClockId::CLOCK_BOOTTIME).expect("there is such a clock").into();
    time.as_secs_f64()
}

#[test]
fn hidden_kernel_addresses_are_reported_at_the_start() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let hidden = tempfile::NamedTempFile::new().expect("a file can be made");
    fs::write(&hidden, "0000000000000000 T _stext\n").expect("the test owns it");
    let script = format!("mount --bind {} /proc/kallsyms; exec \"$@\"", hidden.path().display());
    let (manager, idle) = (Manager::with(Plugins::of(["ftrace", "perf"])), Workload::start());
    // A person who follows a trace, and a caller that wants to know.
    let (person, curious) = ("--follow", "-v");
    for (caller, hook, options, is_concerned) in [
        (person, "trace_events", "-e kmem:kmalloc", true),
        (curious, "trace_events", "-e sched:sched_switch --stack", true),
        (curious, "trace_events", "-e sched:sched_switch", false),
        (curious, "trace_memory", "--kind kmalloc", true),
        (person, "trace_memory", "--kind rss", false),
        (person, "trace_net", "", true),
        (curious, "trace_sched", "", false),
        (curious, "trace_profile", "", true),
        (person, "trace_profile", "--frames user", false),
    ] {
        let arguments = format!("--pid {} --time 50 {options}", idle.id());
        let call = manager.call([caller, "--run", hook, "--args", &arguments]);
        let answer = call.in_mount_namespace(&script).answer();
        assert!(answer.status.success(), "{answer:#?}");
        let reports = answer.stderr.lines().filter(|line| line.contains("kernel.kptr_restrict"));
        assert_eq!(reports.count(), usize::from(is_concerned), "{hook} {options}: {answer:#?}");
        let description = manager.call(["--describe", hook]).answer().succeeded().to_owned();
        assert!(!is_concerned || description.contains("kernel.kptr_restrict"), "{hook}");
    }
}
