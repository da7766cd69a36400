//! Plugins that were built against another interface or for another machine, and files that are not plugins. Needs no
//! kernel.
//!
//! They are made from a valid plugin by changing bytes of the file.

use std::fs;
use std::path::Path;
use std::process::Command;

use system_tests::{Answer, Manager, Plugins, built};
use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The magic bytes of an abi_stable header. The numbers of its version follow.
const HEADER: &[u8] = b"abi stable library for Rust     ";
const SYMBOL: &[u8] = b"_1as_0lib_1header_0root_bmodule_bloader";
/// The offset of `e_machine` in an ELF header.
const MACHINE: usize = 18;

/// This version with another number in one place: 0 is the major, 1 the minor one. Its length is the same.
fn version_with(place: usize, digit: &str) -> String {
    let mut numbers: Vec<String> = VERSION.split('.').map(str::to_owned).collect();
    numbers[place] = digit.repeat(numbers[place].len());
    numbers.join(".")
}

/// Replaces `old` by `new` everywhere.
#[track_caller]
fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let places = places_of(old, bytes);
    assert!(!places.is_empty() && old.len() == new.len(), "nothing to replace");
    places.iter().for_each(|place| bytes[*place..place + new.len()].copy_from_slice(new));
}

fn places_of(needle: &[u8], bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len() - needle.len()).filter(|at| bytes[*at..].starts_with(needle)).collect()
}

/// Replaces our version by another one everywhere.
fn as_version(bytes: &mut [u8], version: &str) {
    for place in places_of(VERSION.as_bytes(), bytes) {
        // abi_stable gives the types of the standard library this version as well.
        if !bytes[..place].ends_with(b"std;") {
            bytes[place..place + version.len()].copy_from_slice(version.as_bytes());
        }
    }
}

/// Checks that the plugin is refused in one short line with these `mentions`; returns the answer with `-v`.
#[track_caller]
fn refused(plugins: Plugins, mentions: &[&str]) -> Answer {
    let manager = Manager::with(plugins.plugin("synthetic", "good.so"));
    let answer = manager.call(["--get-all"]).answer();
    assert_eq!(answer.stdout, "synthetic_lines\n");
    let complaint = answer.succeeded_with_messages(1)[0];
    for mention in [&["plugin bad: "], mentions].concat() {
        assert!(complaint.contains(mention), "no '{mention}' in: {complaint}");
    }
    assert!(complaint.len() < 300, "{} bytes: {complaint}", complaint.len());
    manager.call(["--get-all", "-v"]).answer()
}

fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Plugins {
    Plugins::none().changed("synthetic", "bad.so", change)
}

#[test]
fn a_plugin_of_a_newer_minor_version_works() {
    let newer = version_with(1, "9");
    let manager = Manager::with(changed(|bytes| as_version(bytes, &newer)));
    assert!(
        manager
            .call(["--list", "--json"])
            .answer()
            .succeeded()
            .contains(&format!("\"api_version\": \"{newer}\""))
    );
    works(manager.run("synthetic_lines", me()));
}

#[test]
fn a_plugin_of_an_older_minor_version_works() {
    let newer = version_with(1, "9");
    let (directory, executable) = newer_manager(&newer);
    let manager = Manager::with(Plugins::of(["synthetic"]));
    let call = || manager.call_as(&executable).word("--plugins").word(manager.plugins().path());
    assert_eq!(call().word("--version").answer().succeeded(), format!("manager {newer}\n"));
    assert_eq!(call().word("--get-all").answer().succeeded(), "synthetic_lines\n");
    works(call().words(["--run", "synthetic_lines", "--args", &me()]));
    drop(directory);
}

fn newer_manager(version: &str) -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let executable = directory.path().join("manager");
    let mut bytes = fs::read(built("manager")).expect("an executable can be read");
    as_version(&mut bytes, version);
    let changed = directory.path().join("changed");
    fs::write(&changed, bytes).expect("our own file can be written");
    // A process that another test forks now inherits a file that this one has open for writing, and then the file
    // cannot be executed (ETXTBSY). So another process writes the copy.
    let copied =
        Command::new("install").arg(&changed).arg(&executable).status().expect("there is an `install`");
    assert!(copied.success(), "the executable cannot be copied");
    (directory, executable)
}

fn me() -> String {
    format!("--pid {}", std::process::id())
}

#[track_caller]
fn works(run: system_tests::Call<'_>) {
    assert_eq!(run.start().stop().succeeded().len(), 10);
}

#[test]
fn a_plugin_of_another_major_version_is_refused() {
    let other = version_with(0, "7");
    let theirs = format!("it was built against trace-hook-api {other}");
    let ours = format!("this manager uses {VERSION}; rebuild it against trace-hook-api {VERSION}");
    let verbose = refused(changed(|bytes| as_version(bytes, &other)), &[&theirs, &ours]);
    assert!(verbose.stderr.lines().count() > 1, "{verbose:#?}");
}

#[test]
fn a_plugin_of_another_abi_stable_is_refused() {
    let other = |bytes: &mut Vec<u8>| {
        let minor = places_of(HEADER, bytes)[0] + HEADER.len() + 4;
        bytes[minor] += 1;
    };
    refused(changed(other), &["it was built with abi_stable 0.12, this manager with 0.11; rebuild it"]);
}

#[test]
fn a_plugin_with_a_different_table_is_refused_with_details_under_v() {
    // A field of a table has another name.
    let verbose = refused(
        changed(|bytes| replace(bytes, b"reset;environment,", b"resat;environment,")),
        &[&format!("its interface is called trace-hook-api {VERSION}, but differs"), "rebuild it"],
    );
    assert!(verbose.stderr.contains("resat") && verbose.stderr.lines().count() > 5, "{verbose:#?}");
}

#[test]
fn a_symbol_without_a_header_is_refused() {
    refused(changed(|bytes| replace(bytes, HEADER, &[b'x'; 32])), &["no header of abi_stable", "rebuild it"]);
}

#[test]
fn a_library_without_the_symbol_is_refused() {
    let without = changed(|bytes| replace(bytes, SYMBOL, &[b'x'; SYMBOL.len()]));
    refused(without, &["is a shared library, but not a plugin", VERSION]);
}

#[test]
fn a_plugin_with_an_undefined_symbol_is_refused() {
    let lacking = changed(|bytes| replace(bytes, b"\0getcwd\0", b"\0getcwx\0"));
    refused(
        lacking,
        &["it cannot be loaded", "bad.so", "undefined symbol: getcwx", "rebuild it for this machine"],
    );
}

#[test]
fn a_plugin_with_a_missing_library_is_refused() {
    let lacking = changed(|bytes| replace(bytes, b"\0libgcc_s.so.1\0", b"\0libgcx_s.so.1\0"));
    refused(lacking, &["it cannot be loaded", "libgcx_s.so.1", "install what it needs"]);
}

#[test]
fn a_plugin_for_a_newer_glibc_is_refused() {
    let newer = changed(|bytes| {
        let versions = places_of(b"\0GLIBC_2.", bytes);
        let at = |place: usize| place + b"\0GLIBC_2.".len();
        let of_two_digits = versions.iter().find(|place| bytes[at(**place) + 2] == 0);
        let number = at(*of_two_digits.expect("a version with two digits is needed"));
        bytes[number..number + 2].copy_from_slice(b"99");
    });
    let remedy = "build it on an older system, or with `cargo zigbuild --target ";
    refused(newer, &["bad.so needs glibc 2.99 (symbol version GLIBC_2.99), but this system has 2.", remedy]);
}

#[test]
fn a_plugin_for_another_c_library_is_refused() {
    let for_musl = changed(|bytes| replace(bytes, b"\0libc.so.6\0", b"\0libc.so\0.\0"));
    refused(for_musl, &["bad.so is built for the C library musl, but this manager uses glibc; build it for"]);
}

#[test]
fn a_plugin_for_a_newer_version_of_another_library_is_refused() {
    let newer = changed(|bytes| replace(bytes, b"\0GCC_3.0\0", b"\0GCC_9.0\0"));
    refused(newer, &["it cannot be loaded", "libgcc_s.so.1", "GCC_9.0", "required by", "bad.so"]);
}

#[test]
fn a_plugin_for_another_machine_is_refused() {
    let (ours, theirs, number) =
        if cfg!(target_arch = "x86_64") { ("x86-64", "aarch64", 183) } else { ("aarch64", "x86-64", 62) };
    let foreign = changed(|bytes| bytes[MACHINE] = number);
    refused(foreign, &[&format!("is built for {theirs}, but this machine is {ours}; rebuild it")]);
    let riscv = changed(|bytes| bytes[MACHINE] = 243);
    refused(riscv, &[&format!("is built for ELF machine 243, but this machine is {ours}")]);
    let small = changed(|bytes| bytes[4] = 1);
    refused(small, &[&format!("is built for a 32-bit machine, but this machine is {ours}")]);
}

#[test]
fn a_file_that_is_not_a_shared_library_is_refused() {
    refused(Plugins::none().file("bad.so", "#!/bin/sh\n"), &["is not a shared library (not an ELF file)"]);
    // ET_EXEC: an executable that is not relocatable.
    refused(changed(|bytes| bytes[16] = 2), &["is an ELF file, but not a shared library", "cdylib"]);
    refused(Plugins::none().file("bad.so", an_executable()), &["is a shared library, but not a plugin"]);
}

fn an_executable() -> Vec<u8> {
    fs::read(Path::new("/proc/self/exe")).expect("this test can be read")
}

/// Wherever it is truncated, there is one line and no crashed process.
#[test]
fn a_truncated_plugin_is_refused_before_it_is_loaded() {
    let whole = fs::read(built("libsynthetic.so")).expect("a plugin can be read").len();
    for part in [64, whole / 100, whole / 16, whole / 4] {
        let verbose = refused(changed(|bytes| bytes.truncate(part)), &["bad.so is "]);
        assert!(!verbose.stderr.contains("killed"), "{verbose:#?}");
    }
}
