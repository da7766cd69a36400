//! The lines of a stream, on the kernel's tracefs: filters, complete lines, the limit of a read, and lost events.

mod kernel;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use kernel::{drain, marks, reported_lost, stream, write};
use nix::unistd::{Pid, getsid};
use trace_tasks::SelectedProcesses;
use tracefs::Instance;
use tracefs_session::{EventStream, StreamStats};

fn mark(number: i32) {
    let _ = getsid(Some(Pid::from_raw(number)));
}

fn this_process() -> SelectedProcesses {
    SelectedProcesses::families([std::process::id()])
}

#[test]
fn filters_are_applied() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    instance.choose_tasks(Path::new("/proc"), &this_process()).expect("tasks");
    instance.set_filter("syscalls", Some("sys_enter_getsid"), "pid == 7000001").expect("a filter");
    instance.enable_event("syscalls", "sys_enter_getsid").expect("event");
    let mut stream = stream(&instance, None);
    instance.start().expect("started");
    mark(7_000_001);
    mark(7_000_002);
    assert_eq!(marks(&drain(&instance, &mut stream)), BTreeSet::from([7_000_001]));
}

#[test]
fn reads_return_complete_lines_and_stop_at_the_limit() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    instance.choose_tasks(Path::new("/proc"), &this_process()).expect("tasks");
    instance.enable_event("syscalls", "sys_enter_getsid").expect("event");
    let mut stream = stream(&instance, None);
    let mut lines = Vec::new();
    assert!(!stream.write_lines(&mut lines, 100).expect("lines"), "nothing is recorded yet");
    instance.start().expect("started");
    (0..1000).for_each(|number| mark(7_100_000 + number));
    instance.stop().expect("stopped");
    stream.end().expect("ended");
    let mut full_reads = 0;
    loop {
        let before = lines.len();
        let more = stream.write_lines(&mut lines, 1000).expect("lines");
        let last = lines.split_inclusive(|byte| *byte == b'\n').next_back().map_or(0, <[u8]>::len);
        // Only the last line may exceed the limit.
        assert!(lines.len() - before < 1000 + last);
        assert!(lines.is_empty() || lines.ends_with(b"\n"));
        if !more {
            break;
        }
        assert!(lines.len() - before >= 1000, "the read stopped before the limit");
        full_reads += 1;
    }
    assert!(full_reads > 50, "1000 lines cannot fit into {full_reads} reads of 1000 bytes");
    let seen = marks(&String::from_utf8_lossy(&lines));
    assert!((0..1000).all(|number| seen.contains(&(7_100_000 + number))));
}

#[test]
fn a_stream_may_be_dropped_with_its_instance() {
    struct Session {
        _stream: EventStream,
        instance: Instance,
    }
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    let session = Session { _stream: stream(&instance, None), instance };
    let path = session.instance.path().to_path_buf();
    let (dropped_sender, dropped) = channel();
    std::thread::spawn(move || {
        drop(session);
        dropped_sender.send(()).expect("sent");
    });
    dropped.recv_timeout(Duration::from_secs(30)).expect("dropped");
    assert!(!path.exists());
}

#[test]
fn losses_are_counted_and_reported() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    instance.set_buffer_size(4).expect("size");
    // The buffer overflows before the stream is opened.
    instance.start().expect("started");
    for _ in 0..10_000 {
        write(instance.path().join("trace_marker"), "a mark that takes some room in the buffer");
    }
    let mut stream = stream(&instance, None);
    let lines = drain(&instance, &mut stream);
    let printed = lines.matches("a mark that").count() as u64;
    let lost = instance.lost_events().expect("losses");
    assert!(printed > 0 && lost > 0, "{printed} printed, {lost} lost");
    assert_eq!(printed + lost, 10_000);
    assert_eq!(reported_lost(&lines), lost);
    let StreamStats { recorded, lost: by_cpu, .. } = stream.stats([&instance]).expect("stats");
    assert_eq!((recorded, by_cpu.values().sum::<u64>()), (10_000, lost));
}
