//! `--check`: for each check, a plugin that passes all the others. Only the last test needs tracefs.

use serde_json::Value;
use system_tests::{Answer, Kernel, Manager, Plugins, lock_out_sweeps};

/// The checks of a plugin and of each of its hooks, in order.
const OF_PLUGIN: [&str; 5] = ["file", "library", "interface", "description", "constancy"];
const OF_HOOK: [&str; 10] =
    ["declaration", "help", "probe", "start", "read", "stop", "stats", "close", "remains", "end"];

/// The output of `--check` for the only plugin.
fn checked(plugins: Plugins, variable: &str, value: &str) -> Answer {
    let manager = Manager::with(plugins);
    let file = manager.plugins().path_of("x.so");
    manager.bare_call().word("--check").word(file).variable(variable, value).answer()
}

/// Asserts that only this check fails, that its line contains `mention`, and that the checks that depend on it are
/// skipped.
#[track_caller]
fn only_fails(answer: &Answer, check: &str, mention: &str, skipped: usize) {
    is_a_report(answer, 1);
    let failed: Vec<&str> = lines_with(answer, "FAILED ");
    assert_eq!(failed.len(), 1, "{answer:#?}");
    assert!(failed[0].starts_with(&format!("FAILED   {check}: ")), "{}", failed[0]);
    assert!(failed[0].contains(mention), "no '{mention}' in: {}", failed[0]);
    assert_eq!(lines_with(answer, "skipped ").len(), skipped, "{answer:#?}");
    complains_only_of(answer, check);
}

#[track_caller]
fn complains_only_of(answer: &Answer, check: &str) {
    answer.failed_with(1, &["x.so: 1 of the checks failed, the first is: ", check]);
}

/// Asserts that each line is a finding, and the last one the summary of the findings.
#[track_caller]
fn is_a_report(answer: &Answer, status: i32) {
    assert_eq!(answer.status.code(), Some(status), "{answer:#?}");
    let count = |prefix: &str| lines_with(answer, prefix).len();
    let (ok, failed, skipped) = (count("ok  "), count("FAILED "), count("skipped "));
    assert_eq!(answer.stdout.lines().count(), ok + failed + skipped + 1, "{answer:#?}");
    let summary = format!("summary: {ok} ok, {failed} failed, {skipped} skipped");
    assert_eq!(answer.stdout.lines().last(), Some(summary.as_str()));
}

fn lines_with<'a>(answer: &'a Answer, prefix: &str) -> Vec<&'a str> {
    answer.stdout.lines().filter(|line| line.starts_with(prefix)).collect()
}

fn nonconforming() -> Plugins {
    Plugins::none().plugin("nonconforming", "x.so")
}

/// Asserts that with this fault the plugin fails only this check.
#[track_caller]
fn fault_fails(fault: &str, check: &str, mention: &str, skipped: usize) {
    only_fails(&checked(nonconforming(), "FAULT", fault), check, mention, skipped);
}

/// The same for a check of its first hook. Most of the following checks are then skipped.
#[track_caller]
fn fault_of_hook_fails(fault: &str, check: &str, mention: &str) {
    let index = OF_HOOK.iter().position(|known| *known == check).expect("there is such a check");
    let skipped = if check == "help" || check == "probe" { 0 } else { OF_HOOK.len() - index - 1 };
    fault_fails(fault, &format!("nonconforming_lines {check}"), mention, skipped);
}

#[test]
fn a_valid_plugin_passes_every_check() {
    let answer = checked(nonconforming(), "FAULT", "");
    is_a_report(&answer, 0);
    answer.succeeded();
    let names: Vec<&str> = answer.stdout.lines().filter_map(|line| line.strip_prefix("ok       ")).collect();
    let names: Vec<&str> = names.iter().filter_map(|line| line.split(':').next()).collect();
    let of_hooks =
        ["nonconforming_lines", "valid_lines"].map(|hook| OF_HOOK.map(|check| format!("{hook} {check}")));
    let expected: Vec<String> = OF_PLUGIN.map(str::to_owned).into_iter().chain(of_hooks.concat()).collect();
    assert_eq!(names, [expected, vec!["sweep".to_owned()]].concat());
}

#[test]
fn a_file_that_cannot_be_loaded_fails_the_file_check() {
    let after = OF_PLUGIN.len() - 1 + 1;
    only_fails(
        &checked(nonconforming().with_mode("x.so", 0o777), "FAULT", ""),
        "file",
        "is not trusted",
        after,
    );
    only_fails(&checked(Plugins::none(), "FAULT", ""), "file", "No such file", after);
    only_fails(&checked(Plugins::none().fifo("x.so"), "FAULT", ""), "file", "is not a regular file", after);
}

#[test]
fn allow_untrusted_skips_the_trust_check() {
    let manager = Manager::with(nonconforming().with_mode("x.so", 0o777));
    let call = manager.bare_call().words(["--allow-untrusted", "--check"]);
    let answer = call.word(manager.plugins().path_of("x.so")).answer();
    is_a_report(&answer, 0);
    assert!(lines_with(&answer, "skipped ")[0].contains("file: --allow-untrusted"), "{answer:#?}");
}

#[test]
fn a_text_file_fails_the_library_check() {
    let text = Plugins::none().file("x.so", "text");
    only_fails(&checked(text, "FAULT", ""), "library", "is not a shared library", OF_PLUGIN.len() - 2 + 1);
}

#[test]
fn another_interface_version_fails_the_interface_check() {
    let header = b"abi stable library for Rust     ";
    let of_another_age = Plugins::none().changed("nonconforming", "x.so", |bytes| {
        let place = bytes.windows(header.len()).position(|window| window == header).expect("it has a header");
        bytes[place + header.len() + 4] += 1;
    });
    only_fails(
        &checked(of_another_age, "FAULT", ""),
        "interface",
        "abi_stable 0.12",
        OF_PLUGIN.len() - 3 + 1,
    );
}

#[test]
fn invalid_metadata_fails_the_description_check() {
    let many = Plugins::none().plugin("many_hooks", "x.so");
    only_fails(&checked(many, "FAULT", ""), "description", "10000 hooks", 2);
    fault_fails("long details", "description", "bytes; at most", 2);
    fault_fails("wild name", "description", "not UTF-8", 2);
}

#[test]
fn a_description_that_changes_fails_the_constancy_check() {
    fault_fails("fickle", "constancy", "a different description each time", 0);
}

#[test]
fn an_impossible_parameter_fails_the_declaration_check() {
    fault_of_hook_fails("param=pid", "declaration", "arguments that every hook has");
    fault_of_hook_fails("required default", "declaration", "remove required() or default()");
    fault_of_hook_fails("summary=a\x1b[2J", "declaration", "\\u{1b}");
}

#[test]
fn an_overlong_help_fails_the_help_check() {
    fault_of_hook_fails("help=", "help", "the help of --mood is empty");
    fault_of_hook_fails("summary=", "help", "its summary is empty");
    fault_of_hook_fails("summary= x", "help", "its summary begins or ends with a blank");
}

#[test]
fn the_probe_check_reports_time_and_reason() {
    fault_of_hook_fails("slow probe", "probe", "at most 500 ms are allowed");
    for (fault, mention) in [("reason=", "is empty"), ("reason=two\nlines", "is not one line")] {
        fault_fails(fault, "nonconforming_lines probe", mention, OF_HOOK.len() - 3);
    }
    for reason in ["Operation not permitted (os error 1)", "/x: EACCES: Permission denied"] {
        let mention = "a probe has no privilege";
        fault_fails(&format!("reason={reason}"), "nonconforming_lines probe", mention, OF_HOOK.len() - 3);
    }
    let answer = checked(nonconforming(), "FAULT", "reason=there is no moon");
    is_a_report(&answer, 0);
    assert_eq!(lines_with(&answer, "skipped  nonconforming_lines").len(), OF_HOOK.len() - 3);
}

#[test]
fn a_failed_start_fails_the_start_check() {
    fault_of_hook_fails("start", "start", "it will not start");
}

#[test]
fn a_failed_read_fails_the_read_check() {
    fault_of_hook_fails("read", "read", "it cannot be read");
    fault_of_hook_fails("panic", "read", "the plugin panicked at tests/plugins/nonconforming/src/lib.rs:");
    fault_of_hook_fails("slow read", "read", "it must return the available lines without waiting");
    fault_of_hook_fails("wakes", "read", "the descriptor of wakes() stays readable");
}

#[test]
fn invalid_lines_fail_the_lines_check() {
    for (fault, mention) in [
        (
            "line=a\x1b[2Jb",
            "a control or format character, \\u{1b}; write text from other programs with LineBuffer::event",
        ),
        ("line=a\tb", "a control or format character, \\t"),
        ("latin", "not UTF-8"),
    ] {
        fault_of_hook_fails(fault, "read", mention);
    }
}

#[test]
fn without_lines_the_lines_check_is_skipped() {
    let answer = checked(nonconforming(), "FAULT", "silent");
    is_a_report(&answer, 0);
    let skipped = lines_with(&answer, "skipped ");
    assert_eq!(skipped, ["skipped  nonconforming_lines read: it emitted no line for the test process"]);
}

#[test]
fn a_failed_stop_fails_the_stop_check() {
    fault_of_hook_fails("stop", "stop", "it will not stop");
    fault_of_hook_fails("endless", "stop", "it has not returned Progress::Finished");
}

#[test]
fn wrong_counts_fail_the_stats_check() {
    fault_of_hook_fails("stats", "stats", "its stats count 7 events recorded, but it emitted 3 and lost 0");
}

#[test]
fn a_failed_close_fails_the_close_check() {
    fault_of_hook_fails("close", "close", "something is left");
}

#[test]
fn resources_left_in_the_process_fail_the_remains_check() {
    fault_of_hook_fails("thread", "remains", "1 more threads");
    fault_of_hook_fails("descriptor", "remains", "1 more open descriptors");
    fault_of_hook_fails("child", "remains", "a child process");
}

#[test]
fn kernel_objects_left_behind_are_reported_and_removed() {
    let Some(kernel) = Kernel::or_skip() else { return };
    // A sweep would take objects that are not locked for those of a dead session.
    let _alone = lock_out_sweeps();
    let anothers = kernel.make_instance(&format!("check_test_{}", std::process::id()));
    for (fault, before) in [("instance", "it left the tracing instance "), ("probe", "it left ")] {
        let answer = checked(nonconforming(), "FAULT", fault);
        only_fails(&answer, "nonconforming_lines remains", before, 1);
        let line = lines_with(&answer, "FAILED ")[0];
        let name =
            line.split(before).nth(1).and_then(|rest| rest.split([',', '/']).next()).expect("it is named");
        assert!(name.starts_with("tracehook_"), "{line}");
        assert!(!kernel.instances().iter().any(|instance| instance.name().starts_with(name)), "{line}");
        assert!(!kernel.top().get("uprobe_events").contains(name), "{line}");
    }
    assert!(anothers.exists());
}

#[test]
fn a_session_that_outlives_its_tasks_fails_the_end_check() {
    fault_of_hook_fails("deaf", "end", "2 s after the last traced process ended");
}

#[test]
fn invalid_json_fails_the_json_check() {
    fault_fails("no json", "nonconforming_lines json", "a line is not a JSON object", 0);
    let answer = checked(nonconforming(), "FAULT", "json");
    is_a_report(&answer, 0);
    assert_eq!(
        lines_with(&answer, "ok       nonconforming_lines json: lines that are JSON objects: 3").len(),
        1
    );
}

#[test]
fn lines_that_do_not_follow_a_condition_fail_the_view_check() {
    fault_fails("no view", "nonconforming_lines view", "3 of its events do not follow --where", 0);
    let answer = checked(nonconforming(), "FAULT", "view");
    is_a_report(&answer, 0);
    assert_eq!(
        lines_with(&answer, "ok       nonconforming_lines view: events left out as --where asks: 3").len(),
        1
    );
}

#[test]
fn a_failed_sweep_fails_the_sweep_check() {
    fault_fails("sweep", "sweep", "it is not swept", 0);
}

#[test]
fn the_sweep_is_skipped_where_no_hook_can_run() {
    let answer = checked(Plugins::none().plugin("unavailable", "x.so"), "FAULT", "");
    is_a_report(&answer, 0);
    assert_eq!(lines_with(&answer, "skipped  sweep: no hook can run here").len(), 1, "{answer:#?}");
}

#[test]
fn a_hook_with_a_required_text_parameter_is_not_run() {
    let answer = checked(nonconforming(), "FAULT", "required");
    is_a_report(&answer, 0);
    let skipped = lines_with(&answer, "skipped  nonconforming_lines");
    assert_eq!(skipped.len(), OF_HOOK.len() - 3);
    assert!(skipped.iter().all(|line| line.contains("it needs --word")), "{answer:#?}");
}

#[test]
fn a_crash_or_hang_fails_the_check_in_which_it_happens() {
    let failing = || Plugins::none().plugin("failing", "x.so");
    for (failure, mention) in [
        ("abort", "SIGABRT"),
        ("exit", "exited with status 0"),
        ("hang", "took more than"),
        ("panic", "panicked"),
    ] {
        let answer = checked(failing(), "FAIL", &format!("info {failure}"));
        only_fails(&answer, "description", mention, 2);
        let answer = checked(failing(), "FAIL", &format!("probe {failure}"));
        only_fails(&answer, "failing_lines probe", mention, OF_HOOK.len() - 3);
    }
}

#[test]
fn json_reports_the_same_findings() {
    let manager = Manager::with(nonconforming());
    let file = manager.plugins().path_of("x.so");
    let call = manager.bare_call().word("--check").word(&file).word("--json").variable("FAULT", "close");
    let answer = call.answer();
    complains_only_of(&answer, "nonconforming_lines close");
    let report: Value = serde_json::from_str(&answer.stdout).expect("it is JSON");
    assert_eq!((&report["ok"], &report["failed"], &report["skipped"]), (&23.into(), &1.into(), &2.into()));
    let checks = report["checks"].as_array().expect("it is an array");
    let failed = checks.iter().find(|check| check["status"] == "failed").expect("a check failed");
    assert_eq!((&failed["check"], &failed["hook"]), (&"close".into(), &"nonconforming_lines".into()));
    assert_eq!(failed["text"], "something is left");
}

#[test]
fn the_ftrace_plugin_passes_every_check() {
    if Kernel::or_skip().is_none() {
        return;
    }
    let answer = checked(Plugins::none().plugin("ftrace", "x.so"), "FAULT", "");
    is_a_report(&answer, 0);
    let known = [
        "for which no value can be chosen automatically",
        "it emitted no line for the test process",
        "it emitted no event for the test process",
    ];
    let in_vain = |line: &&str| !known.iter().any(|why| line.ends_with(why));
    assert_eq!(lines_with(&answer, "skipped ").into_iter().find(in_vain), None, "{answer:#?}");
    for (hook, check) in
        ["trace_syscalls", "trace_process"].iter().flat_map(|hook| OF_HOOK.map(|check| (hook, check)))
    {
        assert_eq!(lines_with(&answer, &format!("ok       {hook} {check}: ")).len(), 1, "{answer:#?}");
    }
}
