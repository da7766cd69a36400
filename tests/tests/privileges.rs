//! The privileges that tracing needs, for users other than root. The tables are those of the user documentation.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use system_tests::{Call, Kernel, Log, Manager, Plugins, Workload};

/// A user who calls the manager.
struct Caller {
    is_root: bool,
    capabilities: &'static [&'static str],
    /// Whether tracefs is mounted.
    mounted: bool,
    /// `None` if the user can trace, otherwise the missing privilege in the message.
    lacks: Option<&'static str>,
}

/// For the plugin `ftrace`.
const CALLERS: [Caller; 8] = [
    Caller { is_root: true, capabilities: &[], mounted: true, lacks: None },
    Caller { is_root: true, capabilities: &[], mounted: false, lacks: Some("CAP_SYS_ADMIN") },
    Caller { is_root: true, capabilities: &["sys_admin"], mounted: false, lacks: None },
    Caller { is_root: false, capabilities: &[], mounted: true, lacks: Some("CAP_DAC_OVERRIDE") },
    Caller {
        is_root: false,
        capabilities: &["sys_admin", "perfmon", "bpf", "dac_read_search"],
        mounted: true,
        lacks: Some("CAP_DAC_OVERRIDE"),
    },
    Caller { is_root: false, capabilities: &["dac_override"], mounted: true, lacks: None },
    Caller { is_root: false, capabilities: &["sys_admin"], mounted: false, lacks: Some("CAP_DAC_OVERRIDE") },
    Caller { is_root: false, capabilities: &["sys_admin", "dac_override"], mounted: false, lacks: None },
];

impl Caller {
    fn calls<'a>(&self, call: Call<'a>) -> Call<'a> {
        let unmounted = if self.mounted { "" } else { "umount -a -t tracefs,debugfs\n" };
        let user = if self.is_root { "" } else { "--reuid=65534 --regid=65534 --clear-groups" };
        let set: String = self.capabilities.iter().map(|capability| format!(",+{capability}")).collect();
        let script = format!(
            r#"{unmounted}exec setpriv {user} --bounding-set=-all{set} --inh-caps=-all{set} --ambient-caps=-all{set} "$@""#
        );
        call.in_mount_namespace(&script)
    }

    fn name(&self) -> String {
        let Self { is_root, capabilities, mounted, .. } = self;
        format!("root: {is_root}, capabilities: {capabilities:?}, mounted: {mounted}")
    }
}

fn manager_of(caller: &Caller, plugin: &str) -> Manager {
    let plugins = Plugins::of([plugin]);
    if caller.is_root { Manager::with(plugins) } else { Manager::for_everyone(plugins) }
}

#[test]
fn missing_privileges_are_named() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    for caller in &CALLERS {
        let manager = manager_of(caller, "ftrace");
        let workload = Workload::start();
        let run = manager.run("trace_syscalls", format!("--pid {} -s getppid", workload.id()));
        match caller.lacks {
            Some(capability) => caller.calls(run).answer().failed(&[capability]),
            None => {
                let session = caller.calls(run).start();
                workload.calls(3);
                assert_eq!(session.stop().succeeded().len(), 3, "{}", caller.name());
            }
        }
    }
}

#[test]
fn hooks_are_listed_for_users_who_can_run_them() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    for caller in &CALLERS {
        let manager = manager_of(caller, "ftrace");
        let answer = caller.calls(manager.call(["--get-all"])).answer();
        match caller.lacks {
            Some(capability) => {
                // With eBPF, it needs no tracefs.
                let others = if caller.capabilities.contains(&"sys_admin") { "trace_process\n" } else { "" };
                assert!(answer.status.success() && answer.stdout == others, "{}: {answer:#?}", caller.name());
                let mut complaints = answer.stderr.lines();
                assert!(complaints.all(|line| line.contains(capability)), "{}: {answer:#?}", caller.name());
            }
            None => {
                assert!(answer.succeeded().contains("trace_syscalls\n"), "{}: {answer:#?}", caller.name())
            }
        }
    }
}

/// For the other plugins: whether root runs a hook on a process of root's with these capabilities; the missing privilege
/// in the message, and whether discovery reports it already.
const OTHERS: [(&str, &str, bool, &[&str], Lack); 12] = [
    ("uprobe", USER, true, &[], Some(("CAP_CHECKPOINT_RESTORE", When::Listed))),
    ("uprobe", USER, false, &["dac_override"], Some(("CAP_CHECKPOINT_RESTORE", When::Listed))),
    ("uprobe", USER, false, &["dac_override", "checkpoint_restore"], Some(("CAP_SYS_PTRACE", When::Run))),
    ("uprobe", USER, false, &["dac_override", "checkpoint_restore", "sys_ptrace"], None),
    ("uprobe", USER, false, &["dac_override", "sys_admin", "sys_ptrace"], None),
    ("perf", "trace_counters", false, &[], Some(("CAP_PERFMON", When::Run))),
    ("perf", "trace_counters", false, &["perfmon"], None),
    ("ebpf", "trace_latency", false, &[], Some(("CAP_BPF", When::Listed))),
    ("ebpf", "trace_latency", false, &["bpf"], Some(("CAP_PERFMON", When::Listed))),
    ("ebpf", "trace_latency", false, &["bpf", "perfmon"], None),
    ("ftrace", "trace_process", false, &["bpf", "perfmon"], None),
    ("ftrace", "trace_process", false, &["dac_override"], None),
];
const USER: &str = "trace_user --function libc.so.6:getppid";

type Lack = Option<(&'static str, When)>;

/// When a missing privilege is reported.
enum When {
    /// For every process.
    Listed,
    /// Only in a session, because the user can trace their own processes.
    Run,
}

#[test]
fn each_subsystem_runs_with_the_documented_privileges() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    for (plugin, hook, is_root, capabilities, lacks) in OTHERS {
        let lacking = lacks.as_ref().map(|(capability, _)| *capability);
        let caller = Caller { is_root, capabilities, mounted: true, lacks: lacking };
        let manager = manager_of(&caller, plugin);
        let workload = Workload::start();
        let (hook, arguments) = hook.split_once(' ').unwrap_or((hook, ""));
        let listed = caller.calls(manager.call(["--get-all"])).answer();
        let names: Vec<&str> = listed.stdout.lines().collect();
        match &lacks {
            Some((capability, When::Listed)) => {
                assert!(!names.contains(&hook), "{}: {listed:#?}", caller.name());
                assert!(listed.stderr.contains(capability), "{}: {listed:#?}", caller.name());
            }
            _ => assert!(names.contains(&hook), "{}: {listed:#?}", caller.name()),
        }
        let run = manager.run(hook, format!("--pid {} {arguments}", workload.id()));
        match caller.lacks {
            Some(capability) => caller.calls(run).answer().failed(&[capability]),
            None => {
                let session = caller.calls(run).start();
                workload.calls(3);
                workload.storm(1);
                assert!(!session.stop().succeeded().is_empty(), "{plugin}, {}", caller.name());
            }
        }
    }
}

#[test]
fn a_profile_names_the_privilege_for_files_of_other_users_processes() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let mut spinning = Command::new("sh");
    let spinning =
        spinning.args(["-c", "while :; do :; done"]).uid(65534).spawn().expect("it can be started");
    let (spinning, manager) = (KillOnDrop(spinning), Manager::with(Plugins::of(["perf"])));
    let log_under = |wrapper: &[&str]| {
        let (log, arguments) = (Log::new(), format!("--pid {}", spinning.0.id()));
        let call = manager.call(["-v", "--run", "trace_profile", "--args", &arguments]).under(wrapper);
        let session = log.of(call).start();
        session.wait_for_lines(20);
        session.stop().succeeded();
        log.text()
    };
    let without = log_under(&["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]);
    assert!(without.contains("without symbols") && without.contains("CAP_SYS_PTRACE"), "{without}");
    let with = log_under(&["env"]);
    assert!(!with.contains("without symbols"), "{with}");
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
