use std::borrow::Cow;

use nix::libc;
use nix::sys::signal::Signal;

use super::{Names, names};

/// The kernel's first real-time signal; the C library keeps two for itself (signal(7)).
const KERNEL_SIGRTMIN: i32 = 32;

/// Flags of sigaction(2), as the kernel has them (`include/uapi/asm-generic/signal-defs.h`).
pub const SIGNAL_ACTION_FLAGS: Names = names![
    ; SA_NOCLDSTOP = 0x1 SA_NOCLDWAIT = 0x2 SA_SIGINFO = 0x4 SA_EXPOSE_TAGBITS = 0x800 SA_RESTORER = 0x0400_0000
    SA_ONSTACK = 0x0800_0000 SA_RESTART = 0x1000_0000 SA_NODEFER = 0x4000_0000 SA_RESETHAND = 0x8000_0000
];

/// By its name; real-time signals count from the first.
pub fn signal(number: i32) -> Cow<'static, str> {
    match Signal::try_from(number) {
        Ok(signal) => Cow::Borrowed(signal.as_str()),
        Err(_) if (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number) => {
            Cow::Owned(format!("SIGRT_{}", number - KERNEL_SIGRTMIN))
        }
        Err(_) => Cow::Owned(number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_name() {
        let names = [1, 9, 17, 31, 32, 34, 64, 65, 0, -1].map(signal);
        let expected =
            ["SIGHUP", "SIGKILL", "SIGCHLD", "SIGSYS", "32", "SIGRT_2", "SIGRT_32", "65", "0", "-1"];
        assert_eq!(names, expected);
    }
}
