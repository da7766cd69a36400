//! Libraries that a plugin brings along are found, checked and protected as the plugin itself. Needs no kernel.

use std::fs;
use std::path::Path;

use system_tests::{Answer, Manager, Plugins, is_root, skip};

/// Another user.
const OTHER_USER: u32 = 65534;
const HOOKS: &str = "synthetic_lines\n";

fn me() -> String {
    format!("--pid {} --count 1000000 --every 1", std::process::id())
}

fn check(manager: &Manager) -> Answer {
    manager.bare_call().word("--check").word(manager.plugins().path_of("x.so")).answer()
}

/// Checks that the plugin is refused with these words by every action, and that none of it is loaded.
#[track_caller]
fn refused(plugins: Plugins, mentions: &[&str]) {
    let manager = Manager::with(plugins);
    let mentions = [&["x.so "], mentions].concat();
    for words in [["--get-all"], ["--list"]] {
        let answer = manager.call(words).answer();
        assert!(!answer.stdout.contains("synthetic_lines"), "{answer:#?}");
        let complaint = answer.succeeded_with_messages(1)[0];
        mentions
            .iter()
            .for_each(|mention| assert!(complaint.contains(mention), "no '{mention}' in: {complaint}"));
    }
    manager.run("synthetic_lines", me()).answer().refused(&mentions);
    let checked = check(&manager);
    let failed = checked.stdout.lines().find(|line| line.starts_with("FAILED   library: "));
    let failed = failed.unwrap_or_else(|| panic!("the check passes: {checked:#?}"));
    mentions.iter().for_each(|mention| assert!(failed.contains(mention), "no '{mention}' in: {failed}"));
}

/// Checks that the plugin works, that a session of it runs from private copies, and that `--check`
/// names its libraries.
#[track_caller]
fn works(plugins: Plugins, libraries: &[&str]) {
    let manager = Manager::with(plugins);
    assert_eq!(manager.call(["--get-all"]).answer().succeeded(), HOOKS);
    let session = manager.run("synthetic_lines", me()).start();
    session.wait_for_lines(1);
    let maps = fs::read_to_string(format!("/proc/{}/maps", session.worker())).expect("it is running");
    for library in libraries {
        assert!(!maps.contains(library), "{library} is not a copy: {maps}");
    }
    let copies =
        maps.lines().filter(|line| line.contains("/memfd:trace-hook-plugin") && line.contains("r-xp"));
    assert_eq!(copies.count(), libraries.len() + 1, "{maps}");
    session.stop().succeeded();
    let checked = check(&manager);
    checked.succeeded();
    let library =
        checked.stdout.lines().find(|line| line.starts_with("ok       library: ")).expect("it passes");
    for name in libraries {
        assert!(library.contains(&format!("{}/{name}", manager.plugins().path().display())), "{library}");
    }
}

/// A plugin that needs `libs/libbrought.so`, which has a name in itself.
fn bringing(words: &[&str]) -> Plugins {
    let plugins = Plugins::none().directory("libs").library("libs/libbrought.so", Some("libbrought.so"), &[]);
    plugins.linked("x.so", &[&["-Llibs", "-lbrought"], words].concat())
}

const RUNPATH: &str = "-Wl,--enable-new-dtags";
const RPATH: &str = "-Wl,--disable-new-dtags";

#[test]
fn libraries_beside_a_plugin_are_found_and_copied() {
    for tags in [RUNPATH, RPATH] {
        for path in ["-Wl,-rpath,$ORIGIN/libs", "-Wl,-rpath,${ORIGIN}/libs/../none:$ORIGIN/./libs"] {
            works(bringing(&[tags, path]), &["libs/libbrought.so"]);
        }
    }
}

#[test]
fn libraries_in_an_absolute_directory_are_found_and_copied() {
    let plugins = Plugins::none().directory("libs").library("libs/libbrought.so", Some("libbrought.so"), &[]);
    let path = format!("-Wl,-rpath,{}", plugins.path_of("libs").display());
    works(plugins.linked("x.so", &["-Llibs", "-lbrought", &path]), &["libs/libbrought.so"]);
}

#[test]
fn libraries_of_libraries_are_found() {
    let plugins =
        Plugins::none().directory("libs").library("libs/libinner.so.1", Some("libinner.so.1"), &[]).library(
            "libs/libbrought.so",
            Some("libbrought.so"),
            &["-Wl,--no-as-needed", "libs/libinner.so.1", "-Wl,-rpath,$ORIGIN"],
        );
    let plugins = plugins.linked("x.so", &["libs/libbrought.so", RUNPATH, "-Wl,-rpath,$ORIGIN/libs"]);
    works(plugins, &["libs/libbrought.so", "libs/libinner.so.1"]);
}

#[test]
fn a_relative_search_path_is_refused() {
    for path in ["-Wl,-rpath,libs", "-Wl,-rpath,$ORIGIN/libs:.", "-Wl,-rpath,:$ORIGIN/libs"] {
        refused(bringing(&[path]), &["(RPATH or RUNPATH)", "a relative path", "$ORIGIN"]);
    }
    refused(bringing(&["-Wl,-rpath,/usr/$LIB"]), &["only $ORIGIN at the beginning"]);
}

#[test]
fn a_relative_path_of_a_library_is_refused() {
    let plugins = Plugins::none().directory("libs").library("libs/libbrought.so", None, &[]);
    refused(plugins.linked("x.so", &["libs/libbrought.so"]), &["libs/libbrought.so by a relative path"]);
}

#[test]
fn a_search_path_that_others_can_write_to_is_refused() {
    let in_libs = |path: &str| bringing(&[RUNPATH, &format!("-Wl,-rpath,{path}")]);
    let writable = "can be written to by all users (mode 0777)";
    refused(
        in_libs("$ORIGIN/libs").with_mode("libs", 0o777),
        &["(RPATH or RUNPATH)", writable, "chmod go-w"],
    );
    // Also if nothing is found there yet.
    let plugins = in_libs("$ORIGIN/empty:$ORIGIN/libs").directory("empty").with_mode("empty", 0o777);
    refused(plugins, &["/empty", writable]);
    if !is_root() {
        return skip("only root can give files away");
    }
    let plugins = in_libs("$ORIGIN/libs").owned_by("libs/libbrought.so", OTHER_USER);
    refused(plugins, &["libbrought.so", "belongs to user 65534"]);
    let plugins = in_libs("$ORIGIN/libs").owned_by("libs", OTHER_USER);
    refused(plugins, &["libs", "belongs to user 65534"]);
}

/// In a directory with the sticky bit, such as `/tmp`, users cannot replace what another user has made, but each of them can make what is
/// missing.
#[test]
fn a_search_path_that_others_can_create_is_refused() {
    let in_libs = |path: &str| {
        let plugins = bringing(&[RUNPATH, &format!("-Wl,-rpath,{path}:$ORIGIN/libs")]);
        plugins.directory("shared").directory("shared/own").with_mode("shared", 0o1777)
    };
    let writable = "can be written to by all users (mode 1777)";
    let mentions = ["(RPATH or RUNPATH)", "shared/none does not exist", writable];
    refused(in_libs("$ORIGIN/shared/none"), &mentions);
    refused(in_libs("$ORIGIN/shared/none/deeper"), &mentions);
    refused(in_libs("$ORIGIN/shared/own/../none"), &mentions);
    refused(in_libs("$ORIGIN/link/none").link("link", "shared"), &mentions);
    refused(in_libs("$ORIGIN/dangling").link("dangling", "shared/none"), &mentions);
    let plugins = in_libs("$ORIGIN/dangling");
    let target = plugins.path_of("shared/none");
    refused(plugins.link("dangling", target), &mentions);
    // A library that is missing in it.
    refused(in_libs("$ORIGIN/shared"), &["(RPATH or RUNPATH)", "/shared ", writable]);
    let words = ["-Wl,-rpath,$ORIGIN/../shared/none"];
    let library = in_libs("$ORIGIN/none").library("libs/libbrought.so", Some("libbrought.so"), &words);
    refused(library, &mentions);
    // Missing in what others cannot write to.
    for path in ["$ORIGIN/shared/own", "$ORIGIN/shared/own/none", "$ORIGIN/none/deeper"] {
        works(in_libs(path), &["libs/libbrought.so"]);
    }
    works(in_libs("$ORIGIN/dangling").link("dangling", "shared/own/none"), &["libs/libbrought.so"]);
}

#[test]
fn a_library_by_its_absolute_path_is_checked() {
    let plugins = Plugins::none().directory("libs").library("libs/libbrought.so", None, &[]);
    let path = plugins.path_of("libs/libbrought.so");
    let plugins = plugins.linked("x.so", &[path.to_str().expect("test paths are UTF-8")]);
    let manager = Manager::with(plugins);
    assert_eq!(manager.call(["--get-all"]).answer().succeeded(), HOOKS);
    let session = manager.run("synthetic_lines", me()).start();
    session.wait_for_lines(1);
    session.stop().succeeded();
    check(&manager).succeeded();
    make_writable(&path);
    let complaint = manager.call(["--get-all"]).answer();
    let complaint = complaint.succeeded_with_messages(1)[0];
    assert!(complaint.contains("libbrought.so can be written to by all users"), "{complaint}");
    assert_eq!(manager.call(["--get-all", "--allow-untrusted"]).answer().succeeded(), HOOKS);
}

fn make_writable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("the test owns it");
}

#[test]
fn a_library_without_its_name_is_refused() {
    let plugins = Plugins::none().directory("libs").library("libs/libbrought.so", None, &[]);
    let plugins = plugins.linked("x.so", &["-Llibs", "-lbrought", "-Wl,-rpath,$ORIGIN/libs"]);
    refused(plugins, &["libs/libbrought.so", "(DT_SONAME)", "-Wl,-soname,libbrought.so"]);
}

#[test]
fn a_damaged_library_is_refused() {
    let plugins = bringing(&["-Wl,-rpath,$ORIGIN/libs"]).file("libs/libbrought.so", "text");
    refused(plugins, &["libs/libbrought.so", "not an ELF file"]);
}

/// `$ORIGIN` is the directory of the plugin, also if the library of an attacker lies where the dynamic loader would look: it
/// takes the directory of the descriptor that it loads the plugin by.
#[test]
fn no_library_is_loaded_from_beside_the_descriptor() {
    let elsewhere = Plugins::none().library("libbrought.so", Some("libbrought.so"), &[]);
    let below_root = elsewhere.path().strip_prefix("/").expect("it is absolute");
    let plugins = bringing(&[&format!("-Wl,-rpath,$ORIGIN/../../../../{}", below_root.display())]);
    let depth = plugins.path().components().count() - 1;
    assert!(depth < 4, "from the plugin, the path leads to another place");
    // As for an attack on a plugin that is installed deeper.
    let deep = plugins
        .directory("a")
        .directory("a/b")
        .directory("a/b/c")
        .directory("a/b/c/d")
        .directory("a/b/c/d/e");
    let place = deep.path_of("a/b/c/d/e/x.so");
    fs::rename(deep.path_of("x.so"), &place).expect("the test owns it");
    let manager = Manager::with(deep);
    let answer = manager
        .bare_call()
        .word("--plugins")
        .word(place.parent().expect("a directory"))
        .word("--get-all")
        .answer();
    assert!(
        answer.succeeded_with_messages(1)[0].contains("libbrought.so: cannot open shared object"),
        "{answer:#?}"
    );
}

#[test]
fn library_path_of_the_caller_is_searched() {
    let manager = Manager::with(bringing(&[]));
    let call = || manager.call(["--get-all"]);
    assert!(call().answer().succeeded_with_messages(1)[0].contains("cannot open shared object"));
    let libraries = manager.plugins().path_of("libs");
    assert_eq!(call().variable("LD_LIBRARY_PATH", &libraries).answer().succeeded(), HOOKS);
    let preloaded = libraries.join("libbrought.so");
    assert_eq!(call().variable("LD_PRELOAD", preloaded).answer().succeeded(), HOOKS);
}
