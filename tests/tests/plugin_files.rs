//! Plugins that are replaced while they are used. Needs no kernel.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use system_tests::{Answer, Manager, PATIENCE, Plugins, Session, built, wait_until};

/// How often each of the four tests changes a plugin.
const CHANGES: usize = 250;
const PAUSES: usize = 5;

/// Two plugins that alternate under one file name.
struct Versions {
    path: PathBuf,
    contents: [Vec<u8>; 2],
}

impl Versions {
    fn of(plugins: &Plugins, file: &str) -> Self {
        let read = |name: &str| fs::read(built(name)).expect("a plugin can be read");
        Self { path: plugins.path_of(file), contents: [read("libsynthetic.so"), read("libfailing.so")] }
    }

    fn content(&self, round: usize) -> &[u8] {
        &self.contents[round % 2]
    }
}

/// The output of discovery for each of the two plugins.
const HOOKS: [&str; 2] = ["synthetic_lines\n", "failing_lines\n"];

/// The message for a file that is being written.
const BEING_WRITTEN: &str = "is open for writing";

/// Changes a plugin repeatedly while a session of it runs, others start, and discovery runs. Checks that the session
/// has all its lines, and the result of each discovery.
#[track_caller]
fn used_while(change: impl Fn(&Versions, usize) + Sync, check: impl Fn(&Answer)) {
    let manager = Manager::with(Plugins::none().plugin("synthetic", "x.so"));
    let versions = Versions::of(manager.plugins(), "x.so");
    let running = session_of(&manager);
    let found = AtomicUsize::new(0);
    // Leaves a pause in which the file is not being written.
    let pause = |round: usize| {
        if round.is_multiple_of(CHANGES / PAUSES) {
            let before = found.load(Relaxed);
            wait_until("it is found between the changes", PATIENCE, || found.load(Relaxed) > before);
        }
    };
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for round in 1..=CHANGES {
                change(&versions, round);
                pause(round);
            }
        });
        while !changes.is_finished() {
            let answer = manager.call(["--get-all"]).answer();
            assert!(answer.status.success(), "{answer:#?}");
            check(&answer);
            found.fetch_add(usize::from(HOOKS.contains(&answer.stdout.as_str())), Relaxed);
            starts_or_says_why(&manager);
        }
        changes.join().expect("the plugin can be changed, and is found");
    });
    let ended = running.stop();
    let lines = ended.succeeded();
    assert!(lines.len() > 1, "nothing was recorded");
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("synthetic: line {number}"));
    }
}

fn session_of(manager: &Manager) -> Session {
    manager.run("synthetic_lines", format!("--pid {} --count 1000000 --every 1", std::process::id())).start()
}

/// A session of the current plugin runs, or fails with one line that is not about a crash.
#[track_caller]
fn starts_or_says_why(manager: &Manager) {
    let answer = manager.run("synthetic_lines", format!("--pid {} --time 1", std::process::id())).answer();
    match answer.status.code() {
        Some(0) => _ = answer.succeeded(),
        Some(2) => answer.refused(&["unknown hook 'synthetic_lines'"]),
        _ => panic!("neither runs nor is unknown: {answer:#?}"),
    }
}

/// Checks that discovery finds the old or the new plugin, without messages.
#[track_caller]
fn old_or_new(answer: &Answer) {
    assert!(HOOKS.contains(&answer.succeeded()), "neither the old nor the new one: {answer:#?}");
}

/// Checks that discovery finds the old or the new plugin, or reports the invalid file.
#[track_caller]
fn old_or_new_or(answer: &Answer, what: &[&str]) {
    if !answer.stderr.is_empty() {
        assert_eq!(answer.stdout, "");
        let complaint = answer.succeeded_with_messages(1)[0];
        assert!(what.iter().any(|what| complaint.contains(what)), "{complaint}");
    } else {
        old_or_new(answer);
    }
}

#[test]
fn overwriting_a_plugin_in_place_harms_no_session() {
    used_while(
        |versions, round| {
            let mut file = OpenOptions::new().write(true).open(&versions.path).expect("the test owns it");
            write_slowly(&mut file, versions.content(round));
            file.set_len(versions.content(round).len() as u64).expect("the test owns it");
        },
        |answer| old_or_new_or(answer, &[BEING_WRITTEN]),
    );
}

/// Written in parts, so that others may read a half-written file.
fn write_slowly(file: &mut File, content: &[u8]) {
    for part in content.chunks(content.len() / 4 + 1) {
        file.write_all(part).expect("there is room");
        std::thread::yield_now();
    }
}

#[test]
fn truncating_and_rewriting_a_plugin_harms_no_session() {
    used_while(
        |versions, round| {
            let length = fs::metadata(&versions.path).expect("it exists").len();
            nix::unistd::truncate(&versions.path, (length / 16).cast_signed() * (round as i64 % 8))
                .expect("the test owns it");
            // Now the file is truncated, and not open for writing.
            std::thread::yield_now();
            fs::write(&versions.path, versions.content(round)).expect("the test owns it");
        },
        |answer| {
            let reasons = ["is cut off", "is a damaged ELF file", "(not an ELF file)", BEING_WRITTEN];
            old_or_new_or(answer, &reasons);
        },
    );
}

#[test]
fn renaming_over_a_plugin_harms_no_session() {
    used_while(
        |versions, round| {
            let new = versions.path.with_extension("new");
            fs::write(&new, versions.content(round)).expect("there is room");
            fs::rename(&new, &versions.path).expect("the test owns it");
        },
        old_or_new,
    );
}

#[test]
fn deleting_and_recreating_a_plugin_harms_no_session() {
    used_while(
        |versions, round| {
            fs::remove_file(&versions.path).expect("the test owns it");
            std::thread::yield_now();
            let mut file = File::create(&versions.path).expect("there is room");
            write_slowly(&mut file, versions.content(round));
        },
        |answer| {
            if !answer.stdout.is_empty() || !answer.stderr.is_empty() {
                old_or_new_or(answer, &["contains no plugin"]);
            }
        },
    );
}

#[test]
fn a_plugin_open_for_writing_is_not_loaded() {
    let manager = Manager::with(Plugins::of(["synthetic"]).plugin("failing", "x.so"));
    let writer = open_for_writing(&manager.plugins().path_of("x.so"));
    let answer = manager.call(["--get-all"]).answer();
    assert_eq!(answer.stdout, "synthetic_lines\n");
    assert!(answer.succeeded_with_messages(1)[0].contains("x.so is open for writing"), "{answer:#?}");
    drop(writer);
    assert_eq!(manager.call(["--get-all"]).answer().succeeded(), "failing_lines\nsynthetic_lines\n");
}

fn open_for_writing(path: &Path) -> File {
    OpenOptions::new().append(true).open(path).expect("the test owns it")
}
