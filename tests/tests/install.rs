//! `manager install DIR` makes an installation that works, is trusted, and can be replaced while it is used.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use system_tests::{Answer, Manager, Plugins, is_root, skip};
use tempfile::TempDir;

/// A directory that only its owner can write to.
fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a directory can be made");
    set_mode(place.path(), 0o755);
    place
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the test owns it");
}

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it exists").mode() & 0o7777
}

fn install(manager: &Manager, directory: &Path) -> Answer {
    let plugins = manager.plugins().path();
    manager.bare_call().word("install").word(directory).word("--plugins").word(plugins).answer()
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it exists").flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into()).collect();
    names.sort();
    names
}

/// Checks that the manager there works as container-tracer calls it, and trusts its plugins.
#[track_caller]
fn assert_works(manager: &Manager, directory: &Path, hooks: &str) {
    let answer = manager.call_as("./manager.bin").word("--get-all").under([
        "sh",
        "-c",
        r#"cd "$0" && exec "$@""#,
        directory.to_str().expect("it is text"),
    ]);
    assert_eq!(answer.answer().succeeded(), hooks);
}

#[test]
fn an_installation_works_whatever_the_umask() {
    let (manager, place) = (Manager::with(Plugins::of(["synthetic", "unavailable"])), place());
    let directory = place.path().join("trace-hooks/kernel");
    let plugins = manager.plugins().path().to_str().expect("it is text").to_owned();
    for umask in ["0", "077"] {
        let script = format!(r#"umask {umask}; exec "$@""#);
        let call = manager.bare_call().word("install").word(&directory).words(["--plugins", &plugins]);
        call.under(["sh", "-c", &script, "sh"]).answer().succeeded_silently();
        assert_eq!(names_in(&directory), ["manager", "manager.bin", "plugins"]);
        assert_eq!(names_in(&directory.join("plugins")), ["libsynthetic.so", "libunavailable.so"]);
        assert_eq!(fs::read_link(directory.join("manager.bin")).expect("a link"), PathBuf::from("manager"));
        for file in ["", "manager", "plugins", "plugins/libsynthetic.so"] {
            assert_eq!(mode_of(&directory.join(file)), 0o755, "{file}");
        }
    }
    let answer = manager.call_as(directory.join("manager")).word("--get-all").answer();
    assert_eq!(answer.succeeded_with_messages(1).len(), 1, "the hook that cannot run here");
    assert_eq!(answer.stdout, "synthetic_lines\n");
}

#[test]
fn an_older_version_is_replaced_and_other_files_are_kept() {
    let place = place();
    let first = Manager::with(Plugins::none().plugin("duplicate_name", "lines.so"));
    let second = Manager::with(Plugins::none().plugin("synthetic", "lines.so"));
    install(&first, place.path()).succeeded_silently();
    fs::write(place.path().join("plugins/README"), "of the administrator").expect("the test owns it");
    let inode = |file: &str| place.path().join(file).metadata().expect("it exists").ino();
    let (manager, plugin) = (inode("manager"), inode("plugins/lines.so"));
    // Left by an installation that was killed.
    fs::write(place.path().join(".manager.new"), "half").expect("the test owns it");
    set_mode(place.path(), 0o777);
    install(&second, place.path()).succeeded_silently();
    assert!(manager != inode("manager") && plugin != inode("plugins/lines.so"), "changed under their users");
    assert_eq!(names_in(place.path()), ["manager", "manager.bin", "plugins"]);
    assert_eq!(names_in(&place.path().join("plugins")), ["README", "lines.so"]);
    assert_works(&second, place.path(), "synthetic_lines\n");
}

#[test]
fn it_can_install_itself_in_its_own_place() {
    let (manager, place) = (Manager::with(Plugins::of(["synthetic"])), place());
    install(&manager, place.path()).succeeded_silently();
    manager
        .call_as(place.path().join("manager"))
        .word("install")
        .word(place.path())
        .answer()
        .succeeded_silently();
    assert_works(&manager, place.path(), "synthetic_lines\n");
}

#[test]
fn a_shared_directory_above_gets_the_sticky_bit() {
    let (manager, place) = (Manager::with(Plugins::of(["synthetic"])), place());
    // As an `emptyDir` of Kubernetes.
    set_mode(place.path(), 0o777);
    let answer = install(&manager, &place.path().join("kernel"));
    let [remark] = answer.succeeded_with_messages(1)[..] else { unreachable!("one message") };
    assert!(remark.contains(place.path().to_str().expect("it is text")), "{remark}");
    assert_eq!(mode_of(place.path()), 0o1777);
    assert_works(&manager, &place.path().join("kernel"), "synthetic_lines\n");
}

#[test]
fn an_installation_that_another_user_can_change_is_an_error() {
    if !is_root() {
        return skip("it needs root");
    }
    let (manager, place) = (Manager::with(Plugins::of(["synthetic"])), place());
    chown(place.path(), Some(12345), None).expect("root can change the owner");
    let answer = install(&manager, &place.path().join("kernel"));
    answer.failed(&["is not trusted", "belongs to user 12345", "chown"]);
}

#[test]
fn nothing_is_installed_if_a_plugin_cannot_be_read() {
    let place = place();
    let directory = place.path().join("kernel");
    install(&Manager::with(Plugins::none()), &directory).failed(&["contains no plugin"]);
    let writable = Plugins::of(["synthetic"]).with_mode("libsynthetic.so", 0o777);
    let manager = Manager::with(writable);
    install(&manager, &directory).failed(&["is not trusted", "libsynthetic.so"]);
    assert!(!directory.exists());
    let plugins = manager.plugins().path().to_str().expect("it is text");
    let call = manager.bare_call().word("install").words(["--allow-untrusted", "--plugins", plugins]);
    call.word(&directory).answer().succeeded_silently();
    assert_works(&manager, &directory, "synthetic_lines\n");
}

#[test]
fn wrong_words_are_usage_errors() {
    let manager = Manager::with(Plugins::none());
    let refused =
        |words: &[&str], mentions: &[&str]| manager.bare_call().words(words).answer().refused(mentions);
    refused(&["install"], &["DIR"]);
    refused(&["install", "/tmp/x", "/tmp/y"], &["/tmp/y"]);
    refused(&["install", "/tmp/x", "--run"], &["--run"]);
    refused(&["-v", "install"], &["DIR"]);
    refused(&["instal", "/tmp/x"], &["instal"]);
    let help = manager.bare_call().words(["install", "--help"]).answer();
    assert!(help.succeeded().contains("DIR") && help.stdout.contains("--plugins"), "{help:#?}");
}
