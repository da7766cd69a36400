//! What every eBPF hook needs of the kernel. The checks need no privilege and leave nothing behind.

use std::fs;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc;
use trace_hook_api::{Capability, Environment, HookError, Result};
use trace_session::{check_not_forbidden, forbidden};
use trace_tasks::Procfs;

/// A helper function of the kernel for eBPF programs, and the first version that offers it to programs on tracepoints.
#[derive(Debug, Clone, Copy)]
pub struct Helper {
    name: &'static str,
    since: (u32, u32),
}

impl Helper {
    /// `bpf_loop`.
    pub const LOOP: Self = Self { name: "bpf_loop", since: (5, 17) };
    /// `bpf_task_pt_regs`.
    pub const TASK_REGISTERS: Self = Self { name: "bpf_task_pt_regs", since: (5, 15) };
    /// `bpf_task_storage_get`, and maps of type `BPF_MAP_TYPE_TASK_STORAGE`.
    pub const TASK_STORAGE: Self = Self { name: "bpf_task_storage_get", since: (5, 12) };
    /// `bpf_get_current_task_btf`.
    pub const CURRENT_TASK: Self = Self { name: "bpf_get_current_task_btf", since: (5, 11) };
    /// `bpf_ringbuf_output`, and maps of type `BPF_MAP_TYPE_RINGBUF`.
    pub const RING_BUFFER: Self = Self { name: "bpf_ringbuf_output", since: (5, 8) };
    /// `bpf_probe_read_kernel`.
    pub const READ_KERNEL: Self = Self { name: "bpf_probe_read_kernel", since: (5, 5) };
}

/// The allocator with which a program may add elements to a hash map wherever it runs. Not a helper, but found in the same way.
const ALLOCATOR: Helper = Helper { name: "bpf_mem_alloc_init", since: (6, 1) };

/// The kernel's description of its own types (BTF), by which the loader fits the programs to it.
pub(crate) fn types_file(environment: &Environment) -> PathBuf {
    environment.sysfs.join("kernel/btf/vmlinux")
}

/// Checks that the kernel has these helpers, its type information, lockdown, and the capabilities of the session.
///
/// # Errors
///
/// A requirement is not met; the message says which, and how to meet it.
pub fn check(environment: &Environment, helpers: &[Helper]) -> Result<()> {
    check_helpers(environment, helpers)?;
    check_session(environment)
}

/// [`check`] without the helpers: a program that uses one that the kernel lacks cannot be loaded.
pub(crate) fn check_session(environment: &Environment) -> Result<()> {
    let types = types_file(environment);
    if !types.exists() {
        let types = types.display();
        return Err(HookError::new(format!(
            "the kernel has no type information ({types} is missing): it must be built with CONFIG_DEBUG_INFO_BTF"
        )));
    }
    check_possible_cpus()?;
    check_lockdown(environment)?;
    // The programs see the ids of the initial pid namespace.
    Procfs::of_initial_namespace(&environment.procfs)?;
    check_bpf_call(environment)?;
    environment.check_any(&[Capability::Bpf, Capability::SysAdmin])?;
    environment.check_any(&[Capability::Perfmon, Capability::SysAdmin])
}

/// The list of CPUs by which the loader reads maps that have a value for each. It looks for it on `/sys` only.
const POSSIBLE_CPUS: &str = "/sys/devices/system/cpu/possible";

fn check_possible_cpus() -> Result<()> {
    match fs::metadata(POSSIBLE_CPUS) {
        Ok(_) => Ok(()),
        Err(error) => Err(HookError::new(format!(
            "{POSSIBLE_CPUS}: {error}; eBPF hooks need a sysfs on /sys, also if TRACER_SYSFS_PATH names another"
        ))),
    }
}

/// A kernel that is locked down for confidentiality (kernel_lockdown(7)) lets no eBPF program read kernel memory, which even
/// the tracing of forks needs. Lockdown for integrity does not matter.
fn check_lockdown(environment: &Environment) -> Result<()> {
    match environment.is_confidential() {
        true => Err(HookError::new(
            "the kernel is locked down (confidentiality) and lets no eBPF program read kernel memory; \
             boot with lockdown=integrity",
        )),
        false => Ok(()),
    }
}

/// The first kernel that refuses a lookup in a map that is not open with EBADF without privileges, too.
const LOOKUP_WITHOUT_PRIVILEGES: (u32, u32) = (5, 19);
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;

/// Checks that bpf(2) reaches the kernel, as the host has found, or as can be found out without privileges.
fn check_bpf_call(environment: &Environment) -> Result<()> {
    if environment.forbidden_calls.iter().any(|call| call == "bpf") {
        return Err(forbidden("bpf"));
    }
    match kernel_version(environment).is_some_and(|version| version < LOOKUP_WITHOUT_PRIVILEGES) {
        true => Ok(()),
        false => check_bpf_reaches_kernel(),
    }
}

/// Checks it on every kernel, with the capabilities of a session.
pub(crate) fn check_bpf_reaches_kernel() -> Result<()> {
    // `map_fd` is -1.
    let attributes = [u64::MAX; 4];
    // SAFETY: the kernel reads the attributes, which are of the given size, and writes nothing.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_ELEM, attributes.as_ptr(), size_of_val(&attributes))
    };
    check_not_forbidden("bpf", Errno::result(result).map(drop).map_err(Into::into))
}

/// Whether the kernel has these helpers, and lets programs allocate elements of hash maps. Otherwise it needs the older build.
pub(crate) fn is_current(environment: &Environment, helpers: &[Helper]) -> bool {
    check_helpers(environment, &[helpers, &[ALLOCATOR]].concat()).is_ok()
}

fn kernel_version(environment: &Environment) -> Option<(u32, u32)> {
    version(&fs::read_to_string(environment.procfs.join("sys/kernel/osrelease")).ok()?)
}

/// A kernel that is older than a helper may have it all the same: distributions add them to their own kernels.
fn check_helpers(environment: &Environment, helpers: &[Helper]) -> Result<()> {
    let release = fs::read_to_string(environment.procfs.join("sys/kernel/osrelease")).unwrap_or_default();
    // An unreadable version is not a reason to refuse.
    let Some(version) = version(&release) else { return Ok(()) };
    let newer: Vec<_> = helpers.iter().filter(|helper| version < helper.since).collect();
    if newer.is_empty() {
        return Ok(());
    }
    let types = fs::read(types_file(environment)).unwrap_or_default();
    let missing: Vec<_> = newer.into_iter().filter(|helper| !names_function(&types, helper.name)).collect();
    let Some((major, minor)) = missing.iter().map(|helper| helper.since).max() else { return Ok(()) };
    let names: Vec<_> = missing.iter().map(|helper| helper.name).collect();
    Err(HookError::new(format!(
        "the kernel lacks {} for eBPF programs, which Linux {major}.{minor} has; this is {}",
        names.join(" and "),
        release.trim()
    )))
}

/// Whether the kernel's type information has this name. Names are separated by NULs in it.
fn names_function(types: &[u8], name: &str) -> bool {
    types.split(|byte| *byte == 0).any(|known| known == name.as_bytes())
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
        check(&environment, &[Helper::TASK_STORAGE, Helper::LOOP])
            .map_or_else(|error| error.to_string(), |()| "none".to_owned())
    }

    #[test]
    fn errors_name_the_missing_requirement() {
        const ROOT: u64 = 0x1ff_ffff_ffff;
        assert_eq!(reason("6.18.44-x", ROOT, true), "none");
        assert_eq!(reason("5.17.0", 0xc0_0000_0000, true), "none");
        let old = reason("5.15.0-91-generic", ROOT, true);
        assert!(
            old.contains("lacks bpf_loop for eBPF programs, which Linux 5.17 has; this is 5.15"),
            "{old}"
        );
        let old = reason("5.10.0-46-amd64", ROOT, true);
        assert!(old.contains("bpf_task_storage_get and bpf_loop"), "{old}");
        assert!(reason("6.1.0", ROOT, false).contains("CONFIG_DEBUG_INFO_BTF"));
        assert!(reason("6.1.0", 0, true).contains("CAP_BPF"));
        assert!(reason("6.1.0", 0x80_0000_0000, true).contains("CAP_PERFMON"));
    }

    #[test]
    fn a_profile_that_the_host_has_found_is_named() {
        let (_root, environment) = kernel("5.17.0", 0x1ff_ffff_ffff, true);
        let environment = environment.with_forbidden_calls(vec!["bpf".to_owned()]);
        let error = check(&environment, &[Helper::LOOP]).unwrap_err();
        assert!(error.message().contains("a seccomp profile forbids bpf(2)"), "{error}");
    }

    #[test]
    fn helpers_of_an_older_kernel_are_found_in_its_types() {
        let (root, environment) = kernel("5.14.0-503.el9", 0x1ff_ffff_ffff, true);
        let types = root.path().join("sys/kernel/btf/vmlinux");
        fs::write(&types, b"\0bpf_loop_inner\0").unwrap();
        assert!(check(&environment, &[Helper::LOOP]).is_err());
        fs::write(&types, b"\0bpf_loop\0").unwrap();
        assert!(check(&environment, &[Helper::LOOP]).is_ok());
    }

    #[test]
    fn a_kernel_without_a_helper_or_the_allocator_needs_the_older_build() {
        let is_current = |release: &str, types: &[u8]| {
            let (root, environment) = kernel(release, 0, true);
            fs::write(root.path().join("sys/kernel/btf/vmlinux"), types).unwrap();
            super::is_current(&environment, &[Helper::LOOP])
        };
        assert!(is_current("6.1.0-49-amd64", b""));
        assert!(!is_current("5.10.0-46-amd64", b""));
        assert!(!is_current("5.18.0", b""), "it has bpf_loop, but no allocator");
        assert!(!is_current("5.14.0-503.el9", b"\0bpf_mem_alloc_init\0"));
        assert!(is_current("5.14.0-503.el9", b"\0bpf_mem_alloc_init\0bpf_loop\0"));
    }

    #[test]
    fn confidentiality_lockdown_is_refused() {
        let (root, environment) = kernel("6.1.0", 0xc0_0000_0000, true);
        let lockdown = root.path().join("sys/kernel/security/lockdown");
        fs::create_dir_all(lockdown.parent().unwrap()).unwrap();
        fs::write(&lockdown, "none [integrity] confidentiality\n").unwrap();
        assert!(check(&environment, &[]).is_ok());
        let is_refused = || {
            let error = check(&environment, &[]).err().unwrap();
            assert!(error.message().contains("lockdown=integrity"), "{error}");
        };
        fs::write(&lockdown, "none integrity [confidentiality]\n").unwrap();
        is_refused();
        // Without securityfs.
        fs::remove_file(&lockdown).unwrap();
        assert!(check(&environment, &[]).is_ok());
        fs::write(root.path().join("proc/cmdline"), "quiet lockdown=confidentiality\n").unwrap();
        is_refused();
    }
}
