//! The signals that were ignored or blocked when this process was started: a command that it starts gets them that way.

use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

/// Those that this process, or Rust's runtime, changes.
const CHANGED: [libc::c_int; 7] =
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE, libc::SIGCHLD, libc::SIGXFSZ, libc::SIGIO];

/// A bit for each signal.
static IGNORED: AtomicU64 = AtomicU64::new(0);
static BLOCKED: AtomicU64 = AtomicU64::new(0);

/// Rust's runtime ignores SIGPIPE before `main` begins. This runs earlier.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE: extern "C" fn() = {
    extern "C" fn note() {
        IGNORED.store(bits(is_ignored), Ordering::Relaxed);
        BLOCKED.store(bits(is_blocked), Ordering::Relaxed);
    }
    note
};

fn bits(holds: fn(libc::c_int) -> bool) -> u64 {
    CHANGED.iter().filter(|signal| holds(**signal)).fold(0, |bits, signal| bits | bit(*signal))
}

fn bit(signal: libc::c_int) -> u64 {
    1 << signal
}

fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: all fields of a `sigaction` may be zero, and the call only writes to it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

fn is_blocked(signal: libc::c_int) -> bool {
    // SAFETY: all fields of a `sigset_t` may be zero, and the calls only write to it or read it.
    unsafe {
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), &mut blocked) == 0
            && libc::sigismember(&blocked, signal) == 1
    }
}

/// In a child, before it executes a command: makes the signals what they were at the start of this process. `blocked` are those
/// that were blocked before the child was forked.
pub fn restore(mut blocked: SigSet) {
    let (were_ignored, were_blocked) = (IGNORED.load(Ordering::Relaxed), BLOCKED.load(Ordering::Relaxed));
    for number in CHANGED {
        let action = if were_ignored & bit(number) == 0 { libc::SIG_DFL } else { libc::SIG_IGN };
        // SAFETY: neither value installs a handler.
        unsafe { libc::signal(number, action) };
        if let Ok(signal) = Signal::try_from(number) {
            if were_blocked & bit(number) == 0 { blocked.remove(signal) } else { blocked.add(signal) }
        }
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None);
}
