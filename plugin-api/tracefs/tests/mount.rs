//! Finding and mounting the kernel's tracefs.

mod kernel;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;
use tracefs::{Error, Tracefs};

/// Synthetic roots of a sysfs and a procfs.
struct Roots {
    _directory: tempfile::TempDir,
    sysfs: PathBuf,
    procfs: PathBuf,
}

impl Roots {
    fn new() -> Roots {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (sysfs, procfs) = (directory.path().join("sys"), directory.path().join("proc"));
        fs::create_dir_all(sysfs.join("kernel")).expect("sysfs");
        fs::create_dir_all(procfs.join("1")).expect("procfs");
        Roots { _directory: directory, sysfs, procfs }
    }

    fn find(&self) -> tracefs::Result<Tracefs> {
        Tracefs::find(&self.sysfs, &self.procfs)
    }

    fn look(&self) -> tracefs::Result<Option<Tracefs>> {
        Tracefs::look(&self.sysfs, &self.procfs)
    }
}

#[test]
fn all_mount_points_are_searched() {
    let sweeper = need_tracefs!();
    for place in ["sys/kernel/tracing", "sys/kernel/debug/tracing", "proc/1/root/over there"] {
        let roots = Roots::new();
        let table = "1 1 0:1 / /over\\040there rw shared:1 - tracefs none rw\n";
        fs::write(roots.procfs.join("1/mountinfo"), table).expect("mountinfo");
        let place = roots.sysfs.parent().expect("parent").join(place);
        fs::create_dir_all(place.parent().expect("parent")).expect("directories");
        symlink(sweeper.tracefs.root(), &place).expect("symlink");
        assert_eq!(roots.find().expect("tracefs").root(), place);
    }
}

/// Runs `test` in a thread with its own mount namespace. Its mounts are removed with the namespace.
fn in_mount_namespace(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let result = scope
            .spawn(|| {
                unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
                let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).expect("private mounts");
                test();
            })
            .join();
        result.expect("the thread");
    });
}

#[test]
fn unmounted_tracefs_is_mounted() {
    let _sweeper = need_tracefs!();
    in_mount_namespace(|| {
        let roots = Roots::new();
        mount(Some("sysfs"), &roots.sysfs, Some("sysfs"), MsFlags::empty(), None::<&str>).expect("a sysfs");
        for _ in 0..2 {
            assert!(roots.look().expect("it can be mounted").is_none(), "look() must not mount tracefs");
        }
        let found = roots.find().expect("mounted");
        assert!(roots.look().expect("still there").is_some());
        assert_eq!(found.root(), roots.sysfs.join("kernel/tracing"));
        assert!(found.has_event("sched", "sched_switch"));
        assert_eq!(roots.find().expect("still there").root(), found.root());
        drop(found);
        nix::mount::umount(&roots.sysfs.join("kernel/tracing")).expect("unmounted");
        nix::mount::umount(&roots.sysfs).expect("unmounted");
    });
}

#[test]
fn tracefs_is_not_mounted_on_a_kernel_without_it() {
    let _sweeper = need_tracefs!();
    in_mount_namespace(|| {
        let roots = Roots::new();
        mount(Some("sysfs"), &roots.sysfs, Some("sysfs"), MsFlags::empty(), None::<&str>).expect("a sysfs");
        fs::write(roots.procfs.join("filesystems"), "nodev\tsysfs\n\text4\n").expect("filesystems");
        assert!(matches!(roots.look(), Err(Error::NotThere { .. })));
        assert!(matches!(roots.find(), Err(Error::NotThere { .. })));
        nix::mount::umount(&roots.sysfs).expect("unmounted");
    });
}

#[test]
fn missing_permission_is_reported() {
    let _sweeper = need_tracefs!();
    in_mount_namespace(|| {
        let roots = Roots::new();
        mount(Some("sysfs"), &roots.sysfs, Some("sysfs"), MsFlags::empty(), None::<&str>).expect("a sysfs");
        let nobody = Uid::from_raw(65534);
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(roots.sysfs.parent().expect("parent"), permissions).expect("permissions");
        as_user(nobody, || {
            // Not mounted, and the user may not mount it.
            let refused = roots.find();
            assert!(matches!(refused, Err(Error::NoPermission { .. })), "{refused:?}");
            // Mounted, but the user may not read it.
            let refused = Tracefs::find(Path::new("/sys"), &roots.procfs);
            assert!(matches!(refused, Err(Error::NoPermission { .. })), "{refused:?}");
        });
        nix::mount::umount(&roots.sysfs).expect("unmounted");
    });
}

/// Runs `test` as another user. Uses the system call, which changes only this thread; glibc's setresuid changes all threads.
fn as_user(user: Uid, test: impl FnOnce()) {
    let set_effective = |user: Uid| {
        let keep = nix::libc::uid_t::MAX;
        // SAFETY: the system call takes three numbers and accesses no memory.
        let result = unsafe { nix::libc::syscall(nix::libc::SYS_setresuid, keep, user.as_raw(), keep) };
        assert_eq!(result, 0, "setresuid: {}", std::io::Error::last_os_error());
    };
    let before = nix::unistd::geteuid();
    set_effective(user);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
    set_effective(before);
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
