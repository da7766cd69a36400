//! The codes that say why a signal was sent.

use std::borrow::Cow;

use nix::libc;

/// The codes that every signal can have (`include/uapi/asm-generic/siginfo.h`).
const COMMON: &[(i32, &str)] = &[
    (0x80, "SI_KERNEL"),
    (0, "SI_USER"),
    (-1, "SI_QUEUE"),
    (-2, "SI_TIMER"),
    (-3, "SI_MESGQ"),
    (-4, "SI_ASYNCIO"),
    (-5, "SI_SIGIO"),
    (-6, "SI_TKILL"),
    (-7, "SI_DETHREAD"),
    (-60, "SI_ASYNCNL"),
];

/// The name of a signal's `si_code` (sigaction(2)); the number if it has no name.
pub fn signal_code(signal: i32, code: i32) -> Cow<'static, str> {
    let specific = usize::try_from(code - 1).ok().and_then(|index| specific_to(signal).get(index));
    let common = || COMMON.iter().find(|(number, _)| *number == code).map(|(_, name)| name);
    match specific.or_else(common) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(code.to_string()),
    }
}

/// The codes that only this signal has, from 1 on.
fn specific_to(signal: i32) -> &'static [&'static str] {
    match signal {
        libc::SIGILL => &[
            "ILL_ILLOPC",
            "ILL_ILLOPN",
            "ILL_ILLADR",
            "ILL_ILLTRP",
            "ILL_PRVOPC",
            "ILL_PRVREG",
            "ILL_COPROC",
            "ILL_BADSTK",
            "ILL_BADIADDR",
        ],
        libc::SIGFPE => &[
            "FPE_INTDIV",
            "FPE_INTOVF",
            "FPE_FLTDIV",
            "FPE_FLTOVF",
            "FPE_FLTUND",
            "FPE_FLTRES",
            "FPE_FLTINV",
            "FPE_FLTSUB",
        ],
        libc::SIGSEGV => &[
            "SEGV_MAPERR",
            "SEGV_ACCERR",
            "SEGV_BNDERR",
            "SEGV_PKUERR",
            "SEGV_ACCADI",
            "SEGV_ADIDERR",
            "SEGV_ADIPERR",
            "SEGV_MTEAERR",
            "SEGV_MTESERR",
            "SEGV_CPERR",
        ],
        libc::SIGBUS => &["BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR", "BUS_MCEERR_AR", "BUS_MCEERR_AO"],
        libc::SIGTRAP => &["TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT", "TRAP_UNK", "TRAP_PERF"],
        libc::SIGCHLD => {
            &["CLD_EXITED", "CLD_KILLED", "CLD_DUMPED", "CLD_TRAPPED", "CLD_STOPPED", "CLD_CONTINUED"]
        }
        libc::SIGPOLL => &["POLL_IN", "POLL_OUT", "POLL_MSG", "POLL_ERR", "POLL_PRI", "POLL_HUP"],
        libc::SIGSYS => &["SYS_SECCOMP", "SYS_USER_DISPATCH"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_depend_on_the_signal() {
        assert_eq!(signal_code(libc::SIGSEGV, 1), "SEGV_MAPERR");
        assert_eq!(signal_code(libc::SIGCHLD, 1), "CLD_EXITED");
        assert_eq!(signal_code(libc::SIGTERM, 1), "1");
        assert_eq!(signal_code(libc::SIGTERM, 0), "SI_USER");
        assert_eq!(signal_code(libc::SIGSEGV, 0x80), "SI_KERNEL");
        assert_eq!(signal_code(libc::SIGABRT, libc::SI_TKILL), "SI_TKILL");
        assert_eq!(signal_code(libc::SIGABRT, i32::MIN + 1), "-2147483647");
    }
}
