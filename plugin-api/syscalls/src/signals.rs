//! Signals.

use std::borrow::Cow;

use nix::libc;
use nix::sys::signal::Signal;

use crate::constants::{Constants, constants};

/// The kernel's first real-time signal; the C library reserves the first two (signal(7)).
const KERNEL_SIGRTMIN: i32 = 32;

/// The flags of sigaction(2) as the kernel defines them (`include/uapi/asm-generic/signal-defs.h`).
pub const SIGNAL_ACTION_FLAGS: Constants = constants![
    ; SA_NOCLDSTOP = 0x1 SA_NOCLDWAIT = 0x2 SA_SIGINFO = 0x4 SA_EXPOSE_TAGBITS = 0x800 SA_RESTORER = 0x0400_0000
    SA_ONSTACK = 0x0800_0000 SA_RESTART = 0x1000_0000 SA_NODEFER = 0x4000_0000 SA_RESETHAND = 0x8000_0000
];

/// The name of a signal. Real-time signals are numbered from the kernel's first: `SIGRT_2`. A number that is no signal is
/// printed as such.
pub fn signal_name(number: i32) -> Cow<'static, str> {
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
    fn signals_are_printed_by_name_and_other_numbers_as_numbers() {
        let names = [1, 9, 17, 31, 32, 34, 64, 65, 0, -1].map(signal_name);
        let expected =
            ["SIGHUP", "SIGKILL", "SIGCHLD", "SIGSYS", "32", "SIGRT_2", "SIGRT_32", "65", "0", "-1"];
        assert_eq!(names, expected);
    }
}
