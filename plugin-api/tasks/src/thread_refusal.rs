use std::io;

use nix::errno::Errno;

/// Why a thread of this name cannot be started, and what to do about it.
pub fn thread_refusal(thread: &str, error: &io::Error) -> String {
    let advice = match error.raw_os_error().map(Errno::from_raw) {
        // A limit is reached (pthread_create(3)).
        Some(Errno::EAGAIN) => "; it takes a process: raise ulimit -u, or pids.max of the cgroup",
        _ => "",
    };
    format!("cannot start the thread '{thread}': {error}{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_processes_is_named() {
        let of = |errno: Errno| thread_refusal("collector", &errno.into());
        assert!(of(Errno::EAGAIN).contains("'collector'") && of(Errno::EAGAIN).contains("pids.max"));
        assert!(!of(Errno::ENOMEM).contains("pids.max"));
    }
}
