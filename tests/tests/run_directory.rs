//! The run directory: other users may not control it, and every problem with it is reported in one line.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use system_tests::{Call, Manager, Plugins, is_root, skip};
use tempfile::TempDir;

const RUN: &str = "TRACER_RUN_PATH";
const OTHER_USER: u32 = 12345;

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o7777
}

fn synthetic() -> Manager {
    Manager::with(Plugins::of(["synthetic"]))
}

fn synthetic_for_everyone() -> Manager {
    Manager::for_everyone(Plugins::of(["synthetic"]))
}

/// A short session with its files in this directory.
fn run_in<'a>(manager: &'a Manager, directory: impl AsRef<Path>) -> Call<'a> {
    let me = format!("--pid {} --time 10", std::process::id());
    manager.run("synthetic_lines", me).variable(RUN, directory.as_ref())
}

/// A directory with this mode, in one that only its owner can write to.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory can be made");
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).expect("the test owns it");
        Self(place)
    }

    fn directory(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir(&path).expect("a directory can be made");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("the test owns it");
        path
    }

    /// A directory that another user owns.
    fn of_another_user(&self, name: &str) -> PathBuf {
        let path = self.directory(name, 0o777);
        chown(&path, Some(OTHER_USER), None).expect("root can change the owner");
        path
    }

    fn link(&self, name: &str, target: impl AsRef<Path>) -> PathBuf {
        let path = self.0.path().join(name);
        symlink(target, &path).expect("a link can be made");
        path
    }
}

#[test]
fn it_is_created_for_its_owner_only() {
    let (manager, place) = (synthetic(), Place::new());
    let directory = place.0.path().join("not/there/yet");
    run_in(&manager, &directory).start_unread().ends().succeeded();
    assert_eq!(mode_of(&directory), 0o700);
}

#[test]
fn a_shared_one_gets_a_private_directory_inside() {
    let (manager, place) = (synthetic(), Place::new());
    // Kubernetes makes an `emptyDir` with mode 0777.
    for mode in [0o777, 0o770, 0o1777, 0o702, 0o2777] {
        let shared = place.directory(&format!("shared_{mode:o}"), mode);
        manager.call(["--clear"]).variable(RUN, &shared).answer().succeeded_silently();
        assert_eq!(fs::read_dir(&shared).expect("it exists").count(), 0, "nothing to clear, nothing made");
        let session = run_in(&manager, &shared).start_unread();
        let private = shared.join(format!("trace-hooks-{}", geteuid()));
        assert_eq!(session.path().parent(), Some(&*private));
        session.ends().succeeded();
        assert_eq!(mode_of(&private) & 0o777, 0o700);
        assert_eq!(mode_of(&shared), mode | 0o1000, "other users can rename it");
        // Its mode may have been set again.
        fs::set_permissions(&shared, Permissions::from_mode(mode)).expect("the test owns it");
        manager.call(["--clear"]).variable(RUN, &shared).answer().succeeded_silently();
        assert_eq!(fs::read_dir(&private).expect("it exists").count(), 0);
        assert_eq!(mode_of(&shared), mode | 0o1000);
    }
}

#[test]
fn a_private_directory_that_another_user_has_prepared_is_refused() {
    if !is_root() {
        return skip("it needs root");
    }
    let (manager, place) = (synthetic(), Place::new());
    let shared = place.directory("shared", 0o777);
    let private = shared.join("trace-hooks-0");
    fs::create_dir(&private).expect("a directory can be made");
    chown(&private, Some(OTHER_USER), None).expect("root can change the owner");
    run_in(&manager, &shared).answer().failed(&["belongs to user 12345", RUN]);
    fs::remove_dir(&private).expect("it is empty");
    symlink(place.directory("elsewhere", 0o700), &private).expect("a link can be made");
    run_in(&manager, &shared).answer().failed(&["is not a directory", RUN]);
    fs::remove_file(&private).expect("root can remove it");
    fs::create_dir(&private).expect("a directory can be made");
    fs::set_permissions(&private, Permissions::from_mode(0o722)).expect("the test owns it");
    run_in(&manager, &shared).answer().failed(&["can be written to by other users", RUN]);
}

#[test]
fn a_shared_one_of_another_user_needs_the_sticky_bit() {
    if !is_root() {
        return skip("it needs root");
    }
    let (manager, place) = (synthetic_for_everyone(), Place::new());
    let shared = place.directory("shared", 0o777);
    run_in(&manager, &shared).as_nobody().answer().failed(&["no sticky bit", RUN]);
    assert_eq!(fs::read_dir(&shared).expect("it exists").count(), 0, "made where it is refused");
    fs::set_permissions(&shared, Permissions::from_mode(0o1777)).expect("the test owns it");
    run_in(&manager, &shared).as_nobody().start_unread().ends().succeeded();
    chown(&shared, Some(OTHER_USER), None).expect("root can change the owner");
    run_in(&manager, &shared).answer().failed(&["belongs to user 12345", RUN]);
}

#[test]
fn it_is_refused_if_others_can_write_to_a_directory_above() {
    let (manager, place) = (synthetic(), Place::new());
    for mode in [0o777, 0o775] {
        let shared = place.directory(&format!("above_{mode:o}"), mode);
        for below in ["run", "a/b/run"] {
            run_in(&manager, shared.join(below)).answer().failed(&["other users", RUN]);
            assert!(!shared.join("a").exists() && !shared.join("run").exists(), "made where it is refused");
        }
        let private = shared.join("private");
        fs::create_dir(&private).expect("a directory can be made");
        fs::set_permissions(&private, Permissions::from_mode(0o700)).expect("the test owns it");
        run_in(&manager, &private).answer().failed(&["other users", RUN]);
        run_in(&manager, place.link(&format!("through_{mode:o}"), &private).join("run"))
            .answer()
            .failed(&["other users"]);
    }
    // Other users cannot remove our files from a sticky directory such as /tmp.
    let sticky = place.directory("sticky", 0o1777);
    run_in(&manager, sticky.join("run")).start_unread().ends().succeeded();
}

#[test]
fn a_link_is_refused_with_and_without_a_slash_at_its_end() {
    let (manager, place) = (synthetic(), Place::new());
    let private = place.directory("private", 0o700);
    let link = place.link("link", &private);
    for path in [link.clone(), link.join(""), link.join("."), link.join("./")] {
        run_in(&manager, &path).answer().failed(&["is not a directory", RUN]);
    }
    // A link above it is followed if its target is trusted.
    run_in(&manager, link.join("run")).start_unread().ends().succeeded();
    let loops = place.link("loops", "loops");
    run_in(&manager, loops.join("run")).answer().failed(&["loops"]);
}

#[test]
fn it_is_refused_if_another_user_owns_it_or_a_path_element_above() {
    if !is_root() {
        return skip("it needs root");
    }
    let (manager, place) = (synthetic(), Place::new());
    let theirs = place.directory("theirs", 0o755);
    let ours = theirs.join("ours");
    fs::create_dir(&ours).expect("a directory can be made");
    chown(&theirs, Some(OTHER_USER), None).expect("root can change the owner");
    for path in [theirs.clone(), ours.clone(), ours.join("run"), theirs.join("not_there/run")] {
        run_in(&manager, &path).answer().failed(&["belongs to user 12345", RUN]);
    }
    let sticky = place.directory("sticky", 0o1777);
    let link = sticky.join("link");
    symlink(place.directory("private", 0o700), &link).expect("a link can be made");
    std::os::unix::fs::lchown(&link, Some(OTHER_USER), None).expect("root can change the owner");
    run_in(&manager, link.join("run")).answer().failed(&["belongs to user 12345", RUN]);
}

/// Another user repeatedly exchanges a missing element of the path for a link to a directory that only root can write to.
#[test]
fn a_link_that_appears_in_time_cannot_redirect_what_is_made() {
    if !is_root() {
        return skip("it needs root");
    }
    let (manager, place) = (synthetic(), Place::new());
    let (sticky, target) = (place.directory("sticky", 0o1777), place.directory("target", 0o755));
    let (element, theirs) = (sticky.join("element"), sticky.join("theirs"));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                symlink(&target, &theirs).expect("a link can be made");
                lchown(&theirs, Some(OTHER_USER), None).expect("root can change the owner");
                let _ = fs::rename(&theirs, &element);
                // If it is a directory by now, the manager was first.
                let _ = fs::remove_file(&element).or_else(|_| fs::remove_dir_all(&element));
                let _ = fs::remove_file(&theirs);
            }
        });
        for number in 0..200 {
            run_in(&manager, element.join(number.to_string())).answer();
        }
        for _ in 0..20 {
            let install = manager.bare_call().words(["install", "--plugins"]).word(manager.plugins().path());
            install.word(element.join("kernel")).answer();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let made: Vec<_> = fs::read_dir(&target).expect("it exists").flatten().collect();
    assert!(made.is_empty(), "{} were made where another user's link led", made.len());
}

#[test]
fn a_directory_that_another_user_made_first_has_a_way_out() {
    if !is_root() {
        return skip("it needs root");
    }
    let (manager, place) = (synthetic_for_everyone(), Place::new());
    let temporary = place.directory("tmp", 0o1777);
    let theirs = temporary.join("trace-hooks-65534");
    fs::create_dir(&theirs).expect("a directory can be made");
    chown(&theirs, Some(OTHER_USER), None).expect("root can change the owner");
    let call = |run: &Path| {
        run_in(&manager, run).as_nobody().variable("XDG_RUNTIME_DIR", "").variable("TMPDIR", &temporary)
    };
    call(Path::new("")).answer().failed(&[
        "belongs to user 12345",
        "let that user or root remove it",
        RUN,
        "mktemp -d",
    ]);
    // As the message says.
    let ours = temporary.join("tmp.Xq3");
    fs::create_dir(&ours).expect("a directory can be made");
    fs::set_permissions(&ours, Permissions::from_mode(0o700)).expect("the test owns it");
    chown(&ours, Some(65534), None).expect("root can change the owner");
    call(&ours).start_unread().ends().succeeded();
}

#[test]
fn an_untrusted_one_is_refused_by_all_actions_but_discovery() {
    if !is_root() {
        return skip("it needs root");
    }
    let (manager, place) = (synthetic(), Place::new());
    let theirs = place.of_another_user("theirs");
    fs::create_dir(theirs.join("trace-hooks-0")).expect("a directory can be made");
    manager.call(["--clear"]).variable(RUN, &theirs).answer().failed(&["belongs to user 12345"]);
    let answer = manager.call(["--get-all"]).variable(RUN, &theirs).answer();
    assert_eq!(answer.succeeded(), "synthetic_lines\n");
}

#[test]
fn two_users_have_separate_ones() {
    if !is_root() {
        return skip("it needs root");
    }
    let manager = synthetic_for_everyone();
    let place = Place::new();
    let ours = place.directory("ours", 0o700);
    let me = format!("--pid {}", std::process::id());
    // `for_everyone` gives the usual run directory to the user nobody.
    let theirs = manager.run("synthetic_lines", &me).as_nobody().start();
    let mut our_session = manager.run("synthetic_lines", &me).variable(RUN, &ours).start();
    manager.call(["--clear"]).as_nobody().answer().succeeded_silently();
    assert_eq!(theirs.ends().succeeded().len(), 10);
    assert!(!our_session.process().is_over());
    manager.call(["--get-all"]).as_nobody().variable(RUN, &ours).answer().succeeded();
    manager.call(["--clear"]).as_nobody().variable(RUN, &ours).answer().failed(&["ours"]);
    run_in(&manager, &ours).as_nobody().answer().failed(&["belongs to user 0"]);
    // Root also refuses a directory that another user could change.
    run_in(&manager, manager.run_directory()).answer().failed(&["belongs to user 65534"]);
    assert_eq!(our_session.stop().succeeded().len(), 10);
}

#[test]
fn a_user_without_runtime_directory_gets_one_in_tmp() {
    if !is_root() {
        return skip("it needs root");
    }
    let (manager, place) = (synthetic_for_everyone(), Place::new());
    let temporary = place.directory("tmp", 0o1777);
    let run =
        || run_in(&manager, "").as_nobody().variable("XDG_RUNTIME_DIR", "").variable("TMPDIR", &temporary);
    run().start_unread().ends().succeeded();
    let theirs = temporary.join("trace-hooks-65534");
    assert_eq!(mode_of(&theirs), 0o700);
    // Another user created the directory first.
    chown(&theirs, Some(OTHER_USER), None).expect("root can change the owner");
    run().answer().failed(&["belongs to user 12345"]);
}

/// A script for a mount namespace in which `directory` is a separate file system with these options.
fn small(directory: &Path, options: &str) -> String {
    format!(r#"mount -t tmpfs -o mode=0700,{options} none {}; exec "$@""#, directory.display())
}

#[test]
fn a_full_disk_is_reported_in_one_line() {
    if !is_root() {
        return skip("it needs root");
    }
    let (manager, place) = (synthetic(), Place::new());
    let directory = place.directory("run", 0o700);
    for full in ["size=4k,nr_inodes=1", "size=4k,nr_inodes=2", "size=4k,nr_inodes=3", "size=4k"] {
        let script = small(&directory, full).replace(
            "exec",
            &format!("(cat /dev/zero > {}/zeros) 2>/dev/null || true; exec", directory.display()),
        );
        let answer = run_in(&manager, &directory).in_mount_namespace(&script).answer();
        answer.failed(&["No space left on device"]);
    }
}

#[test]
fn a_disk_that_fills_up_keeps_what_fits_and_reports_the_rest() {
    if !is_root() {
        return skip("it needs root");
    }
    let (manager, place) = (synthetic(), Place::new());
    let directory = place.directory("run", 0o700);
    let me = format!("--pid {} --count 50000 --time 50", std::process::id());
    let call = manager.run("synthetic_lines", me).variable(RUN, &directory);
    let script = small(&directory, "size=64k").replace(
        r#"exec "$@""#,
        &format!(
            r#""$@" || status=$?; cd {}; ls *.trace >&2; cat *.trace >&2; exit $status"#,
            directory.display()
        ),
    );
    let answer = call.in_mount_namespace(&script).answer();
    assert_eq!(answer.status.code(), Some(1), "{answer:#?}");
    let lines: Vec<&str> = answer.stderr.lines().collect();
    let [complaint, file, kept @ ..] = &lines[..] else { panic!("a complaint, and one file: {answer:#?}") };
    assert!(file.ends_with(".trace"), "{answer:#?}");
    assert!(!kept.is_empty() && answer.stderr.ends_with('\n'), "whole lines");
    assert!(kept.iter().enumerate().all(|(number, line)| *line == format!("synthetic: line {number}")));
    let missing =
        format!("No space left on device (os error 28); {} events are missing there", 50_000 - kept.len());
    assert!(complaint.starts_with("manager: ") && complaint.contains(&missing), "{complaint}: not {missing}");
}

#[test]
fn a_read_only_disk_is_reported_in_one_line() {
    if !is_root() {
        return skip("it needs root");
    }
    let (manager, place) = (synthetic(), Place::new());
    let directory = place.directory("run", 0o700);
    for path in [directory.clone(), directory.join("run")] {
        let script = small(&directory, "ro");
        run_in(&manager, path).in_mount_namespace(&script).answer().failed(&["Read-only file system", RUN]);
    }
    let script = small(&directory, "ro");
    manager.call(["--get-all"]).variable(RUN, &directory).in_mount_namespace(&script).answer().succeeded();
    manager
        .call(["--clear"])
        .variable(RUN, &directory)
        .in_mount_namespace(&script)
        .answer()
        .succeeded_silently();
}

#[test]
fn removing_it_during_a_session_loses_only_unread_output() {
    let (manager, place) = (synthetic(), Place::new());
    let directory = place.directory("run", 0o700);
    let me = format!("--pid {} --count 1000", std::process::id());
    let run = || manager.run("synthetic_lines", &me).variable(RUN, &directory);

    let session = run().start();
    session.wait_for_lines(1000);
    fs::remove_dir_all(&directory).expect("the test owns it");
    assert_eq!(session.stop().succeeded().len(), 1000);

    let session = run().start_unread();
    fs::remove_dir_all(&directory).expect("the test owns it");
    session.stop().failed(&["store the unread output", "No such file"]);
    assert!(!directory.exists());

    let mut session = run().start();
    session.wait_for_lines(1000);
    fs::remove_dir_all(&directory).expect("the test owns it");
    session.process().signal(Signal::SIGKILL);
    assert_eq!(session.ends().lines.len(), 1000);
}

#[test]
fn renaming_it_during_a_session_delays_the_cleanup() {
    let (manager, place) = (synthetic(), Place::new());
    let directory = place.directory("run", 0o700);
    let me = format!("--pid {} --count 1000", std::process::id());
    let session = manager.run("synthetic_lines", me).variable(RUN, &directory).start();
    session.wait_for_lines(1000);
    let elsewhere = directory.with_file_name("elsewhere");
    fs::rename(&directory, &elsewhere).expect("the test owns it");
    manager.call(["--clear"]).variable(RUN, &directory).answer().succeeded_silently();
    assert_eq!(session.stop().succeeded().len(), 1000);
    fs::rename(&elsewhere, &directory).expect("the test owns it");
    manager.call(["--get-all"]).variable(RUN, &directory).answer().succeeded();
    assert_eq!(fs::read_dir(&directory).expect("it exists").count(), 0);
}
