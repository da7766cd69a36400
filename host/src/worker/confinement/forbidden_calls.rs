//! System calls for tracing that a seccomp profile forbids, as those of containers do.

use nix::errno::Errno;
use nix::libc;
use trace_hook_api::Capability;

use super::capabilities_for_tracing;

/// `BPF_MAP_LOOKUP_ELEM` in linux/bpf.h.
const LOOKUP: libc::c_int = 1;

/// The names of those that a plugin cannot find out about on every kernel: while hooks are listed, it has no privileges, and before
/// Linux 5.19 the kernel itself then refuses every call of bpf(2).
pub fn forbidden_calls() -> Vec<String> {
    let can_tell = [Capability::Bpf, Capability::SysAdmin];
    let can_tell = can_tell.iter().any(|capability| capabilities_for_tracing().contains(*capability));
    let is_forbidden = can_tell && matches!(look_up_in_no_map(), Err(Errno::EPERM | Errno::ENOSYS));
    is_forbidden.then(|| "bpf".to_owned()).into_iter().collect()
}

/// The kernel fails this with EBADF.
fn look_up_in_no_map() -> nix::Result<()> {
    // `map_fd` is -1.
    let attributes = [u64::MAX; 4];
    // SAFETY: the kernel reads the attributes, which are of the given size, and writes nothing.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, LOOKUP, attributes.as_ptr(), size_of_val(&attributes)) };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_forbidden_where_no_profile_is_in_effect() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        if status.contains("\nSeccomp:\t0\n") {
            assert!(forbidden_calls().is_empty());
        }
    }
}
