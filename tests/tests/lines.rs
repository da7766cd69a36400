//! Rules for the lines of all hooks, with hostile names of programs and files. Needs root and tracefs.

use std::collections::HashMap;

use serde_json::{Map, Value};
use system_tests::{Kernel, Manager, Plugins, Script, skip};
use tempfile::TempDir;

/// Each hook in each format of its lines.
const HOOKS: [(&str, &str); 21] = [
    ("trace_block", ""),
    ("trace_calls", ""),
    ("trace_counters", "--interval 10"),
    ("trace_events", "-e sched signal syscalls:sys_enter_openat"),
    ("trace_events", "-e sched:sched_process_exec --stack"),
    ("trace_latency", ""),
    ("trace_memory", ""),
    ("trace_memory", "--summary 1"),
    ("trace_net", ""),
    ("trace_offcpu", ""),
    ("trace_offcpu", "--folded 1"),
    ("trace_offcpu", "--summary 1"),
    ("trace_open", ""),
    ("trace_process", ""),
    ("trace_profile", "-F 999"),
    ("trace_profile", "-F 999 --folded 1"),
    ("trace_sched", ""),
    ("trace_sched", "--summary 1"),
    ("trace_syscalls", "--exit"),
    ("trace_syscalls", "--decode"),
    ("trace_user", "-f libc.so.6:open* --return"),
];

/// A script that creates files and runs programs with hostile names. A program's name becomes that of its task.
const HOSTILE: &str = r#"
for name in '\n0: x:' '\033[2J' '\377\200' '\302\233' '\342\200\250' '"},{"' '   ' 'fifteen_bytes_x'; do
    name="$(printf "$name-")"
    ln -s /bin/sh "$name"
    echo text > "$name.txt"
    "./$name" -c 'cat < "$0.txt"; cat "$0.none"; kill -USR1 $$' "$name"
done
"#;

/// The lines of a hook that traces hostile programs; none if it cannot run here.
fn lines_of(hook: &str, arguments: &str) -> Option<Vec<String>> {
    let manager = Manager::with(Plugins::of(["ebpf", "ftrace", "perf", "uprobe"]));
    if !manager.call(["--get-all"]).answer().stdout.lines().any(|name| name == hook) {
        skip(&format!("{hook} cannot run here"));
        return None;
    }
    let directory = TempDir::new().expect("a directory");
    let script = Script::start(&format!("cd '{}'; {HOSTILE}", directory.path().display()));
    let session = manager.run(hook, format!("--pid {} {arguments}", script.id())).start();
    script.run_to_end();
    let ended = session.ends();
    Some(ended.succeeded().into_iter().map(str::to_owned).collect())
}

#[test]
fn hostile_names_do_not_break_text_lines() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    for (hook, arguments) in HOOKS {
        for line in lines_of(hook, arguments).unwrap_or_default() {
            assert!(!line.contains(char::is_control), "{hook} {arguments}: {line:?}");
            let mut words = line.trim_start().split(' ');
            assert!(!words.next().is_some_and(|word| word.starts_with("0:")), "{hook} {arguments}: {line:?}");
        }
    }
}

/// That they are as the hooks describe them is checked for every session, when it ends.
#[test]
fn json_fields_have_one_type_in_all_hooks() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let mut types: HashMap<String, &'static str> = HashMap::new();
    for (hook, arguments) in HOOKS {
        for line in lines_of(hook, &format!("{arguments} --format json")).unwrap_or_default() {
            let object: Map<String, Value> = serde_json::from_str(&line).expect("each line is an object");
            let hidden = |letter: char| letter.is_control() || letter == '\u{2028}';
            assert!(!line.contains(hidden), "{hook}: {line:?}");
            for (name, value) in &object {
                let new = type_of(value);
                // An address or the name of a function.
                if name != "result" {
                    let known = types.entry(name.clone()).or_insert(new);
                    assert_eq!(*known, new, "{name} is a {known} elsewhere: {hook}: {line}");
                }
            }
        }
    }
    for (name, expected) in
        [("time", "number"), ("pid", "number"), ("comm", "text"), ("duration_ns", "number")]
    {
        assert_eq!(types[name], expected, "{name}");
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "flag",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}
