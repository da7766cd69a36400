//! Compares formatted lines with the kernel's: the instance's `trace` file prints the same buffer without consuming it.
#![allow(clippy::unwrap_used)]

mod ring_support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ring_support::{Comparison, Instance, TRACEFS, workload};
use tracefs::format::Formatter;

/// Stops recording and compares all lines. Returns the comparison and the formatted lines.
fn compare(instance: &Instance) -> (Comparison, Vec<String>) {
    instance.set("tracing_on", "0");
    let kernel_lines = instance.trace();
    let (our_lines, _) = instance.formatted();
    // `trace` reports a gap if it starts to read at another position than a consuming reader.
    let without_gaps =
        |lines: Vec<String>| lines.into_iter().filter(|line| !line.contains(" [LOST ")).collect::<Vec<_>>();
    let (kernel_lines, our_lines) = (without_gaps(kernel_lines), without_gaps(our_lines));
    assert!(!our_lines.is_empty(), "nothing was recorded");
    (Comparison::of(&kernel_lines, &our_lines), our_lines)
}

/// Checks that the formatted lines match the kernel's, and returns them.
fn matching_lines(instance: &Instance) -> Vec<String> {
    let (comparison, our_lines) = compare(instance);
    // The kernel prints a task's latest name, this crate the name at the time of the event. Lines before an `execve` differ
    // only in the name.
    assert!(comparison.different_except_names().is_empty(), "{}", comparison.report());
    our_lines
}

#[test]
fn system_calls() {
    let Some(instance) = Instance::new() else { return };
    instance.set("events/syscalls/enable", "1");
    let directory = tempfile::tempdir().unwrap();
    workload(directory.path());
    matching_lines(&instance);
}

/// Compares all events of all systems that the workload causes. Each half of the systems is a separate test, because this is
/// slow.
fn compare_events(half: usize) {
    let Some(systems) = systems() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut fired = BTreeMap::<String, usize>::new();
    let mut report = String::new();
    for group in systems.chunks(12).skip(half).step_by(2) {
        let Some(instance) = Instance::new() else { return };
        for system in group {
            // The system may be gone: other tests add and remove probes.
            let _ = fs::write(instance.path.join("events").join(system).join("enable"), "1");
        }
        workload(directory.path());
        let (comparison, _) = compare(&instance);
        for (event, count) in &comparison.same {
            *fired.entry(event.clone()).or_default() += count;
        }
        for (kernel_line, our_line) in comparison.different_except_names() {
            if !known_to_differ(&our_line) {
                report += &format!("kernel {kernel_line}\nours   {our_line}\n");
            }
        }
    }
    let _ = writeln!(std::io::stderr(), "{} events fired: {fired:?}", fired.len());
    let head: String = report.lines().take(40).map(|line| format!("{line}\n")).collect();
    assert!(report.is_empty(), "{} lines:\n{head}", report.lines().count());
}

#[test]
fn events_of_the_first_half_of_systems() {
    compare_events(0);
}

#[test]
fn events_of_the_second_half_of_systems() {
    compare_events(1);
}

fn systems() -> Option<Vec<String>> {
    let Ok(entries) = fs::read_dir(Path::new(TRACEFS).join("events")) else {
        ring_support::skip("no tracefs");
        return None;
    };
    let mut systems: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        // `ftrace` cannot be enabled, `syscalls` has its own test, and the others depend on what other tests define.
        .filter(|system| {
            !matches!(system.as_str(), "ftrace" | "syscalls" | "uprobes" | "kprobes" | "synthetic")
        })
        .collect();
    systems.sort();
    Some(systems)
}

/// Whether the line contains data that is available only in the kernel. See the documentation of `tracefs::format`.
fn known_to_differ(line: &str) -> bool {
    let page = ["mm_page_alloc", "mm_page_free", "mm_page_pcpu_drain", "mm_vmscan_write_folio"];
    let time =
        ["writeback_single_inode", "writeback_sb_inodes_requeue", "jbd2_run_stats", "jbd2_checkpoint_stats"];
    page.iter().chain(&time).any(|event| line.contains(&format!(": {event}")))
}

#[test]
fn markers() {
    let Some(instance) = Instance::new() else { return };
    for text in [
        "plain",
        "with newline\n",
        "two\nlines\n",
        "100 % %s %d",
        "",
        "\ttab \x1b[31m escape",
        &"long ".repeat(150),
    ] {
        let _ = fs::write(instance.path.join("trace_marker"), text);
    }
    for length in [4, 5, 8, 11, 16, 40] {
        let bytes: Vec<u8> = (0..length).collect();
        fs::write(instance.path.join("trace_marker_raw"), bytes).unwrap();
    }
    let lines = matching_lines(&instance);
    assert!(lines.iter().any(|line| line.ends_with("tracing_mark_write: 100 % %s %d")), "{lines:?}");
}

/// The tid of the current thread.
fn thread() -> String {
    fs::read_link("/proc/thread-self").unwrap().file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn stack_traces() {
    let Some(instance) = Instance::new() else { return };
    instance.set("options/stacktrace", "1");
    instance.set("options/userstacktrace", "1");
    instance.set("set_event_pid", &thread());
    instance.set("options/event-fork", "1");
    instance.set("events/sched/sched_switch/enable", "1");
    instance.set("events/syscalls/sys_enter_nanosleep/enable", "1");
    instance.set("events/syscalls/sys_enter_clock_nanosleep/enable", "1");
    Command::new("sleep").arg("0.01").status().unwrap();
    let lines = matching_lines(&instance);
    assert!(lines.iter().any(|line| line.ends_with(": <stack trace>")), "{lines:?}");
    assert!(lines.iter().any(|line| line.ends_with(": <user stack trace>")), "{lines:?}");
}

#[test]
fn options() {
    for options in [
        &["sym-offset", "sym-addr", "stacktrace"] as &[&str],
        // Not record-tgid: if several instances have events enabled, Linux 6.18 miscounts its users, and its probe of
        // sched_switch is never removed.
        &["verbose"],
        &["noirq-info"],
        &["nocontext-info"],
    ] {
        let Some(instance) = Instance::new() else { return };
        for option in options {
            instance.set("trace_options", option);
        }
        instance.set("set_event_pid", &thread());
        instance.set("options/event-fork", "1");
        instance.set("events/syscalls/sys_enter_openat/enable", "1");
        instance.set("events/sched/sched_process_exit/enable", "1");
        Command::new("true").status().unwrap();
        let _ = fs::read("/proc/self/stat");
        matching_lines(&instance);
    }
}

#[test]
fn every_trace_clock() {
    let Some(instance) = Instance::new() else { return };
    let clocks = instance.get("trace_clock");
    for clock in clocks.split_ascii_whitespace().map(|clock| clock.trim_matches(['[', ']'])) {
        // Changing the clock empties the buffer.
        instance.set("trace_clock", clock);
        instance.set("tracing_on", "1");
        for number in 0..20 {
            instance.set("trace_marker", &number.to_string());
            std::thread::sleep(Duration::from_millis(1));
        }
        let lines = matching_lines(&instance);
        assert_eq!(lines.len(), 20, "{clock}");
    }
}

#[test]
fn probes() {
    let Some(instance) = Instance::new() else { return };
    let Some(probe) = Uprobe::new() else { return };
    instance.set(&format!("events/{}/enable", probe.group), "1");
    for number in 1..10 {
        probed(number, c"a text".as_ptr(), [7, -7].as_ptr());
    }
    probed(10, std::ptr::null(), std::ptr::null());
    let lines = matching_lines(&instance);
    for part in
        [" text=\"a text\" ", " text=(fault) ", " list={7,-7} ", ": leave: (0x", " <- 0x", " back=0xa"]
    {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:?}");
    }
}

/// The probed function.
#[inline(never)]
extern "C" fn probed(number: u64, text: *const std::ffi::c_char, list: *const i32) -> u64 {
    std::hint::black_box((text, list));
    std::hint::black_box(number)
}

/// Probes in the test program, removed when dropped.
struct Uprobe {
    group: String,
}

impl Uprobe {
    fn new() -> Option<Self> {
        let group = format!("ring_test_{}", std::process::id());
        let location = location_of(probed as *const () as u64)?;
        let definitions = [
            format!(
                "p:{group}/enter {location} n=%di:u32 m=%di:s16 x=%di:x8 text=+0(%si):string raw=+0(%si):x8[4] name=$comm \
                 list=+0(%dx):s32[2] user=+0(%si):ustring end=%di"
            ),
            format!("p:{group}/again {location} c=+0(%si):char bits=%di:b4@2/64 texts=+0(%sp):string[2]"),
            format!("r:{group}/leave {location} back=$retval"),
        ];
        let probe = Self { group };
        for definition in definitions {
            if let Err(error) = append(&definition) {
                ring_support::skip(&format!("uprobe_events: {definition}: {error}"));
                return None;
            }
        }
        Some(probe)
    }
}

impl Drop for Uprobe {
    fn drop(&mut self) {
        // The kernel does not remove probes whose events are enabled.
        for instance in fs::read_dir(Path::new(TRACEFS).join("instances")).into_iter().flatten().flatten() {
            let _ = fs::write(instance.path().join("events").join(&self.group).join("enable"), "0");
        }
        for event in ["enter", "again", "leave"] {
            let _ = append(&format!("-:{}/{event}", self.group));
        }
    }
}

fn append(definition: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().append(true).open(Path::new(TRACEFS).join("uprobe_events"))?;
    file.write_all(definition.as_bytes())
}

/// `PATH:OFFSET` of an address of this process.
fn location_of(address: u64) -> Option<String> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let hex = |word: &str| u64::from_str_radix(word, 16).ok();
        let (start, end) = words.first()?.split_once('-')?;
        let (start, end, offset) = (hex(start)?, hex(end)?, hex(words.get(2)?)?);
        let path = words.get(5)?;
        (start..end).contains(&address).then(|| format!("{path}:{:#x}", address - start + offset))
    })
}

/// See the list in the documentation of `tracefs::format`.
#[test]
fn few_events_are_unprintable() {
    let Some(instance) = Instance::new() else { return };
    let formatter = Formatter::open(Path::new(TRACEFS), &instance.path).unwrap();
    let unprintable = formatter.all_unprintable();
    for (system, event, reason) in &unprintable {
        let _ = writeln!(std::io::stderr(), "{system}/{event}: {reason}");
    }
    assert!(unprintable.len() < 60, "{}", unprintable.len());
}
