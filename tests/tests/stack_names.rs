//! The names of functions that are not in the mapped file itself. Needs root.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use system_tests::{Kernel, Manager, Plugins, compile_c};
use tempfile::TempDir;

/// Spends a quarter of a second in `hidden`, which is not exported.
const SPINS: &str = r#"
#include <time.h>
volatile unsigned long s;
__attribute__((noinline)) static void hidden(void) { for (long i = 0; i < 3000000; i++) s += i; }
int main(void) {
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        hidden();
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000000000L + now.tv_nsec - begin.tv_nsec < 250000000L);
}
"#;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory can be made")
}

/// Compiles the program that spins, and moves its symbols to a debug file.
fn separate(directory: &Path, words: &[&str]) {
    compile_c(directory, SPINS, &[&["-g", "-O1", "-o", "program"], words].concat());
    let run = |words: &[&str]| {
        let done = Command::new("objcopy").args(words).current_dir(directory).status();
        assert!(done.expect("binutils are installed").success(), "{words:?}");
    };
    run(&["--only-keep-debug", "program", "program.debug"]);
    run(&["--strip-all", "--add-gnu-debuglink=program.debug", "program"]);
}

/// The innermost function of most samples of what this script executes.
fn hottest(directory: &Path, script: &str) -> String {
    let manager = Manager::with(Plugins::of(["perf"]));
    let words = ["run", "profile", "-F", "500", "--frames", "user", "--", "sh", "-e", "-c"];
    let call = manager.call(words).word(format!("cd {}; {script}", directory.display()));
    let answer = call.answer();
    let samples = answer.stderr.lines().filter_map(|line| line.split_once(" stack=")?.1.split(';').next());
    let mut counts = BTreeMap::<&str, usize>::new();
    samples.for_each(|function| *counts.entry(function).or_default() += 1);
    counts.into_iter().max_by_key(|(_, count)| *count).expect("there are samples").0.to_owned()
}

#[test]
fn a_debug_file_is_found_by_its_name_and_checksum() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    for place in [".", ".debug", "/usr/lib/debug$PWD"] {
        let directory = directory();
        separate(directory.path(), &["-Wl,--build-id=none"]);
        let script = format!(
            "exec unshare --mount sh -e -c 'mkdir -p /usr/lib/debug; mount -t tmpfs none /usr/lib/debug; \
             mkdir -p {place}; [ {place} = . ] || mv program.debug {place}; exec ./program'"
        );
        assert_eq!(hottest(directory.path(), &script), "hidden", "{place}");
    }
}

#[test]
fn a_debug_file_is_found_by_its_build_id_in_the_mount_namespace_of_the_program() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = directory();
    separate(directory.path(), &["-Wl,--build-id=0xabcdef0123456789"]);
    let script = "exec unshare --mount sh -e -c 'mkdir -p /usr/lib/debug; mount -t tmpfs none /usr/lib/debug; \
                  mkdir -p /usr/lib/debug/.build-id/ab; \
                  mv program.debug /usr/lib/debug/.build-id/ab/cdef0123456789.debug; exec ./program'";
    assert_eq!(hottest(directory.path(), script), "hidden");
}

#[test]
fn the_debug_file_of_another_program_is_not_used() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let other = "echo >>program.debug";
    let fifo = "rm program.debug; mkfifo program.debug";
    let device = "rm program.debug; ln -s /dev/zero program.debug";
    let huge = "truncate -s 2G program.debug";
    let none = "-Wl,--build-id=none";
    let other_id = "printf '\\1\\2' >id; objcopy --update-section .note.gnu.build-id=id program.debug";
    for (change, id) in
        [(other, none), (fifo, none), (device, none), (huge, none), (other_id, "-Wl,--build-id=md5")]
    {
        let directory = directory();
        separate(directory.path(), &[id]);
        let name = hottest(directory.path(), &format!("{change}; exec ./program"));
        assert!(name.starts_with("[program+0x"), "{change}: {name}");
    }
}
