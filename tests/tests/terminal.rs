//! A person at a terminal. Needs root and tracefs.

use std::fs;

use system_tests::{Kernel, Manager, Plugins, Terminal, Workload};

fn manager() -> Manager {
    Manager::with(Plugins::of(["ebpf", "ftrace"]))
}

#[test]
fn a_person_sees_that_recording_is_on_and_ends_it_with_ctrl_c() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, workload) = (manager(), Workload::start());
    let pid = workload.id().to_string();
    let mut terminal = Terminal::of(manager.call(["run", "syscalls", "-s", "getppid", "-p", &pid]));
    terminal.shows("recording trace_syscalls of 1 process (Ctrl-C ends it)\r\n");
    workload.calls(3);
    terminal.shows("sys_getppid");
    terminal.press("\x03");
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(screen.trim_end().ends_with("manager: 3 events recorded: 3 delivered, none lost"), "{screen}");
}

#[test]
fn a_line_with_counts_is_updated_while_the_trace_goes_to_a_file() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, workload) = (manager(), Workload::start());
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("trace");
    let (pid, path) = (workload.id().to_string(), file.to_str().expect("it is UTF-8"));
    let mut terminal =
        Terminal::of(manager.call(["run", "syscalls", "-s", "getppid", "-p", &pid, "-o", path]));
    terminal.shows("recording");
    workload.calls(1000);
    terminal.shows("\r\u{1b}[K1000 events, ");
    terminal.resize(10, 20);
    terminal.press("\x03");
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(screen.contains("\r\u{1b}[Kmanager: 1000 events recorded"), "{screen}");
    assert_eq!(fs::read_to_string(file).expect("the trace is there").lines().count(), 1000);
}

#[test]
fn the_counts_do_not_claim_to_be_complete_once_another_process_has_changed_the_instance() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let (manager, workload) = (manager(), Workload::start());
    let pid = workload.id().to_string();
    let call = manager.call(["run", "syscalls", "-s", "getppid", "-p", &pid, "-o", "/dev/null"]);
    let mut terminal = Terminal::of(call);
    terminal.shows("recording");
    workload.calls(3);
    terminal.shows("/s, 0 lost, ");
    let [instance] = &kernel.instances_of(&manager.processes())[..] else { panic!("it has one instance") };
    instance.set("tracing_on", "0");
    terminal.shows("another process changed tracing_on");
    terminal.shows("/s, 0 counted as lost, ");
    terminal.press("\x03");
    let (_, screen) = terminal.ends();
    let end = "3 delivered, none counted as lost, but the trace may be incomplete: see the warning";
    assert!(screen.trim_end().ends_with(end), "{screen}");
}

#[test]
fn names_are_colored_at_a_terminal_unless_that_is_unwanted() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let command = ["--", "cat", "/etc/hostname", "/no/such/file"];
    let call = |options: &[&str]| manager.call(["run", "open"]).words(options).words(command);
    let screen = |call| Terminal::of(call).ends().1;
    let (name, error) = ("\u{1b}[36mopen\u{1b}[0m:", "error=\u{1b}[31mENOENT\u{1b}[0m");
    let colored = screen(call(&[]));
    assert!(colored.contains(name) && colored.contains(error), "{colored:?}");
    let is_plain = |screen: &str| screen.contains(": open:") && !screen.contains("\u{1b}[");
    let unwanted = screen(call(&[]).variable("NO_COLOR", "1"));
    assert!(is_plain(&unwanted), "{unwanted:?}");
    assert!(is_plain(&screen(call(&["--color", "never"]))));
    let piped = call(&["--color=always"]).answer();
    assert!(piped.stderr.contains(name), "{piped:?}");
    let piped = call(&[]).answer();
    assert!(is_plain(&piped.stderr), "{piped:?}");
}

#[test]
fn columns_have_a_heading_at_a_terminal() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let columns = ["run", "latency", "--brief", "--columns", "count,call", "--", "cat", "/etc/hostname"];
    let (_, screen) = Terminal::of(manager.call(columns)).ends();
    let lines: Vec<&str> = screen.lines().collect();
    let heading = lines.iter().position(|line| *line == "count         call");
    let row = lines.iter().position(|line| line.starts_with("1 ") && line.ends_with(" execve"));
    assert!(heading.is_some() && heading < row, "{screen}");
    assert_eq!(lines.iter().filter(|line| line.contains("count")).count(), 1, "{screen}");
    let piped = manager.call(columns).answer();
    assert!(!piped.stderr.contains("count "), "{piped:#?}");
}

#[test]
fn ctrl_c_ends_the_command_and_the_trace_is_complete() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let script = "trap 'cat /etc/hostname; exit 7' INT; echo begun; while :; do sleep 0.02; done";
    let mut terminal = Terminal::of(manager.call(["run", "open", "--", "sh", "-c", script]));
    terminal.shows("begun");
    terminal.press("\x03");
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(7), "{screen}");
    assert!(screen.contains("path=\"/etc/hostname\"") && screen.contains("none lost"), "{screen}");
    assert!(!screen.contains("Ctrl-C"), "the command has the terminal: {screen}");
}

#[test]
fn the_command_reads_the_keyboard_and_can_be_suspended() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    // The shell has job control, as that of a person: it continues the job that Ctrl-Z has stopped.
    let script = "\"$@\"; echo stopped: $?; fg >/dev/null; echo ended: $?";
    let call = manager.call(["run", "open", "-o", "/dev/null", "--", "sh", "-c"]);
    let call = call.word("echo ready; read line; echo got $line; exit 5");
    let mut terminal = Terminal::of(call.under(["bash", "-m", "-c", script, "bash"]));
    terminal.shows("ready");
    terminal.press("\x1a");
    terminal.shows("stopped: 148");
    terminal.press("hello\n");
    terminal.shows("got hello");
    terminal.shows("ended: 5");
}

#[test]
fn a_closed_terminal_ends_the_session() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let (manager, workload) = (manager(), Workload::start());
    let pid = workload.id().to_string();
    let terminal = Terminal::of(manager.call(["run", "syscalls", "-p", &pid]));
    terminal.shows("recording");
    let before = kernel.instances_of(&manager.processes());
    assert!(!before.is_empty(), "the session has an instance");
    drop(terminal);
    system_tests::wait_until("the session has ended", system_tests::PATIENCE, || {
        before.iter().all(|instance| !instance.exists()) && manager.files().is_empty()
    });
}
