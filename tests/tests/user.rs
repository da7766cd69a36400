//! `trace_user` with functions of real programs. Needs root and tracefs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use system_tests::{
    Answer, Build, Cgroup, Ended, Kernel, Loss, Manager, PATIENCE, Plugins, Program, Session, Workload,
    lock_out_sweeps, wait_until,
};

fn manager() -> Manager {
    Manager::with(Plugins::of(["uprobe"]))
}

#[track_caller]
fn trace(manager: &Manager, pid: u32, arguments: &str) -> Session {
    manager.run("trace_user", format!("--pid {pid} {arguments}")).start()
}

/// The answer when the hook refuses these arguments.
#[track_caller]
fn refusal(program: &Program, arguments: &str) -> Answer {
    manager().run("trace_user", format!("--pid {} {arguments}", program.id())).answer()
}

/// The number of lines of each event and function.
#[track_caller]
fn lines_by_function(ended: &Ended) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for line in ended.succeeded() {
        let (before, after) =
            line.split_once(": function=\"").unwrap_or_else(|| panic!("no function: {line}"));
        let event = before.rsplit(' ').next().unwrap_or_default().to_owned();
        let function = after.split('"').next().unwrap_or_default().to_owned();
        *counts.entry((event, function)).or_default() += 1;
    }
    counts
}

#[track_caller]
fn assert_lines<const N: usize>(ended: &Ended, expected: [(&str, &str, usize); N]) {
    let expected = expected.map(|(event, function, count)| ((event.to_owned(), function.to_owned()), count));
    assert_eq!(lines_by_function(ended), expected.into());
}

#[test]
fn the_hook_is_listed_and_described() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    assert_eq!(manager.call(["--get-all"]).answer().succeeded(), "trace_user\n");
    let described = manager.call(["--describe", "trace_user"]).answer();
    for word in
        ["--function", "-f", "--return", "--args", "--limit", "--pid", "exec", "string", "call: function="]
    {
        assert!(described.succeeded().contains(word), "no {word} in {described:#?}");
    }
}

#[test]
fn every_call_of_a_function_is_a_line() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    program.calls(10);
    let session = trace(&manager, program.id(), "-f traced_function");
    program.calls(5000);
    let ended = session.stop();
    assert_lines(&ended, [("call", "traced_function", 5000)]);
    let binary = format!("binary=\"{}\"", Program::built(Build::Usual).display());
    assert!(ended.lines[0].contains(&binary), "{}", ended.lines[0]);
}

#[test]
fn returns_have_results_and_durations() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    let arguments = "-f traced_function --return --format json --args 'traced_function(a: i32, b: x64, text: string) -> i32'";
    let session = trace(&manager, program.id(), arguments);
    program.send("call 100 -5 255 hal\"lo");
    let ended = session.stop();
    let lines = ended.objects();
    assert_eq!(lines.len(), 200);
    for pair in lines.chunks(2) {
        let [call, returned] = pair else { panic!("a call without its return: {pair:?}") };
        assert_eq!((&call["event"], &returned["event"]), (&"call".into(), &"return".into()));
        for line in [call, returned] {
            assert_eq!((&line["function"], &line["pid"]), (&"traced_function".into(), &program.id().into()));
        }
        let expected = json!({ "a": -5, "b": "0xff", "text": "hal\"lo" });
        assert_eq!((&call["arguments"], &returned["result"]), (&expected, &(-15).into()));
        assert!(
            returned["duration_ns"].as_u64().is_some_and(|duration| duration < 1_000_000_000),
            "{returned}"
        );
    }
}

#[test]
fn an_overlong_string_is_shown_as_a_fault() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    let arguments = "-f takes_texts --format json --args 'takes_texts(first: string, n: u8, second: string)'";
    let session = trace(&manager, program.id(), arguments);
    for lengths in ["3 5", "0 0", "6000 9", "6000 0", "9 6000", "0 6000", "6000 6000", "1000 2000"] {
        program.send(&format!("texts {lengths}"));
    }
    let lines = session.stop().objects();
    let shown = |line: &Value| {
        let text = |name: &str| match line["arguments"][name].as_str().expect("a text") {
            fault @ "(fault)" => fault.to_owned(),
            text => text.len().to_string(),
        };
        assert_eq!(line["arguments"]["n"], 7);
        format!("{} {}", text("first"), text("second"))
    };
    let shown: Vec<String> = lines.iter().map(shown).collect();
    let (neither, first, none) = ("(fault) (fault)", "9 (fault)", "0 (fault)");
    assert_eq!(shown, ["3 5", "0 0", neither, neither, first, none, neither, "1000 2000"]);
}

#[test]
fn bools_are_shown_as_true_or_false() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    let arguments = "-f traced_function --return --args 'traced_function(a: bool) -> bool'";
    // The function returns `a - 10`; a bool is the lowest byte.
    let calls = [(0, "false", "true"), (10, "true", "false"), (256, "false", "true")];
    let session = trace(&manager, program.id(), arguments);
    calls.iter().for_each(|(a, ..)| _ = program.send(&format!("call 1 {a} 0 x")));
    let ended = session.stop();
    assert_eq!(ended.succeeded().len(), 2 * calls.len());
    for (lines, (_, given, returned)) in ended.succeeded().chunks(2).zip(calls) {
        assert!(lines[0].ends_with(&format!(" a={given}")), "{lines:#?}");
        assert!(lines[1].contains(&format!(" result={returned} duration=")), "{lines:#?}");
    }

    let session = trace(&manager, program.id(), &format!("{arguments} --format json"));
    calls.iter().for_each(|(a, ..)| _ = program.send(&format!("call 1 {a} 0 x")));
    let objects = session.stop().objects();
    assert_eq!(objects.len(), 2 * calls.len());
    for (lines, (_, given, returned)) in objects.chunks(2).zip(calls) {
        let shown = (&lines[0]["arguments"]["a"], &lines[1]["result"]);
        assert_eq!(shown, (&(given == "true").into(), &(returned == "true").into()), "{lines:#?}");
    }
}

#[test]
fn an_unreadable_pointer_is_shown_as_a_fault() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    for (types, expected) in [
        ("_, p: *u32, text: *u16", json!({ "p": "(fault)", "text": 0x746f })),
        ("_, p: **x8, text: string", json!({ "p": "(fault)", "text": "other" })),
        ("_, p: ****bool", json!({ "p": "(fault)" })),
        ("_, p: *string", json!({ "p": "(fault)" })),
        ("_, p: *string, text: string", json!({ "p": "(fault)", "text": "other" })),
        ("_, p: *string, text: *string", json!({ "p": "(fault)", "text": "(fault)" })),
        (
            "a: *u8 = \\0, b: u8, p: string, text: string",
            json!({ "a": "(fault)", "b": 7, "p": "(fault)", "text": "other" }),
        ),
    ] {
        let arguments =
            format!("-f takes_texts traced_function --format json --args 'traced_function({types})'");
        let session = trace(&manager, program.id(), &arguments);
        // Fills the kernel's buffers with data of an earlier call.
        program.send("texts 8 8");
        program.send("call 1 7 0 other");
        program.send("call 1 7 8 other");
        let lines = session.stop().objects();
        assert_eq!(lines.len(), 3);
        lines[1..].iter().for_each(|line| assert_eq!(line["arguments"], expected, "{types}"));
    }
    // The text, taken as a pointer, is an invalid address.
    let arguments = "-f takes_texts --format json --args 'takes_texts(p: ***u32)'";
    let session = trace(&manager, program.id(), arguments);
    program.send("texts 8 8");
    assert_eq!(session.stop().objects()[0]["arguments"]["p"], "(fault)");
    let arguments = "-f traced_function --return --format json --args 'traced_function() -> *u8'";
    let session = trace(&manager, program.id(), arguments);
    program.send("call 1 10 0 x");
    assert_eq!(session.stop().objects()[1]["result"], "(fault)");
}

#[test]
fn nested_calls_return_in_order() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    let session = trace(
        &manager,
        program.id(),
        "-f recursive --return --format json --args 'recursive(depth: u64) -> u64'",
    );
    program.send("deep 20");
    let lines = session.stop().objects();
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    let (calls, returns) = (of("call"), of("return"));
    assert_eq!((calls.len(), returns.len()), (21, 21));
    let depths: Vec<_> = calls.iter().map(|call| call["arguments"]["depth"].as_u64()).collect();
    assert_eq!(depths, (0..=20).rev().map(Some).collect::<Vec<_>>());
    let results: Vec<_> = returns.iter().map(|line| line["result"].as_u64()).collect();
    assert_eq!(results, (0..=20).map(Some).collect::<Vec<_>>());
    assert!(returns.iter().map(|line| line["duration_ns"].as_u64()).is_sorted(), "the outer take longer");
}

#[test]
fn library_functions_are_found_without_the_librarys_path() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let thread = workload.thread();
    for choice in ["getppid", "libc.so.6:getppid", "libc*:get?pid", "'/*/libc.so.6:getppid'"] {
        let session = trace(&manager, workload.id(), &format!("-f {choice}"));
        let child = workload.child();
        workload.calls(1);
        thread.calls(20);
        child.calls(300);
        let lines = lines_by_function(&session.stop());
        assert_eq!(lines.get(&("call".to_owned(), "getppid".to_owned())), Some(&321), "{choice}: {lines:?}");
    }
}

#[test]
fn calls_of_other_tasks_are_not_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (mut traced, mut bystander) = (Program::start(), Program::start());
    let session = trace(&manager, traced.id(), "-f traced_function");
    traced.calls(10);
    bystander.calls(1000);
    assert_lines(&session.stop(), [("call", "traced_function", 10)]);
}

#[test]
fn patterns_match_source_names() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    let mangled = "called::inner::of_a_module";
    for choice in [mangled, "called::inner::*", "usual:*of_a_module*"] {
        let session = trace(&manager, program.id(), &format!("-f {choice}"));
        program.calls(7);
        assert_lines(&session.stop(), [("call", mangled, 7)]);
    }
    let session = trace(&manager, program.id(), "-f *_function called::inner::of_a_module");
    program.calls(7);
    let expected = [("call", "traced_function", 7), ("call", "other_function", 7), ("call", mangled, 7)];
    assert_lines(&session.stop(), expected);
}

#[test]
fn a_source_name_selects_all_overloads() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    let (int, long) = ("ns::K::get(int) const", "ns::K::get(long) &");
    let session =
        trace(&manager, program.id(), "-f ns::K::get --args 'ns::K::get(_, number: i32)' --format json");
    program.send("overloads 3");
    let lines = session.stop().objects();
    let of = |name: &str| lines.iter().filter(|line| line["function"] == name).count();
    assert_eq!((of(int), of(long), lines.len()), (3, 3, 6), "{lines:#?}");
    assert!(lines.iter().all(|line| line["arguments"]["number"] == 7), "{lines:#?}");
    let session = trace(&manager, program.id(), &format!("-f '{int}'"));
    program.send("overloads 3");
    assert_lines(&session.stop(), [("call", int, 3)]);
}

#[test]
fn a_cold_part_of_a_function_is_not_a_function() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    let session = trace(&manager, program.id(), "-f 'split_function*' --return");
    program.send("split 5");
    let expected = [("call", "split_function", 5), ("return", "split_function", 5)];
    assert_lines(&session.stop(), expected);
    let refused = refusal(&program, "-f split_function.cold");
    refused.refused(&["split_function.cold", "cold part"]);
}

#[test]
fn static_pie_and_stripped_programs_have_functions() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for build in [Build::Usual, Build::Static, Build::Stripped] {
        let mut program = Program::run(&mut Command::new(Program::built(build)));
        let session = trace(&manager, program.id(), "-f traced_function --return");
        program.calls(20);
        let expected = [("call", "traced_function", 20), ("return", "traced_function", 20)];
        assert_lines(&session.stop(), expected);
    }
}

#[test]
fn a_library_that_is_loaded_later_is_traced_by_its_path() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    let library = Program::built(Build::Library);
    let session = trace(&manager, program.id(), &format!("-f {}:library_function", library.display()));
    program.send(&format!("load {}", library.display()));
    program.send("loaded 30");
    assert_lines(&session.stop(), [("call", "library_function", 30)]);
    // Now that the library is loaded, its name is enough.
    let session = trace(&manager, program.id(), "-f library_function");
    program.send("loaded 3");
    assert_lines(&session.stop(), [("call", "library_function", 3)]);
}

#[test]
fn a_deleted_program_is_traced() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("my program");
    fs::copy(Program::built(Build::Usual), &file).expect("it can be copied");
    let mut program = Program::run(&mut Command::new(&file));
    fs::remove_file(&file).expect("it can be removed");
    // Another file replaces it, while the process runs the old one.
    fs::write(&file, "nothing").expect("it can be written");
    for choice in ["traced_function", "my?program:traced_function"] {
        let session = trace(&manager, program.id(), &format!("-f '{choice}'"));
        program.calls(10);
        assert_lines(&session.stop(), [("call", "traced_function", 10)]);
    }
}

#[test]
fn a_program_path_need_not_be_utf8() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join(OsStr::from_bytes(b"my\xffprogram"));
    fs::copy(Program::built(Build::Usual), &file).expect("it can be copied");
    let mut program = Program::run(&mut Command::new(&file));
    for (choice, format, shown) in [
        ("traced_function", "text", "/my\\xffprogram\""),
        ("my?program:traced_function", "json", "/my\u{fffd}program\""),
    ] {
        let session = trace(&manager, program.id(), &format!("-f {choice} --format {format}"));
        program.calls(1);
        let ended = session.stop();
        assert!(ended.succeeded()[0].contains(shown), "{}", ended.lines[0]);
    }
}

/// Runs a copy of the program that exists only in its own mount namespace, at this path.
fn in_namespaces(namespaces: &[&str], script: &str) -> Program {
    let place = tempfile::tempdir().expect("a directory can be made");
    let original = Program::built(Build::Usual);
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["sh", "-e", "-c", script]).arg(original).arg(place.path());
    Program::run(&mut command)
}

#[test]
fn a_program_is_found_in_its_own_mount_namespace() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let script = "mount -t tmpfs none $1; cp $0 $1/hidden; exec $1/hidden";
    for namespaces in [&["--mount"][..], &["--mount", "--user", "--map-root-user"]] {
        let mut program = in_namespaces(namespaces, script);
        let path = fs::read_link(format!("/proc/{}/exe", program.id())).expect("it is running");
        assert!(!path.exists(), "{} is hidden from us", path.display());
        for choice in ["traced_function".to_owned(), format!("{}:traced_function", path.display())] {
            let session = trace(&manager, program.id(), &format!("-f {choice}"));
            program.calls(10);
            let ended = session.stop();
            assert_lines(&ended, [("call", "traced_function", 10)]);
            assert!(ended.lines[0].contains("/hidden\""), "{}", ended.lines[0]);
        }
    }
}

#[test]
fn a_program_is_found_on_an_overlay_file_system() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let script = "mount -t tmpfs none $1; cd $1; mkdir lower upper work merged; cp $0 lower/program; \
                  mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged; exec merged/program";
    let mut program = in_namespaces(&["--mount"], script);
    let session = trace(&manager, program.id(), "-f program:traced_function");
    program.calls(10);
    assert_lines(&session.stop(), [("call", "traced_function", 10)]);
}

/// As with two containers of one image.
#[test]
fn a_file_shared_by_two_overlays_is_recorded_once() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let script = "mount -t tmpfs none $1; cd $1; mkdir lower; cp $0 lower/program; \
                  for n in 1 2; do mkdir upper$n work$n merged$n; mount -t overlay overlay \
                  -o lowerdir=lower,upperdir=upper$n,workdir=work$n merged$n; done; exec merged1/program";
    let mut first = in_namespaces(&["--mount"], script);
    let mut command = Command::new("nsenter");
    command.args(["--mount", "--wd", "--target", &first.id().to_string(), "merged2/program"]);
    let mut second = Program::run(&mut command);
    let session =
        trace(&manager, first.id(), &format!("{} -f traced_function other_function --return", second.id()));
    first.calls(10);
    second.calls(300);
    let [one, other] = ["traced_function", "other_function"];
    let expected = [("call", one, 310), ("return", one, 310), ("call", other, 310), ("return", other, 310)];
    assert_lines(&session.stop(), expected);

    // Another function of the same file is recorded completely.
    let path = fs::read_link(format!("/proc/{}/exe", second.id())).expect("it is running");
    let arguments = format!("{} -f traced_function {}:other_function", second.id(), path.display());
    let session = trace(&manager, first.id(), &arguments);
    first.calls(10);
    assert_lines(&session.stop(), [("call", "traced_function", 10), ("call", "other_function", 10)]);
}

#[test]
fn a_program_is_found_in_another_pid_namespace() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let script = "mount -t tmpfs none $1; cp $0 $1/hidden; exec $1/hidden";
    // The traced process is `unshare`, with its child.
    let mut program = in_namespaces(&["--mount", "--pid", "--fork", "--kill-child"], script);
    let session = trace(&manager, program.id(), "-f hidden:traced_function");
    program.calls(10);
    assert_lines(&session.stop(), [("call", "traced_function", 10)]);
}

#[test]
fn a_path_is_resolved_in_the_process_root() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let fixed = Program::built(Build::Static);
    let script = format!(
        "mount -t tmpfs none $1; cp {} $1/traced_program; ln -s /traced_program $1/link; exec chroot $1 /traced_program",
        fixed.display()
    );
    let mut program = in_namespaces(&["--mount"], &script);
    for path in ["/traced_program", "/link"] {
        let session = trace(&manager, program.id(), &format!("-f {path}:traced_function"));
        program.calls(10);
        assert_lines(&session.stop(), [("call", "traced_function", 10)]);
    }
}

#[test]
fn a_link_in_a_container_is_resolved_inside_it() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let script = "mount -t tmpfs none $1; cp $0 $1/program; ln -s /proc/1/exe $1/link; exec $1/program";
    let program = in_namespaces(&["--mount"], script);
    let path = fs::read_link(format!("/proc/{}/exe", program.id())).expect("it is running");
    let link = path.with_file_name("link");
    refusal(&program, &format!("-f {}:main", link.display())).refused(&["unknown binary", "link"]);
}

/// Calls until the first line after so many: from then on, the program is traced. Returns the number of calls.
fn calls_until_recorded(session: &Session, program: &mut Program, lines_before: usize) -> usize {
    let mut calls = 0;
    wait_until("the new program is traced", PATIENCE, || {
        program.calls(1);
        calls += 1;
        session.line_count() > lines_before
    });
    calls
}

#[test]
fn a_program_that_is_executed_later_is_traced_when_it_has_been_searched() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (first, second) = (Program::built(Build::Usual), Program::built(Build::Static));
    let mut program = Program::run(&mut Command::new(&first));
    let arguments = "-f traced_function --return --args 'traced_function(a: i32)'";
    let session = trace(&manager, program.id(), arguments);
    program.calls(1);
    program.send(&format!("exec {}", second.display()));
    let early = calls_until_recorded(&session, &mut program, 2);
    program.calls(20);
    program.send(&format!("exec {}", second.display()));
    program.calls(30);
    let ended = session.stop();
    let lines = ended.succeeded();
    let of_second = |line: &&&str| line.contains(&format!("binary=\"{}\"", second.display()));
    let of_second: Vec<_> = lines.iter().filter(of_second).collect();
    // Each call has two lines.
    assert!((2 * 51..=2 * (50 + early)).contains(&of_second.len()), "{} of {early}", of_second.len());
    // Where a program is searched while it calls the function, a return may be recorded without its call.
    let calls = of_second[of_second.len() - 100..].iter().filter(|line| line.contains(" a="));
    assert_eq!(calls.count(), 50);
    assert_eq!(lines.len() - of_second.len(), 2);
}

#[test]
fn a_program_that_joins_a_cgroup_is_searched() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, cgroup) = (manager(), Cgroup::create());
    let arguments = format!("--cgroup {} -f traced_function", cgroup.path().display());
    let session = manager.run("trace_user", arguments).start();
    let mut joiner = Program::run(&mut Command::new(Program::built(Build::Static)));
    let mut neighbour = Program::run(&mut Command::new(Program::built(Build::Static)));
    cgroup.takes(joiner.id());
    let early = calls_until_recorded(&session, &mut joiner, 0);
    joiner.calls(20);
    neighbour.calls(30);
    // Another program, from then on.
    let mut other = Program::start();
    cgroup.takes(other.id());
    calls_until_recorded(&session, &mut other, 21 + early);
    let ended = session.stop();
    let lines = ended.succeeded();
    let by =
        |program: &Program| lines.iter().filter(|line| line.contains(&format!("-{} ", program.id()))).count();
    assert!((21..=20 + early).contains(&by(&joiner)), "{} of {early}", by(&joiner));
    assert!(by(&other) > 0 && by(&neighbour) == 0);
}

#[test]
fn after_exec_functions_named_by_path_are_traced_from_the_start() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (first, second) = (Program::built(Build::Usual), Program::built(Build::Static));
    let mut program = Program::run(&mut Command::new(&first));
    let arguments = format!("-f traced_function {}:traced_function", second.display());
    let session = trace(&manager, program.id(), &arguments);
    program.calls(1);
    program.send(&format!("exec {}", second.display()));
    program.calls(20);
    assert_lines(&session.stop(), [("call", "traced_function", 21)]);
}

#[test]
fn hostile_strings_do_not_break_lines() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let arguments = "-f prctl --args 'prctl(_, name: string)'";
    let session = trace(&manager, workload.id(), arguments);
    workload.is_called("a\"b\n\u{1b}[2J\\");
    let ended = session.stop();
    let expected = r#" name="a\"b\n\u{1b}[2J\\""#;
    assert_eq!(ended.succeeded().len(), 1);
    assert!(ended.lines[0].trim_end().ends_with(expected), "{}", ended.lines[0]);
}

#[test]
fn calls_with_long_texts_are_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    let arguments = "-f traced_function --format json --args 'traced_function(_, _, text: string)'";
    let session = trace(&manager, program.id(), arguments);
    let texts = [3, 3500, 4000].map(|length| "x".repeat(length));
    for text in &texts {
        program.send(&format!("call 10 1 1 {text}"));
    }
    let lines = session.stop().objects();
    let recorded: Vec<_> = lines.iter().filter_map(|line| line["arguments"]["text"].as_str()).collect();
    let lengths: Vec<usize> = recorded.iter().map(|text| text.len()).collect();
    assert_eq!(lengths, texts.each_ref().map(|text| [text.len(); 10]).concat());
    assert!(recorded.iter().all(|text| text.bytes().all(|byte| byte == b'x')));
}

#[test]
fn arguments_have_the_requested_types() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    let register = if cfg!(target_arch = "aarch64") { "%x2" } else { "%dx" };
    let spec = format!(
        "traced_function(u8, _, *u16, first: x8=+0({register}), nowhere: *u64=\\0, text: string, gone: bool=\\0)"
    );
    let session = trace(&manager, program.id(), &format!("-f traced_function --format json --args '{spec}'"));
    program.send("call 1 263 9 abc");
    let lines = session.stop().objects();
    let arguments = &lines[0]["arguments"];
    assert_eq!((&arguments["arg1"], &arguments["arg3"]), (&7.into(), &0x6261.into()), "{arguments}");
    assert_eq!((&arguments["first"], &arguments["gone"]), (&"0x61".into(), &false.into()), "{arguments}");
}

#[test]
fn go_and_c_functions_of_a_go_program_are_traced() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::run(&mut Command::new(Program::built(Build::GoLike)));
    let first_of_c = if cfg!(target_arch = "aarch64") { "%x0" } else { "%di" };
    let counted = "-f traced_function --args 'traced_function(a: i32)'";
    let mentions = ["'traced_function' is not compiled by Go", "NAME: TYPE = FETCH", first_of_c];
    refusal(&program, counted).refused(&mentions);
    refusal(&program, "-f traced_function --return").refused(&["--return", "Go moves its stacks"]);
    let arguments = format!(
        "-f traced_function main.go_function --format json --args 'traced_function(a: i32 = {first_of_c})' 'main.go_function(a: u64)'"
    );
    let session = trace(&manager, program.id(), &arguments);
    program.send("call 1 7 8 x");
    program.send("go 1");
    let lines = session.stop().objects();
    let shown: Vec<_> = lines.iter().map(|line| (&line["function"], &line["arguments"]["a"])).collect();
    assert_eq!(shown, [(&"traced_function".into(), &7.into()), (&"main.go_function".into(), &42.into())]);
}

#[test]
fn an_unknown_function_is_refused_with_the_nearest_name() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let program = Program::start();
    let refused = |arguments: &str, mentions: &[&str]| refusal(&program, arguments).refused(mentions);
    refused("-f traced_functoin", &["'traced_functoin'", "did you mean 'traced_function'"]);
    refused("-f lbc.so.6:open", &["'lbc.so.6'", "did you mean 'libc.so.6'"]);
    refused("-f /no/such/file:main", &["'/no/such/file'"]);
    refused("-f libc.so.6:traced_function", &["'libc.so.6:traced_function'"]);
    refused("-f usual:open64", &["only imported", "another file"]);
    refused("-f libc.so.6:strlen", &["'strlen'", "IFUNC"]);
    refused("-f refused_function", &["'refused_function'", "cannot put a probe"]);
    refused(&format!("-f {}", "x".repeat(100 << 10)), &["unknown function"]);
    refused("-f /etc/passwd:main", &["/etc/passwd", "not a readable ELF file"]);
    refused("-f /dev/null:main", &["/dev/null"]);
    refused("-f usual:", &["'usual:' does not name a function"]);
    refused("-f ''", &["'' does not name a function"]);
    refused("", &["--function"]);
}

#[test]
fn a_program_without_symbols_is_reported() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let program = Program::run(&mut Command::new(Program::built(Build::Bare)));
    refusal(&program, "-f traced_function").refused(&[
        "'traced_function'",
        "bare has no symbols",
        "stripped",
    ]);
}

#[test]
fn too_many_functions_are_refused_with_advice() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let program = Program::start();
    refusal(&program, "-f one_of_many_*").refused(&["2000 functions match", "1000", "--limit"]);
    refusal(&program, "-f one_of_many_* --limit 1999").refused(&["2000 functions match", "1999"]);
    refusal(&program, "-f one_of_many_1 --limit 0").refused(&["--limit"]);
    let manager = manager();
    let session = trace(&manager, program.id(), "-f one_of_many_1??");
    assert_eq!(kernel.probes_of(&[session.pid()]).len(), 100);
    session.stop().succeeded();
}

#[test]
fn an_argument_spec_must_match_a_function() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let program = Program::start();
    let refused = |spec: &str, mentions: &[&str]| {
        refusal(&program, &format!("-f traced_function --args '{spec}'")).refused(mentions);
    };
    refused("traced_function", &["parentheses"]);
    refused("traced_function(a: sting)", &["'sting'", "did you mean 'string'"]);
    refused("traced_function(a: f64)", &["floating-point"]);
    refused("traced_functoin(a: u8)", &["'traced_functoin(a: u8)'", "did you mean 'traced_function'"]);
    refused("traced_function(a: u8) -> i32", &["--return"]);
    for (types, count) in [("u8, ", 25 << 10), ("***u8, ", 32)] {
        refused(&format!("traced_function({})", types.repeat(count)), &["more than 126 values"]);
    }
    let (open, close) = ("+8(".repeat(20 << 10), ")".repeat(20 << 10));
    refused(&format!("traced_function(a: u8={open}%di{close})"), &["too long"]);
    // The kernel's own message, with its position.
    let answer = refusal(&program, "-f traced_function --args 'traced_function(a: u8 = %nonsense)'");
    assert_eq!((answer.status.code(), answer.stdout.as_str()), (Some(2), ""), "{answer:#?}");
    assert!(answer.stderr.contains("Invalid register name") && answer.stderr.contains('^'), "{answer:#?}");
}

#[test]
fn two_sessions_of_one_function_both_record_it() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    let first = trace(&manager, program.id(), "-f traced_function");
    program.calls(1);
    let second = trace(&manager, program.id(), "-f traced_function other_function");
    program.calls(20);
    assert_lines(&first.stop(), [("call", "traced_function", 21)]);
    program.calls(300);
    let expected = [("call", "traced_function", 320), ("call", "other_function", 320)];
    assert_lines(&second.stop(), expected);
}

/// Otherwise its probes could not be removed while the other session has them enabled.
#[test]
fn sessions_do_not_record_each_others_probes() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let manager = Manager::with(Plugins::of(["ftrace", "uprobe"]));
    let mut program = Program::start();
    let session = trace(&manager, program.id(), "-f traced_function");
    assert_eq!(kernel.probes_of(&[session.pid()]).len(), 1);
    let events = format!("--pid {} -e 'tracehook_{}_*:*'", program.id(), session.pid());
    manager.run("trace_events", events).answer().refused(&["the kernel has no event", "tracehook_"]);
    program.calls(5);
    assert_lines(&session.stop(), [("call", "traced_function", 5)]);
}

#[test]
fn a_foreign_probe_counts_the_same_and_is_kept() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let manager = manager();
    let mut program = Program::start();
    let (system, file) = (format!("other_tool_{}", program.id()), Program::built(Build::Usual));
    let probe = kernel.define_probe(&format!("{system}/here"), &file, offset_of("traced_function", &file));
    let witness = kernel.make_instance(&system);
    witness.set("set_event_pid", &program.id().to_string());
    witness.set(&format!("events/{system}/here/enable"), "1");

    let session = trace(&manager, program.id(), "-f traced_function");
    program.calls(500);
    manager.call(["--clear"]).answer().succeeded_silently();
    assert_lines(&session.ends(), [("call", "traced_function", 500)]);
    assert!(probe.is_unchanged());
    assert_eq!(witness.get(&format!("events/{system}/here/enable")), "1");
    program.calls(50);
    assert_eq!(witness.lines().len(), 550);
    witness.set(&format!("events/{system}/here/enable"), "0");
}

/// The registers of the first and the third argument.
const FIRST_AND_THIRD: [&str; 2] = if cfg!(target_arch = "x86_64") { ["%di", "%dx"] } else { ["%x0", "%x2"] };

#[test]
fn trace_events_distinguishes_an_unreadable_string_from_an_empty_one() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let manager = Manager::with(Plugins::of(["ftrace"]));
    let mut program = Program::start();
    let (system, file) = (format!("other_tool_{}", program.id()), Program::built(Build::Usual));
    let [first, third] = FIRST_AND_THIRD;
    let arguments = format!("first=+0({first}):string third=+0({third}):string");
    let offset = offset_of("takes_texts", &file);
    let _probe = kernel.define_probe_with(&format!("{system}/texts"), &file, offset, &arguments);
    let arguments = format!("--pid {} -e {system}:texts --format json", program.id());
    let session = manager.run("trace_events", arguments).start();
    program.send("texts 0 3");
    // The kernel cannot record so long a string.
    program.send("texts 0 6000");
    let events = session.stop().objects();
    let texts: Vec<_> =
        events.iter().map(|event| (&event["fields"]["first"], &event["fields"]["third"])).collect();
    assert_eq!(texts, [(&json!(""), &json!("xxx")), (&json!(""), &json!("(fault)"))]);
}

/// The file offset of the function, from binutils.
#[track_caller]
fn offset_of(function: &str, file: &Path) -> u64 {
    let read = |arguments: &[&str]| {
        let output = Command::new("readelf").arg("--wide").args(arguments).arg(file).output();
        String::from_utf8(output.expect("readelf is installed").stdout).expect("plain text")
    };
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("a number");
    let symbols = read(&["--symbols"]);
    let symbol = symbols.lines().find(|line| line.ends_with(&format!(" {function}")));
    let address = hex(symbol.and_then(|line| line.split_whitespace().nth(1)).expect("it has the symbol"));
    let segments = read(&["--segments"]);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let loads = segments.lines().map(words).filter(|words| words.first().is_some_and(|word| word == "LOAD"));
    let within = |words: Vec<String>| {
        let (offset, start, length) = (hex(&words[1]), hex(&words[2]), hex(&words[4]));
        (start..start + length).contains(&address).then(|| address - start + offset)
    };
    loads.filter_map(within).next().expect("it is loaded")
}

#[test]
fn losses_are_counted_exactly() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    let session = trace(&manager, program.id(), "-f traced_function --return --buffer-size 4");
    session.while_worker_is_stopped(|| program.calls(50_000));
    let ended = session.stop();
    let (losses, events): (Vec<&str>, Vec<&str>) =
        ended.succeeded().into_iter().partition(|line| Loss::of(line).is_some());
    assert!(!losses.is_empty(), "a buffer of 4 KiB takes no 100,000 events");
    let lost: usize = losses.iter().filter_map(|line| Loss::of(line)).map(|loss| loss.count).sum();
    assert_eq!(events.len() + lost, 100_000);
}

#[test]
fn a_session_ends_with_its_last_task() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let mut program = Program::start();
    let session = trace(&manager, program.id(), "-f traced_function");
    program.calls(10);
    drop(program);
    assert_lines(&session.ends(), [("call", "traced_function", 10)]);
}

#[test]
fn the_next_call_removes_the_probes_of_killed_processes() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    for supervisor_too in [false, true] {
        let manager = manager();
        let mut program = Program::start();
        let mut session = trace(&manager, program.id(), "-f traced_function --return");
        program.calls(10);
        session.wait_for_lines(20);
        let pid = session.pid();
        assert_eq!(kernel.probes_of(&[pid]).len(), 2);
        let worker = session.worker();
        if supervisor_too {
            session.process().signal(Signal::SIGKILL);
        }
        let _ = kill(Pid::from_raw(worker.cast_signed()), Signal::SIGKILL);
        session.ends();
        program.calls(1);
        manager.call(["--get-all"]).answer().succeeded();
        assert!(kernel.probes_of(&[pid]).is_empty(), "{:?}", kernel.probes_of(&[pid]));
        program.calls(1);
    }
}

#[test]
fn clear_removes_only_the_probes_of_dead_sessions() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let file = Program::built(Build::Usual);
    let mut program = Program::start();
    let other = manager();
    let session = trace(&other, program.id(), "-f traced_function");
    // As a dead session leaves it when its instance has been removed.
    let orphan = kernel.define_probe(&format!("tracehook_{}_0badcafe/call0", program.id()), &file, 0x1000);
    manager().call(["--clear"]).answer().succeeded_silently();
    assert!(!orphan.is_unchanged());
    program.calls(5);
    wait_until("the running session continues", PATIENCE, || !kernel.probes_of(&[session.pid()]).is_empty());
    assert_lines(&session.stop(), [("call", "traced_function", 5)]);
}
