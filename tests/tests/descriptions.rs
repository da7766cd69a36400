//! `--describe`, for an operator who reads it through container-tracer: every line without its indentation, empty lines
//! omitted, standard error discarded, and `--pid` added to the arguments.

use serde_json::Value;
use system_tests::{Kernel, Manager, Plugins};

/// As many characters as a line may have.
const LONGEST: usize = 300;

fn shipped() -> Manager {
    Manager::with(Plugins::of(["ebpf", "ftrace", "perf", "uprobe"]))
}

/// The names of all hooks, also those that cannot run here.
fn hooks(manager: &Manager) -> Vec<String> {
    let list = manager.call(["--list", "--json"]).answer();
    let list: Value = serde_json::from_str(&list.stdout).expect("it is JSON");
    let names = list.as_array().expect("it is a list").iter().filter_map(|hook| hook["hook"].as_str());
    let names: Vec<String> = names.map(str::to_owned).collect();
    assert_eq!(names.len(), 14, "{names:?}");
    names
}

/// The lines as container-tracer shows them.
fn shown(manager: &Manager, hook: &str) -> Vec<String> {
    let described = manager.call(["--describe", hook]).answer();
    let lines = described.succeeded().lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}

/// The position of the first line that begins like this.
#[track_caller]
fn position(lines: &[String], beginning: &str) -> usize {
    let found = lines.iter().position(|line| line.starts_with(beginning));
    found.unwrap_or_else(|| panic!("no line {beginning:?} in {lines:#?}"))
}

#[test]
fn descriptions_are_short_lines_without_angle_brackets() {
    let manager = shipped();
    for hook in hooks(&manager) {
        for line in shown(&manager, &hook) {
            assert!(line.chars().count() <= LONGEST, "{hook}: {} characters: {line}", line.chars().count());
            assert!(!line.contains('<'), "{hook}: JSON has \\u003c for it: {line}");
        }
    }
}

#[test]
fn what_is_particular_to_a_hook_comes_before_what_all_have_in_common() {
    let manager = shipped();
    for hook in hooks(&manager) {
        let lines = shown(&manager, &hook);
        let common = position(&lines, "Arguments of every hook:");
        assert!(position(&lines, "Examples of arguments") < common);
        assert!(position(&lines, "Lines, by event") < common);
        assert!(lines[..common].iter().all(|line| !line.contains("--buffer-size")), "{hook}");
        assert!(lines[common..].iter().any(|line| line.starts_with("--buffer-size")), "{hook}");
        // Short: a line for each.
        assert!(lines[common + 1..].iter().all(|line| line.starts_with('-')), "{hook}: {lines:#?}");
    }
}

#[test]
fn examples_are_valid_arguments_without_pids() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = shipped();
    for hook in hooks(&manager) {
        let described = manager.call(["--describe", &hook, "--json"]).answer();
        let described: Value = serde_json::from_str(described.succeeded()).expect("it is JSON");
        let examples = described["examples"].as_array().expect("it is a list");
        assert!(!examples.is_empty(), "{hook} has no example");
        let lines = shown(&manager, &hook);
        for example in examples {
            let (arguments, meaning) = (text(&example["arguments"]), text(&example["meaning"]));
            assert!(!arguments.contains("--pid") && !meaning.is_empty(), "{hook}: {example}");
            let is_shown = |line: &String| line.starts_with(arguments) && line.ends_with(meaning);
            assert!(lines.iter().any(is_shown), "{hook}: {example} is not in {lines:#?}");
            // The arguments are checked before the processes. No process has this id (PID_MAX_LIMIT).
            let with_pid = format!("--pid {} {arguments}", 4 << 20);
            manager.run(&hook, with_pid).answer().failed(&["no process to trace"]);
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("it is text")
}

#[test]
fn a_hook_that_cannot_run_here_says_so_first() {
    let manager = shipped();
    let unavailable = manager.call(["--describe", "trace_syscalls"]).as_nobody();
    let reason = unavailable.variable("TRACER_SYSFS_PATH", "/nowhere").answer();
    let first = reason.succeeded().lines().next().expect("it has lines");
    assert!(first.starts_with("Cannot run here: ") && first.contains("TRACER_SYSFS_PATH"), "{first}");

    let unicorns = Manager::with(Plugins::of(["unavailable"]));
    let list = unicorns.call(["--list", "--json"]).answer();
    let list: Value = serde_json::from_str(&list.stdout).expect("it is JSON");
    let reason = list[0]["reason"].as_str().expect("there is a reason");
    assert_eq!(shown(&unicorns, "trace_unicorns")[0], format!("Cannot run here: {reason}"));
    let described = unicorns.call(["--describe", "trace_unicorns", "--json"]).answer();
    let described: Value = serde_json::from_str(described.succeeded()).expect("it is JSON");
    assert_eq!((described["available"].as_bool(), described["reason"].as_str()), (Some(false), Some(reason)));
}
