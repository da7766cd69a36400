//! What the programs need of the kernel, found out without any privilege and without leaving anything.

use std::fs;
use std::path::{Path, PathBuf};

use trace_hook_api::{Environment, HookError, Result};

/// `bpf_loop` came with it, the last to come of what the programs use.
const OLDEST_KERNEL: (u32, u32) = (5, 17);

/// Any of these sets suffices (capability.h): SYS_ADMIN, or BPF and PERFMON.
const SUFFICIENT: [u64; 2] = [1 << 21, 1 << 39 | 1 << 38];

/// The kernel's description of its own types, by which the programs are fitted to it.
pub fn types_file(environment: &Environment) -> PathBuf {
    environment.sysfs.join("kernel/btf/vmlinux")
}

/// Checks what the programs of every hook need.
///
/// # Errors
///
/// What is missing, and what would help.
pub fn check(environment: &Environment) -> Result<()> {
    check_version(&environment.procfs)?;
    let types = types_file(environment);
    if !types.exists() {
        let types = types.display();
        return Err(HookError::new(format!(
            "the kernel does not describe its types ({types}); it needs CONFIG_DEBUG_INFO_BTF"
        )));
    }
    check_privilege(&environment.procfs)
}

/// Checks that the kernel lets programs read its memory.
///
/// # Errors
///
/// It is locked down for confidentiality (kernel_lockdown(7)). Locked down for integrity it does.
pub fn check_kernel_memory(environment: &Environment) -> Result<()> {
    let lockdown = fs::read_to_string(environment.sysfs.join("kernel/security/lockdown")).unwrap_or_default();
    match lockdown.contains("[confidentiality]") {
        true => Err(HookError::new(
            "the kernel is locked down for confidentiality, and lets no program read names; \
             boot with lockdown=integrity",
        )),
        false => Ok(()),
    }
}

fn check_version(procfs: &Path) -> Result<()> {
    let release = fs::read_to_string(procfs.join("sys/kernel/osrelease")).unwrap_or_default();
    let (major, minor) = OLDEST_KERNEL;
    match version(&release) {
        Some(version) if version < OLDEST_KERNEL => Err(HookError::new(format!(
            "it needs Linux {major}.{minor} or later, and this is {}",
            release.trim()
        ))),
        // What cannot be read is tried.
        _ => Ok(()),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.trim().split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn check_privilege(procfs: &Path) -> Result<()> {
    let status = fs::read_to_string(procfs.join("self/status")).unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    match effective {
        Some(has) if !SUFFICIENT.iter().any(|needed| has & needed == *needed) => {
            Err(HookError::new("it needs root, or the capabilities CAP_BPF and CAP_PERFMON"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel as it shows itself: its release, our capabilities, and whether it describes its types.
    fn kernel(release: &str, capabilities: &str, types: bool) -> (tempfile::TempDir, Environment) {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/sys/kernel/osrelease", release);
        write("proc/self/status", &format!("Name:\tx\nCapEff:\t{capabilities}\n"));
        if types {
            write("sys/kernel/btf/vmlinux", "");
        }
        let environment = Environment::new(root.path().join("proc"), root.path().join("sys"));
        (root, environment)
    }

    fn reason(release: &str, capabilities: &str, types: bool) -> String {
        let (_root, environment) = kernel(release, capabilities, types);
        check(&environment).map_or_else(|error| error.to_string(), |()| "none".to_owned())
    }

    #[test]
    fn the_reason_says_what_is_missing() {
        const ROOT: &str = "000001ffffffffff";
        assert_eq!(reason("6.18.44-x", ROOT, true), "none");
        assert_eq!(reason("5.17.0", "000000c000000000", true), "none");
        assert!(
            reason("5.15.0-91-generic", ROOT, true).contains("needs Linux 5.17 or later, and this is 5.15")
        );
        assert!(reason("6.1.0", ROOT, false).contains("CONFIG_DEBUG_INFO_BTF"));
        assert!(reason("6.1.0", "0000000000000000", true).contains("CAP_BPF"));
        assert!(reason("6.1.0", "0000008000000000", true).contains("CAP_PERFMON"));
    }

    #[test]
    fn a_kernel_that_keeps_its_memory_to_itself_says_so() {
        let (root, environment) = kernel("6.1.0", "0", true);
        let lockdown = root.path().join("sys/kernel/security/lockdown");
        fs::create_dir_all(lockdown.parent().unwrap()).unwrap();
        fs::write(&lockdown, "none [integrity] confidentiality\n").unwrap();
        assert!(check_kernel_memory(&environment).is_ok());
        fs::write(&lockdown, "none integrity [confidentiality]\n").unwrap();
        assert!(check_kernel_memory(&environment).is_err());
    }
}
