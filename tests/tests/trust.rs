//! Plugins that another user could have changed are refused. Needs no kernel; most tests need root to change owners.

use std::fs;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use system_tests::{Answer, Fuse, Manager, Plugins, built, is_root, skip};

/// Another user.
const OTHER_USER: u32 = 65534;

/// Checks that the plugins are refused with one line that names the path element, the problem and the remedy, and that
/// they are found with `--allow-untrusted`.
#[track_caller]
fn refused(plugins: Plugins, element: &Path, mentions: &[&str]) {
    let manager = Manager::with(plugins);
    let answer = manager.call(["--get-all"]).answer();
    assert_eq!(answer.stdout, "", "{answer:#?}");
    let complaint = answer.succeeded_with_messages(1)[0];
    let element = element.to_str().expect("test paths are UTF-8");
    for mention in
        [&["is not trusted", element, "change that (", "or give --allow-untrusted for development"], mentions]
            .concat()
    {
        assert!(complaint.contains(mention), "no '{mention}' in: {complaint}");
    }
    assert_eq!(manager.call(["--get-all", "--allow-untrusted"]).answer().succeeded(), "synthetic_lines\n");
}

/// A plugins directory with `x.so` in it.
fn plugins() -> Plugins {
    Plugins::none().plugin("synthetic", "x.so")
}

fn lacks_root() -> bool {
    !is_root() && {
        skip("only root can give files away");
        true
    }
}

#[test]
fn a_plugin_of_another_user_is_refused() {
    if lacks_root() {
        return;
    }
    let plugins = plugins().owned_by("x.so", OTHER_USER);
    let element = plugins.path_of("x.so");
    refused(plugins, &element, &["belongs to user 65534", "chown -h root"]);
}

#[test]
fn a_plugin_that_others_can_write_to_is_refused() {
    for (mode, whom) in
        [(0o775, "its group (mode 0775)"), (0o757, "all users (mode 0757)"), (0o722, "all users")]
    {
        let plugins = plugins().with_mode("x.so", mode);
        let element = plugins.path_of("x.so");
        refused(plugins, &element, &["can be written to by", whom, "chmod go-w"]);
    }
}

#[test]
fn a_plugins_directory_that_others_can_write_to_is_refused() {
    for mode in [0o775, 0o757, 0o777] {
        let plugins = plugins().with_mode(".", mode);
        let element = plugins.path().to_owned();
        refused(plugins, &element, &["can be written to by", "chmod go-w"]);
    }
}

#[test]
fn a_plugins_directory_of_another_user_is_refused() {
    if lacks_root() {
        return;
    }
    let plugins = plugins().owned_by(".", OTHER_USER);
    let element = plugins.path().to_owned();
    refused(plugins, &element, &["belongs to user 65534"]);
}

#[test]
fn a_parent_directory_that_others_can_write_to_is_refused() {
    let top = Plugins::none().directory("open").with_mode("open", 0o777).directory("open/plugins");
    let inner = top.path_of("open/plugins");
    let top = top.plugin("synthetic", "open/plugins/x.so");
    let manager = Manager::with(Plugins::none());
    let call = |more: &[&str]| manager.bare_call().word("--plugins").word(&inner).words(more).answer();
    let answer = call(&["--get-all"]);
    assert_eq!(answer.stdout, "");
    let complaint = answer.succeeded_with_messages(1)[0];
    assert!(
        complaint.contains(&format!("{} can be written to by all users", top.path_of("open").display())),
        "{complaint}"
    );
    assert_eq!(call(&["--get-all", "--allow-untrusted"]).succeeded(), "synthetic_lines\n");
}

#[test]
fn our_files_in_a_sticky_directory_are_trusted() {
    let manager = Manager::with(plugins().with_mode(".", 0o1777));
    assert_eq!(manager.call(["--get-all"]).answer().succeeded(), "synthetic_lines\n");
}

#[test]
fn files_of_another_user_in_a_sticky_directory_are_refused() {
    if lacks_root() {
        return;
    }
    let plugins = plugins().with_mode(".", 0o1777).owned_by("x.so", OTHER_USER);
    let element = plugins.path_of("x.so");
    refused(plugins, &element, &["belongs to user 65534"]);
}

#[test]
fn our_link_to_our_file_is_followed() {
    let real = plugins();
    for target in [real.path_of("x.so"), PathBuf::from("sub/../sub/x.so")] {
        let links =
            Plugins::none().directory("sub").plugin("synthetic", "sub/x.so").link("linked.so", target);
        let manager = Manager::with(links.with_mode(".", 0o1777));
        assert_eq!(manager.call(["--get-all"]).answer().succeeded(), "synthetic_lines\n");
    }
}

#[test]
fn a_link_of_another_user_is_refused() {
    if lacks_root() {
        return;
    }
    let real = plugins();
    let links = Plugins::none().link("x.so", real.path_of("x.so")).owned_by("x.so", OTHER_USER);
    let element = links.path_of("x.so");
    refused(links, &element, &["the link ", "belongs to user 65534", "chown -h root"]);
}

#[test]
fn a_link_into_a_directory_that_others_can_write_to_is_refused() {
    let real = plugins().with_mode(".", 0o777);
    let links = Plugins::none().link("x.so", real.path_of("x.so"));
    refused(links, real.path(), &["can be written to by all users"]);
}

#[test]
fn a_link_to_the_plugins_directory_is_checked() {
    if lacks_root() {
        return;
    }
    let real = plugins();
    let links = Plugins::none().link("plugins", real.path()).owned_by("plugins", OTHER_USER);
    let manager = Manager::with(Plugins::none());
    let call = manager.bare_call().word("--plugins").word(links.path_of("plugins")).word("--get-all");
    let answer = call.answer();
    assert_eq!(answer.stdout, "");
    assert!(answer.succeeded_with_messages(1)[0].contains("the link "), "{answer:#?}");
}

#[test]
fn every_action_checks_trust_unless_allow_untrusted_is_given() {
    let manager = Manager::with(plugins().with_mode("x.so", 0o777));
    let me = format!("--pid {}", std::process::id());
    manager.call(["--describe", "synthetic_lines"]).answer().refused(&["synthetic_lines", "not trusted"]);
    manager.run("synthetic_lines", &me).answer().refused(&["synthetic_lines", "not trusted"]);
    assert_eq!(manager.call(["--list"]).answer().succeeded_with_messages(1).len(), 1);

    let trusting = |words: &[&str]| manager.call([&["--allow-untrusted"], words].concat());
    trusting(&["--describe", "synthetic_lines"]).answer().succeeded();
    assert!(trusting(&["--list"]).answer().succeeded().contains("synthetic_lines"));
    let session = trusting(&["--run", "synthetic_lines", "--args", &me]).start();
    assert_eq!(session.stop().succeeded().len(), 10);
}

#[test]
fn allow_untrusted_allows_nothing_else() {
    let plugins = Plugins::none().file("text.so", "text").fifo("pipe.so").directory("directory.so");
    let answer = Manager::with(plugins).call(["--get-all", "--allow-untrusted"]).answer();
    let complaints = answer.succeeded_with_messages(3);
    for (complaint, problem) in
        complaints.iter().zip(["is not a regular file", "is not a regular file", "is not a shared"])
    {
        assert!(complaint.contains(problem), "{complaint}");
    }
}

#[test]
fn the_caller_and_root_are_trusted() {
    if lacks_root() {
        return;
    }
    let manager = Manager::for_everyone(
        plugins().plugin("duplicate_name", "y.so").owned_by("y.so", OTHER_USER).owned_by("x.so", 1),
    );
    let answer = manager.call(["--get-all"]).as_nobody().answer();
    assert_eq!(answer.stdout, "synthetic_lines\n");
    let complaint = answer.succeeded_with_messages(1)[0];
    assert!(complaint.contains("x.so belongs to user 1;"), "{complaint}");
}

#[test]
fn a_fuse_file_system_is_refused_whatever_it_says_about_owners() {
    if lacks_root() {
        return;
    }
    let plugins = Plugins::none().directory("theirs");
    let point = plugins.path_of("theirs");
    let library = fs::read(built("libsynthetic.so")).expect("a plugin can be read");
    let Some(_mounted) = Fuse::mount(&point, "x.so", library) else { return skip("there is no FUSE") };
    let manager = Manager::with(plugins);
    let call = |word: &str| manager.bare_call().word("--plugins").word(&point).word(word);
    let answer = call("--get-all").answer();
    assert_eq!(answer.stdout, "");
    let complaint = answer.succeeded_with_messages(1)[0];
    assert!(complaint.contains("is on a file system of type fuse.test"), "{complaint}");
    assert_eq!(call("--get-all").word("--allow-untrusted").answer().succeeded(), "synthetic_lines\n");
    manager
        .call(["--clear"])
        .variable("TRACER_RUN_PATH", &point)
        .answer()
        .failed(&["fuse.test", "TRACER_RUN_PATH"]);
}

/// Checks that listing, running and checking the plugin fail with these words.
#[track_caller]
fn fails_everywhere(
    prepare: impl for<'a> Fn(system_tests::Call<'a>) -> system_tests::Call<'a>,
    manager: &Manager,
    mentions: &[&str],
) {
    let mentioned =
        |text: &str| mentions.iter().for_each(|word| assert!(text.contains(word), "no '{word}' in: {text}"));
    let list = |word| -> Answer { prepare(manager.call([word])).answer() };
    for answer in [list("--get-all"), list("--list")] {
        assert!(!answer.stdout.contains("synthetic_lines"), "{answer:#?}");
        mentioned(answer.succeeded_with_messages(1)[0]);
    }
    prepare(manager.run("synthetic_lines", "--pid 1")).answer().refused(mentions);
    let checked =
        prepare(manager.bare_call().word("--check").word(manager.plugins().path_of("x.so"))).answer();
    assert_eq!(checked.status.code(), Some(1), "{checked:#?}");
    mentioned(&checked.stdout);
}

#[test]
fn a_plugin_that_cannot_be_read_without_privileges_is_refused_by_every_action() {
    for mode in [0o000, 0o200] {
        let manager = Manager::with(plugins().with_mode("x.so", mode));
        fails_everywhere(
            |call| call,
            &manager,
            &["x.so cannot be read", &format!("its mode is {mode:04o}"), "chmod a+r"],
        );
    }
}

#[test]
fn noexec_is_reported_by_every_action() {
    if lacks_root() {
        return;
    }
    let manager = Manager::with(plugins());
    let path = manager.plugins().path().display().to_string();
    let script = format!(r#"mount --bind {path} {path}; mount -o remount,bind,noexec {path}; exec "$@""#);
    fails_everywhere(
        |call| call.in_mount_namespace(&script),
        &manager,
        &["mounted with noexec", "mount it with exec"],
    );
}

/// Another user repeatedly exchanges a directory of the path for their own: their plugin is refused, or ours is loaded.
#[test]
fn the_checked_file_is_the_loaded_file() {
    if lacks_root() {
        return;
    }
    let ours = Plugins::none().directory("now").plugin("synthetic", "now/x.so");
    let ours = ours.directory("theirs").plugin("failing", "theirs/x.so").owned_by("theirs", OTHER_USER);
    let manager = Manager::with(Plugins::none());
    let (way, theirs) = (ours.path_of("now"), ours.path_of("theirs"));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                swap(&way, &theirs);
            }
        });
        let (mut loaded, mut refused) = (0, 0);
        for _ in 0..300 {
            let answer = manager.bare_call().word("--plugins").word(&way).word("--get-all").answer();
            match answer.stdout.as_str() {
                "synthetic_lines\n" => loaded += 1,
                other => {
                    assert_eq!(other, "", "another user's plugin was loaded: {answer:#?}");
                    assert!(answer.succeeded_with_messages(1)[0].contains("is not trusted"), "{answer:#?}");
                    refused += 1;
                }
            }
        }
        over.store(true, Ordering::Relaxed);
        assert!(loaded > 0 && refused > 0, "nothing was swapped: {loaded} loaded, {refused} refused");
    });
}

/// Both names exist at all times (`RENAME_EXCHANGE` of rename(2)).
fn swap(one: &Path, other: &Path) {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE)
        .expect("two directories can be swapped");
}

/// The same with a link that is replaced.
#[test]
fn a_swapped_link_cannot_redirect_the_load() {
    if lacks_root() {
        return;
    }
    let ours = Plugins::none().directory("good").plugin("synthetic", "good/x.so");
    let ours = ours.directory("bad").plugin("failing", "bad/x.so").owned_by("bad/x.so", OTHER_USER);
    let manager = Manager::with(Plugins::none());
    let way = ours.path_of("way");
    let over = AtomicBool::new(false);
    point(&way, Path::new("good"), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for target in ["good", "bad"].iter().cycle() {
                point(&way, Path::new(target), 0);
                point(&way, Path::new(target), OTHER_USER);
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..300 {
            let answer = manager.bare_call().word("--plugins").word(&way).word("--get-all").answer();
            if answer.stdout != "synthetic_lines\n" {
                assert_eq!(answer.stdout, "", "another user's plugin was loaded: {answer:#?}");
                assert!(answer.succeeded_with_messages(1)[0].contains("is not trusted"), "{answer:#?}");
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}

/// Replaces `link` atomically by a link to `target` that belongs to this user.
fn point(link: &Path, target: &Path, owner: u32) {
    let new = link.with_extension("new");
    symlink(target, &new).expect("a link can be made");
    lchown(&new, Some(owner), Some(owner)).expect("root can change the owner");
    fs::rename(&new, link).expect("a link can be replaced");
}
