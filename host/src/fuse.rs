//! File systems whose content and owners a process decides about, rather than the kernel.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::statfs::{FUSE_SUPER_MAGIC, fstatfs};

/// The type, such as `fuse.sshfs`, if the file is on a FUSE file system. Any user may have mounted that, and its server can
/// give out files of any owner, root included.
///
/// `virtiofs` is not among them: the hypervisor serves it, which is the machine.
pub fn type_of(file: &OwnedFd) -> Option<String> {
    // The server of a FUSE file system can make this call fail.
    if fstatfs(file).is_ok_and(|found| found.filesystem_type() != FUSE_SUPER_MAGIC) {
        return None;
    }
    let kind = mounted_type(file).unwrap_or_else(|| "unknown".to_owned());
    (kind.starts_with("fuse") || kind == "unknown").then_some(kind)
}

/// The type in the mount table (proc_pid_mountinfo(5)).
fn mounted_type(file: &OwnedFd) -> Option<String> {
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let mount = about.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
    let table = fs::read("/proc/self/mountinfo").ok()?;
    String::from_utf8_lossy(&table).lines().find_map(|line| type_in(line, mount))
}

/// The type in this line of the mount table, if it is that of the mount.
fn type_in(line: &str, mount: &str) -> Option<String> {
    let (head, tail) = line.split_once(" - ")?;
    (head.split(' ').next() == Some(mount)).then(|| tail.split(' ').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_that_of_the_mount() {
        let line =
            "42 23 0:13 / /mnt/x rw,relatime shared:7 - fuse.sshfs host:/x rw,user_id=1000,allow_other";
        assert_eq!(type_in(line, "42").as_deref(), Some("fuse.sshfs"));
        assert_eq!(type_in(line, "4"), None);
        assert_eq!(type_in("damaged", "42"), None);
    }

    #[test]
    fn other_file_systems_are_not_fuse() {
        assert_eq!(type_of(&OwnedFd::from(fs::File::open("/proc/self/exe").unwrap())), None);
    }
}
