//! Whether this process may trace the kernel.

use std::fs;
use std::process::Command;

use nix::unistd::Uid;

const TRACEFS: &str = "/sys/kernel/tracing";

pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Why the kernel cannot be traced from here, if so.
///
/// A manager mounts tracefs itself where it is missing; so does this, to find out whether that would work.
pub fn obstacle() -> Option<String> {
    if !is_root() {
        return Some(format!("tracing the kernel needs root, and this is user {}", Uid::effective()));
    }
    if has_tracefs() {
        return None;
    }
    match Command::new("mount").args(["-t", "tracefs", "nodev", TRACEFS]).output() {
        Ok(mount) if mount.status.success() => None,
        Ok(mount) => Some(format!("no tracefs: {}", String::from_utf8_lossy(&mount.stderr).trim())),
        Err(error) => Some(format!("no tracefs, and cannot run mount: {error}")),
    }
}

fn has_tracefs() -> bool {
    fs::exists(format!("{TRACEFS}/instances")).unwrap_or(false)
}
