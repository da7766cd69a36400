//! Finding tracefs, and mounting it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{FsType, SYSFS_MAGIC, TRACEFS_MAGIC, statfs};
use nix::unistd::{AccessFlags, faccessat};

use crate::busy::BUSY_LIMIT;
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::mountinfo::mounts;

/// The kernel's tracefs, opened. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tracefs {
    pub(crate) dir: Arc<Dir>,
    patience: u32,
}

impl Tracefs {
    /// Multiplies the time limits, for a machine that is slow.
    #[must_use]
    pub fn with_patience(self, factor: u32) -> Tracefs {
        Tracefs { patience: factor, ..self }
    }

    /// When to give up what other processes hinder.
    pub(crate) fn busy_deadline(&self) -> Instant {
        Instant::now() + BUSY_LIMIT.saturating_mul(self.patience)
    }

    /// Finds tracefs in `sysfs/kernel/tracing`, in `sysfs/kernel/debug/tracing`, or where `procfs/1/mountinfo` says that
    /// process 1 has it mounted. If it is not mounted, it is mounted on `sysfs/kernel/tracing`, as libtracefs does.
    ///
    /// # Errors
    /// [`Error::NotThere`], [`Error::NoPermission`] (only root may access tracefs, unless it
    /// is mounted with other permissions), [`Error::OutOfReach`], [`Error::Mount`].
    pub fn find(sysfs: &Path, procfs: &Path) -> Result<Tracefs> {
        if let Some(found) = Tracefs::look(sysfs, procfs)? {
            return Ok(found);
        }
        let point = mount_point(sysfs);
        mount_on(&point)?;
        first_open(std::slice::from_ref(&point))?.ok_or(Error::NotThere { looked_at: vec![point] })
    }

    /// Finds tracefs in the same places, but does not mount it. `None`: it is not mounted, but [`find`](Self::find) can mount
    /// it with CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// [`Error::NotThere`], [`Error::NoPermission`], [`Error::OutOfReach`].
    pub fn look(sysfs: &Path, procfs: &Path) -> Result<Option<Tracefs>> {
        let in_sysfs = vec![mount_point(sysfs), sysfs.join("kernel/debug/tracing")];
        if let Some(found) = first_open(&in_sysfs)? {
            return Ok(Some(found));
        }
        let elsewhere = mounted_for_process_1(procfs);
        // If it is inaccessible there, it may still be possible to mount it.
        let out_of_reach = match first_open(&elsewhere) {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => None,
            Err(Error::NoPermission { path, source }) => Some(Error::OutOfReach { path, source }),
            Err(error) => Some(error),
        };
        if is_of_type(&in_sysfs[0], SYSFS_MAGIC) && is_known_to_kernel(procfs) {
            return Ok(None);
        }
        Err(out_of_reach.unwrap_or(Error::NotThere { looked_at: [in_sysfs, elsewhere].concat() }))
    }

    /// Checks that instances can be created and used, without creating one, which takes the kernel 30 ms and more.
    ///
    /// # Errors
    /// [`Error::NoPermission`]: not root, a read-only mount, or a kernel in lockdown mode "confidentiality".
    pub fn check_usable(&self) -> Result<()> {
        let instances = self.root().join("instances");
        // With the effective ids, which the kernel checks later, and not with the real ones (access(2)).
        faccessat(AT_FDCWD, &instances, AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS)
            .map_err(|errno| Error::NoPermission { path: instances, source: errno.into() })?;
        self.dir.read("current_tracer").map(drop).map_err(no_permission)
    }

    /// The path to the mount point of tracefs, valid for this process.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }
}

/// The kernel's mount point for tracefs.
fn mount_point(sysfs: &Path) -> PathBuf {
    sysfs.join("kernel/tracing")
}

/// Whether this kernel has tracefs (proc_filesystems(5)). If that cannot be read, mounting is tried.
fn is_known_to_kernel(procfs: &Path) -> bool {
    let known = fs::read_to_string(procfs.join("filesystems"));
    known.map_or(true, |known| known.split_whitespace().any(|name| name == "tracefs"))
}

/// The first accessible tracefs. A place without permission is an error only if no other place is accessible.
fn first_open(places: &[PathBuf]) -> Result<Option<Tracefs>> {
    let mut forbidden = None;
    for place in places {
        match statfs(place) {
            Ok(found) if found.filesystem_type() == TRACEFS_MAGIC => match Dir::open(place) {
                Ok(dir) => return Ok(Some(Tracefs { dir: Arc::new(dir), patience: 1 })),
                Err(error) => forbidden = forbidden.or(Some(error)),
            },
            Err(errno @ (Errno::EACCES | Errno::EPERM)) => {
                forbidden = forbidden.or(Some(Error::io("examine", place, errno)));
            }
            _ => {}
        }
    }
    forbidden.map_or(Ok(None), |error| Err(no_permission(error)))
}

fn no_permission(error: Error) -> Error {
    match error {
        Error::Io { path, source, .. }
            if matches!(source.raw_os_error(), Some(nix::libc::EACCES | nix::libc::EPERM)) =>
        {
            Error::NoPermission { path, source }
        }
        other => other,
    }
}

/// All mounts of tracefs in the mount table of process 1, each with two paths: the table has the paths of process 1, which may
/// be in another mount namespace or root directory.
fn mounted_for_process_1(procfs: &Path) -> Vec<PathBuf> {
    let Ok(table) = fs::read(procfs.join("1/mountinfo")) else {
        return Vec::new();
    };
    let seen_by_1: Vec<PathBuf> = mounts(&table)
        .filter(|mount| mount.root == Path::new("/"))
        .filter_map(|mount| match mount.kind.as_slice() {
            b"tracefs" => Some(mount.point),
            b"debugfs" => Some(mount.point.join("tracing")),
            _ => None,
        })
        .collect();
    seen_by_1.into_iter().flat_map(|point| [through_root_of_1(procfs, &point), point]).collect()
}

fn through_root_of_1(procfs: &Path, point: &Path) -> PathBuf {
    procfs.join("1/root").join(point.strip_prefix("/").unwrap_or(point))
}

fn is_of_type(path: &Path, kind: FsType) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == kind)
}

fn mount_on(point: &Path) -> Result<()> {
    log::debug!("mounting tracefs on {}", point.display());
    match mount(Some("tracefs"), point, Some("tracefs"), MsFlags::empty(), None::<&str>) {
        Ok(()) => Ok(()),
        // Mounted by another process in the meantime.
        Err(Errno::EBUSY) => Ok(()),
        Err(errno @ (Errno::EACCES | Errno::EPERM)) => {
            Err(Error::NoPermission { path: point.to_path_buf(), source: errno.into() })
        }
        Err(errno) => Err(Error::Mount { path: point.to_path_buf(), source: errno.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A synthetic sysfs and procfs.
    struct Roots {
        _keeper: tempfile::TempDir,
        sysfs: PathBuf,
        procfs: PathBuf,
    }

    impl Roots {
        fn new() -> Roots {
            let keeper = tempfile::tempdir().expect("a temporary directory");
            let (sysfs, procfs) = (keeper.path().join("sys"), keeper.path().join("proc"));
            fs::create_dir_all(sysfs.join("kernel")).expect("sysfs");
            fs::create_dir_all(procfs.join("1")).expect("procfs");
            Roots { _keeper: keeper, sysfs, procfs }
        }

        fn mountinfo(&self, text: &str) {
            fs::write(self.procfs.join("1/mountinfo"), text).expect("mountinfo");
        }
    }

    #[test]
    fn missing_tracefs_error_names_every_searched_place() {
        let roots = Roots::new();
        roots.mountinfo("1 1 0:1 / /some\\040where rw - tracefs none rw\n");
        let Err(Error::NotThere { looked_at }) = Tracefs::find(&roots.sysfs, &roots.procfs) else {
            panic!("found tracefs where there is none")
        };
        let expected = [
            roots.sysfs.join("kernel/tracing"),
            roots.sysfs.join("kernel/debug/tracing"),
            roots.procfs.join("1/root/some where"),
            PathBuf::from("/some where"),
        ];
        assert_eq!(looked_at, expected);
    }

    #[test]
    fn tracefs_is_not_mounted_on_a_plain_directory() {
        let roots = Roots::new();
        let point = roots.sysfs.join("kernel/tracing");
        fs::create_dir(&point).expect("mount point");
        assert!(matches!(Tracefs::find(&roots.sysfs, &roots.procfs), Err(Error::NotThere { .. })));
        assert!(!is_of_type(&point, TRACEFS_MAGIC));
    }

    #[test]
    fn bind_mounts_of_parts_of_tracefs_are_ignored() {
        let roots = Roots::new();
        roots.mountinfo("1 1 0:1 /instances/a /part rw - tracefs none rw\n");
        assert!(mounted_for_process_1(&roots.procfs).is_empty());
    }

    #[test]
    fn tracefs_is_found_in_debugfs() {
        let roots = Roots::new();
        roots.mountinfo("1 1 0:1 / /debug rw - debugfs none rw\n");
        assert_eq!(mounted_for_process_1(&roots.procfs)[0], roots.procfs.join("1/root/debug/tracing"));
    }
}
