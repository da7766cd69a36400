//! Instances from their creation to their removal, on the kernel's tracefs.

mod kernel;

use std::fs::File;
use std::io::BufRead;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use kernel::test_process::{self, TestProcess};
use kernel::{Sweeper, read};
use tracefs::{Error, Instance, Tracefs};

/// Another process with its own instance. The role is the instance's name.
#[test]
fn owner() {
    let Some(name) = test_process::role() else { return };
    let tracefs = Tracefs::find(Path::new("/sys"), Path::new("/proc")).expect("tracefs");
    let instance = Instance::create(&tracefs, &name).expect("an instance");
    instance.start().expect("started");
    test_process::reply(0);
    std::io::stdin().lock().lines().for_each(drop);
}

fn owner_of(sweeper: &Sweeper, name: &str) -> TestProcess {
    TestProcess::start("owner", &sweeper.name(name))
}

#[test]
fn nothing_is_recorded_before_start_and_after_stop() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    let tracing_on = || read(instance.path().join("tracing_on"));
    assert_eq!(tracing_on(), "0\n");
    instance.start().expect("started");
    assert_eq!(tracing_on(), "1\n");
    instance.stop().expect("stopped");
    assert_eq!(tracing_on(), "0\n");
}

#[test]
fn settings_reach_the_kernel() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    instance.set_buffer_size(4096).expect("size");
    instance.set_clock("mono").expect("clock");
    instance.set_option("sym-offset", true).expect("option");
    let setting = |name| read(instance.path().join(name));
    let size = setting("buffer_size_kb").trim().parse::<u64>().expect("a number");
    assert!((4096..4200).contains(&size), "the kernel rounds up to whole pages: {size}");
    assert!(setting("trace_clock").contains("[mono]"));
    assert_eq!(setting("options/sym-offset"), "1\n");
    assert!(matches!(instance.set_clock("no-such-clock"), Err(Error::Io { .. })));
    assert!(matches!(instance.set_option("no-such-option", true), Err(Error::Io { .. })));
}

#[test]
fn removed_and_dropped_instances_do_not_exist() {
    let sweeper = need_tracefs!();
    let path = sweeper.path("a");
    sweeper.create("a").remove().expect("removed");
    assert!(!path.exists());
    drop(sweeper.create("a"));
    assert!(!path.exists());
}

#[test]
fn an_instance_in_use_cannot_be_removed_by_others() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    let refused = std::fs::remove_dir(instance.path()).expect_err("refused");
    assert_eq!(refused.kind(), std::io::ErrorKind::ResourceBusy);
}

#[test]
fn names_are_checked() {
    let sweeper = need_tracefs!();
    for name in ["", ".", "..", "a/b", "/", "a\0b", "a/"] {
        let refused = Instance::create(&sweeper.tracefs, name);
        assert!(matches!(refused, Err(Error::InvalidName { .. })), "{name:?}: {refused:?}");
    }
    assert!(matches!(sweeper.tracefs.sweep(""), Err(Error::InvalidName { .. })));
}

#[test]
fn existing_name_is_refused() {
    let sweeper = need_tracefs!();
    let _instance = sweeper.create("a");
    let refused = Instance::create(&sweeper.tracefs, &sweeper.name("a"));
    assert!(matches!(refused, Err(Error::InstanceExists { .. })), "{refused:?}");
}

#[test]
fn sweep_removes_orphans_and_keeps_instances_in_use() {
    let sweeper = need_tracefs!();
    let sweep = || sweeper.tracefs.sweep(&sweeper.prefix).expect("swept");
    let own = sweeper.create("own");
    let mut other = owner_of(&sweeper, "other");
    std::fs::create_dir(sweeper.path("orphan")).expect("an orphan");
    let foreign = Sweeper::new(&sweeper.tracefs);
    std::fs::create_dir(foreign.path("foreign")).expect("a foreign instance");

    assert_eq!(sweep(), 1);
    assert!(!sweeper.path("orphan").exists());
    assert!(own.path().exists() && sweeper.path("other").exists() && foreign.path("foreign").exists());

    other.kill();
    assert_eq!(sweep(), 1);
    assert!(!sweeper.path("other").exists());
}

#[test]
fn instance_stops_recording_when_its_process_is_killed() {
    let sweeper = need_tracefs!();
    let mut owner = owner_of(&sweeper, "a");
    let path = sweeper.path("a");
    assert_eq!(read(path.join("tracing_on")), "1\n");
    owner.kill();
    assert_eq!(read(path.join("tracing_on")), "0\n");
    let size = read(path.join("buffer_size_kb"));
    assert!(size.trim().parse::<u64>().is_ok_and(|kib| kib < 100), "the buffer is still {size} KiB");
}

/// A sweep that runs after a directory was created and before it was locked removes it. The creator must still get an
/// instance, and must not lose it afterwards.
#[test]
fn concurrent_sweeps_do_not_break_creation() {
    let sweeper = need_tracefs!();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    sweeper.tracefs.sweep(&sweeper.prefix).expect("swept");
                }
            });
        }
        let creators: Vec<_> = ["a", "b"]
            .map(|name| {
                let sweeper = &sweeper;
                scope.spawn(move || {
                    for _ in 0..20 {
                        let instance = sweeper.create(name);
                        instance.start().expect("still there");
                        assert_eq!(read(instance.path().join("tracing_on")), "1\n");
                        instance.remove().expect("removed");
                    }
                })
            })
            .into();
        let results: Vec<_> = creators.into_iter().map(|creator| creator.join()).collect();
        done.store(true, Ordering::Relaxed);
        results.into_iter().for_each(|result| result.expect("all instances created"));
    });
}

#[test]
fn removal_waits_for_a_foreign_reader() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    let path = instance.path().to_path_buf();
    let full_size = read(path.join("buffer_size_kb"));
    let held = File::open(path.join("tracing_on")).expect("an open file of the instance");
    let closer = std::thread::spawn(move || {
        // The removal shrinks the buffer just before the rmdir.
        while std::fs::read_to_string(path.join("buffer_size_kb")).is_ok_and(|size| size == full_size) {
            std::thread::yield_now();
        }
        drop(held);
    });
    instance.remove().expect("removed");
    closer.join().expect("closed");
    assert!(!sweeper.path("a").exists());
}

#[test]
fn removal_of_a_busy_instance_times_out_and_a_sweep_completes_it() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    instance.enable_event("syscalls", "sys_enter_getsid").expect("event");
    instance.start().expect("started");
    let path = instance.path().to_path_buf();
    let held = File::open(path.join("buffer_percent")).expect("an open file of the instance");
    let refused = instance.remove();
    assert!(matches!(refused, Err(Error::InstanceBusy { .. })), "{refused:?}");
    assert_eq!(read(path.join("tracing_on")), "0\n");
    assert_eq!(read(path.join("events/enable")), "0\n");
    drop(held);
    assert_eq!(sweeper.tracefs.sweep(&sweeper.prefix).expect("swept"), 1);
}
