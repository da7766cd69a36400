//! Events at places in programs, on the real kernel.

mod common;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use common::{actor, read};
use tracefs::{Error, Instance, Tracefs, UserProbe};

/// A name that can also be that of a system of events.
fn name() -> String {
    common::unique_name().replace('-', "_")
}

/// A place where nobody comes by: a file that no program maps. The kernel puts its breakpoint into every private
/// mapping of a file, also where no code is, and so breaks the programs of which it is a part.
fn probe(event: &str) -> UserProbe {
    UserProbe {
        event: event.to_owned(),
        returns: false,
        file: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probes.rs"),
        offset: 0x100,
        arguments: Vec::new(),
    }
}

fn defined(tracefs: &Tracefs, system: &str) -> usize {
    read(tracefs.root().join("uprobe_events")).lines().filter(|line| line.contains(system)).count()
}

/// The end of the test where there is no tracefs, or no such events.
macro_rules! need_probes {
    () => {
        match common::tracefs() {
            Some(tracefs) if tracefs.has_user_probes() => tracefs,
            Some(_) => return common::skip("the kernel has no uprobe_events"),
            None => return,
        }
    };
}

#[test]
fn probes_are_gone_with_their_instance() {
    let tracefs = need_probes!();
    let name = name();
    let instance = Instance::create(&tracefs, &name).expect("an instance");
    let returning = UserProbe { returns: true, ..probe("back") };
    let elsewhere = UserProbe { offset: 0x200, ..probe("here") };
    instance.define_user_probes(&[probe("here"), elsewhere, returning]).expect("defined");
    assert_eq!(defined(&tracefs, &name), 3);
    instance.enable_event(&name, "here").expect("enabled");
    instance.remove().expect("removed");
    assert_eq!(defined(&tracefs, &name), 0);
}

#[test]
fn a_probe_that_somebody_else_has_enabled_for_a_moment_is_waited_for() {
    let tracefs = need_probes!();
    let (name, other) = (name(), name());
    let instance = Instance::create(&tracefs, &name).expect("an instance");
    instance.define_user_probes(&[probe("here")]).expect("defined");
    let other = Instance::create(&tracefs, &other).expect("another instance");
    other.enable_event(&name, "here").expect("enabled");
    let removed = std::thread::spawn(|| instance.remove());
    // This waits for nothing: it is the time for which the event is on.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(defined(&tracefs, &name), 1);
    drop(other);
    removed.join().expect("nobody panics").expect("removed");
    assert_eq!(defined(&tracefs, &name), 0);
}

#[test]
fn what_the_kernel_refuses_is_told_in_its_words() {
    let tracefs = need_probes!();
    let name = name();
    let instance = Instance::create(&tracefs, &name).expect("an instance");
    let bad = UserProbe { arguments: vec!["a=%nonsense".to_owned()], ..probe("bad") };
    let error = instance.define_user_probes(&[probe("good"), bad]).expect_err("no such register");
    assert!(
        matches!(&error, Error::BadProbe { reason } if reason.contains("Invalid register name")),
        "{error}"
    );
    drop(instance);
    assert_eq!(defined(&tracefs, &name), 0);
}

#[test]
fn one_file_is_told_from_two() {
    let tracefs = need_probes!();
    let name = name();
    let instance = Instance::create(&tracefs, &name).expect("an instance");
    let (program, copy) =
        (std::env::current_exe().expect("a path"), tempfile::NamedTempFile::new().expect("a file"));
    std::fs::copy(&program, copy.path()).expect("copied");
    let is_program = |other: &Path| instance.is_one_file(&program, other).expect("compared");
    assert!(is_program("/proc/self/exe".as_ref()));
    assert!(!is_program(copy.path()));
    assert!(instance.is_one_file(&program, "/none".as_ref()).is_err());
    assert_eq!(defined(&tracefs, &name), 0);
}

/// Another process with probes: the role is the instance's name.
#[test]
fn holder() {
    let Some(name) = actor::role() else { return };
    let tracefs = Tracefs::find("/sys".as_ref(), "/proc".as_ref()).expect("tracefs");
    let instance = Instance::create(&tracefs, &name).expect("an instance");
    instance.define_user_probes(&[probe("here")]).expect("defined");
    instance.enable_event(&name, "here").expect("enabled");
    actor::answer(0);
    std::io::stdin().lines().for_each(drop);
}

#[test]
fn a_sweep_removes_the_probes_of_the_dead_and_of_no_others() {
    let tracefs = need_probes!();
    let prefix = name();
    let (dead, living) = (format!("{prefix}dead"), format!("{prefix}living"));
    let mut holder = actor::Actor::start("holder", &dead);
    let instance = Instance::create(&tracefs, &living).expect("an instance");
    instance.define_user_probes(&[probe("here")]).expect("defined");
    assert_eq!(tracefs.sweep(&prefix).expect("swept"), 0);
    assert_eq!((defined(&tracefs, &dead), defined(&tracefs, &living)), (1, 1));
    holder.kill();
    assert_eq!(tracefs.sweep(&prefix).expect("swept"), 1);
    assert_eq!((defined(&tracefs, &dead), defined(&tracefs, &living)), (0, 1));
}

#[test]
fn a_sweep_removes_probes_whose_instance_is_gone_already() {
    let tracefs = need_probes!();
    let prefix = name();
    let path = probe("here").file;
    let definition = format!("p:{prefix}gone/here {}:0x100\n", path.display());
    let mut list =
        OpenOptions::new().append(true).open(tracefs.root().join("uprobe_events")).expect("opened");
    list.write_all(definition.as_bytes()).expect("defined");
    assert_eq!(defined(&tracefs, &prefix), 1);
    assert_eq!(tracefs.sweep(&prefix).expect("swept"), 0);
    assert_eq!(defined(&tracefs, &prefix), 0);
}
