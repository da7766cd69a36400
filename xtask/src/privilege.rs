//! Whether this process may trace the kernel.

use std::fs;
use std::process::Command;

use nix::unistd::Uid;

const TRACEFS: &str = "/sys/kernel/tracing";

pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Why the kernel cannot be traced here, if so.
///
/// Mounts tracefs if it is missing, as a manager does.
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
