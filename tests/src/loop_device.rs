use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skip;

/// A loop device. Dropping it detaches it.
pub struct LoopDevice {
    /// Its device file.
    pub path: PathBuf,
    _file: Option<tempfile::NamedTempFile>,
}

impl LoopDevice {
    /// A device of 8 MiB; if it cannot be set up here, reports that the test is skipped.
    pub fn or_skip() -> Option<Self> {
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        file.as_file().set_len(8 << 20).expect("a sparse file can be extended");
        Self::of(&format!("losetup --find --show {}", file.path().display()), Some(file))
    }

    /// A device of 8 MiB of which 1 MiB can be written.
    pub fn that_fails_or_skip() -> Option<Self> {
        // The detached device releases the file, and the file its file system.
        let script = "mount -t tmpfs -o size=1m tmpfs /mnt && truncate -s 8m /mnt/disk && \
                      losetup --find --show /mnt/disk";
        Self::of(&format!("unshare --mount sh -ec '{script}'"), None)
    }

    fn of(command: &str, file: Option<tempfile::NamedTempFile>) -> Option<Self> {
        let output = Command::new("sh").args(["-c", command]).output().expect("there is a shell");
        if !output.status.success() {
            skip(&format!("it needs a loop device: {}", String::from_utf8_lossy(&output.stderr)));
            return None;
        }
        let path = String::from_utf8(output.stdout).expect("a plain path").trim().into();
        Some(Self { path, _file: file })
    }

    /// Its name, as in sysfs.
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).expect("a plain name")
    }

    /// The kernel's counts: requests and sectors read, requests and sectors written, flushes
    /// (Documentation/block/stat.rst).
    pub fn counts(&self) -> [u64; 5] {
        let text = fs::read_to_string(Path::new("/sys/block").join(self.name()).join("stat"));
        let text = text.expect("a device has statistics");
        let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        [0, 2, 4, 6, 15].map(|at| numbers[at])
    }

    /// The kernel's counts since then.
    pub fn counts_since(&self, before: [u64; 5]) -> [u64; 5] {
        let now = self.counts();
        std::array::from_fn(|at| now[at] - before[at])
    }

    /// The arguments for dd to transfer `count` blocks of 64 KiB from the given one on, without the page cache.
    pub fn reads(&self, first: usize, count: usize) -> String {
        format!("dd if={} of=/dev/null bs=64k skip={first} count={count} iflag=direct", self.path.display())
    }

    /// The same for writing.
    pub fn writes(&self, first: usize, count: usize) -> String {
        format!("dd if=/dev/zero of={} bs=64k seek={first} count={count} oflag=direct", self.path.display())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.path).status();
    }
}
