//! The names of functions that are not in the mapped file itself. Needs root.

use std::path::Path;
use std::process::Command;

use system_tests::{Kernel, Manager, Plugins, Workload, compile_c};
use tempfile::TempDir;

/// Spends a quarter of a second in `hidden`, which is not exported.
const SPINS: &str = r#"
#include <time.h>
volatile unsigned long s;
__attribute__((noinline)) static void hidden(void) { for (long i = 0; i < 3000000; i++) s += i; }
int main(void) {
    struct timespec begin, now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    do {
        hidden();
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
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
    call.answer().hottest_function()
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
fn a_function_in_a_debug_file_is_traced_by_its_name() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (directory, manager) = (directory(), Manager::with(Plugins::of(["uprobe"])));
    separate(directory.path(), &["-Wl,--build-id=none"]);
    let traced = |selector: &str| {
        let call = manager.call(["run", "user", "-f", selector, "--"]).word(directory.path().join("program"));
        let answer = call.answer();
        answer.stderr.lines().filter(|line| line.contains("call: function=\"hidden\"")).count()
    };
    assert!(traced("hidden") > 5 && traced("program:hidde*") > 5);
    std::fs::remove_file(directory.path().join("program.debug")).expect("the directory is ours");
    assert_eq!(traced("hidden"), 0);
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

#[test]
fn programs_on_overlay_file_systems_and_replaced_ones_have_names() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let overlay = |options: &str, place: &str| {
        format!(
            "exec unshare --mount sh -e -c 'mount -t tmpfs none /mnt; cd /mnt; mkdir lower upper work merged; \
             cp $OLDPWD/program lower; mount -t tmpfs none upper; mkdir upper/files upper/work; \
             mount -t overlay -o lowerdir=lower,upperdir=upper/files,workdir=upper/work{options} none merged; \
             cp lower/program merged/upper; exec merged/{place}'"
        )
    };
    let replaced = "cp /bin/true other; (until [ /proc/$$/exe -ef program ]; do :; done; mv other program) & \
                    exec ./program";
    let deleted = "(until [ /proc/$$/exe -ef program ]; do :; done; rm program) & exec ./program";
    let on_overlay = [overlay("", "program"), overlay("", "upper"), overlay(",xino=on", "program")];
    for script in on_overlay.iter().map(String::as_str).chain([replaced, deleted]) {
        let directory = directory();
        compile_c(directory.path(), SPINS, &["-O1", "-o", "program"]);
        assert_eq!(hottest(directory.path(), script), "hidden", "{script}");
    }
}

#[test]
fn a_bpf_program_that_is_loaded_later_has_its_name() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let (manager, workload) = (Manager::with(Plugins::of(["perf", "ebpf"])), Workload::start());
    let only = format!("--pid {}", workload.id());
    let profile = manager.run("trace_profile", format!("--format json -F 999 {only}")).start();
    workload.calls(1000);
    // It has a BPF program at system calls.
    let calls = manager.run("trace_latency", &only).start();
    for _ in 0..50 {
        workload.calls(20_000);
    }
    // First, because names are looked up when samples are read: later the program is gone.
    let ended = profile.stop();
    calls.stop();
    let is_named = |line: &&&str| line.contains("bpf_prog_") && line.contains(" [bpf]_[k]");
    let named = ended.succeeded().iter().filter(is_named).count();
    let unnamed = ended.succeeded().iter().filter(|line| line.contains("[unknown]_[k]")).count();
    assert!(named > 10 && unnamed * 20 < named, "{named} with names, {unnamed} without");
}

/// Generates a function that spins, calls it for half a second, and lists it: in a perf map (`map`), later and behind others
/// (`late`), in a jitdump file (`dump`), there at another address before (`moved`), or not at all.
const GENERATES: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const unsigned char code[] = {
#if __x86_64__
    0x48, 0x89, 0xf8, 0x48, 0xff, 0xc8, 0x75, 0xfb, 0xc3, // mov %rdi, %rax; 1: dec %rax; jnz 1b; ret
#else
    0x00, 0x04, 0x00, 0xf1, 0xe1, 0xff, 0xff, 0x54, 0xc0, 0x03, 0x5f, 0xd6, // 1: subs x0, x0, #1; b.ne 1b; ret
#endif
};

static void list(unsigned long address) {
    char path[64];
    sprintf(path, "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(path, "a");
    fprintf(map, "%lx %zx generated function\n", address, sizeof code);
    fclose(map);
}

static void dump(unsigned long address, int is_moved) {
    char path[64];
    sprintf(path, "jit-%d.dump", getpid());
    int file = open(path, O_CREAT | O_RDWR, 0600);
    struct { uint32_t magic, version, length, machine, pad, pid; uint64_t time, flags; } header = {0x4A695444, 1, 40};
    write(file, &header, sizeof header);
    unsigned long at = is_moved ? 0x1000 : address;
    struct { uint32_t id, length; uint64_t time; uint32_t pid, tid; uint64_t vma, address, size, index; char name[19]; }
        __attribute__((packed)) load = {0, 75 + sizeof code, 1, 0, 0, at, at, sizeof code, 1, "generated function"};
    write(file, &load, sizeof load);
    write(file, code, sizeof code);
    uint64_t move[] = {64ull << 32 | 1, 2, 0, 0, 0x1000, address, sizeof code, 1};
    if (is_moved) write(file, move, sizeof move);
    mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
}

int main(int count, char **words) {
    char *page = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page + 64, code, sizeof code);
    __builtin___clear_cache(page, page + 4096);
    unsigned long address = (unsigned long) page + 64;
    if (!strcmp(words[1], "map")) list(address);
    if (!strcmp(words[1], "dump")) dump(address, 0);
    if (!strcmp(words[1], "moved")) dump(address, 1);
    struct timespec begin, now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    int is_late = !strcmp(words[1], "late");
    do {
        ((void (*)(long)) (page + 64))(1000000);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        if (is_late && now.tv_sec * 10 + now.tv_nsec / 100000000 > begin.tv_sec * 10 + begin.tv_nsec / 100000000) {
            list(address);
            is_late = 0;
        }
    } while ((now.tv_sec - begin.tv_sec) * 1000000000L + now.tv_nsec - begin.tv_nsec < 500000000L);
}
"#;

/// The innermost function of most samples of the program that generates code, which this script executes in a mount namespace with
/// a `/tmp` of its own.
fn hottest_generated(script: &str) -> String {
    let directory = directory();
    compile_c(directory.path(), GENERATES, &["-O1", "-o", "program"]);
    hottest(directory.path(), &format!("exec unshare --mount sh -e -c 'mount -t tmpfs none /tmp; {script}'"))
}

#[test]
fn generated_functions_have_the_names_that_their_process_lists() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    for script in [
        "exec ./program map",
        "echo 0 1 other >/tmp/perf-$$.map; exec ./program late",
        "exec ./program dump",
        "exec ./program moved",
        "exec unshare --pid --fork ./program map",
        "chown 1234 .; exec setpriv --reuid 1234 ./program map",
    ] {
        assert_eq!(hottest_generated(script), "generated function", "{script}");
    }
}

#[test]
fn perf_maps_that_are_not_those_of_the_process_are_not_used() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let everything = "echo 0 ffffffffffff wrong";
    let usual = format!("{everything} >/tmp/perf-$$.map; exec ./program none");
    assert_eq!(hottest_generated(&usual), "wrong", "a map of the process is used");
    let slow = format!("_Z1fIX{}{}", "nw".repeat(24), "1f".repeat(24));
    let with_slow_name = usual.replace("wrong", &slow);
    assert_eq!(hottest_generated(&with_slow_name), slow, "demangling it would take hours");
    for script in [
        "mkfifo /tmp/perf-$$.map".to_owned(),
        "ln -s /dev/zero /tmp/perf-$$.map".to_owned(),
        "mkdir /tmp/perf-$$.map".to_owned(),
        format!("{everything} >/tmp/perf-$$.map; chown 1234 /tmp/perf-$$.map"),
        format!("{everything} >/tmp/perf-$$.map; touch -d yesterday /tmp/perf-$$.map"),
        "head -c 20000000 /dev/urandom >/tmp/perf-$$.map".to_owned(),
        "truncate -s 2G /tmp/perf-$$.map".to_owned(),
    ] {
        assert_eq!(hottest_generated(&format!("{script}; exec ./program none")), "[unknown]", "{script}");
    }
}
