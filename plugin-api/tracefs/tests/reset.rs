//! Resetting the kernel's top-level instance. There is only one test, because there is only one such instance.

mod kernel;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use kernel::{read, write};
use tracefs::Tracefs;

/// A probe in the test program, which a reset must not remove.
struct Uprobe {
    list: PathBuf,
    name: String,
}

impl Uprobe {
    fn new(tracefs: &Path, name: String) -> Uprobe {
        let program = std::env::current_exe().expect("the test program's path");
        let list = tracefs.join("uprobe_events");
        append(&list, &format!("p:{name}/probe {}:0x1000", program.display()));
        Uprobe { list, name }
    }
}

impl Drop for Uprobe {
    fn drop(&mut self) {
        append(&self.list, &format!("-:{}/probe", self.name));
    }
}

/// Appends in a single write(2), as these files require.
fn append(file: &Path, text: &str) {
    let written =
        OpenOptions::new().append(true).open(file).and_then(|mut file| file.write_all(text.as_bytes()));
    if let Err(error) = written {
        let _ = writeln!(std::io::stderr(), "'{text}' to {}: {error}", file.display());
    }
}

/// Resets the top-level instance when dropped, even if the test fails.
struct ResetOnDrop<'t>(&'t Tracefs);

impl Drop for ResetOnDrop<'_> {
    fn drop(&mut self) {
        let _ = self.0.reset();
    }
}

/// The lines with this name. Other processes may add and remove their own probes at the same time.
fn own_lines(list: &str, name: &str) -> String {
    list.lines().filter(|line| line.contains(name)).map(|line| line.to_owned() + "\n").collect()
}

/// All readable settings of an instance, by file.
fn settings(instance: &Path) -> BTreeMap<PathBuf, String> {
    let mut settings = BTreeMap::new();
    let mut directories = vec![instance.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("entries") {
            let entry = entry.expect("an entry");
            let name = entry.file_name();
            if entry.file_type().expect("a type").is_dir() {
                // All events have the same files, so one system is enough.
                if directory.file_name().is_none_or(|parent| parent != "events") || name == "task" {
                    directories.push(entry.path());
                }
            } else if !["trace_pipe", "trace_pipe_raw", "stats", "snapshot_raw"]
                .iter()
                .any(|&pipe| name == pipe)
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                settings.insert(entry.path(), text);
            }
        }
    }
    settings
}

#[test]
fn reset_changes_only_the_top_level_instance() {
    let sweeper = need_tracefs!();
    let top = sweeper.tracefs.root().to_path_buf();
    let file = |name: &str| top.join(name);

    let uprobe = Uprobe::new(&top, sweeper.prefix.replace('-', "_"));
    let foreign = sweeper.create("foreign");
    foreign.enable_event("task", "task_newtask").expect("event");
    foreign.set_filter("task", Some("task_rename"), "pid == 1").expect("filter");
    write(foreign.path().join("set_event_pid"), "1");
    write(foreign.path().join("events/task/task_newtask/trigger"), "traceoff if pid == 1");
    let foreign_settings = settings(foreign.path());
    let probes = || {
        own_lines(&read(file("uprobe_events")), &uprobe.name)
            + &own_lines(&read(file("dynamic_events")), &uprobe.name)
    };
    let probes_before = probes();
    assert_eq!(probes_before.lines().count(), 2, "{probes_before}");
    let _reset = ResetOnDrop(&sweeper.tracefs);

    write(file("set_event_pid"), "1");
    write(file("set_event_notrace_pid"), "2");
    write(file("trace_options"), "event-fork");
    write(file("trace_options"), "nooverwrite");
    write(file("trace_clock"), "mono");
    write(file("events/task/task_newtask/filter"), "pid == 1");
    write(file("events/task/task_newtask/trigger"), "traceoff:5 if pid == 1");
    write(file("events/task/task_rename/trigger"), "enable_event:task:task_newtask");
    write(file("events/task/task_newtask/enable"), "1");
    write(file("trace_marker"), "something");
    write(file("tracing_on"), "0");

    sweeper.tracefs.reset().expect("reset");

    assert_eq!(read(file("events/task/enable")), "0\n");
    assert_eq!(read(file("events/task/task_newtask/enable")), "0\n");
    assert_eq!(read(file("events/task/task_newtask/filter")), "none\n");
    for event in ["task_newtask", "task_rename"] {
        let triggers = read(file(&format!("events/task/{event}/trigger")));
        assert!(triggers.lines().all(|line| line.starts_with('#')), "{triggers}");
    }
    assert_eq!(read(file("current_tracer")), "nop\n");
    assert_eq!(read(file("set_event_pid")), "");
    assert_eq!(read(file("set_event_notrace_pid")), "");
    let options = read(file("trace_options"));
    let has = |option: &str| options.lines().any(|line| line == option);
    assert!(has("noevent-fork") && has("overwrite"), "{options}");
    assert!(read(file("trace_clock")).contains("[local]"));
    assert!(read(file("trace")).lines().all(|line| line.starts_with('#')));
    assert_eq!(read(file("tracing_on")), "1\n");

    assert_eq!(probes(), probes_before);
    let now = settings(foreign.path());
    for (file, text) in &foreign_settings {
        assert_eq!(now.get(file), Some(text), "{}", file.display());
    }
    sweeper.tracefs.reset().expect("reset again, with nothing to do");

    // A second plugin of the same call leaves the reset to the first.
    let is_reset_for = |caller: u32| {
        write(file("set_event_pid"), "1");
        sweeper.tracefs.reset_once(caller).expect("reset once");
        read(file("set_event_pid")).is_empty()
    };
    let caller = std::process::id();
    assert!(is_reset_for(caller));
    assert!(!is_reset_for(caller), "it is done, or being done");
    assert!(is_reset_for(caller + 1), "that is another call");
}
