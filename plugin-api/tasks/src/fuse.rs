use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::Pid;

/// How much of a list of mounts is read, in bytes.
const MAX_LENGTH: u64 = 16 << 20;

/// Finds out which file systems are served by processes (FUSE), without asking these.
///
/// What is asked of such a file system waits for its server, and not even SIGKILL ends the wait: a server that does not answer
/// would keep this process for ever. So its files are left out.
#[derive(Debug, Clone)]
pub struct FuseFileSystems {
    procfs: PathBuf,
    /// The directory of the kernel's file system `fusectl`, which lists those that are not mounted any more as well.
    connections: PathBuf,
}

impl FuseFileSystems {
    /// Uses this procfs and this sysfs.
    pub fn new(procfs: &Path, sysfs: &Path) -> Self {
        Self { procfs: procfs.to_owned(), connections: sysfs.join("fs/fuse/connections") }
    }

    /// The devices of those that are mounted for a process. None, if it has ended.
    pub fn of_process(&self, process: Pid) -> Vec<(u32, u32)> {
        self.mounts_of(process).into_iter().map(|mount| mount.device).collect()
    }

    /// Where they are mounted, as the process sees it.
    pub fn mount_points_of(&self, process: Pid) -> Vec<PathBuf> {
        self.mounts_of(process).into_iter().map(|mount| mount.point).collect()
    }

    fn mounts_of(&self, process: Pid) -> Vec<FuseMount> {
        let mounts = File::open(self.procfs.join(format!("{process}/mountinfo")));
        mounts.map(|mounts| in_list(mounts.take(MAX_LENGTH))).unwrap_or_default()
    }

    /// Whether this is the device of one that the kernel lists. It lists them where `fusectl` is mounted.
    pub fn is_listed(&self, (major, minor): (u32, u32)) -> bool {
        // The name is the number that the kernel has for the device (include/linux/kdev_t.h).
        self.connections.join((u64::from(major) << 20 | u64::from(minor)).to_string()).exists()
    }
}

/// Where one is mounted.
#[derive(Debug, PartialEq, Eq)]
struct FuseMount {
    device: (u32, u32),
    point: PathBuf,
}

fn in_list(mounts: impl Read) -> Vec<FuseMount> {
    let lines = BufReader::new(mounts).split(b'\n').map_while(Result::ok);
    lines.filter_map(|line| fuse_mount(&String::from_utf8_lossy(&line))).collect()
}

/// `88 67 0:40 / /mnt rw,relatime shared:1 - fuse.sshfs host:/ rw` (proc_pid_mountinfo(5)); blanks in names are escaped.
fn fuse_mount(line: &str) -> Option<FuseMount> {
    let (mount, file_system) = line.split_once(" - ")?;
    if !file_system.starts_with("fuse.") && !matches!(file_system.split(' ').next()?, "fuse" | "fuseblk") {
        return None;
    }
    let mut fields = mount.split(' ');
    let (major, minor) = fields.nth(2)?.split_once(':')?;
    Some(FuseMount { device: (major.parse().ok()?, minor.parse().ok()?), point: unescaped(fields.nth(1)?) })
}

/// The kernel writes blanks, newlines and backslashes as three octal digits.
fn unescaped(path: &str) -> PathBuf {
    let mut parts = path.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(3).unwrap_or((part, ""));
        bytes.extend(u8::from_str_radix(digits, 8));
        bytes.extend(rest.as_bytes());
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuse_file_systems_are_found_in_the_list_of_mounts() {
        let mounts = "88 67 0:40 / /mnt rw,relatime - fuse test rw,user_id=0\n\
                      93 27 0:43 / /sys/fs/fuse/connections rw - fusectl none rw\n\
                      94 27 0:44 / /a\\040b\\134c rw shared:1 master:2 - fuse.sshfs a:/ rw\ngarbage\n\
                      95 27 8:1 / /b\\040-\\040fuse rw - ext4 /dev/sda1 rw\n\
                      96 27 8:17 / /c rw - fuseblk /dev/sdb1 rw\n";
        let found = in_list(mounts.as_bytes()).into_iter().map(|mount| (mount.device, mount.point));
        let expected = [((0, 40), "/mnt"), ((0, 44), "/a b\\c"), ((8, 17), "/c")];
        assert_eq!(found.collect::<Vec<_>>(), expected.map(|(device, point)| (device, point.into())));
    }

    #[test]
    fn fuse_file_systems_are_found_in_the_list_of_connections() {
        let sysfs = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(sysfs.path().join("fs/fuse/connections/40")).unwrap();
        std::fs::create_dir_all(sysfs.path().join("fs/fuse/connections/8388625")).unwrap();
        let file_systems = FuseFileSystems::new(Path::new("/proc"), sysfs.path());
        assert!(file_systems.is_listed((0, 40)) && file_systems.is_listed((8, 17)));
        assert!(!file_systems.is_listed((0, 41)) && file_systems.of_process(0).is_empty());
    }
}
