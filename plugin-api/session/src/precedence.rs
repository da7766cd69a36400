use nix::libc;

/// As urgent as daemons may be (nice(1)).
const NICENESS: libc::c_int = -15;

/// From now on the calling thread, which fills a spool, comes first in the queue for a CPU. It needs little of its time, but
/// that at once: what it takes from fills up meanwhile.
pub fn take_precedence() {
    // On Linux this is about the calling thread alone (setpriority(2), "C library/kernel differences").
    // SAFETY: the call takes and returns plain numbers. Where it is not allowed, everything stays as it is.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}
