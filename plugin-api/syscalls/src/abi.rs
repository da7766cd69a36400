//! The numbers of system calls.

use syscalls::Sysno;
#[cfg(target_arch = "aarch64")]
use syscalls::arm::Sysno as CompatSysno;
#[cfg(target_arch = "x86_64")]
use syscalls::x86::Sysno as CompatSysno;

/// One of the two system call interfaces of a 64-bit kernel. The same number is a different call in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abi {
    /// The machine's own.
    Native,
    /// The 32-bit interface: i386 on x86_64, EABI on aarch64.
    Compat,
}

impl Abi {
    /// The number of the call `name`; `None` if this interface has no such call.
    pub fn number(self, name: &str) -> Option<i32> {
        match self {
            Self::Native => name.parse().ok().map(|call: Sysno| call.id()),
            Self::Compat => name.parse().ok().map(|call: CompatSysno| call.id()),
        }
    }

    /// The name of the call `number`; `None` if there is no such call, or if it is newer than the tables built in.
    pub fn name(self, number: u32) -> Option<&'static str> {
        match self {
            Self::Native => Sysno::new(number as usize).map(|call| call.name()),
            Self::Compat => CompatSysno::new(number as usize).map(|call| call.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_inverse() {
        for call in ["openat", "openat2", "read", "futex", "io_uring_enter"] {
            for abi in [Abi::Native, Abi::Compat] {
                assert_eq!(abi.name(abi.number(call).unwrap() as u32), Some(call));
            }
        }
    }

    #[test]
    fn numbers_depend_on_the_interface() {
        assert_eq!(Abi::Native.number("openat").map(i64::from), Some(nix::libc::SYS_openat));
        assert_eq!(Abi::Compat.number("open"), Some(5));
    }

    #[test]
    fn unknown_calls_are_none() {
        assert_eq!(Abi::Native.number("opnat"), None);
        assert_eq!(Abi::Native.name(1022), None);
    }
}
