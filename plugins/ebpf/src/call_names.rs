//! The system calls of this machine, and of its 32-bit interface, whose numbers mean other calls.

use std::borrow::Cow;

use syscalls::Sysno;
#[cfg(target_arch = "aarch64")]
use syscalls::arm::Sysno as CompatSysno;
#[cfg(target_arch = "x86_64")]
use syscalls::x86::Sysno as CompatSysno;

/// A call's number for the machine itself.
pub fn number(name: &str) -> Option<i32> {
    name.parse().ok().map(|call: Sysno| call.id())
}

/// A call's number in the 32-bit interface.
pub fn compat_number(name: &str) -> Option<i32> {
    name.parse().ok().map(|call: CompatSysno| call.id())
}

/// The number that stands for all that no call has: `NO_CALL` in `bpf/latency.bpf.c`.
const NO_CALL: u32 = 1023;

/// The name of the call of this number; for one that is newer than our tables `call_471`.
pub fn name(number: u32, is_compat: bool) -> Cow<'static, str> {
    if number == NO_CALL {
        return "none".into();
    }
    let known = match is_compat {
        true => CompatSysno::new(number as usize).map(|call| call.name()),
        false => Sysno::new(number as usize).map(|call| call.name()),
    };
    known.map_or_else(|| format!("call_{number}").into(), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_belong_together() {
        for call in ["openat", "openat2", "read", "futex", "io_uring_enter"] {
            assert_eq!(name(number(call).unwrap() as u32, false), call);
            assert_eq!(name(compat_number(call).unwrap() as u32, true), call);
        }
        assert_eq!(number("openat").map(i64::from), Some(nix::libc::SYS_openat));
        assert_eq!(compat_number("open"), Some(5));
        assert_eq!(number("opnat"), None);
    }

    #[test]
    fn a_number_without_a_name_is_shown() {
        assert_eq!(name(1022, false), "call_1022");
        assert_eq!(name(NO_CALL, true), "none");
    }
}
