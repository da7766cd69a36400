//! Sessions on the kernel's tracefs: the time limit of a read, a stop that partly fails, and the clock of the records.

mod kernel;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kernel::{marks, tracefs, unique_name};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::time::ClockId;
use nix::unistd::{Pid, getsid};
use trace_hook_api::{
    LineBuffer, Progress, Request, Result, SESSION_PREFIX, Session, TaskSelection, boot_time,
};
use trace_session::SourceSession;
use tracefs::Instance;
use tracefs_session::{AsRecorded, Record, Renderer, TracefsSession};

/// The tests run one at a time, because all of them trace this process.
static TEST_LOCK: Mutex<()> = Mutex::new(());

fn lock() -> MutexGuard<'static, ()> {
    TEST_LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The CPU time that the host allows for a read.
const READ_LIMIT: Duration = Duration::from_millis(20);

fn mark(number: i32) {
    let _ = getsid(Some(Pid::from_raw(number)));
}

/// A request to trace this process.
fn request() -> Request {
    let session = format!("{SESSION_PREFIX}{}", unique_name().replace('-', "_"));
    Request::new("test", session, TaskSelection::of([std::process::id()]).exact(true))
}

fn enable(instance: &Instance) -> Result<()> {
    Ok(instance.enable_event("syscalls", "sys_enter_getsid")?)
}

fn as_recorded(request: &Request) -> SourceSession<TracefsSession> {
    TracefsSession::start(request, enable, |_| Ok(Box::<AsRecorded>::default())).expect("a session")
}

/// The text and the times of all remaining lines.
fn read_all(session: &mut impl Session) -> (String, Vec<u64>) {
    let (mut text, mut times) = (String::new(), Vec::new());
    loop {
        let mut lines = LineBuffer::with_room(1 << 20);
        let progress = session.read(&mut lines).expect("lines");
        text.push_str(&String::from_utf8_lossy(lines.as_bytes()));
        times.extend(lines.entries().iter().map(|entry| entry.time()));
        match progress {
            Progress::Finished => return (text, times),
            Progress::Idle => thread::sleep(Duration::from_millis(1)),
            _ => {}
        }
    }
}

/// Spends more time on a record than it takes to record one, and adds no lines.
struct SlowWithoutLines;

impl Renderer for SlowWithoutLines {
    fn record(&mut self, _: &mut Record<'_>, _: &mut LineBuffer) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(20) {}
    }
}

#[test]
fn a_read_without_lines_returns_in_time_while_records_arrive_faster() {
    if tracefs().is_none() {
        return;
    }
    let _lock = lock();
    let request = request();
    let mut session =
        TracefsSession::start(&request, enable, |_| Ok(Box::new(SlowWithoutLines))).expect("a session");
    let stop = Arc::new(AtomicBool::new(false));
    let load = thread::spawn({
        let stop = Arc::clone(&stop);
        move || (0..).take_while(|_| !stop.load(Ordering::Relaxed)).for_each(|_| mark(7_200_000))
    });
    let cpu_time = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("a clock"));
    let (mut full_reads, start) = (0, Instant::now());
    while full_reads < 20 && start.elapsed() < Duration::from_secs(30) {
        let mut lines = LineBuffer::with_room(1 << 16);
        let (before, progress) = (cpu_time(), session.read(&mut lines).expect("read"));
        let time = cpu_time() - before;
        assert!(time < READ_LIMIT, "{time:?}");
        assert!(lines.as_bytes().is_empty());
        full_reads += u32::from(progress == Progress::More);
    }
    stop.store(true, Ordering::Relaxed);
    load.join().expect("joined");
    assert_eq!(full_reads, 20, "the records must arrive faster than they are read");
    session.close().expect("closed");
}

#[test]
fn records_have_the_time_since_boot() {
    if tracefs().is_none() {
        return;
    }
    let _lock = lock();
    let request = request();
    let mut session = as_recorded(&request);
    let mut expected = Vec::new();
    for number in 0..20 {
        let before = boot_time();
        mark(7_300_000 + number);
        expected.push(before..=boot_time());
        thread::sleep(Duration::from_millis(1));
    }
    session.stop().expect("stopped");
    let (text, times) = read_all(&mut session);
    session.close().expect("closed");
    assert_eq!(times.len(), expected.len(), "{text}");
    for (time, expected) in times.iter().zip(expected) {
        // For records, the kernel uses a less precise variant of this clock, which is safe to read in any context.
        let (begin, end) = (expected.start() - 10_000, expected.end() + 10_000);
        assert!((begin..=end).contains(time), "{time} is not within {expected:?}");
    }
}

/// Mounting `/dev/full` over a file of tracefs makes every write to it fail.
#[test]
fn failure_to_stop_an_instance_is_reported_and_no_records_are_lost() {
    let Some(tracefs) = tracefs() else { return };
    let _lock = lock();
    // The mount is visible only to this thread and to threads that it starts.
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .expect("private mounts");
    let request = request();
    let renderer = |_: &mut _| Ok(Box::<AsRecorded>::default() as Box<dyn Renderer>);
    let mut session =
        TracefsSession::start_with_system_wide(&request, enable, |_| Ok(()), renderer).expect("a session");
    (0..100).for_each(|number| mark(7_400_000 + number));
    let tracing_on = tracefs.root().join("instances").join(&request.session).join("tracing_on");
    mount(Some("/dev/full"), &tracing_on, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("mounted");
    let refused = session.stop().expect_err("the first instance cannot be stopped");
    assert!(refused.message().contains("tracing_on"), "{refused:?}");
    let second = tracefs.root().join("instances").join(format!("{}_system_wide", request.session));
    assert_eq!(
        kernel::read(second.join("tracing_on")),
        "0\n",
        "the second instance must be stopped nevertheless"
    );
    let (text, _) = read_all(&mut session);
    let seen = marks(&text);
    let expected: BTreeSet<i32> = (0..100).map(|number| 7_400_000 + number).collect();
    assert!(expected.is_subset(&seen), "{text}");
    umount2(&tracing_on, MntFlags::MNT_DETACH).expect("unmounted");
    session.close().expect("no file of the instance is open");
    assert!(!second.exists());
}
