use std::mem::size_of;

use nix::libc;

/// The priority of urgent system threads (nice(1)).
const NICENESS: libc::c_int = -15;

/// How long the thread may run at a time, in nanoseconds. Since Linux 6.12, a task that wakes with a shorter slice than that of the
/// running task preempts it; it would otherwise wait for the end of that slice, some milliseconds, whatever its priority is
/// (`PREEMPT_SHORT` in kernel/sched/features.h).
const SLICE: u64 = 1_000_000;

/// Raises the priority of the calling thread, which fills a spool. It needs little CPU time, but needs it without delay,
/// because the kernel's buffer fills up in the meantime.
pub fn take_precedence() {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: NICENESS,
        sched_priority: 0,
        sched_runtime: SLICE,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads the attributes, which live through the call, and no more of them than their `size`.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result != 0 {
        // A seccomp profile may forbid the call. On Linux this affects only the calling thread (setpriority(2), "C library/kernel
        // differences").
        // SAFETY: the call takes and returns plain numbers. Without permission it changes nothing.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
    }
}
