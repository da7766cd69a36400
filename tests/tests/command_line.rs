//! Arguments of the command line, and usage errors. Needs no kernel.

use std::process::Command;

use system_tests::{Answer, Manager, Plugins};

/// A manager with the plugin `synthetic`.
fn manager() -> Manager {
    Manager::with(Plugins::of(["synthetic"]))
}

/// Arguments that trace this process, and more arguments.
fn me_and(arguments: &str) -> String {
    format!("--pid {} {arguments}", std::process::id())
}

fn answer_to(words: &[&str]) -> Answer {
    manager().call(words).answer()
}

fn answer_to_run(arguments: &str) -> Answer {
    manager().run("synthetic_lines", arguments).answer()
}

#[test]
fn a_call_without_an_action_is_refused() {
    answer_to(&[]).refused(&["--get-all", "--run"]);
    answer_to(&["-v"]).refused(&["--get-all"]);
}

#[test]
fn a_call_with_two_actions_is_refused() {
    answer_to(&["--get-all", "--clear"]).refused(&["--get-all", "--clear"]);
    answer_to(&["--run", "synthetic_lines", "--describe", "synthetic_lines"])
        .refused(&["--run", "--describe"]);
    answer_to(&["-g", "-c"]).refused(&[]);
}

#[test]
fn an_unknown_option_is_refused() {
    answer_to(&["--get-al"]).refused(&["'--get-al'", "'--get-all'"]);
    answer_to(&["--get-all", "--nonsense"]).refused(&["--nonsense"]);
    answer_to(&["--get-all", "nonsense"]).refused(&["nonsense"]);
}

#[test]
fn an_option_without_a_value_is_refused() {
    answer_to(&["--run"]).refused(&["--run"]);
    answer_to(&["--describe"]).refused(&["--describe"]);
}

#[test]
fn an_option_of_another_action_is_refused() {
    answer_to(&["--get-all", "--args", "--pid 1"]).refused(&["--args", "--run"]);
    answer_to(&["--get-all", "--follow"]).refused(&["--follow"]);
    answer_to(&["--get-all", "--json"]).refused(&["--json"]);
}

#[test]
fn an_unknown_hook_is_refused_with_the_nearest_name() {
    for action in ["--run", "--describe"] {
        answer_to(&[action, "synthetic_line"]).refused(&["'synthetic_line'", "'synthetic_lines'"]);
        answer_to(&[action, "xyzzy"]).refused(&["'xyzzy'"]);
        answer_to(&[action, "synthetic/xyzzy"]).refused(&["'synthetic/xyzzy'"]);
        answer_to(&[action, "nobody/synthetic_lines"]).refused(&["'nobody/synthetic_lines'"]);
        answer_to(&[action, ""]).refused(&["''"]);
    }
}

#[test]
fn a_run_without_a_process_is_refused() {
    answer_to(&["--run", "synthetic_lines"]).refused(&["--pid"]);
    answer_to(&["--run", "synthetic_lines", "--args"]).refused(&["--pid"]);
    answer_to_run("").refused(&["--pid"]);
    answer_to_run(" ").refused(&["--pid"]);
    answer_to_run("--count 1").refused(&["--pid"]);
    answer_to_run("--pid").refused(&["--pid"]);
}

#[test]
fn an_invalid_pid_is_refused_and_quoted() {
    for pid in ["abc", "0", "-1", "99999999999", "1.5", "0x10", "+"] {
        answer_to_run(&format!("--pid {pid}")).refused(&[&format!("'{pid}'")]);
        answer_to_run(&format!("--parent {pid}")).refused(&[&format!("'{pid}'")]);
        answer_to_run(&format!("--pid {} {pid}", std::process::id())).refused(&[&format!("'{pid}'")]);
    }
}

#[test]
fn ended_processes_are_skipped_unless_all_have_ended() {
    let gone = pid_of_an_ended_process();
    answer_to_run(&format!("--pid {gone}")).failed(&[&gone.to_string()]);
    answer_to_run(&format!("--parent {gone}")).failed(&[&gone.to_string()]);
    let arguments = format!("--pid {gone} {}", std::process::id());
    let manager = manager();
    manager.run("synthetic_lines", arguments).start().stop().succeeded();
}

/// The pid of a process that has just ended; the kernel does not reuse it soon.
fn pid_of_an_ended_process() -> u32 {
    let mut child = Command::new("true").spawn().expect("there is a `true`");
    child.wait().expect("it is a child of the test");
    child.id()
}

#[test]
fn an_open_quote_is_refused() {
    answer_to_run(&me_and("--word 'open")).refused(&["quote"]);
    answer_to_run(&me_and("--word \"open")).refused(&["quote"]);
}

#[test]
fn extra_blanks_are_ignored() {
    let arguments = format!("  --pid   {}\t--idle  --count 2 ", std::process::id());
    let manager = manager();
    assert_eq!(manager.run("synthetic_lines", arguments).start().stop().succeeded().len(), 2);
}

#[test]
fn the_hooks_own_arguments_are_checked() {
    answer_to_run(&me_and("--nonsense")).refused(&["--nonsense"]);
    answer_to_run(&me_and("--count many")).refused(&["--count", "many"]);
    answer_to_run(&me_and("--count -1")).refused(&["-1"]);
    answer_to_run(&me_and("--length 9999999999")).refused(&["--length", "9999999999"]);
    answer_to_run(&me_and("--mood mixed")).refused(&["--mood", "mixed", "good", "bad"]);
    answer_to_run(&me_and("stray")).refused(&["stray"]);
    answer_to_run(&me_and("--idle=yes")).refused(&["--idle"]);
}

#[test]
fn the_arguments_of_every_hook_are_checked() {
    for wrong in ["--time", "--time soon", "--time -5", "--drain x", "--buffer-size 0", "--buffer-size much"]
    {
        let option = wrong.split(' ').next().expect("there is a word");
        answer_to_run(&me_and(wrong)).refused(&[option]);
    }
}

#[test]
fn one_string_is_split_as_a_shell_does() {
    let arguments = me_and(r#"--count 1 --word ' in  "quotes" '"#);
    let manager = manager();
    assert_eq!(
        manager.run("synthetic_lines", arguments).start().stop().succeeded(),
        [r#"synthetic: line 0 in  "quotes" "#]
    );
}

#[test]
fn separate_arguments_are_not_split() {
    let me = std::process::id().to_string();
    let words = ["--run", "synthetic_lines", "--args", "--pid", &me, "--count", "1", "--word", " it's"];
    let manager = manager();
    assert_eq!(manager.call(words).start().stop().succeeded(), ["synthetic: line 0 it's"]);
}

#[test]
fn all_words_after_args_belong_to_the_hook() {
    let me = std::process::id().to_string();
    answer_to(&["--run", "synthetic_lines", "--args", "--pid", &me, "--clear"])
        .refused(&["--clear", "synthetic_lines"]);
}

#[test]
fn short_options_equal_long_options() {
    let manager = manager();
    assert_eq!(manager.call(["-g"]).answer().succeeded(), "synthetic_lines\n");
    let described = manager.call(["-d", "synthetic_lines"]).answer();
    assert_eq!(described.succeeded(), manager.call(["--describe", "synthetic_lines"]).answer().succeeded());
    let session = manager.call(["-r", "synthetic_lines", "-a", &me_and("-c 3")]).start();
    assert_eq!(session.stop().succeeded().len(), 3);
}

#[test]
fn describe_shows_summary_and_parameters() {
    let answer = answer_to(&["--describe", "synthetic_lines"]);
    let description = answer.succeeded();
    let own = [
        "Makes up lines, for tests",
        "It does not need the kernel.",
        "--count",
        "-c",
        "how many lines",
        "10",
    ];
    let common = ["--pid", "--parent", "--time", "--exact", "--buffer-size", "--drain"];
    for part in own.iter().chain(&common) {
        assert!(description.contains(part), "no '{part}' in: {description}");
    }
}

#[test]
fn help_and_version_succeed() {
    let help = answer_to(&["--help"]);
    for word in ["--get-all", "--describe", "--clear", "--run", "--args", "--list", "--follow", "--plugins"] {
        assert!(help.succeeded().contains(word), "no '{word}' in: {}", help.stdout);
    }
    assert!(answer_to(&["--version"]).succeeded().contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn arguments_that_are_not_utf8_are_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let not_text = OsStr::from_bytes(b"\xff");
    manager().call(["--run", "synthetic_lines", "--args"]).word(not_text).answer().refused(&["UTF-8"]);
    manager().call(["--run"]).word(not_text).answer().refused(&["UTF-8"]);
}
