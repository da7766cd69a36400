//! Sessions on the real kernel: reads within a budget, stops that fail in part, and the clock of the records.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::{marks, tracefs, unique_name};
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

/// Each of the tests traces this process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the host allows a read.
const READ_LIMIT: Duration = Duration::from_millis(20);

fn mark(number: i32) {
    let _ = getsid(Some(Pid::from_raw(number)));
}

/// Requests the events of this process.
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

/// The text and the times of all lines that are left.
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

/// Takes longer for each record than it takes to make one, and makes no line.
struct SlowAndSilent;

impl Renderer for SlowAndSilent {
    fn record(&mut self, _: &mut Record<'_>, _: &mut LineBuffer) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_micros(20) {}
    }
}

#[test]
fn a_read_without_lines_returns_in_time_under_a_load_that_outruns_it() {
    if tracefs().is_none() {
        return;
    }
    let _alone = alone();
    let request = request();
    let mut session =
        TracefsSession::start(&request, enable, |_| Ok(Box::new(SlowAndSilent))).expect("a session");
    let is_over = Arc::new(AtomicBool::new(false));
    let load = thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || (0..).take_while(|_| !is_over.load(Ordering::Relaxed)).for_each(|_| mark(7_200_000))
    });
    let cpu_time = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("a clock"));
    let (mut full_reads, began) = (0, Instant::now());
    while full_reads < 20 && began.elapsed() < Duration::from_secs(30) {
        let mut lines = LineBuffer::with_room(1 << 16);
        let (before, progress) = (cpu_time(), session.read(&mut lines).expect("read"));
        let time = cpu_time() - before;
        assert!(time < READ_LIMIT, "{time:?}");
        assert!(lines.as_bytes().is_empty());
        full_reads += u32::from(progress == Progress::More);
    }
    is_over.store(true, Ordering::Relaxed);
    load.join().expect("joined");
    assert_eq!(full_reads, 20, "the load does not outrun the reads");
    session.close().expect("closed");
}

#[test]
fn records_have_the_time_since_boot() {
    if tracefs().is_none() {
        return;
    }
    let _alone = alone();
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
        // The kernel reads a coarser copy of this clock, which it can read at any time.
        let (begin, end) = (expected.start() - 10_000, expected.end() + 10_000);
        assert!((begin..=end).contains(time), "{time} is not within {expected:?}");
    }
}

/// `/dev/full` in the place of a file of the kernel makes every write to it fail.
#[test]
fn an_instance_that_refuses_to_stop_is_reported_and_nothing_is_lost() {
    let Some(tracefs) = tracefs() else { return };
    let _alone = alone();
    // The mount is visible to this thread and those that it starts only.
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .expect("private");
    let request = request();
    let renderer = |_: &mut _| Ok(Box::<AsRecorded>::default() as Box<dyn Renderer>);
    let mut session =
        TracefsSession::start_with_system_wide(&request, enable, |_| Ok(()), renderer).expect("a session");
    (0..100).for_each(|number| mark(7_400_000 + number));
    let switch = tracefs.root().join("instances").join(&request.session).join("tracing_on");
    mount(Some("/dev/full"), &switch, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("mounted");
    let refused = session.stop().expect_err("the first instance cannot be stopped");
    assert!(refused.message().contains("tracing_on"), "{refused:?}");
    let second = tracefs.root().join("instances").join(format!("{}_system_wide", request.session));
    assert_eq!(common::read(second.join("tracing_on")), "0\n", "the second is stopped all the same");
    let (text, _) = read_all(&mut session);
    let seen = marks(&text);
    let expected: BTreeSet<i32> = (0..100).map(|number| 7_400_000 + number).collect();
    assert!(expected.is_subset(&seen), "{text}");
    umount2(&switch, MntFlags::MNT_DETACH).expect("unmounted");
    session.close().expect("nothing of it is held any more");
    assert!(!second.exists());
}
