//! `trace_offcpu`, compared with what threads of this test do, and with the kernel's own counts. Needs root.

use std::fs;
use std::io::{Read, Write, pipe};
use std::process::id;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::gettid;
use serde_json::Value;
use system_tests::{Kernel, Manager, PATIENCE, Plugins, Session, wait_until};

const NAP: Duration = Duration::from_millis(50);
/// A wait begins a moment after the call does.
const LEAST: u64 = 49_000_000;

fn manager() -> Manager {
    Manager::with(Plugins::of(["ebpf"]))
}

/// A session that traces this process.
fn trace(manager: &Manager, arguments: &str) -> Session {
    manager.run("trace_offcpu", format!("--pid {} --format json {arguments}", id())).start()
}

fn thread_id() -> u64 {
    gettid().as_raw().unsigned_abs().into()
}

/// Does some work in a new thread. Returns its id, and what the work returns.
fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> (u64, T) {
    thread::scope(|scope| scope.spawn(|| (thread_id(), work())).join().expect("it does not panic"))
}

/// The lines about a thread.
fn of_thread(lines: Vec<Value>, thread: u64) -> Vec<Value> {
    lines.into_iter().filter(|line| line["tid"] == thread).collect()
}

fn number(line: &Value, field: &str) -> u64 {
    line[field].as_u64().unwrap_or_else(|| panic!("no {field} in {line}"))
}

fn has_function(line: &Value, part: &str) -> bool {
    let stack = line["stack"].as_array().unwrap_or_else(|| panic!("no stack in {line}"));
    stack.iter().any(|function| function.as_str().is_some_and(|name| name.contains(part)))
}

/// Waits until a thread of this process waits in a call with this number.
#[track_caller]
fn waits_in(thread: u64, call: i64) {
    wait_until("the thread waits in the call", PATIENCE, || {
        let text = fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).unwrap_or_default();
        text.split(' ').next() == Some(&call.to_string())
    });
}

/// How often a thread gave up its CPU to wait, by the kernel's own count.
fn voluntary_switches(thread: u64) -> u64 {
    let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).expect("it lives");
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.and_then(|count| count.trim().parse().ok()).expect("a count")
}

#[test]
fn ten_naps_are_ten_waits_that_a_timer_ends() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let session = trace(&manager, "--over 40ms");
    let (thread, ()) = in_thread(|| (0..10).for_each(|_| thread::sleep(NAP)));
    let waits = of_thread(session.stop().objects(), thread);
    assert_eq!(waits.len(), 10, "{waits:#?}");
    for wait in &waits {
        assert!((LEAST..1_000_000_000).contains(&number(wait, "duration_ns")), "{wait}");
        assert_eq!((&wait["state"], &wait["call"]), (&"interruptible".into(), &"clock_nanosleep".into()));
        assert!(wait["interrupt"] == true && wait["waker_tid"].is_null(), "{wait}");
        assert!(has_function(wait, "__schedule") && has_function(wait, "nanosleep_[k]"), "{wait}");
        let names = wait["stack"].as_array().expect("a list");
        assert!(names.iter().any(|name| name == "clock_nanosleep" || name == "nanosleep"), "{wait}");
    }
}

#[test]
fn all_waits_are_those_that_the_kernel_counts() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let session = trace(&manager, "");
    let (thread, (before, after)) = in_thread(|| {
        let thread = thread_id();
        let before = voluntary_switches(thread);
        (0..200).for_each(|_| thread::sleep(Duration::from_micros(100)));
        (before, voluntary_switches(thread))
    });
    let waits = of_thread(session.stop().objects(), thread);
    let slept = waits.iter().filter(|wait| wait["call"] == "clock_nanosleep");
    let slept = slept.filter(|wait| wait["state"] != "runnable").count() as u64;
    assert!(after - before >= 200 && slept.abs_diff(after - before) <= 2, "{slept}, not {}", after - before);
}

#[test]
fn the_thread_that_unlocks_a_lock_wakes_the_one_that_waits_for_it() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for arguments in ["--over 40ms", "--over 40ms --summary 60s"] {
        let session = trace(&manager, arguments);
        let lock = Mutex::new(());
        let (begin, begun) = channel();
        let (owner, waiter) = thread::scope(|scope| {
            let held = lock.lock().expect("no thread panics");
            let waiter = scope.spawn(|| {
                begin.send(thread_id()).expect("the other thread receives");
                drop(lock.lock());
            });
            let waiting = begun.recv().expect("the other thread sends");
            waits_in(waiting, nix::libc::SYS_futex);
            thread::sleep(NAP);
            drop(held);
            waiter.join().expect("it does not panic");
            (thread_id(), waiting)
        });
        let address = format!("{:#x}", &raw const lock as usize);
        let lines = session.stop().objects();
        let of_lock: Vec<&Value> = lines.iter().filter(|line| line["futex"] == *address).collect();
        assert_eq!(of_lock.len(), 1, "{address}: {lines:#?}");
        let line = of_lock[0];
        assert!(number(line, "duration_ns") >= LEAST, "{line}");
        if arguments.contains("summary") {
            assert_eq!((&line["event"], number(line, "count")), (&"contention".into(), 1));
            assert_eq!(number(line, "max_ns"), number(line, "duration_ns"));
            assert!(!has_function(line, "_[k]"), "{line}");
        } else {
            assert_eq!((number(line, "tid"), number(line, "waker_tid")), (waiter, owner));
            assert_eq!((&line["call"], number(line, "waker_pid")), (&"futex".into(), id().into()));
            assert!(number(line, "runnable_ns") <= number(line, "duration_ns"), "{line}");
        }
    }
}

#[test]
fn the_writer_of_a_pipe_wakes_its_reader() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let session = trace(&manager, "--where 'call == read' --over 40ms");
    let (mut from, mut to) = pipe().expect("a pipe can be made");
    let (begin, begun) = channel();
    let reader = thread::spawn(move || {
        begin.send(thread_id()).expect("the other thread receives");
        from.read_exact(&mut [0]).expect("the other thread writes");
    });
    let reading = begun.recv().expect("the other thread sends");
    waits_in(reading, nix::libc::SYS_read);
    thread::sleep(NAP);
    to.write_all(b"x").expect("the other thread reads");
    reader.join().expect("it does not panic");
    let waits = of_thread(session.stop().objects(), reading);
    assert_eq!(waits.len(), 1, "{waits:#?}");
    assert_eq!(number(&waits[0], "waker_tid"), thread_id());
    assert!(has_function(&waits[0], "pipe_read_[k]") && waits[0].get("futex").is_none(), "{}", waits[0]);
}

#[test]
fn folded_stacks_have_the_time_of_their_waits() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let session = manager.run("trace_offcpu", format!("--pid {} --folded 60s --over 40ms", id())).start();
    let name = "folded_naps";
    let began = Instant::now();
    let naps = thread::Builder::new().name(name.to_owned()).spawn(|| (0..4).for_each(|_| thread::sleep(NAP)));
    naps.expect("a thread can be started").join().expect("it does not panic");
    let took = began.elapsed().as_micros();
    let ended = session.stop();
    let lines = ended.succeeded();
    let naps = lines.iter().filter(|line| line.starts_with(name) && line.contains("nanosleep_[k];"));
    let total: u128 = naps.filter_map(|line| line.rsplit(' ').next()?.parse::<u128>().ok()).sum();
    assert!((4 * 49_000..=took).contains(&total), "{total} of {took}: {lines:#?}");
}

#[test]
fn a_short_program_has_names_and_two_outputs_are_refused() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let both = manager.run("trace_offcpu", format!("--pid {} --folded 1s --summary 1s", id())).answer();
    both.failed_with(2, &["--folded or --summary"]);
    let mut script = system_tests::Script::start("sleep 0.06");
    let session =
        manager.run("trace_offcpu", format!("--pid {} --format json --over 40ms", script.id())).start();
    script.proceed();
    let lines = session.ends().objects();
    let nap = lines.iter().find(|line| line["comm"] == "sleep").unwrap_or_else(|| panic!("{lines:#?}"));
    let names = nap["stack"].as_array().expect("a list");
    assert!(names.iter().any(|name| name == "clock_nanosleep" || name == "nanosleep"), "{nap}");
}
