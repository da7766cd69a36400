//! `trace_memory` with real tasks, compared with procfs and the kernel's own lines. Needs root and tracefs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use system_tests::{
    Kernel, Log, Loss, Manager, PATIENCE, Plugins, Script, Session, Workload, cpus, skip, wait_until,
};

/// The number of pages that the workload writes to.
const MANY: usize = 500;

fn manager() -> Manager {
    Manager::with(Plugins::of(["ftrace"]))
}

#[track_caller]
fn trace(manager: &Manager, pid: u32, arguments: &str) -> Session {
    manager.run("trace_memory", format!("--pid {pid} --format json {arguments}")).start()
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[track_caller]
fn number(event: &Value, name: &str) -> u64 {
    event[name].as_u64().unwrap_or_else(|| panic!("no {name} in {event}"))
}

fn page_size() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).expect("there are pages");
    size.expect("the page size is known") as u64
}

/// The number of page faults of a single-threaded process (proc_pid_stat(5): minflt and majflt).
fn faults(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it exists");
    let (_, rest) = stat.rsplit_once(") ").expect("a name in brackets");
    let numbers: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| numbers[at].parse::<u64>().expect("a number");
    number(7) + number(9)
}

/// A size in /proc/PID/FILE, in bytes.
fn size(pid: u32, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect("it exists");
    let size = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of it");
    size.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<u64>().expect("a number") * 1024
}

/// Whether this kernel has events of page faults. Kernels for aarch64 do not.
fn has_fault_events() -> bool {
    Path::new("/sys/kernel/tracing/events/exceptions/page_fault_user").exists()
}

#[test]
fn the_hook_is_listed_and_described() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    assert!(manager.call(["--get-all"]).answer().succeeded().lines().any(|hook| hook == "trace_memory"));
    let described = manager.call(["--describe", "trace_memory"]).answer();
    for word in [
        "page_alloc",
        "page_free",
        "page_fault",
        "kmalloc",
        "rss",
        "reclaim",
        "oom_kill",
        "--kind",
        "--summary",
        "call_site",
        "Example",
    ] {
        assert!(described.succeeded().contains(word), "no {word} in {described:#?}");
    }
}

#[test]
fn contradictory_arguments_are_refused() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let refused = |arguments: &str, mentions: &[&str]| {
        let arguments = format!("--pid {} {arguments}", std::process::id());
        manager.run("trace_memory", arguments).answer().refused(mentions);
    };
    refused("--kind page", &["page", "pages", "kmalloc"]);
    refused("--summary 0", &["--summary"]);
    refused("--summary 1 --kind rss", &["rss", "pages, faults and kmalloc"]);
    refused("--summary 1 --kind pages oom reclaim", &["reclaim and oom"]);
}

#[test]
fn resident_memory_matches_procfs() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    // The first round allocates what the workload itself needs.
    workload.touches(MANY);
    let session = trace(&manager, workload.id(), "--kind rss");
    let before = size(workload.id(), "smaps_rollup", "Rss");
    workload.touches(MANY);
    let after = size(workload.id(), "smaps_rollup", "Rss");
    let anonymous = size(workload.id(), "smaps_rollup", "Anonymous");
    let ended = session.stop();
    let events = ended.objects();
    assert!(
        events.iter().all(|event| event["event"] == "rss" && event["other_space"] == false),
        "{events:#?}"
    );
    let grown = MANY as u64 * page_size();
    assert!((grown..grown + 16 * page_size()).contains(&(after - before)), "{before} {after}");
    let changes = |pages: &str| {
        let of_these: Vec<&Value> = events.iter().filter(|event| event["pages"] == pages).collect();
        of_these.iter().filter_map(|event| event["change"].as_i64()).sum::<i64>()
    };
    // The first line of each kind has no change.
    let reported = changes("anon") + changes("file") + changes("shmem");
    let first_ones = 3 * 16 * page_size();
    assert!(reported.unsigned_abs().abs_diff(after - before) <= first_ones, "{reported}: {before} {after}");
    let last = events.iter().rfind(|event| event["pages"] == "anon").expect("it has anonymous pages");
    assert_eq!(number(last, "size"), anonymous);
}

/// A task releases its address space before the memory in it is freed.
#[test]
fn rss_is_reported_per_program_across_fork_exec_and_exit() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, workload.id(), "--kind rss");
    workload.touches(MANY);
    let parent = workload.id();
    // A forked child, and a child that executes a program.
    let (forked, executing) = (workload.storm(1)[0], workload.child().id());
    workload.exits();
    let ended = session.ends();
    let events = ended.objects();
    let of = |task: u32| events.iter().filter(|event| event["tid"] == task).collect::<Vec<_>>();
    let spaces = |task: u32, others: bool| {
        let such = of(task).into_iter().filter(|event| event["other_space"] == others);
        such.filter_map(|event| event["space"].as_str()).collect::<BTreeSet<_>>()
    };
    // The child's size at the fork.
    assert_eq!(spaces(parent, true), spaces(forked, false));
    assert_eq!((spaces(parent, false).len(), spaces(forked, false).len()), (1, 1));
    assert!(spaces(forked, true).is_empty() && spaces(executing, true).is_subset(&spaces(executing, false)));
    for task in [parent, forked, executing] {
        let last =
            of(task).into_iter().rfind(|event| event["pages"] == "anon").expect("it had anonymous pages");
        assert!(last["change"].as_i64().is_some_and(|change| change < 0), "it was taken down: {last}");
        assert_eq!(last["other_space"], false, "{last}");
    }
}

#[test]
fn page_faults_match_the_kernels_counts() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    if !has_fault_events() {
        return;
    }
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, workload.id(), "--kind faults pages");
    let before = faults(workload.id());
    let first = workload.touches(MANY);
    let counted = faults(workload.id()) - before;
    let ended = session.stop();
    let events = ended.objects();
    let faults = named(&events, "page_fault");
    assert_eq!(faults.len() as u64, counted);
    let address = |fault: &&Value| {
        let text = fault["address"].as_str().and_then(|text| text.strip_prefix("0x")).expect("an address");
        u64::from_str_radix(text, 16).expect("in hex")
    };
    let size = page_size();
    let touched = first..first + MANY as u64 * size;
    let ours: Vec<&&Value> = faults.iter().filter(|fault| touched.contains(&address(fault))).collect();
    let pages: BTreeSet<u64> = ours.iter().map(|fault| address(fault) / size).collect();
    assert_eq!((ours.len(), pages.len()), (MANY, MANY));
    if cfg!(target_arch = "x86_64") {
        assert!(ours.iter().all(|fault| fault["access"] == "write" && fault["present"] == false));
    }
    let callers: BTreeSet<&str> = ours.iter().filter_map(|fault| fault["caller"].as_str()).collect();
    assert_eq!(callers.len(), 1, "one instruction touches all: {callers:?}");
    let given: u64 = named(&events, "page_alloc").iter().map(|event| number(event, "size")).sum();
    assert!(given >= MANY as u64 * size, "{given}");
}

#[test]
fn page_faults_match_perf_trace() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    if !has_fault_events() {
        return;
    }
    if Command::new("perf").arg("version").output().is_err() {
        return skip("there is no perf");
    }
    let manager = manager();
    let seen = tempfile::NamedTempFile::new().expect("a file can be made");
    let path = seen.path().to_str().expect("a plain path");
    let perf = ["perf", "trace", "-F", "all", "--no-syscalls", "-o", path];
    let script = Script::start_under(&perf, "dd if=/dev/zero of=/dev/null bs=1M count=1; true");
    let session = trace(&manager, script.id(), "--kind faults");
    script.run_to_end();
    let events = session.ends().objects();
    let dd = events.iter().find(|event| event["comm"] == "dd").expect("dd has page faults");
    let ours = events.iter().filter(|event| event["tid"] == dd["tid"]).count();
    // `     0.085 ( 0.000 ms): dd/9719 minfault [elf_load+0x28a] => 0x7fecd3ba9110 (?k)`
    let theirs = fs::read_to_string(path).expect("perf has written it");
    let of_dd = format!("/{} m", dd["tid"]);
    assert_eq!(ours, theirs.lines().filter(|line| line.contains(&of_dd)).count(), "{theirs}");
    assert!(ours > 256, "dd fills a mebibyte: {ours}");
}

#[test]
fn freed_pages_are_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, workload.id(), "--kind pages");
    let child = workload.child();
    child.touches(MANY);
    workload.ends_child(&child);
    let ended = session.stop();
    let events = ended.objects();
    let frames = |name: &str| -> BTreeSet<&str> {
        let of_child = named(&events, name).into_iter().filter(|event| event["tid"] == child.id());
        of_child.filter_map(|event| event["pfn"].as_str()).collect()
    };
    let both = frames("page_alloc").intersection(&frames("page_free")).count();
    // The last new pages of each CPU wait in its batch for the LRU lists (struct folio_batch), from where any task may free
    // them.
    const BATCH: usize = 31;
    assert!(
        both + cpus().len() * BATCH >= MANY,
        "{both} of {} {}",
        frames("page_alloc").len(),
        frames("page_free").len()
    );
}

#[test]
fn kmallocs_match_the_kernels_own_trace() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let witness = kernel.make_instance(&format!("witness_{}", workload.id()));
    witness.set("set_event_pid", &workload.id().to_string());
    witness.set("events/kmem/kmalloc/enable", "1");
    let session = trace(&manager, workload.id(), "--kind kmalloc");
    workload.thread();
    let ended = session.stop();
    let witnessed: Vec<[String; 4]> = witness.lines().iter().filter_map(|line| kmalloc_of(line)).collect();
    let events = ended.objects();
    let reported: Vec<[String; 4]> = events
        .iter()
        .filter(|event| event["tid"] == workload.id())
        .map(|event| {
            let text = |name: &str| event[name].to_string().trim_matches('"').to_owned();
            [text("caller"), text("requested"), text("size"), text("flags")]
        })
        .collect();
    assert_eq!(reported, witnessed);
    assert!(reported.iter().any(|[caller, ..]| caller.starts_with("alloc_pipe_info+0x")), "{reported:#?}");
}

/// Caller, requested and allocated bytes, and flags of a line that is not from an interrupt:
/// `x-1 [000] ..... 1.000001: kmalloc: call_site=f+0x1/0x2 ptr=… bytes_req=1 bytes_alloc=8 gfp_flags=GFP_KERNEL node=-1 …`.
fn kmalloc_of(line: &str) -> Option<[String; 4]> {
    let (before, after) = line.split_once(": kmalloc: ")?;
    let flags =
        before.rsplit(' ').find(|word| word.len() == 5 && !word.contains(':') && !word.contains('['))?;
    let words: BTreeMap<&str, &str> = after.split(' ').filter_map(|word| word.split_once('=')).collect();
    let is_interrupts = flags.contains(['h', 'H', 's', 'z', 'Z']);
    let names = ["call_site", "bytes_req", "bytes_alloc", "gfp_flags"];
    (!is_interrupts).then(|| names.map(|name| words[name].to_owned()))
}

#[test]
fn a_summary_shows_where_memory_was_allocated() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    if !has_fault_events() {
        return;
    }
    let manager = manager();
    let workload = Workload::start();
    // Longer than the test.
    let session = trace(&manager, workload.id(), "--summary 3600");
    let before = faults(workload.id());
    workload.touches(MANY);
    let counted = faults(workload.id()) - before;
    let ended = session.stop();
    let events = ended.objects();
    let of = |name: &str, kind: &str| -> Vec<&Value> {
        named(&events, name).into_iter().filter(|event| event["kind"] == kind).collect()
    };
    for kind in ["pages", "faults"] {
        let (sites, all) = (of("call_site", kind), of("all_call_sites", kind));
        let sum = |name: &str| sites.iter().map(|site| number(site, name)).sum::<u64>();
        assert_eq!(all.len(), 1);
        assert_eq!((sum("count"), sum("size")), (number(all[0], "count"), number(all[0], "size")));
    }
    assert_eq!(number(of("all_call_sites", "faults")[0], "count"), counted);
    let touched = MANY as u64 * page_size();
    let by_program = of("call_site", "faults")[0];
    assert!(number(by_program, "size") >= touched, "{events:#?}");
    assert!(
        by_program["caller"].as_str().is_some_and(|caller| caller.contains("/workload+0x")),
        "{by_program}"
    );
    assert_eq!(by_program["pid"], workload.id());
    let by_kernel = of("call_site", "pages")[0];
    assert!(number(by_kernel, "size") >= touched, "{events:#?}");
    let caller = by_kernel["caller"].as_str().expect("a name");
    let allocators = ["alloc_pages", "alloc_frozen_pages", "folio_alloc", "get_page_from_freelist"];
    assert!(caller.contains("+0x") && !allocators.iter().any(|name| caller.contains(name)), "{caller}");
}

#[test]
fn fault_sites_of_ended_processes_are_known() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    if !has_fault_events() {
        return;
    }
    let manager = manager();
    let workload = Workload::start();
    let child = workload.child();
    let session = trace(&manager, workload.id(), "--summary 1 --kind faults");
    child.touches(MANY);
    // The mappings of the child have been read by then.
    session.wait_for_lines(2);
    child.touches(MANY);
    workload.ends_child(&child);
    let events = session.stop().objects();
    let sites = named(&events, "call_site").into_iter().filter(|event| event["pid"] == child.id());
    let (known, unknown): (Vec<&Value>, Vec<&Value>) =
        sites.partition(|site| site["caller"].as_str().is_some_and(|caller| caller.contains("+0x")));
    assert!(unknown.is_empty(), "{unknown:#?}");
    let count: u64 = known.iter().map(|site| number(site, "count")).sum();
    assert!(count >= 2 * MANY as u64, "{known:#?}");
}

#[test]
fn smallest_call_sites_are_counted_together() {
    const PLACES: usize = 60_000;
    /// As `--describe` states it.
    const MOST: usize = 20_000;
    let Some(_kernel) = Kernel::or_skip() else { return };
    if !has_fault_events() {
        return;
    }
    let (manager, log, workload) = (manager(), Log::new(), Workload::start());
    let arguments =
        format!("--pid {} --format json --summary 3600 --kind faults --buffer-size 16384", workload.id());
    let session = log.of(manager.call(["-v", "--run", "trace_memory", "--args", &arguments])).start();
    workload.scatters(PLACES);
    let events = session.stop().objects();
    let sites = named(&events, "call_site");
    assert!(sites.len() <= MOST, "{} call sites", sites.len());
    let [others] = named(&events, "other_call_sites")[..] else { panic!("not one line of others") };
    let [all] = named(&events, "all_call_sites")[..] else { panic!("not one line of totals") };
    for total in ["count", "size"] {
        let sum: u64 = sites.iter().chain([&others]).map(|site| number(site, total)).sum();
        assert_eq!(number(all, total), sum);
    }
    assert!(number(all, "count") >= PLACES as u64, "{all}");
    let summary = log.summary();
    assert_eq!((summary.delivered, summary.recorded), (events.len(), events.len()));
}

#[test]
fn summaries_are_on_time_without_events() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, workload.id(), "--summary 1 --kind kmalloc pages");
    workload.touches(1);
    session.wait_for_lines(2);
    let ended = session.stop();
    let events = ended.objects();
    assert!(!named(&events, "all_call_sites").is_empty(), "{events:#?}");
    let reported = |event: &Value| event["kind"] == "kmalloc" || event["kind"] == "pages";
    assert!(events.iter().all(reported), "{events:#?}");
}

#[test]
fn all_records_are_counted() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for arguments in ["", "--buffer-size 4", "--summary 1 --buffer-size 4"] {
        let log = Log::new();
        let workload = Workload::start();
        let arguments = format!("--pid {} {arguments}", workload.id());
        let session = log.of(manager.call(["-v", "--run", "trace_memory", "--args", &arguments])).start();
        workload.touches(20_000);
        let ended = session.stop();
        let summary = log.summary();
        let (losses, lines): (Vec<&String>, Vec<&String>) =
            ended.lines.iter().partition(|line| Loss::of(line.trim_end()).is_some());
        let lost: usize =
            losses.iter().filter_map(|line| Loss::of(line.trim_end())).map(|loss| loss.count).sum();
        assert_eq!(summary.delivered, lines.len(), "{arguments}");
        assert_eq!(summary.lost.values().sum::<usize>(), lost, "{arguments}");
        assert_eq!(summary.recorded, lines.len() + lost, "{arguments}");
    }
}

#[test]
fn after_lost_events_size_changes_are_unknown() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    let session = trace(&manager, workload.id(), "--buffer-size 4");
    workload.touches(20_000);
    let mut known: BTreeMap<(String, String), i64> = BTreeMap::new();
    let mut losses = 0;
    for event in session.stop().objects() {
        if event["event"] == "lost" {
            losses += 1;
            known.clear();
        } else if event["event"] == "rss" {
            let size = event["size"].as_i64().expect("a size");
            let of = (event["space"].to_string(), event["pages"].to_string());
            // Empty per-CPU buffers may have been removed.
            let before = if size == 0 { known.remove(&of) } else { known.insert(of, size) };
            let expected = before.map(|before| size - before);
            // The number of lost events may be reported with an earlier gap.
            let is_after_unreported_gap = losses > 0 && event["change"].is_null();
            assert!(event["change"].as_i64() == expected || is_after_unreported_gap, "{expected:?}: {event}");
        }
    }
    assert!(losses > 0, "the buffer was too large for this test");
}

/// A cgroup with a memory limit. Dropping it removes it.
struct Cgroup(PathBuf);

impl Cgroup {
    /// A cgroup with this limit; if it cannot be created here, reports that the test is skipped.
    fn or_skip(name: &str, limit: usize) -> Option<Self> {
        let hierarchies =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        for (root, file) in hierarchies {
            let path = Path::new(root).join(format!("{name}_{}", std::process::id()));
            if fs::create_dir(&path).is_err() {
                continue;
            }
            let cgroup = Self(path);
            if fs::write(cgroup.0.join(file), limit.to_string()).is_ok() {
                return Some(cgroup);
            }
        }
        skip("it needs a cgroup that limits memory");
        None
    }

    fn takes(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("a process can be moved to a cgroup");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        wait_until("the cgroup is removed", PATIENCE, || fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn reclaim_and_oom_kill_are_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let Some(cgroup) = Cgroup::or_skip("trace_hook_killed", 16 << 20) else { return };
    let manager = manager();
    let script = Script::start("dd if=/dev/zero of=/dev/null bs=64M count=1");
    cgroup.takes(script.id());
    let session = trace(&manager, script.id(), "--kind reclaim oom");
    script.run_to_end();
    let ended = session.ends();
    let events = ended.objects();
    let reclaims = named(&events, "reclaim");
    assert!(
        !reclaims.is_empty() && reclaims.iter().all(|reclaim| reclaim["cause"] == "cgroup"),
        "{events:#?}"
    );
    assert!(reclaims.iter().all(|reclaim| reclaim["size"].is_u64() && reclaim["duration_ns"].is_u64()));
    let kills = named(&events, "oom_kill");
    assert_eq!(kills.len(), 1, "{events:#?}");
    assert_eq!((&kills[0]["comm"], &kills[0]["victim_tid"]), (&"dd".into(), &kills[0]["tid"]));
}

#[test]
fn an_oom_kill_caused_by_another_task_is_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let Some(cgroup) = Cgroup::or_skip("trace_hook_victim", 24 << 20) else { return };
    let manager = manager();
    let workload = Workload::start();
    cgroup.takes(workload.id());
    // Most of the memory, so that the OOM killer chooses this process.
    workload.touches((20 << 20) / page_size() as usize);
    let session = trace(&manager, workload.id(), "--kind oom");
    let other = Script::start("dd if=/dev/zero of=/dev/null bs=12M count=1");
    cgroup.takes(other.id());
    other.run_to_end();
    let ended = session.ends();
    let events = ended.objects();
    let kills = named(&events, "oom_kill");
    assert_eq!(kills.len(), 1, "{events:#?}");
    assert_eq!((&kills[0]["comm"], &kills[0]["victim_tid"]), (&"dd".into(), &workload.id().into()));
}
