//! Arguments that a call does not look at.

use nix::libc;

use crate::open_flags::takes_mode;

/// Whether a call ignores this parameter, because of its other arguments.
///
/// ```
/// use trace_syscalls::pointees::is_ignored;
///
/// // The mode of a file that is not created.
/// assert!(is_ignored("openat", 3, &[0, 0, 0, 7]));
/// ```
pub fn is_ignored(call: &str, parameter: usize, arguments: &[u64]) -> bool {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or_default();
    match (call, parameter) {
        ("open", 2) => !takes_mode(argument(1)),
        ("openat", 3) => !takes_mode(argument(2)),
        ("mknod", 2) => !is_device(argument(1)),
        ("mknodat", 3) => !is_device(argument(2)),
        ("mremap", 4) => argument(3) & (libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP) as u64 == 0,
        ("futex" | "futex_time64", _) => parameter >= futex_parameters(argument(1) as i32),
        ("prctl", _) => parameter >= prctl_parameters(argument(0) as i32),
        // The lower half of the position is the whole of it.
        ("preadv" | "preadv2" | "pwritev" | "pwritev2", 4) => size_of::<libc::c_long>() == 8,
        ("membarrier", 2) => argument(1) == 0,
        _ => false,
    }
}

fn is_device(mode: u64) -> bool {
    let kind = mode as libc::mode_t & libc::S_IFMT;
    kind == libc::S_IFCHR || kind == libc::S_IFBLK
}

/// How many parameters an operation of futex(2) has.
fn futex_parameters(operation: i32) -> usize {
    match operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) {
        libc::FUTEX_WAKE => 3,
        libc::FUTEX_WAIT | libc::FUTEX_LOCK_PI | libc::FUTEX_LOCK_PI2 => 4,
        libc::FUTEX_UNLOCK_PI | libc::FUTEX_TRYLOCK_PI => 2,
        libc::FUTEX_REQUEUE => 5,
        _ => 6,
    }
}

/// How many parameters an option of prctl(2) has.
fn prctl_parameters(option: i32) -> usize {
    match option {
        libc::PR_GET_DUMPABLE
        | libc::PR_GET_KEEPCAPS
        | libc::PR_GET_SECCOMP
        | libc::PR_GET_SECUREBITS
        | libc::PR_GET_TIMERSLACK
        | libc::PR_GET_TIMING => 1,
        libc::PR_SET_NAME
        | libc::PR_GET_NAME
        | libc::PR_SET_DUMPABLE
        | libc::PR_SET_KEEPCAPS
        | libc::PR_SET_PDEATHSIG
        | libc::PR_GET_PDEATHSIG
        | libc::PR_SET_TIMERSLACK
        | libc::PR_CAPBSET_READ
        | libc::PR_CAPBSET_DROP
        | libc::PR_SET_CHILD_SUBREAPER
        | libc::PR_GET_CHILD_SUBREAPER => 2,
        _ => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_say_what_is_ignored() {
        let futex = |operation: i32, parameter| is_ignored("futex", parameter, &[0, operation as u64]);
        assert!(futex(libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 3) && !futex(libc::FUTEX_WAIT, 3));
        assert!(!is_ignored("openat", 3, &[0, 0, libc::O_CREAT as u64]));
        assert!(is_ignored("mknodat", 3, &[0, 0, libc::S_IFIFO.into()]));
        assert!(!is_ignored("mknodat", 3, &[0, 0, libc::S_IFCHR.into()]));
        assert!(is_ignored("prctl", 2, &[libc::PR_SET_NAME as u64]) && !is_ignored("prctl", 4, &[9999]));
    }
}
