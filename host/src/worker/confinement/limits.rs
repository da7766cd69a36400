//! The limits of a worker that only describes and probes a plugin (getrlimit(2)).

use nix::libc::rlim_t;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// More than a plugin needs to describe itself. All open files of the machine count for one limit.
const MOST_DESCRIPTORS: rlim_t = 1024;

/// Limits the number of descriptors permanently. There is no limit for the threads of a process alone: the supervisor counts
/// those.
pub fn apply() -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let limit = hard.min(MOST_DESCRIPTORS);
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit)
}
