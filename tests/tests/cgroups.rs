//! Sessions that trace cgroups and containers, and all tasks. Needs root.

use std::time::Duration;

use serde_json::Value;
use system_tests::{
    Build, Cgroup, Container, Hierarchy, Kernel, Log, Manager, Opener, PATIENCE, Plugins, Program, Session,
    Workload, wait_until,
};

/// A container id: 64 hexadecimal digits, different in each test process.
fn container_id() -> String {
    format!("{:064x}", (u128::from(std::process::id()) << 64) | 0xfeed)
}

fn manager() -> Manager {
    Manager::with(Plugins::of(["ebpf", "ftrace", "perf", "uprobe"]))
}

/// Traces `getppid` in a cgroup.
fn calls_in(manager: &Manager, arguments: &str) -> Session {
    manager.run("trace_syscalls", format!("{arguments} -s getppid")).start()
}

/// How many calls each of these processes has in the lines.
fn count(lines: &[&str], processes: &[&Workload]) -> Vec<usize> {
    let of = |workload: &&Workload| {
        let task = format!("-{}", workload.id());
        lines
            .iter()
            .filter(|line| line.split_whitespace().next().is_some_and(|word| word.ends_with(&task)))
            .count()
    };
    processes.iter().map(of).collect()
}

/// Calls until the first line appears: from then on, the process is traced.
fn calls_until_recorded(session: &Session, workload: &Workload, lines_before: usize) -> usize {
    let mut calls = 0;
    wait_until("a process that joins is traced", PATIENCE, || {
        workload.calls(1);
        calls += 1;
        session.line_count() > lines_before
    });
    calls
}

#[test]
fn ftrace_traces_members_nested_cgroups_and_joiners_but_no_neighbours() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let cgroup = Cgroup::create();
    let nested = cgroup.below("nested");
    let [member, deeper, neighbour, joiner] = [(); 4].map(|()| Workload::start());
    cgroup.takes(member.id());
    nested.takes(deeper.id());
    let session = calls_in(&manager, &format!("--cgroup {}", cgroup.path().display()));
    member.calls(10);
    deeper.calls(20);
    neighbour.calls(30);
    session.wait_for_lines(30);
    cgroup.takes(joiner.id());
    let early = calls_until_recorded(&session, &joiner, 30);
    joiner.calls(40);
    let ended = session.stop();
    let counted = count(&ended.succeeded(), &[&member, &deeper, &neighbour]);
    assert_eq!(counted, [10, 20, 0]);
    let joined = count(&ended.succeeded(), &[&joiner])[0];
    assert!((41..=40 + early).contains(&joined), "{joined} of {early} + 40");
}

#[test]
fn ftrace_waits_for_the_first_process_of_a_cgroup() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (cgroup, neighbour, joiner) = (Cgroup::create(), Workload::start(), Workload::start());
    let session = calls_in(&manager, &format!("--cgroup {}", cgroup.path().display()));
    neighbour.calls(100);
    cgroup.takes(joiner.id());
    calls_until_recorded(&session, &joiner, 0);
    joiner.calls(5);
    let ended = session.stop();
    let counted = count(&ended.succeeded(), &[&neighbour, &joiner]);
    assert!(counted[0] == 0 && counted[1] >= 6, "{counted:?}");
}

#[test]
fn ftrace_traces_all_processes_that_join_in_a_row() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, cgroup) = (manager(), Cgroup::create());
    let session = calls_in(&manager, &format!("--cgroup {}", cgroup.path().display()));
    let joiners: Vec<Workload> = (0..10).map(|_| Workload::start()).collect();
    joiners.iter().for_each(|joiner| cgroup.takes(joiner.id()));
    // Many times as long as the kernel takes to add them.
    wait_until("the joiners have many lines", PATIENCE, || {
        joiners.iter().for_each(|joiner| joiner.calls(10));
        session.line_count() >= joiners.len() * 3000
    });
    // A child is traced from its start.
    let child = joiners[0].child();
    child.calls(7);
    let ended = session.stop();
    let lines = ended.succeeded();
    assert!(count(&lines, &joiners.iter().collect::<Vec<_>>()).into_iter().all(|calls| calls > 0));
    let of_child = format!("-{}", child.id());
    let of_child = lines.iter().filter(|line| line.split(' ').any(|word| word.ends_with(&of_child)));
    assert_eq!(of_child.count(), 7);
}

/// Records the ends of the processes in a cgroup.
fn ends_in(manager: &Manager, log: &Log, cgroup: &Cgroup) -> Session {
    let arguments = format!("--cgroup {} -e sched:sched_process_exit", cgroup.path().display());
    log.of(manager.call(["-v", "--run", "trace_events", "--args", &arguments])).start()
}

const ENDED: &str = "processes joined the cgroups and ended before they were recorded";
const UNKNOWN: &str = "processes were started in a cgroup by clone3 and ended before it was known in which";

/// Cgroups of each version that is mounted here.
fn cgroups() -> Vec<Cgroup> {
    let mounted = [Hierarchy::Version1, Hierarchy::Version2].into_iter().filter(|version| {
        let is_mounted = version.root().is_some();
        if !is_mounted {
            eprintln!("{version:?} is not mounted here");
        }
        is_mounted
    });
    mounted.map(Cgroup::of).collect()
}

#[test]
fn ftrace_counts_processes_that_join_and_end_before_they_are_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for cgroup in cgroups() {
        let nested = cgroup.below("nested");
        let log = Log::new();
        let mut opener = Opener::start(&["moved", "100", nested.path().to_str().expect("plain text")]);
        let session = ends_in(&manager, &log, &cgroup);
        opener.proceed();
        let recorded = session.stop().succeeded().len();
        let ended = log.warned(ENDED);
        assert!(ended > 0 && recorded + ended == 100, "{recorded} recorded, {}", log.text());
    }
}

#[test]
fn ftrace_counts_processes_that_are_started_in_the_cgroup_and_end_before_they_are_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, cgroup, log) = (manager(), Cgroup::create(), Log::new());
    let mut opener = Opener::start(&["into", "100", cgroup.path().to_str().expect("plain text")]);
    let session = ends_in(&manager, &log, &cgroup);
    opener.proceed();
    let recorded = session.stop().succeeded().len();
    let [ended, unknown] = [ENDED, UNKNOWN].map(|what| log.warned(what));
    let counted = recorded + ended;
    // Those of other tests may be among the unknown ones.
    assert!(counted <= 100 && counted + unknown >= 100, "{recorded} recorded, {}", log.text());
}

#[test]
fn ftrace_does_not_count_what_its_tasks_start_in_the_cgroup() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, cgroup) = (manager(), Cgroup::create());
    let nested = cgroup.below("nested");
    let path = nested.path().to_str().expect("plain text").to_owned();
    for step in ["into", "moved"] {
        let log = Log::new();
        let mut opener = Opener::start(&[step, "100", &path]);
        cgroup.takes(opener.id);
        let session = ends_in(&manager, &log, &cgroup);
        opener.proceed();
        assert_eq!(session.stop().succeeded().len(), 101, "{step}: {}", log.text());
        assert_eq!(log.warned(ENDED), 0, "{step}: {}", log.text());
    }
}

#[test]
fn a_session_ends_when_its_cgroup_is_removed() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for hook in ["trace_syscalls", "trace_open", "trace_counters", "trace_profile"] {
        let cgroup = Cgroup::create();
        let session = manager.run(hook, format!("--cgroup {}", cgroup.path().display())).start();
        let workload = Workload::start();
        cgroup.takes(workload.id());
        workload.exits();
        cgroup.is_removed();
        session.ends();
    }
}

#[test]
fn ebpf_decides_in_the_kernel_who_is_in_the_cgroup() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    for hierarchy in [Hierarchy::Version1, Hierarchy::Version2] {
        if hierarchy.root().is_none() {
            eprintln!("{hierarchy:?} is not mounted here");
            continue;
        }
        let manager = manager();
        let cgroup = Cgroup::named(hierarchy, &format!("tracehook-test-{}-ebpf", std::process::id()));
        let nested = cgroup.below("nested");
        let [mut member, mut joiner, mut leaver, mut neighbour] =
            [(); 4].map(|()| Opener::start(&["storm", "50"]));
        cgroup.takes(member.id);
        cgroup.takes(leaver.id);
        let session = open_failures(&manager, &format!("--cgroup {}", cgroup.path().display()));
        nested.takes(joiner.id);
        cgroup.releases(leaver.id);
        for opener in [&mut member, &mut joiner, &mut leaver, &mut neighbour] {
            opener.proceed();
        }
        assert_eq!(session.stop().objects().len(), 100, "{hierarchy:?}");
    }
}

#[test]
fn ebpf_traces_what_is_started_in_the_cgroup_by_clone3() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let cgroup = Cgroup::create();
    let path = cgroup.path().to_str().expect("plain text").to_owned();
    let mut opener = Opener::start(&["into", "50", &path]);
    let session = open_failures(&manager, &format!("--cgroup {path}"));
    opener.proceed();
    let opens = session.stop().objects();
    assert_eq!(opens.len(), 50);
    assert!(opens.iter().all(|open| open["pid"] != opener.id));
}

fn open_failures(manager: &Manager, arguments: &str) -> Session {
    manager.run("trace_open", format!("{arguments} --path '/no/such/file/**' --format json")).start()
}

#[test]
fn ebpf_reports_every_open_of_a_thousand_short_execs() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let cgroup = Cgroup::create();
    let path = cgroup.path().to_str().expect("plain text").to_owned();
    let mut opener = Opener::start(&["execs", "1000", &path]);
    let session = open_failures(&manager, &format!("--cgroup {path}"));
    opener.proceed();
    let opens = session.stop().objects();
    let paths: Vec<&str> = opens.iter().map(|open| open["path"].as_str().expect("a path")).collect();
    let expected: Vec<String> = (0..1000).map(|number| format!("/no/such/file/{number}")).collect();
    assert_eq!(paths, expected);
}

#[test]
fn containers_are_found_by_the_start_of_their_id() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let id = container_id();
    let cgroup = Cgroup::named(Hierarchy::Version2, &format!("docker-{id}.scope"));
    let nothing = manager.run("trace_syscalls", format!("--container {id}")).answer();
    nothing.failed(&["no running container has the id", &id]);
    let (member, neighbour) = (Workload::start(), Workload::start());
    cgroup.takes(member.id());
    for choice in [format!("--container {}", &id[..60]), format!("--pid {} --whole-cgroup", member.id())] {
        let session = calls_in(&manager, &choice);
        member.calls(3);
        neighbour.calls(3);
        let ended = session.stop();
        assert_eq!(count(&ended.succeeded(), &[&member, &neighbour]), [3, 0], "{choice}");
    }
}

/// Executes this many commands in a container and in its neighbour, each of which opens a file of its own. Checks that those of the
/// container are traced, and no others.
fn opens_of_commands(container: &Container, neighbour: &Container, choice: &str, count: usize) {
    let manager = manager();
    let session = manager.run("trace_open", format!("{choice} --path '/traced/*' --format json")).start();
    for number in 0..count {
        container.executes(&format!("read line < /traced/{number}"));
        neighbour.executes(&format!("read line < /traced/neighbour{number}"));
    }
    let opens = session.stop().objects();
    let mut paths: Vec<&str> = opens.iter().map(|open| open["path"].as_str().expect("a path")).collect();
    paths
        .sort_by_key(|path| path.trim_start_matches("/traced/").parse::<u32>().expect("not the neighbour's"));
    let expected: Vec<String> = (0..count).map(|number| format!("/traced/{number}")).collect();
    assert_eq!(paths, expected, "{choice}");
}

#[test]
fn what_is_executed_in_a_container_is_traced_and_its_neighbour_is_not() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (Some(container), Some(neighbour)) = (Container::or_skip("traced"), Container::or_skip("neighbour"))
    else {
        return;
    };
    let choices = [
        format!("--container {}", container.id()),
        format!("--pid {} --whole-cgroup", container.pid()),
        format!("--cgroup {}", container.cgroup_path()),
    ];
    for choice in choices {
        opens_of_commands(&container, &neighbour, &choice, 20);
    }
}

#[test]
#[ignore = "takes a minute: runc takes some 30 ms to execute a command"]
fn a_thousand_commands_that_are_executed_in_a_container_are_traced() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let containers = (Container::or_skip("thousand"), Container::or_skip("thousand-neighbour"));
    let (Some(container), Some(neighbour)) = containers else { return };
    opens_of_commands(&container, &neighbour, &format!("--container {}", container.id()), 1000);
}

/// Runs a hook while a process of this cgroup and its neighbour call `traced_function`. Returns whether they have lines.
fn user_lines(manager: &Manager, choice: &str, cgroup: Option<&Cgroup>) -> [bool; 2] {
    let [mut member, mut neighbour] = [(); 2].map(|()| Program::start());
    cgroup.iter().for_each(|cgroup| cgroup.takes(member.id()));
    let function = Program::built(Build::Usual);
    let arguments = format!("{choice} -f {}:traced_function", function.display());
    let session = manager.run("trace_user", arguments).start();
    member.calls(5);
    neighbour.calls(5);
    let ended = session.stop();
    let lines = ended.succeeded();
    [member.id(), neighbour.id()].map(|id| {
        let of_task = format!("-{id} ");
        match lines.iter().filter(|line| line.contains(&of_task)).count() {
            0 => false,
            calls => calls == 5 || panic!("{calls} of 5 calls: {lines:?}"),
        }
    })
}

/// The same with system calls, and `trace_syscalls`.
fn call_lines(manager: &Manager, choice: &str, cgroup: Option<&Cgroup>) -> [bool; 2] {
    let [member, neighbour] = [(); 2].map(|()| Workload::start());
    cgroup.iter().for_each(|cgroup| cgroup.takes(member.id()));
    let session = calls_in(manager, choice);
    member.calls(5);
    neighbour.calls(5);
    let ended = session.stop();
    let counted = count(&ended.succeeded(), &[&member, &neighbour]);
    [counted[0] == 5, counted[1] == 5]
}

/// The same with samples, and `trace_profile`.
fn sample_lines(manager: &Manager, choice: &str, cgroup: Option<&Cgroup>) -> [bool; 2] {
    let [member, neighbour] = [(); 2].map(|()| Workload::start());
    cgroup.iter().for_each(|cgroup| cgroup.takes(member.id()));
    let session = manager.run("trace_profile", format!("{choice} -F 1000 --format json")).start();
    member.spends(100);
    neighbour.spends(100);
    let samples = session.stop().objects();
    [member.id(), neighbour.id()].map(|id| samples.iter().any(|sample| sample["pid"] == id))
}

/// The same with files, and `trace_open`.
fn open_lines(manager: &Manager, choice: &str, cgroup: Option<&Cgroup>) -> [bool; 2] {
    let [mut member, mut neighbour] = [(); 2].map(|()| Opener::start(&["flood", "5"]));
    cgroup.iter().for_each(|cgroup| cgroup.takes(member.id));
    let arguments = format!("{choice} --path '**/no/such/file' --format json");
    let session = manager.run("trace_open", arguments).start();
    member.proceed();
    neighbour.proceed();
    let opens = session.stop().objects();
    [member.id, neighbour.id].map(|id| opens.iter().filter(|open| open["pid"] == id).count() == 5)
}

/// Whether a member of the cgroup and its neighbour have lines of a hook with these arguments.
type Lines = fn(&Manager, &str, Option<&Cgroup>) -> [bool; 2];

/// A hook of each plugin.
const EACH_PLUGIN: [(&str, Lines); 4] =
    [("ftrace", call_lines), ("uprobe", user_lines), ("ebpf", open_lines), ("perf", sample_lines)];

#[test]
fn a_hook_of_each_plugin_traces_the_members_of_a_cgroup_of_each_version() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for hierarchy in [Hierarchy::Version1, Hierarchy::Version2] {
        if hierarchy.root().is_none() {
            eprintln!("{hierarchy:?} is not mounted here");
            continue;
        }
        for (plugin, lines) in EACH_PLUGIN {
            let cgroup = Cgroup::of(hierarchy);
            let choice = format!("--cgroup {}", cgroup.path().display());
            if (plugin, hierarchy) == ("perf", Hierarchy::Version1) {
                // Only the hierarchy `perf_event` will do, which is not mounted by default.
                manager.run("trace_profile", &choice).answer().failed(&["perf_event", "version 2"]);
            } else {
                let traced = lines(&manager, &choice, Some(&cgroup));
                assert_eq!(traced, [true, false], "{plugin}, {hierarchy:?}");
            }
        }
    }
}

#[test]
fn a_hook_of_each_plugin_traces_all_tasks() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for (plugin, lines) in EACH_PLUGIN {
        assert_eq!(lines(&manager, "--all", None), [true, true], "{plugin}");
    }
}

#[test]
fn a_missing_cgroup_is_an_error() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let failed = manager.run("trace_syscalls", "--cgroup /no/such/cgroup").answer();
    failed.failed(&["/no/such/cgroup", "/proc/PID/cgroup"]);
    let ordinary = manager.run("trace_open", "--cgroup /tmp").answer();
    ordinary.failed(&["/tmp", "cgroup"]);
}

#[test]
fn perf_counts_and_samples_the_processes_of_a_cgroup() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (cgroup, joiner, neighbour) = (Cgroup::create(), Workload::start(), Workload::start());
    let choice = format!("--cgroup {} --format json", cgroup.path().display());
    let counters = manager.run("trace_counters", format!("{choice} --interval 1h")).start();
    let profile = manager.run("trace_profile", format!("{choice} -F 1000")).start();
    cgroup.takes(joiner.id());
    neighbour.spends(200);
    joiner.spends(200);
    let counted = counters.stop().objects();
    let total = counted.iter().find(|line| line["event"] == "counters").expect("the last line");
    assert_eq!(total["cgroup"], cgroup.path().to_str().expect("plain text"));
    let task_clock = Duration::from_nanos(total["task_clock_ns"].as_u64().expect("a number"));
    // The clock of the thread and that of the counter are read apart.
    assert!((195..400).contains(&task_clock.as_millis()), "{task_clock:?}");
    let samples = profile.stop().objects();
    let samples: Vec<&Value> = samples.iter().filter(|line| line["event"] == "sample").collect();
    assert!(samples.len() >= 100, "{} samples", samples.len());
    assert!(samples.iter().all(|sample| sample["pid"] == joiner.id()));
    let in_function = |sample: &&&Value| sample["stack"].to_string().contains("spend_three");
    let named = samples.iter().filter(in_function).count();
    assert!(named > samples.len() / 2, "the symbols of a joiner are known: {named} of {}", samples.len());
}

#[test]
fn all_tasks_are_traced_except_the_manager() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = manager.run("trace_syscalls", "--all -s getppid,read --format json").start();
    let ours = [session.pid(), session.worker()];
    workload.calls(50);
    let later = Workload::start();
    later.calls(50);
    let ended = session.stop();
    let lines: Vec<Value> = ended.objects();
    let by = |pid: u32| {
        lines.iter().filter(|line| line["pid"] == pid && line["event"] == "sys_enter_getppid").count()
    };
    assert_eq!([by(workload.id()), by(later.id())], [50, 50]);
    assert!(lines.iter().all(|line| ours.iter().all(|ours| line["pid"] != *ours)));

    let mut opener = Opener::start(&["storm", "50"]);
    let session = open_failures(&manager, "--all");
    opener.proceed();
    let opens = session.stop().objects();
    let ours =
        opens.iter().filter(|open| open["path"].as_str().is_some_and(|path| path.ends_with("/49"))).count();
    assert!(ours >= 1 && opens.len() >= 50, "{}", opens.len());
}
