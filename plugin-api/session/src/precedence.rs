use nix::libc;

/// The priority of urgent system threads (nice(1)).
const NICENESS: libc::c_int = -15;

/// Raises the priority of the calling thread, which fills a spool. It needs little CPU time, but needs it without delay,
/// because the kernel's buffer fills up in the meantime.
pub fn take_precedence() {
    // On Linux this affects only the calling thread (setpriority(2), "C library/kernel differences").
    // SAFETY: the call takes and returns plain numbers. Without permission it changes nothing.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}
