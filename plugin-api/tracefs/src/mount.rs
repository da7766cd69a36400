//! Where tracefs is, and mounting it where it is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{FsType, SYSFS_MAGIC, TRACEFS_MAGIC, statfs};
use nix::unistd::{AccessFlags, faccessat};

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::mountinfo::mounts;

/// The kernel's tracefs, found and open to us. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tracefs {
    pub(crate) dir: Arc<Dir>,
}

impl Tracefs {
    /// Finds tracefs: in `sysfs/kernel/tracing`, in `sysfs/kernel/debug/tracing`, then wherever
    /// process 1 has it mounted according to `procfs/1/mountinfo`. Where it is mounted nowhere, it
    /// is mounted on `sysfs/kernel/tracing`, as libtracefs does.
    ///
    /// # Errors
    /// [`Error::NotThere`], [`Error::NoPermission`] (tracefs lets only root look inside, unless
    /// mounted otherwise), [`Error::OutOfReach`], [`Error::Mount`].
    pub fn find(sysfs: &Path, procfs: &Path) -> Result<Tracefs> {
        if let Some(found) = Tracefs::look(sysfs, procfs)? {
            return Ok(found);
        }
        let point = mount_point(sysfs);
        mount_on(&point)?;
        first_open(std::slice::from_ref(&point))?.ok_or(Error::NotThere { looked_at: vec![point] })
    }

    /// Finds tracefs in the same places, and changes nothing. `None`: it is mounted nowhere, but
    /// [`find`](Self::find) can mount it, given CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// [`Error::NotThere`], [`Error::NoPermission`], [`Error::OutOfReach`].
    pub fn look(sysfs: &Path, procfs: &Path) -> Result<Option<Tracefs>> {
        let in_sysfs = vec![mount_point(sysfs), sysfs.join("kernel/debug/tracing")];
        if let Some(found) = first_open(&in_sysfs)? {
            return Ok(Some(found));
        }
        let elsewhere = mounted_for_process_1(procfs);
        // One that is out of reach there need not be the only one to be had.
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

    /// Checks that instances can be made and used here, without making one: that takes the kernel 30 ms and more.
    ///
    /// # Errors
    /// [`Error::NoPermission`]: not root, a read-only mount, or a kernel in lockdown mode "confidentiality".
    pub fn check_usable(&self) -> Result<()> {
        let instances = self.root().join("instances");
        // As whom the kernel will take us then, and not as who called us (access(2)).
        faccessat(AT_FDCWD, &instances, AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS)
            .map_err(|errno| Error::NoPermission { path: instances, source: errno.into() })?;
        self.dir.read("current_tracer").map(drop).map_err(no_permission)
    }

    /// The directory tracefs is mounted on, as this process reaches it.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }
}

/// Where the kernel wants tracefs to be mounted.
fn mount_point(sysfs: &Path) -> PathBuf {
    sysfs.join("kernel/tracing")
}

/// Whether this kernel has tracefs at all (proc_filesystems(5)). Where that cannot be read, mounting will tell.
fn is_known_to_kernel(procfs: &Path) -> bool {
    let known = fs::read_to_string(procfs.join("filesystems"));
    known.map_or(true, |known| known.split_whitespace().any(|name| name == "tracefs"))
}

/// The first place that is a tracefs we can look into. One that we may not look into is an error
/// only if no other place will do.
fn first_open(places: &[PathBuf]) -> Result<Option<Tracefs>> {
    let mut forbidden = None;
    for place in places {
        match statfs(place) {
            Ok(found) if found.filesystem_type() == TRACEFS_MAGIC => match Dir::open(place) {
                Ok(dir) => return Ok(Some(Tracefs { dir: Arc::new(dir) })),
                Err(error) => forbidden = forbidden.or(Some(error)),
            },
            Err(errno @ (Errno::EACCES | Errno::EPERM)) => {
                forbidden = forbidden.or(Some(Error::io("look at", place, errno)));
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

/// Every mount of tracefs in the mount table of process 1, by the ways it can be reached: the table
/// tells paths as process 1 sees them, which need not be our view of the file system.
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
        // Somebody else mounted it since we looked.
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

    /// Made-up roots of a sysfs and a procfs.
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
    fn nothing_at_all_names_every_place_looked_at() {
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
    fn a_plain_directory_is_never_mounted_on() {
        let roots = Roots::new();
        let point = roots.sysfs.join("kernel/tracing");
        fs::create_dir(&point).expect("mount point");
        assert!(matches!(Tracefs::find(&roots.sysfs, &roots.procfs), Err(Error::NotThere { .. })));
        assert!(!is_of_type(&point, TRACEFS_MAGIC));
    }

    #[test]
    fn bind_mounts_of_a_part_of_tracefs_do_not_count() {
        let roots = Roots::new();
        roots.mountinfo("1 1 0:1 /instances/a /part rw - tracefs none rw\n");
        assert!(mounted_for_process_1(&roots.procfs).is_empty());
    }

    #[test]
    fn a_debugfs_is_looked_into() {
        let roots = Roots::new();
        roots.mountinfo("1 1 0:1 / /debug rw - debugfs none rw\n");
        assert_eq!(mounted_for_process_1(&roots.procfs)[0], roots.procfs.join("1/root/debug/tracing"));
    }
}
