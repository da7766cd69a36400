//! Our text against the kernel's own: the instance's `trace` file shows the same buffer without consuming it.
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

/// Stops recording and compares all there is.
fn compare(instance: &Instance) -> (Comparison, Vec<String>) {
    instance.set("tracing_on", "0");
    let kernel = instance.trace();
    let (ours, _) = instance.formatted();
    // `trace` tells of a gap where its reading began elsewhere than a consuming reader does.
    let without_gaps =
        |lines: Vec<String>| lines.into_iter().filter(|line| !line.contains(" [LOST ")).collect::<Vec<_>>();
    let (kernel, ours) = (without_gaps(kernel), without_gaps(ours));
    assert!(!ours.is_empty(), "nothing was recorded");
    (Comparison::of(&kernel, &ours), ours)
}

fn same(instance: &Instance) -> Vec<String> {
    let (comparison, ours) = compare(instance);
    // The kernel shows a task's latest name, ours are those of the time: lines before an `execve` differ in
    // the name alone.
    assert!(comparison.different_but_for_names().is_empty(), "{}", comparison.report());
    ours
}

#[test]
fn system_calls() {
    let Some(instance) = Instance::new() else { return };
    instance.set("events/syscalls/enable", "1");
    let directory = tempfile::tempdir().unwrap();
    workload(directory.path());
    same(&instance);
}

/// Every event that this workload makes fire, of all systems; one half per test, for they take their time.
fn every_event(part: usize) {
    let Some(systems) = systems() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut fired = BTreeMap::<String, usize>::new();
    let mut report = String::new();
    for group in systems.chunks(12).skip(part).step_by(2) {
        let Some(instance) = Instance::new() else { return };
        for system in group {
            // Probes of other tests come and go.
            let _ = fs::write(instance.path.join("events").join(system).join("enable"), "1");
        }
        workload(directory.path());
        let (comparison, _) = compare(&instance);
        for (event, count) in &comparison.same {
            *fired.entry(event.clone()).or_default() += count;
        }
        for (kernel, ours) in comparison.different_but_for_names() {
            if !known_to_differ(&ours) {
                report += &format!("kernel {kernel}\nours   {ours}\n");
            }
        }
    }
    let _ = writeln!(std::io::stderr(), "{} events fired: {fired:?}", fired.len());
    let head: String = report.lines().take(40).map(|line| format!("{line}\n")).collect();
    assert!(report.is_empty(), "{} lines:\n{head}", report.lines().count());
}

#[test]
fn every_event_of_one_half() {
    every_event(0);
}

#[test]
fn every_event_of_the_other_half() {
    every_event(1);
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
        // `ftrace` cannot be enabled, `syscalls` has its own test, and these depend on the other tests'
        // doings.
        .filter(|system| {
            !matches!(system.as_str(), "ftrace" | "syscalls" | "uprobes" | "kprobes" | "synthetic")
        })
        .collect();
    systems.sort();
    Some(systems)
}

/// Events that show what only the running kernel knows: see the documentation of `tracefs::format`.
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
        "with line end\n",
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
    let lines = same(&instance);
    assert!(lines.iter().any(|line| line.ends_with("tracing_mark_write: 100 % %s %d")), "{lines:?}");
}

/// The id of this test's thread.
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
    let lines = same(&instance);
    assert!(lines.iter().any(|line| line.ends_with(": <stack trace>")), "{lines:?}");
    assert!(lines.iter().any(|line| line.ends_with(": <user stack trace>")), "{lines:?}");
}

#[test]
fn options() {
    for options in [
        &["sym-offset", "sym-addr", "stacktrace"] as &[&str],
        // Not record-tgid: the kernel miscounts who wants it when several instances have events on (6.18), and its probe
        // of sched_switch stays for good.
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
        same(&instance);
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
        let lines = same(&instance);
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
    let lines = same(&instance);
    for part in
        [" text=\"a text\" ", " text=(fault) ", " list={7,-7} ", ": leave: (0x", " <- 0x", " back=0xa"]
    {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:?}");
    }
}

/// What the probes are in.
#[inline(never)]
extern "C" fn probed(number: u64, text: *const std::ffi::c_char, list: *const i32) -> u64 {
    std::hint::black_box((text, list));
    std::hint::black_box(number)
}

/// Probes in this very program, removed when dropped.
struct Uprobe {
    group: String,
}

impl Uprobe {
    fn new() -> Option<Self> {
        let group = format!("ring_test_{}", std::process::id());
        let place = place_of(probed as *const () as u64)?;
        let definitions = [
            format!(
                "p:{group}/enter {place} n=%di:u32 m=%di:s16 x=%di:x8 text=+0(%si):string raw=+0(%si):x8[4] name=$comm \
                 list=+0(%dx):s32[2] user=+0(%si):ustring end=%di"
            ),
            format!("p:{group}/again {place} c=+0(%si):char bits=%di:b4@2/64 texts=+0(%sp):string[2]"),
            format!("r:{group}/leave {place} back=$retval"),
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
        // The kernel refuses while the events are on.
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
fn place_of(address: u64) -> Option<String> {
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

/// What is documented in `tracefs::format`: few events are beyond us, and each for a reason.
#[test]
fn unprintable_events() {
    let Some(instance) = Instance::new() else { return };
    let formatter = Formatter::open(Path::new(TRACEFS), &instance.path).unwrap();
    let unprintable = formatter.all_unprintable();
    for (system, event, reason) in &unprintable {
        let _ = writeln!(std::io::stderr(), "{system}/{event}: {reason}");
    }
    assert!(unprintable.len() < 60, "{}", unprintable.len());
}
