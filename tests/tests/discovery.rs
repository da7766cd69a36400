//! Discovery of plugins and hooks, and messages about those that cannot be used. Needs no kernel.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use system_tests::{Manager, Plugins};

/// Checks that the valid plugin is found, with one message about the broken one with these `mentions`.
#[track_caller]
fn reports_the_broken_plugin(plugins: Plugins, mentions: &[&str]) {
    let manager = Manager::with(plugins.plugin("synthetic", "libsynthetic.so"));
    let answer = manager.call(["--get-all"]).answer();
    assert_eq!(answer.stdout, "synthetic_lines\n");
    let complaint = answer.succeeded_with_messages(1)[0];
    for mention in mentions {
        assert!(complaint.contains(mention), "no '{mention}' in: {complaint}");
    }
    does_not_mention_the_broken_plugin(&manager);
}

/// Describing or running a valid hook reports nothing about a broken plugin.
#[track_caller]
fn does_not_mention_the_broken_plugin(manager: &Manager) {
    manager.call(["--describe", "synthetic_lines"]).answer().succeeded();
    let me = format!("--pid {}", std::process::id());
    assert_eq!(manager.run("synthetic_lines", me).start().stop().succeeded().len(), 10);
}

#[test]
fn hooks_are_listed_in_order_one_per_line() {
    let manager = Manager::with(Plugins::of(["failing", "synthetic"]));
    assert_eq!(manager.call(["--get-all"]).answer().succeeded(), "failing_lines\nsynthetic_lines\n");
}

#[test]
fn a_missing_plugins_directory_is_reported() {
    let manager = Manager::with(Plugins::none());
    let answer = manager.bare_call().words(["--plugins", "/nowhere/at/all", "--get-all"]).answer();
    assert_eq!(answer.stdout, "");
    assert!(answer.succeeded_with_messages(1)[0].contains("/nowhere/at/all"));
}

#[test]
fn an_empty_plugins_directory_is_reported() {
    let manager = Manager::with(Plugins::none());
    let answer = manager.call(["--get-all"]).answer();
    assert_eq!(answer.stdout, "");
    assert!(answer.succeeded_with_messages(1)[0].contains(manager.plugins().path().to_str().unwrap()));
}

#[test]
fn without_plugins_no_hook_can_be_run_or_described() {
    let manager = Manager::with(Plugins::none());
    manager.call(["--describe", "synthetic_lines"]).answer().refused(&["synthetic_lines"]);
    manager.run("synthetic_lines", "--pid 1").answer().refused(&["synthetic_lines"]);
}

#[test]
fn only_files_that_end_in_so_are_plugins() {
    let plugins = Plugins::of(["synthetic"])
        .file("README.md", "not a plugin")
        .plugin("duplicate_name", "duplicate_name.so.old");
    let manager = Manager::with(plugins.fifo("queue").directory("more").link("gone", "/nowhere"));
    assert_eq!(manager.call(["--get-all"]).answer().succeeded(), "synthetic_lines\n");
}

#[test]
fn a_text_file_is_reported() {
    reports_the_broken_plugin(Plugins::none().file("x.so", "hello"), &["x.so"]);
    reports_the_broken_plugin(Plugins::none().file("x.so", ""), &["x.so"]);
}

#[test]
fn a_truncated_plugin_is_reported() {
    reports_the_broken_plugin(Plugins::none().half_of("synthetic", "x.so"), &["x.so"]);
    reports_the_broken_plugin(Plugins::none().file("x.so", "\x7fELF\x02\x01\x01"), &["x.so"]);
}

#[test]
fn a_library_that_is_not_a_plugin_is_reported() {
    reports_the_broken_plugin(Plugins::none().link("x.so", libc()), &["x.so"]);
}

/// The C library that this process has loaded.
fn libc() -> String {
    let maps = fs::read_to_string("/proc/self/maps").expect("our own maps can be read");
    let library = maps.split_whitespace().find(|word| word.contains("/libc.so") || word.contains("/libc-"));
    library.expect("this process has a C library").to_owned()
}

#[test]
fn a_fifo_is_reported_and_does_not_hang_discovery() {
    reports_the_broken_plugin(Plugins::none().fifo("x.so"), &["x.so"]);
}

#[test]
fn a_directory_is_reported() {
    reports_the_broken_plugin(Plugins::none().directory("x.so"), &["x.so"]);
}

#[test]
fn a_dangling_link_is_reported() {
    reports_the_broken_plugin(Plugins::none().link("x.so", "/nowhere"), &["x.so"]);
}

#[test]
fn every_broken_plugin_is_reported_in_one_line() {
    let plugins =
        Plugins::of(["synthetic"]).file("a.so", "text").fifo("b.so").directory("c.so").link("d.so", "/no");
    let answer = Manager::with(plugins).call(["--get-all"]).answer();
    assert_eq!(answer.stdout, "synthetic_lines\n");
    let complaints = answer.succeeded_with_messages(4);
    for (name, complaint) in ["a.so", "b.so", "c.so", "d.so"].iter().zip(complaints) {
        assert!(complaint.contains(name), "no '{name}' in: {complaint}");
    }
}

#[test]
fn a_link_to_a_plugin_is_followed() {
    let real = Plugins::of(["synthetic"]);
    let manager = Manager::with(Plugins::none().link("linked.so", real.path().join("libsynthetic.so")));
    assert_eq!(manager.call(["--get-all"]).answer().succeeded(), "synthetic_lines\n");
    manager.call(["--describe", "linked/synthetic_lines"]).answer().succeeded();
}

#[test]
fn of_two_hooks_with_one_name_the_first_file_wins() {
    let plugins =
        Plugins::none().plugin("synthetic", "b_synthetic.so").plugin("duplicate_name", "a_duplicate.so");
    let manager = Manager::with(plugins);
    let answer = manager.call(["--get-all"]).answer();
    assert_eq!(answer.stdout, "synthetic_lines\n");
    let complaint = answer.succeeded_with_messages(1)[0];
    assert!(complaint.contains("a_duplicate") && complaint.contains("b_synthetic"), "{complaint}");

    let described = |hook: &str| manager.call(["--describe", hook]).answer().succeeded().to_owned();
    assert!(described("synthetic_lines").contains("Has the name of another"));
    assert_eq!(described("a_duplicate/synthetic_lines"), described("synthetic_lines"));
    assert!(described("b_synthetic/synthetic_lines").contains("Makes up lines"));

    let me = format!("--pid {}", std::process::id());
    manager.run("synthetic_lines", &me).answer().failed(&["this hook has a duplicate name"]);
    manager.run("b_synthetic/synthetic_lines", me).start().stop().succeeded();
}

#[test]
fn an_unavailable_hook_is_not_listed() {
    let manager = Manager::with(Plugins::of(["synthetic", "unavailable"]));
    let answer = manager.call(["--get-all"]).answer();
    assert_eq!(answer.stdout, "synthetic_lines\n");
    let complaint = answer.succeeded_with_messages(1)[0];
    assert!(
        complaint.contains("trace_unicorns") && complaint.contains("there are no unicorns"),
        "{complaint}"
    );
    assert!(manager.call(["--describe", "trace_unicorns"]).answer().succeeded().contains("Traces unicorns"));
    manager.run("trace_unicorns", format!("--pid {}", std::process::id())).answer().failed(&["unicorn"]);
}

#[test]
fn the_list_shows_every_hook_and_why_it_cannot_run() {
    let plugins = Plugins::of(["synthetic", "unavailable"]).plugin("duplicate_name", "z_duplicate.so");
    let manager = Manager::with(plugins.file("broken.so", "text"));
    let answer = manager.call(["--list"]).answer();
    assert!(answer.status.success());
    let row = |words: &[&str]| answer.stdout.lines().any(|line| words.iter().all(|word| line.contains(word)));
    let version = env!("CARGO_PKG_VERSION");
    assert!(row(&["synthetic_lines", "synthetic", version, "available"]), "{answer:#?}");
    assert!(row(&["synthetic_lines", "z_duplicate", version, "no: ", "synthetic"]), "{answer:#?}");
    assert!(row(&["trace_unicorns", "unavailable", version, "there are no unicorns"]), "{answer:#?}");
}

#[test]
fn the_json_list_has_the_same_content() {
    let plugins = Plugins::of(["synthetic", "unavailable"]).plugin("duplicate_name", "z_duplicate.so");
    let answer = Manager::with(plugins).call(["--list", "--json"]).answer();
    assert!(answer.status.success());
    let list: Value = serde_json::from_str(&answer.stdout).expect("the list is JSON");
    let hooks = list.as_array().expect("the list is an array");
    let names: Vec<&str> = hooks.iter().filter_map(|hook| hook["hook"].as_str()).collect();
    assert_eq!(names, ["synthetic_lines", "synthetic_lines", "trace_unicorns"]);

    assert_eq!(hooks[0]["plugin"], "synthetic");
    assert_eq!(hooks[0]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(hooks[0]["summary"], "Makes up lines, for tests");
    assert_eq!(hooks[0]["available"], true);
    assert_eq!(hooks[0]["reason"], Value::Null);

    assert_eq!(hooks[1]["plugin"], "z_duplicate");
    assert!(hooks[1]["reason"].as_str().is_some_and(|reason| reason.contains("synthetic")), "{}", hooks[1]);

    assert_eq!(hooks[2]["available"], false);
    assert!(hooks[2]["reason"].as_str().is_some_and(|reason| reason.contains("no unicorns")), "{}", hooks[2]);
}

#[test]
fn plugins_are_loaded_from_every_given_directory() {
    let (first, second) = (Plugins::of(["synthetic"]), Plugins::of(["duplicate_name", "failing"]));
    let manager = Manager::with(Plugins::none());
    let call =
        manager.bare_call().words(["--plugins".as_ref(), first.path(), "--plugins".as_ref(), second.path()]);
    let answer = call.word("--get-all").answer();
    assert_eq!(answer.stdout, "failing_lines\nsynthetic_lines\n");
    assert!(answer.succeeded_with_messages(1)[0].contains("duplicate_name"));
}

#[test]
fn the_environment_names_plugins_directories_too() {
    let (first, second) = (Plugins::of(["synthetic"]), Plugins::of(["failing"]));
    let paths = format!("{}:{}", first.path().display(), second.path().display());
    let manager = Manager::with(Plugins::none());
    let answer = manager.bare_call().variable("TRACER_PLUGINS_PATH", &paths).word("--get-all").answer();
    assert_eq!(answer.succeeded(), "failing_lines\nsynthetic_lines\n");

    let overridden = manager.bare_call().variable("TRACER_PLUGINS_PATH", &paths).word("--plugins");
    assert_eq!(overridden.word(first.path()).word("--get-all").answer().succeeded(), "synthetic_lines\n");
}

#[test]
fn one_executable_serves_several_directories_through_links() {
    let manager = Manager::with(Plugins::none());
    let (kernel, user) = (sub_system(&manager, "synthetic"), sub_system(&manager, "failing"));
    for (directory, hook) in [(&kernel, "synthetic_lines\n"), (&user, "failing_lines\n")] {
        let link = directory.path().join("manager.bin");
        assert_eq!(manager.call_as(&link).word("--get-all").answer().succeeded(), hook);
        // container-tracer runs the manager in the manager's own directory.
        let script = format!("cd {} && exec ./manager.bin \"$@\"", directory.path().display());
        let answer = manager.bare_call().under(["sh", "-c", &script]).word("--get-all").answer();
        assert_eq!(answer.succeeded(), hook);
    }
}

/// As packages install it: the executable beside its plugins, and a link to it in the `PATH`.
#[test]
fn a_link_without_plugins_beside_it_uses_those_of_the_executable() {
    let manager = Manager::with(Plugins::none());
    let installed = Plugins::none().directory("bin").directory("lib").directory("lib/plugins");
    let installed =
        installed.plugin("synthetic", "lib/plugins/synthetic.so").link("bin/trace-hooks", "../lib/manager");
    // Another process writes the copy: see `newer_manager` in compatibility.rs.
    let copy = [manager.executable(), &installed.path_of("lib/manager")];
    assert!(Command::new("install").args(copy).status().expect("there is an `install`").success());

    let link = installed.path_of("bin/trace-hooks");
    assert_eq!(manager.call_as(&link).word("--get-all").answer().succeeded(), "synthetic_lines\n");
    let script = format!("PATH='{}':$PATH exec trace-hooks \"$@\"", installed.path_of("bin").display());
    let answer = manager.bare_call().under(["sh", "-c", &script]).word("--get-all").answer();
    assert_eq!(answer.succeeded(), "synthetic_lines\n");
}

/// A sub-directory of `trace-hooks/`: a link to the manager, and `plugins/` with this one.
fn sub_system(manager: &Manager, plugin: &str) -> Plugins {
    let directory = Plugins::none().link("manager.bin", manager.executable()).directory("plugins");
    directory.plugin(plugin, &format!("plugins/{plugin}.so"))
}

#[test]
fn a_failing_plugin_costs_one_line_and_nothing_else() {
    let manager = Manager::with(Plugins::of(["synthetic", "failing"]));
    for call in ["info", "probe"] {
        for kind in ["panic", "abort", "exit", "hang"] {
            let answer = manager.call(["--get-all"]).variable("FAIL", format!("{call} {kind}")).answer();
            assert_eq!(answer.stdout, "synthetic_lines\n", "{kind} in {call}");
            let complaint = answer.succeeded_with_messages(1)[0];
            assert!(complaint.contains("failing"), "{complaint}");
            assert!(answer.took < Duration::from_secs(4), "it took {:?}", answer.took);
        }
    }
}

#[test]
fn a_failing_plugin_is_not_mentioned_where_it_is_not_needed() {
    let manager = Manager::with(Plugins::of(["synthetic"]).plugin("failing", "z_failing.so"));
    for failure in ["info panic", "info abort", "info exit", "probe abort"] {
        let described = manager.call(["--describe", "synthetic_lines"]).variable("FAIL", failure);
        described.answer().succeeded();
        let run = manager.run("synthetic_lines", format!("--pid {}", std::process::id()));
        assert_eq!(run.variable("FAIL", failure).start().stop().succeeded().len(), 10);
    }
}

#[test]
fn output_of_a_plugin_is_discarded_in_discovery() {
    let manager = Manager::with(Plugins::of(["failing"]));
    for call in ["info", "probe"] {
        let answer = manager.call(["--get-all"]).variable("FAIL", format!("{call} chatter")).answer();
        assert_eq!(answer.succeeded(), "failing_lines\n");
    }
}

#[test]
fn output_of_a_plugin_is_discarded_in_a_session() {
    let manager = Manager::with(Plugins::of(["failing"]));
    for call in ["start", "read", "stop", "close"] {
        let arguments = format!("--pid {} --time 100 --failure chatter --when {call}", std::process::id());
        manager.run("failing_lines", arguments).start_unread().ends().succeeded();
    }
}
