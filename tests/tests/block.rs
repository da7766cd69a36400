//! `trace_block` with real requests to a block device, compared with the kernel's own accounting. Needs root, tracefs and
//! a free loop device.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;
use system_tests::{
    Ended, Kernel, Log, LoopDevice, Manager, OwnInstance, PATIENCE, Plugins, Script, Session, Workload,
    lock_out_sweeps, wait_until,
};

fn manager() -> Manager {
    Manager::with(Plugins::of(["ftrace"]))
}

#[track_caller]
fn trace(manager: &Manager, arguments: String) -> Session {
    manager.run("trace_block", format!("{arguments} --format json")).start()
}

/// Records a script that makes requests to the device, with more arguments for the hook.
#[track_caller]
fn requests_of(script: &str, device: &LoopDevice, arguments: &str) -> Vec<Value> {
    let manager = manager();
    let script = Script::start(script);
    let session = trace(&manager, format!("--pid {} {arguments}", script.id()));
    script.run_to_end();
    requests(&session.ends(), device)
}

/// The requests to this device only: programs are read from other devices.
#[track_caller]
fn requests(ended: &Ended, device: &LoopDevice) -> Vec<Value> {
    let lines = ended.succeeded();
    let events =
        lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("each line is an object"));
    events.filter(|event| event["disk"] == device.name()).collect()
}

fn number(request: &Value, name: &str) -> u64 {
    request[name].as_u64().unwrap_or_else(|| panic!("no {name} in {request}"))
}

#[test]
fn the_hook_is_listed_and_described() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    assert!(manager.call(["--get-all"]).answer().succeeded().lines().any(|hook| hook == "trace_block"));
    let described = manager.call(["--describe", "trace_block"]).answer();
    for word in ["request:", "sector", "queued", "duration", "kworker", "unfinished", "--format", "Example"] {
        assert!(described.succeeded().contains(word), "no {word} in {described:#?}");
    }
    let arguments = format!("--pid {} --depth 3", std::process::id());
    manager.run("trace_block", arguments).answer().refused(&["--depth"]);
}

#[test]
fn requests_match_the_kernels_own_counts() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let Some(device) = LoopDevice::or_skip() else { return };
    let before = device.counts();
    let script = format!("{} conv=fsync; {}", device.writes(4, 10), device.reads(8, 7));
    let requests = requests_of(&script, &device, "");
    let of = |operation: &str| {
        requests.iter().filter(|request| request["operation"] == operation).collect::<Vec<_>>()
    };
    let sectors = |requests: &[&Value]| requests.iter().map(|request| number(request, "size") / 512).sum();
    let (reads, writes) = (of("READ"), of("WRITE"));
    // A flush is also counted as an empty write.
    let (reads_count, writes_count) = (reads.len() as u64, (writes.len() + of("FLUSH").len()) as u64);
    let counted = [reads_count, sectors(&reads), writes_count, sectors(&writes), of("FLUSH").len() as u64];
    assert_eq!(counted, device.counts_since(before), "{requests:#?}");
    assert_eq!(of("FLUSH").len(), 1);
    let written: Vec<u64> = writes.iter().map(|request| number(request, "sector")).collect();
    assert_eq!(written, (4..14).map(|block| block * 128).collect::<Vec<_>>());
    let read: Vec<u64> = reads.iter().map(|request| number(request, "sector")).collect();
    assert_eq!(read, (8..15).map(|block| block * 128).collect::<Vec<_>>());
    for request in &requests {
        assert!(request["comm"] == "dd" && request["event"] == "request", "{request}");
        assert!(request.get("error").is_none() && request.get("unfinished").is_none(), "{request}");
        assert!(number(request, "duration_ns") > 0 && request["queued_ns"].is_u64(), "{request}");
    }
    let numbers =
        fs::read_to_string(format!("/sys/block/{}/dev", device.name())).expect("a device has numbers");
    assert!(requests.iter().all(|request| request["device"] == numbers.trim()));
}

#[test]
fn durations_match_the_kernels_own_events() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let Some(device) = LoopDevice::or_skip() else { return };
    let witness = witness(&kernel, &device);
    let requests = requests_of(&device.reads(0, 100), &device, "");
    let witnessed = times_of_requests(&witness.lines());
    assert_eq!(requests.len(), 100);
    for request in requests {
        let took = number(&request, "duration_ns");
        let sector = number(&request, "sector");
        // The two read the clock at different times.
        assert!(took.abs_diff(witnessed[&sector]) < 1_000_000, "{request}: {}", witnessed[&sector]);
    }
}

/// An instance that records all requests to the device in the kernel's own format.
fn witness(kernel: &Kernel, device: &LoopDevice) -> OwnInstance {
    let numbers =
        fs::read_to_string(format!("/sys/block/{}/dev", device.name())).expect("a device has numbers");
    let (major, minor) = numbers.trim().split_once(':').expect("two numbers");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let dev = number(major) << 20 | number(minor);
    let witness = kernel.make_instance(&format!("witness_{}_{}", std::process::id(), device.name()));
    for event in ["block_rq_issue", "block_rq_complete"] {
        witness.set(&format!("events/block/{event}/filter"), &format!("dev == {dev}"));
        witness.set(&format!("events/block/{event}/enable"), "1");
    }
    witness
}

/// For the first sector of each request, its duration in nanoseconds, from lines such as
/// `dd-1 [000] .... 12.345678: block_rq_issue: 7,0 R 65536 () 128 + 128 be,0,4 [dd]`.
fn times_of_requests(lines: &[String]) -> BTreeMap<u64, u64> {
    let mut issued = BTreeMap::new();
    let mut times = BTreeMap::new();
    for line in lines {
        let (before, after) = line.split_once(": block_rq_").expect("an event of a request");
        let time = before.rsplit(' ').next().and_then(|time| time.replace('.', "").parse::<u64>().ok());
        let time = time.expect("a time in microseconds") * 1000;
        let sector = after.split(") ").nth(1).and_then(|rest| rest.split(' ').next());
        let sector: u64 = sector.and_then(|sector| sector.parse().ok()).expect("a sector");
        if after.starts_with("issue") {
            issued.insert(sector, time);
        } else if let Some(began) = issued.remove(&sector) {
            times.insert(sector, time - began);
        }
    }
    times
}

#[test]
fn requests_of_other_tasks_are_not_recorded() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let Some(device) = LoopDevice::or_skip() else { return };
    let (manager, other) = (manager(), Script::start(&device.reads(64, 60)));
    let script = Script::start(&device.reads(0, 60));
    let session = trace(&manager, format!("--pid {}", script.id()));
    let others = std::thread::spawn(move || other.run_to_end());
    script.run_to_end();
    others.join().expect("no thread panics");
    let requests = requests(&session.ends(), &device);
    let sectors: Vec<u64> = requests.iter().map(|request| number(request, "sector")).collect();
    assert_eq!(sectors, (0..60).map(|block| block * 128).collect::<Vec<_>>());
}

#[test]
fn large_requests_are_recorded_as_the_device_receives_them() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let Some(device) = LoopDevice::or_skip() else { return };
    let before = device.counts();
    let script = format!("dd if={} of=/dev/null bs=4M count=2 iflag=direct", device.path.display());
    let requests = requests_of(&script, &device, "");
    assert_eq!(requests.iter().map(|request| number(request, "size")).sum::<u64>(), 8 << 20);
    assert_eq!(requests.len() as u64, device.counts_since(before)[0]);
}

/// Eight programs, each of which reads the whole device eight times.
fn many_read(device: &LoopDevice) -> String {
    let one = format!("(for again in 1 2 3 4 5 6 7 8; do {}; done) &", device.reads(0, 128));
    format!("{} wait", one.repeat(8))
}

#[test]
fn concurrent_reads_of_the_same_blocks_are_recorded_separately() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let Some(device) = LoopDevice::or_skip() else { return };
    let before = device.counts();
    let requests = requests_of(&many_read(&device), &device, "");
    assert_eq!(requests.len(), 8 * 8 * 128);
    assert_eq!(requests.len() as u64, device.counts_since(before)[0]);
    let is_whole = |request: &Value| request.get("unfinished").is_none() && request["duration_ns"].is_u64();
    assert!(requests.iter().all(is_whole));
}

#[test]
fn a_failed_request_has_its_error() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let Some(device) = LoopDevice::that_fails_or_skip() else { return };
    let requests = requests_of(&device.writes(0, 32), &device, "");
    let failed: Vec<&Value> = requests.iter().filter(|request| request.get("error").is_some()).collect();
    assert_eq!(failed.len(), 1, "dd stops at the first: {requests:#?}");
    // Which of the two depends on the kernel.
    assert!(["EIO", "ENOSPC"].iter().any(|error| failed[0]["error"] == *error), "{}", failed[0]);
    assert!(requests.len() > 1, "a part was written");
}

#[test]
fn exact_and_parent_select_the_tasks() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let Some(device) = LoopDevice::or_skip() else { return };
    // dd is a child of the shell.
    let script = format!("{}; true", device.reads(0, 5));
    assert!(requests_of(&script, &device, "--exact").is_empty());
    let manager = manager();
    let script = Script::start(&format!("{}; exec {}", device.reads(0, 5), device.reads(64, 5)));
    let session = trace(&manager, format!("--parent {}", script.id()));
    script.run_to_end();
    let sectors: Vec<u64> =
        requests(&session.ends(), &device).iter().map(|request| number(request, "sector")).collect();
    assert_eq!(sectors, (0..5).map(|block| block * 128).collect::<Vec<_>>());
}

#[test]
fn text_lines_add_up_with_the_summary() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let Some(device) = LoopDevice::or_skip() else { return };
    let (manager, log) = (manager(), Log::new());
    let script = Script::start(&device.reads(2, 3));
    let arguments = format!("--pid {}", script.id());
    let session = log.of(manager.call(["-v", "--run", "trace_block", "--args", &arguments])).start();
    script.run_to_end();
    let ended = session.ends();
    let ours = format!(" disk={} sector=", device.name());
    let lines: Vec<&str> =
        ended.lines.iter().map(String::as_str).filter(|line| line.contains(&ours)).collect();
    assert_eq!(lines.len(), 3, "{:#?}", ended.lines);
    assert!(lines[0].contains(": request: device=7:"), "{lines:#?}");
    assert!(lines[0].contains(" sector=256 size=65536 operation=READ "), "{lines:#?}");
    assert!(lines[0].contains(" duration=") && lines[0].ends_with("us\n"), "{lines:#?}");
    let summary = log.summary();
    assert_eq!((summary.recorded, summary.delivered), (ended.lines.len(), ended.lines.len()));
}

#[test]
fn requests_in_flight_when_events_are_lost_are_unfinished() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let Some(device) = LoopDevice::or_skip() else { return };
    let (manager, log) = (manager(), Log::new());
    let script = Script::start(&many_read(&device));
    let arguments = format!("--pid {} --format json --buffer-size 4", script.id());
    let session = log.of(manager.call(["-v", "--run", "trace_block", "--args", &arguments])).start();
    session.while_worker_is_stopped(|| script.run_to_end());
    let (losses, lines): (Vec<Value>, Vec<Value>) =
        session.ends().objects().into_iter().partition(|event| event["event"] == "lost");
    let lost: u64 = losses.iter().map(|loss| number(loss, "count")).sum();
    assert!(lost > 0, "a buffer of 4 KiB takes all events");
    assert!(lines.iter().any(|request| request["unfinished"] == true));
    let summary = log.summary();
    assert_eq!(summary.lost.values().sum::<usize>() as u64, lost);
    assert_eq!((summary.delivered, summary.recorded), (lines.len(), lines.len() + lost as usize));
}

#[test]
fn both_instances_are_removed_after_any_process_dies() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let _quiet = lock_out_sweeps();
    let manager = manager();
    let workload = Workload::start();
    let mut session = trace(&manager, format!("--pid {}", workload.id()));
    let instances = kernel.instances_of(&[session.pid()]);
    assert_eq!(instances.len(), 2);
    session.process().signal(Signal::SIGKILL);
    wait_until("tracing is off", PATIENCE, || instances.iter().all(|instance| !instance.is_on()));
    wait_until("the worker has removed both", PATIENCE, || {
        instances.iter().all(|instance| !instance.exists()) && manager.files().is_empty()
    });
}
