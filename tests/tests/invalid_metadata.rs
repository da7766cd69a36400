//! Plugins whose descriptions break the rules of the plugin interface. Needs no kernel.

use serde_json::Value;
use system_tests::{Answer, Manager, Plugins};

/// The answer of `--get-all` with a plugin with this fault and a valid one.
fn with_fault(fault: &str) -> Answer {
    let manager = Manager::with(Plugins::of(["nonconforming", "synthetic"]));
    manager.call(["--get-all"]).variable("FAULT", fault).answer()
}

/// Checks that only the hook with this fault is removed, and that one line gives the reason.
#[track_caller]
fn removes_the_hook(fault: &str, reason: &str) {
    let answer = with_fault(fault);
    assert_eq!(answer.stdout, "synthetic_lines\nvalid_lines\n", "{fault}");
    reports_the_hook(&answer, reason);
}

#[track_caller]
fn reports_the_hook(answer: &Answer, reason: &str) {
    let complaint = answer.succeeded_with_messages(1)[0];
    assert!(complaint.contains("plugin nonconforming: "), "{complaint}");
    assert!(complaint.contains(reason), "no '{reason}' in: {complaint}");
    assert!(complaint.len() < 500, "{} bytes: {complaint}", complaint.len());
    assert_plain(complaint);
}

/// Checks that the text has no characters that a terminal interprets.
#[track_caller]
fn assert_plain(text: &str) {
    let obeyed = |c: &char| c.is_control() || "\u{202e}\u{2066}\u{200b}\u{2028}\u{feff}".contains(*c);
    assert_eq!(text.chars().find(obeyed), None, "in {text:?}");
}

/// Sequences that a terminal interprets: clear the screen, set the title, change the direction of writing, hide, break
/// the line.
const CONTROL_SEQUENCES: [&str; 8] =
    ["\x1b[2J", "\x1b]0;mine\x07", "\u{9b}2J", "\u{202e}", "\u{2066}", "\u{200b}", "\u{2028}", "\n"];

#[test]
fn ten_thousand_hooks_are_refused() {
    let answer = Manager::with(Plugins::of(["many_hooks", "synthetic"])).call(["--get-all"]).answer();
    assert_eq!(answer.stdout, "synthetic_lines\n");
    let complaint = answer.succeeded_with_messages(1)[0];
    assert!(complaint.contains("plugin many_hooks: it has 10000 hooks; at most"), "{complaint}");
}

#[test]
fn an_answer_that_would_fill_the_memory_is_refused() {
    let answer = with_fault("large details");
    assert_eq!(answer.stdout, "synthetic_lines\n");
    let complaint = answer.succeeded_with_messages(1)[0];
    assert!(complaint.contains("plugin nonconforming: its worker sent an unreadable message"), "{complaint}");
    assert!(complaint.contains("longer than 1048576 bytes"), "{complaint}");
}

#[test]
fn an_invalid_hook_name_removes_the_hook() {
    for name in ["", "a b", "a\nb", "a/b", "a\rb", "ä", "\x1b[31mred", "a\u{202e}b"] {
        removes_the_hook(&format!("name={name}"), "a hook's name has 1 to 64 letters");
    }
    removes_the_hook("long name", "a hook's name has 1 to 64 letters");
}

#[test]
fn a_second_hook_of_the_same_name_is_removed() {
    let answer = with_fault("name=valid_lines");
    assert_eq!(answer.stdout, "synthetic_lines\nvalid_lines\n");
    reports_the_hook(&answer, "another of its hooks has the same name");
}

#[test]
fn an_unreadable_description_removes_the_hook() {
    removes_the_hook("wild name", "is not UTF-8");
    // In a debug build under load, it may run out of time before the description is complete.
    removes_the_hook("long details", "hook number 1: ");
}

#[test]
fn control_characters_remove_the_hook() {
    for order in CONTROL_SEQUENCES {
        for text in ["summary", "help"] {
            removes_the_hook(&format!("{text}=a{order}b"), "has a control character");
        }
    }
    removes_the_hook("details=a\rb", "has a control character");
}

#[test]
fn a_parameter_named_like_a_common_option_removes_the_hook() {
    for name in ["pid", "parent", "exact", "time", "format", "buffer-size", "spool-size", "drain", "help"] {
        removes_the_hook(&format!("param={name}"), "one of the arguments that every hook has");
    }
    for letter in ["p", "t", "h"] {
        removes_the_hook(&format!("short={letter}"), "one of the arguments that every hook has");
    }
}

#[test]
fn an_invalid_parameter_name_removes_the_hook() {
    for name in ["", "--mood", "mo od", "mood=", "\x1b[31m"] {
        removes_the_hook(&format!("param={name}"), "a parameter's name has");
    }
    removes_the_hook("short=-", "is not a letter");
}

#[test]
fn asking_for_a_removed_hook_reports_the_reason() {
    let manager = Manager::with(Plugins::of(["nonconforming", "synthetic"]));
    for name in ["nonconforming_lines", "nonconforming/nonconforming_lines"] {
        let call = manager.call(["--describe", name]).variable("FAULT", "param=pid");
        call.answer().failed(&["nonconforming", "is left out", "--pid"]);
        let run = manager.run(name, format!("--pid {}", std::process::id())).variable("FAULT", "param=pid");
        run.answer().failed(&["nonconforming", "is left out", "--pid"]);
    }
}

#[test]
fn a_removed_hook_does_not_affect_the_others() {
    let manager = Manager::with(Plugins::of(["nonconforming"]));
    let call = |words: &[&str]| manager.call(words).variable("FAULT", "param=pid");
    call(&["--describe", "valid_lines"]).answer().succeeded();
    let run =
        manager.run("valid_lines", format!("--pid {}", std::process::id())).variable("FAULT", "param=pid");
    assert_eq!(run.start().stop().succeeded().len(), 3);
}

#[test]
fn control_characters_in_a_reason_are_escaped() {
    let manager = Manager::with(Plugins::of(["nonconforming"]));
    for order in CONTROL_SEQUENCES {
        let fault = format!("reason=no{order}way");
        let table = manager.call(["--list", "-v"]).variable("FAULT", &fault).answer();
        assert!(table.status.success());
        table.stdout.lines().chain(table.stderr.lines()).for_each(assert_plain);
        assert_eq!(table.stdout.lines().count(), 3, "{table:#?}");

        let json = manager.call(["--list", "--json"]).variable("FAULT", &fault).answer();
        json.stdout.lines().for_each(assert_plain);
        let list: Value = serde_json::from_str(&json.stdout).expect("the list is JSON");
        assert_eq!(list[0]["reason"], format!("no{order}way"));
    }
}

#[test]
fn control_characters_in_a_file_name_are_escaped() {
    let name = "\x1b[31m\u{202e}x.so";
    let manager = Manager::with(Plugins::none().plugin("synthetic", name).file("a\x1b.so", "text"));
    let answer = manager.call(["--list", "-vvv"]).answer();
    assert!(answer.status.success());
    assert_eq!(answer.stdout.lines().count(), 2);
    answer.stdout.lines().chain(answer.stderr.lines()).for_each(assert_plain);
    manager.call(["--list", "--json"]).answer().stdout.lines().for_each(assert_plain);
}
