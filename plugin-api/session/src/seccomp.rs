//! Whether a seccomp profile, such as a container's, forbids a system call that a session makes.

use std::io;

use nix::errno::Errno;
use trace_hook_api::{HookError, Result};

/// Checks the result of a call with arguments that the kernel itself refuses, whatever the privileges, with other errors than
/// EPERM and ENOSYS.
///
/// # Errors
///
/// A profile has answered in the kernel's place. The message says what to do.
pub fn check_not_forbidden(call: &str, result: io::Result<()>) -> Result<()> {
    let errno = result.err().and_then(|error| error.raw_os_error()).map(Errno::from_raw);
    match errno {
        Some(Errno::EPERM | Errno::ENOSYS) => Err(forbidden(call)),
        _ => Ok(()),
    }
}

/// The error where a profile forbids a call. It says what to do.
pub fn forbidden(call: &str) -> HookError {
    HookError::new(format!(
        "a seccomp profile forbids {call}(2), as those of containers do; use one that allows it (docker run \
         --security-opt seccomp=unconfined; in Kubernetes seccompProfile: {{type: Unconfined}}), or run privileged"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_errors_of_a_profile_are_taken_for_one() {
        let check = |errno: Errno| check_not_forbidden("bpf", Err(errno.into()));
        assert!(check(Errno::EBADF).is_ok() && check(Errno::EINVAL).is_ok());
        assert!(check_not_forbidden("bpf", Ok(())).is_ok());
        let refused = check(Errno::EPERM).unwrap_err();
        assert!(refused.message().contains("bpf(2)") && refused.message().contains("seccomp="), "{refused}");
        assert!(check(Errno::ENOSYS).is_err());
    }
}
