//! Whether perf events can be used here.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use trace_hook_api::{Capability, Environment, HookError, Result};

use crate::perf_event::{Attributes, Event, Kind};

/// From this level on, who has no privilege may use no perf events at all (Debian's and Android's kernels).
const FORBIDDEN: i32 = 3;

/// Asks the kernel about a perf event of our own.
///
/// # Errors
///
/// What is in the way, and what would help.
pub fn check(environment: &Environment) -> Result<()> {
    check_numbering(&environment.procfs)?;
    let clock = Attributes::counting(Kind::Software(perf_event_open_sys::bindings::PERF_COUNT_SW_TASK_CLOCK));
    match Event::check(&clock.without_kernel()) {
        Ok(()) => Ok(()),
        // A probe has no privilege, whatever a session has.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_privileged(environment) => Ok(()),
        Err(error) => Err(refused(&error, environment)),
    }
}

fn is_privileged(environment: &Environment) -> bool {
    environment.check_any(&[Capability::Perfmon, Capability::SysAdmin]).is_ok()
}

/// What the kernel's refusal of a perf event means.
pub fn refused(error: &io::Error, environment: &Environment) -> HookError {
    let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
    HookError::new(match errno {
        Errno::ENOSYS => "the kernel has no perf events (CONFIG_PERF_EVENTS)".to_owned(),
        Errno::EACCES | Errno::EPERM => match paranoia(&environment.procfs) {
            Some(level) if level >= FORBIDDEN => format!(
                "the kernel forbids perf events (kernel.perf_event_paranoid is {level}); be root, have CAP_PERFMON, or \
                 set it to 2 or less"
            ),
            Some(level) => format!(
                "perf events are refused: {error} (kernel.perf_event_paranoid is {level}); be root, or have CAP_PERFMON \
                 and CAP_SYS_PTRACE, and see that no seccomp profile forbids perf_event_open"
            ),
            None => "the kernel has no perf events (CONFIG_PERF_EVENTS)".to_owned(),
        },
        _ => format!("perf events do not work: {error}"),
    })
}

/// What the kernel forbids those without privilege: nothing at -1, all at 3 (Documentation/admin-guide/sysctl/kernel.rst).
fn paranoia(procfs: &Path) -> Option<i32> {
    fs::read_to_string(procfs.join("sys/kernel/perf_event_paranoid")).ok()?.trim().parse().ok()
}

/// The kernel takes and gives ids of our own pid namespace. Those of the procfs must be the same.
fn check_numbering(procfs: &Path) -> Result<()> {
    let Ok(us) = fs::read_link(procfs.join("self")) else { return Ok(()) };
    match us == Path::new(&std::process::id().to_string()) {
        true => Ok(()),
        false => Err(HookError::new(format!(
            "perf events know processes by the ids of manager's own pid namespace, and {} shows those of another; \
             run manager in the host's pid namespace",
            procfs.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use trace_hook_testkit::MadeUpKernel;

    use super::*;

    fn refusal(errno: Errno, paranoia: Option<&str>) -> String {
        let kernel = MadeUpKernel::new().unwrap();
        let kernel = match paranoia {
            Some(level) => kernel.with_file("proc/sys/kernel/perf_event_paranoid", level).unwrap(),
            None => kernel,
        };
        refused(&errno.into(), &kernel.environment()).message().to_owned()
    }

    #[test]
    fn a_refusal_says_what_would_help() {
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
    fn ids_of_another_pid_namespace_are_no_good() {
        let kernel = MadeUpKernel::new().unwrap();
        std::os::unix::fs::symlink("1", kernel.root().join("proc/self")).unwrap();
        let refused = check(&kernel.environment()).unwrap_err();
        assert!(refused.message().contains("pid namespace"), "{refused}");
    }
}
