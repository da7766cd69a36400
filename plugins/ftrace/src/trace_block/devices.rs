//! The names of block devices.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

/// The bits of the minor number in the kernel's device numbers (`MINORBITS` in `include/linux/kdev_t.h`); user space has another
/// encoding.
const MINOR_BITS: u32 = 20;

/// The names of devices, from sysfs.
///
/// Bounded by the number of block devices, whose numbers the kernel reuses.
#[derive(Debug)]
pub struct Devices {
    sysfs: PathBuf,
    known: HashMap<u32, Device>,
}

#[derive(Debug, Clone)]
pub struct Device {
    /// `254:0`.
    pub numbers: String,
    /// `vda`. `None` if it is gone.
    pub disk: Option<String>,
}

impl Devices {
    pub fn new(sysfs: PathBuf) -> Self {
        Self { sysfs, known: HashMap::new() }
    }

    /// The device with this number, in the kernel's encoding.
    pub fn get(&mut self, number: u32) -> &Device {
        let Self { sysfs, known } = self;
        known.entry(number).or_insert_with(|| {
            let (major, minor) = (number >> MINOR_BITS, number & ((1 << MINOR_BITS) - 1));
            let numbers = format!("{major}:{minor}");
            // A link to `…/block/vda`.
            let target = fs::read_link(sysfs.join("dev/block").join(&numbers)).ok();
            let disk = target.and_then(|target| Some(target.file_name()?.to_string_lossy().into_owned()));
            Device { numbers, disk }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn device_is_named_after_the_target_of_its_link() {
        let sysfs = tempfile::tempdir().unwrap();
        fs::create_dir_all(sysfs.path().join("dev/block")).unwrap();
        symlink("../../devices/virtual/block/loop3", sysfs.path().join("dev/block/7:3")).unwrap();
        let mut devices = Devices::new(sysfs.path().to_owned());
        let loop3 = devices.get(7 << 20 | 3).clone();
        assert_eq!((loop3.numbers.as_str(), loop3.disk.as_deref()), ("7:3", Some("loop3")));
        let gone = devices.get(259 << 20 | 300);
        assert_eq!((gone.numbers.as_str(), gone.disk.as_deref()), ("259:300", None));
    }
}
