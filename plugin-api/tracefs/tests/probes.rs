//! Uprobes, on the kernel's tracefs.

mod kernel;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use kernel::{read, test_process};
use tracefs::{Error, Instance, Tracefs, UserProbe};

/// A name that is also valid for an event system.
fn name() -> String {
    kernel::unique_name().replace('-', "_")
}

/// A file that no program maps. The kernel inserts the breakpoint into every private mapping of the file, even if there is no
/// code, which would crash programs that map it.
fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probes.rs")
}

fn probe(event: &str) -> UserProbe {
    UserProbe::at(event, file(), 0x100)
}

fn defined(tracefs: &Tracefs, system: &str) -> usize {
    read(tracefs.root().join("uprobe_events")).lines().filter(|line| line.contains(system)).count()
}

/// Skips the test if there is no tracefs, or no uprobes.
macro_rules! need_probes {
    () => {
        match kernel::tracefs() {
            Some(tracefs) if tracefs.has_user_probes() => tracefs,
            Some(_) => return kernel::skip("the kernel has no uprobe_events"),
            None => return,
        }
    };
}

#[test]
fn probes_are_removed_with_their_instance() {
    let tracefs = need_probes!();
    let name = name();
    let instance = Instance::create(&tracefs, &name).expect("an instance");
    let returning = UserProbe::at_return("back", file(), 0x100);
    let second_location = UserProbe::at("here", file(), 0x200);
    instance.define_user_probes(&[probe("here"), second_location, returning]).expect("defined");
    assert_eq!(defined(&tracefs, &name), 3);
    instance.enable_event(&name, "here").expect("enabled");
    instance.remove().expect("removed");
    assert_eq!(defined(&tracefs, &name), 0);
}

#[test]
fn removal_waits_for_a_probe_that_another_instance_has_enabled() {
    let tracefs = need_probes!();
    let (name, other) = (name(), name());
    let instance = Instance::create(&tracefs, &name).expect("an instance");
    instance.define_user_probes(&[probe("here")]).expect("defined");
    let other = Instance::create(&tracefs, &other).expect("another instance");
    other.enable_event(&name, "here").expect("enabled");
    let removed = std::thread::spawn(|| instance.remove());
    // The time for which the event stays enabled.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(defined(&tracefs, &name), 1);
    drop(other);
    removed.join().expect("no panic").expect("removed");
    assert_eq!(defined(&tracefs, &name), 0);
}

#[test]
fn refused_probes_are_reported_with_the_kernels_explanation() {
    let tracefs = need_probes!();
    let name = name();
    let instance = Instance::create(&tracefs, &name).expect("an instance");
    let bad = probe("bad").arguments(["a=%nonsense"]);
    let error = instance.define_user_probes(&[probe("good"), bad]).expect_err("no such register");
    assert!(
        matches!(&error, Error::BadProbe { reason } if reason.contains("Invalid register name")),
        "{error}"
    );
    drop(instance);
    assert_eq!(defined(&tracefs, &name), 0);
}

#[test]
fn same_file_is_recognized_on_other_paths() {
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

/// Another process with probes. The role is the instance's name.
#[test]
fn owner() {
    let Some(name) = test_process::role() else { return };
    let tracefs = Tracefs::find("/sys".as_ref(), "/proc".as_ref()).expect("tracefs");
    let instance = Instance::create(&tracefs, &name).expect("an instance");
    instance.define_user_probes(&[probe("here")]).expect("defined");
    instance.enable_event(&name, "here").expect("enabled");
    test_process::reply(0);
    std::io::stdin().lines().for_each(drop);
}

#[test]
fn sweep_removes_only_probes_of_dead_sessions() {
    let tracefs = need_probes!();
    let prefix = name();
    let (dead, alive) = (format!("{prefix}dead"), format!("{prefix}alive"));
    let mut owner = test_process::TestProcess::start("owner", &dead);
    let instance = Instance::create(&tracefs, &alive).expect("an instance");
    instance.define_user_probes(&[probe("here")]).expect("defined");
    assert_eq!(tracefs.sweep(&prefix).expect("swept"), 0);
    assert_eq!((defined(&tracefs, &dead), defined(&tracefs, &alive)), (1, 1));
    owner.kill();
    assert_eq!(tracefs.sweep(&prefix).expect("swept"), 1);
    assert_eq!((defined(&tracefs, &dead), defined(&tracefs, &alive)), (0, 1));
}

#[test]
fn sweep_removes_probes_without_an_instance() {
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
