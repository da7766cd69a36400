//! Whether perf events can be used here.

use std::fs;
use std::io;
use std::path::Path;
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use trace_hook_api::{Capability, Environment, HookError, Result};
use trace_session::check_not_forbidden;

use crate::perf_event::{Attributes, Event, Kind};

/// At this level and above, perf events are forbidden without a privilege (kernels of Debian and Android).
const FORBIDDEN: i32 = 3;

/// Checks that perf events can be used, by one of our own.
///
/// # Errors
///
/// Why they cannot, and what would help.
pub fn check(environment: &Environment) -> Result<()> {
    check_pid_namespace(&environment.procfs)?;
    check_call()?;
    let clock = Attributes::counting(Kind::Software(perf_event_open_sys::bindings::PERF_COUNT_SW_TASK_CLOCK));
    match Event::check(&clock.without_kernel()) {
        Ok(()) => Ok(()),
        // A probe runs without the privileges of a session.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_privileged(environment) => Ok(()),
        Err(error) => Err(refused(&error, environment)),
    }
}

/// Checks that perf_event_open(2) reaches the kernel, which looks at the flags first.
fn check_call() -> Result<()> {
    let none = ptr::null::<libc::c_void>();
    // SAFETY: the kernel refuses the flags, and reads nothing.
    let result = unsafe { libc::syscall(libc::SYS_perf_event_open, none, 0, -1, -1, libc::c_ulong::MAX) };
    check_not_forbidden("perf_event_open", Errno::result(result).map(drop).map_err(Into::into))
}

fn is_privileged(environment: &Environment) -> bool {
    environment.check_any(&[Capability::Perfmon, Capability::SysAdmin]).is_ok()
}

/// The error for a perf event that the kernel has refused.
pub fn refused(error: &io::Error, environment: &Environment) -> HookError {
    let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
    HookError::new(match errno {
        Errno::ENOSYS => "the kernel has no perf events (CONFIG_PERF_EVENTS)".to_owned(),
        Errno::EACCES | Errno::EPERM => match paranoid_level(&environment.procfs) {
            Some(level) if level >= FORBIDDEN => format!(
                "the kernel forbids perf events (kernel.perf_event_paranoid is {level}); run as root, with CAP_PERFMON, or \
                 set it to 2 or less"
            ),
            Some(level) => format!(
                "the kernel refuses perf events: {error} (kernel.perf_event_paranoid is {level}); run as root, or with CAP_PERFMON \
                 and CAP_SYS_PTRACE, and check that no seccomp profile forbids perf_event_open"
            ),
            None => "the kernel has no perf events (CONFIG_PERF_EVENTS)".to_owned(),
        },
        _ => format!("cannot open a perf event: {error}"),
    })
}

/// What the kernel forbids without a privilege: nothing at -1, everything at 3 (Documentation/admin-guide/sysctl/kernel.rst).
fn paranoid_level(procfs: &Path) -> Option<i32> {
    fs::read_to_string(procfs.join("sys/kernel/perf_event_paranoid")).ok()?.trim().parse().ok()
}

/// Checks that the procfs shows our own pid namespace: perf events use its ids.
fn check_pid_namespace(procfs: &Path) -> Result<()> {
    let Ok(us) = fs::read_link(procfs.join("self")) else { return Ok(()) };
    match us == Path::new(&std::process::id().to_string()) {
        true => Ok(()),
        false => Err(HookError::new(format!(
            "perf events use the process ids of manager's own pid namespace, but {} shows those of another; \
             run manager in the host's pid namespace",
            procfs.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use trace_hook_testkit::SyntheticKernel;

    use super::*;

    fn refusal(errno: Errno, level: Option<&str>) -> String {
        let kernel = SyntheticKernel::new().unwrap();
        let kernel = match level {
            Some(level) => kernel.with_file("proc/sys/kernel/perf_event_paranoid", level).unwrap(),
            None => kernel,
        };
        refused(&errno.into(), &kernel.environment()).message().to_owned()
    }

    #[test]
    fn errors_name_what_would_help() {
        let forbidden = refusal(Errno::EACCES, Some("3\n"));
        assert!(
            forbidden.contains("perf_event_paranoid is 3") && forbidden.contains("CAP_PERFMON"),
            "{forbidden}"
        );
        let others = refusal(Errno::EPERM, Some("1\n"));
        assert!(others.contains("CAP_SYS_PTRACE") && others.contains("seccomp"), "{others}");
        assert!(refusal(Errno::EACCES, None).contains("CONFIG_PERF_EVENTS"));
        assert!(refusal(Errno::ENOSYS, Some("1\n")).contains("CONFIG_PERF_EVENTS"));
    }

    #[test]
    fn a_procfs_of_another_pid_namespace_is_refused() {
        let kernel = SyntheticKernel::new().unwrap();
        std::os::unix::fs::symlink("1", kernel.root().join("proc/self")).unwrap();
        let refused = check(&kernel.environment()).unwrap_err();
        assert!(refused.message().contains("pid namespace"), "{refused}");
    }
}
