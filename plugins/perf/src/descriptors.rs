//! The limit of open file descriptors. Each event of each task takes one.

use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use trace_hook_api::{Environment, HookError};

use crate::access;

/// What the process has open besides, mostly files of traced programs.
const OTHER_DESCRIPTORS: u64 = 1100;

/// Raises the limit, if allowed, so that this many events can be open.
pub fn raise_limit_for(events: usize) {
    let wanted: rlim_t = events as u64 + OTHER_DESCRIPTORS;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if wanted > soft {
        // Without the privilege to raise the hard limit, the soft one can be raised up to it.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.max(hard), wanted.max(hard))
            .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    }
}

/// The error if one of this many events cannot be opened.
pub fn explain(error: &io::Error, events: usize, environment: &Environment) -> HookError {
    let is = |errno: Errno| error.raw_os_error() == Some(errno as i32);
    if is(Errno::EMFILE) || is(Errno::ENFILE) {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        return HookError::new(format!(
            "the tasks need {events} perf events, a file descriptor each, and the limit is {limit}; \
             raise it (ulimit -n), or trace fewer processes"
        ));
    }
    access::refused(error, environment)
}
