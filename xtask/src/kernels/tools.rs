//! The programs of the host that are needed to boot guests.

use std::env;
use std::path::Path;

use super::machine::Machine;
use crate::error::Result;
use crate::privilege;

const TOOLS: [(&str, &str); 5] = [
    ("apt-get", "apt"),
    ("cpio", "cpio"),
    ("depmod", "kmod"),
    ("dpkg-deb", "dpkg"),
    ("mmdebstrap", "mmdebstrap"),
];

/// An error that names the programs that are missing, and the packages of Debian that have them.
pub fn check(machines: impl Iterator<Item = Machine>) -> Result<()> {
    if !privilege::is_root() {
        return Err("root is needed to create a root file system".into());
    }
    let emulators = machines.map(|machine| (machine.emulator(), machine.emulator_package()));
    let mut missing: Vec<_> =
        TOOLS.into_iter().chain(emulators).filter(|(tool, _)| !is_installed(tool)).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let (tools, packages): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
    Err(format!("missing: {}; apt-get install {}", tools.join(", "), packages.join(" ")).into())
}

fn is_installed(tool: &str) -> bool {
    // The administrator's programs, such as depmod, may be outside of the PATH.
    let path = env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').any(|directory| Path::new(directory).join(tool).exists())
}
