//! What every eBPF hook needs of the kernel. The checks need no privilege and leave nothing behind.

use std::fs;
use std::path::{Path, PathBuf};

use trace_hook_api::{Capability, Environment, HookError, Result};

/// The first kernel with `bpf_loop`, the newest feature that the programs use.
const OLDEST_KERNEL: (u32, u32) = (5, 17);

/// The kernel's description of its own types (BTF), by which the loader fits the programs to it.
pub(crate) fn types_file(environment: &Environment) -> PathBuf {
    environment.sysfs.join("kernel/btf/vmlinux")
}

/// Checks the kernel's version, its type information, lockdown, and the capabilities of the session.
///
/// # Errors
///
/// A requirement is not met; the message says which, and how to meet it.
pub fn check(environment: &Environment) -> Result<()> {
    check_version(&environment.procfs)?;
    let types = types_file(environment);
    if !types.exists() {
        let types = types.display();
        return Err(HookError::new(format!(
            "the kernel has no type information ({types} is missing): it must be built with CONFIG_DEBUG_INFO_BTF"
        )));
    }
    check_lockdown(environment)?;
    environment.check_any(&[Capability::Bpf, Capability::SysAdmin])?;
    environment.check_any(&[Capability::Perfmon, Capability::SysAdmin])
}

/// A kernel that is locked down for confidentiality (kernel_lockdown(7)) lets no eBPF program read kernel memory, which even
/// the tracing of forks needs. Lockdown for integrity does not matter.
fn check_lockdown(environment: &Environment) -> Result<()> {
    let lockdown = fs::read_to_string(environment.sysfs.join("kernel/security/lockdown")).unwrap_or_default();
    match lockdown.contains("[confidentiality]") {
        true => Err(HookError::new(
            "the kernel is locked down (confidentiality) and lets no eBPF program read kernel memory; \
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
            "it needs Linux {major}.{minor} or later; this is {}",
            release.trim()
        ))),
        // An unreadable version is not a reason to refuse.
        _ => Ok(()),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.trim().split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use trace_hook_api::Capabilities;

    use super::*;

    /// A synthetic kernel: its release, the capabilities of a session, and whether it has type information.
    fn kernel(release: &str, capabilities: u64, types: bool) -> (tempfile::TempDir, Environment) {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/sys/kernel/osrelease", release);
        if types {
            write("sys/kernel/btf/vmlinux", "");
        }
        let environment = Environment::new(root.path().join("proc"), root.path().join("sys"));
        (root, environment.with_session_capabilities(Capabilities::from_bits(capabilities)))
    }

    fn reason(release: &str, capabilities: u64, types: bool) -> String {
        let (_root, environment) = kernel(release, capabilities, types);
        check(&environment).map_or_else(|error| error.to_string(), |()| "none".to_owned())
    }

    #[test]
    fn errors_name_the_missing_requirement() {
        const ROOT: u64 = 0x1ff_ffff_ffff;
        assert_eq!(reason("6.18.44-x", ROOT, true), "none");
        assert_eq!(reason("5.17.0", 0xc0_0000_0000, true), "none");
        assert!(reason("5.15.0-91-generic", ROOT, true).contains("needs Linux 5.17 or later; this is 5.15"));
        assert!(reason("6.1.0", ROOT, false).contains("CONFIG_DEBUG_INFO_BTF"));
        assert!(reason("6.1.0", 0, true).contains("CAP_BPF"));
        assert!(reason("6.1.0", 0x80_0000_0000, true).contains("CAP_PERFMON"));
    }

    #[test]
    fn confidentiality_lockdown_is_refused() {
        let (root, environment) = kernel("6.1.0", 0xc0_0000_0000, true);
        let lockdown = root.path().join("sys/kernel/security/lockdown");
        fs::create_dir_all(lockdown.parent().unwrap()).unwrap();
        fs::write(&lockdown, "none [integrity] confidentiality\n").unwrap();
        assert!(check(&environment).is_ok());
        fs::write(&lockdown, "none integrity [confidentiality]\n").unwrap();
        let error = check(&environment).err().unwrap();
        assert!(error.message().contains("lockdown=integrity"), "{error}");
    }
}
