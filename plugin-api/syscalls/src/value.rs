//! Arguments as strace prints them.

use std::borrow::Cow;
use std::fmt;

use nix::libc;

use crate::argument_type::ArgumentType;
use crate::constants::{constant_name, flag_names};
use crate::open_flags::open_flags;
use crate::signals::signal_name;

/// An argument, ready to be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// A signed number.
    Signed(i64),
    /// An unsigned number.
    Unsigned(u64),
    /// An address.
    Address(u64),
    /// Names of constants, or a number in the base that is usual for it.
    Name(Cow<'static, str>),
    /// Nothing: the call ignores this argument.
    Unused,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed(number) => number.fmt(f),
            Self::Unsigned(number) => number.fmt(f),
            Self::Address(address) => write!(f, "{address:#x}"),
            Self::Name(name) => f.write_str(name),
            Self::Unused => Ok(()),
        }
    }
}

/// The permissions of user, group and others.
const PERMISSIONS: u64 = 0o777;

impl ArgumentType {
    /// The value of the argument `number`. `arguments` are all arguments of the call, by position: the type of one may
    /// depend on another.
    pub fn value(self, number: u64, arguments: &[u64]) -> Value {
        match self {
            Self::Int => int(number),
            Self::Owner if number as u32 == u32::MAX => Value::Signed(-1),
            Self::Unsigned | Self::Owner => Value::Unsigned((number as u32).into()),
            Self::Long => Value::Signed(number as i64),
            Self::UnsignedLong => Value::Unsigned(number),
            Self::Address => Value::Address(number),
            Self::Unused => Value::Unused,
            Self::Octal => Value::Name(octal(number).into()),
            Self::DirectoryFd if number as i32 == libc::AT_FDCWD => Value::Name("AT_FDCWD".into()),
            Self::DirectoryFd => int(number),
            Self::Signal => Value::Name(signal_name(number as i32)),
            Self::OpenFlags => Value::Name(open_flags(number).into()),
            Self::Constant(constants) => Value::Name(constant_name(number, constants)),
            Self::Flags(flags) => Value::Name(flag_names(number, flags).into()),
            Self::ConstantAndFlags { mask, constants, flags } => {
                let constant = constant_name(number & mask, constants);
                Value::Name(match number & !mask {
                    0 => constant,
                    rest => format!("{constant}|{}", flag_names(rest, flags)).into(),
                })
            }
            Self::TwoConstants { mask, first, second } => {
                let (first, second) =
                    (constant_name(number & mask, first), constant_name(number & !mask, second));
                Value::Name(format!("{first}|{second}").into())
            }
            Self::FlagsAndMode(flags) => {
                let mode = octal(number & PERMISSIONS);
                Value::Name(match number & !PERMISSIONS {
                    0 => mode.into(),
                    rest => format!("{}|{mode}", flag_names(rest, flags)).into(),
                })
            }
            Self::DependsOn { parameter, types, otherwise } => {
                let other = arguments.get(parameter).map(|other| *other as i32);
                let by_other = types.iter().find(|(value, _)| other == Some(*value));
                by_other.map_or(*otherwise, |(_, of_value)| *of_value).value(number, arguments)
            }
        }
    }
}

fn int(number: u64) -> Value {
    Value::Signed((number as i32).into())
}

fn octal(number: u64) -> String {
    format!("{:#05o}", number as u32).replacen("0o", "0", 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::argument_type;

    fn shown(call: &str, parameter: &str, c_type: &str, number: u64) -> String {
        shown_among(call, parameter, c_type, number, &[])
    }

    fn shown_among(call: &str, parameter: &str, c_type: &str, number: u64, arguments: &[u64]) -> String {
        argument_type(call, parameter, c_type).value(number, arguments).to_string()
    }

    #[test]
    fn constants_are_printed_by_name() {
        assert_eq!(shown("openat", "dfd", "int", u64::from(-100i32 as u32)), "AT_FDCWD");
        assert_eq!(shown("openat", "dfd", "int", 7), "7");
        assert_eq!(shown("openat", "flags", "int", 0), "O_RDONLY");
        let flags = (libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC) as u64;
        assert_eq!(shown("openat", "flags", "int", flags), "O_WRONLY|O_CREAT|O_CLOEXEC");
        assert_eq!(shown("openat", "mode", "umode_t", 0o644), "0644");
        assert_eq!(shown("mmap", "prot", "unsigned long", 5), "PROT_READ|PROT_EXEC");
        assert_eq!(shown("mprotect", "prot", "unsigned long", 0), "PROT_NONE");
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
        assert_eq!(shown("mmap", "flags", "unsigned long", flags), "MAP_PRIVATE|MAP_ANONYMOUS");
        assert_eq!(shown("kill", "sig", "int", 9), "SIGKILL");
        assert_eq!(shown("kill", "sig", "int", 0), "0");
        let kind = (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u64;
        assert_eq!(shown("socket", "type", "int", kind), "SOCK_STREAM|SOCK_CLOEXEC");
        assert_eq!(shown("socket", "family", "int", 10), "AF_INET6");
        assert_eq!(
            shown("clone", "clone_flags", "unsigned long", 0x0120_0011),
            "SIGCHLD|CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID"
        );
        assert_eq!(shown("lseek", "whence", "unsigned int", 2), "SEEK_END");
        assert_eq!(shown("read", "fd", "unsigned int", 3), "3");
        assert_eq!(shown("unknown", "x", "struct thing *", 0x10), "0x10");
        assert_eq!(shown("access", "mode", "int", 0), "F_OK");
        assert_eq!(shown("madvise", "behavior", "int", 0x7777), "0x7777");
    }

    #[test]
    fn numbers_have_the_sign_the_kernel_uses() {
        assert_eq!(shown("preadv2", "fd", "unsigned long", 0xffff_ffff), "-1");
        assert_eq!(shown("read", "fd", "unsigned int", 0xffff_ffff), "-1");
        assert_eq!(shown("dup2", "oldfd", "unsigned int", 0xffff_ffff), "-1");
        assert_eq!(shown("landlock_restrict_self", "ruleset_fd", "const int", 0xffff_ffff), "-1");
        assert_eq!(shown("pipe2", "fd", "int *", 0x10), "0x10");
        assert_eq!(shown("close_range", "max_fd", "unsigned int", u64::MAX), "4294967295");
        assert_eq!(shown("move_mount", "to_dfd", "int", u64::from(-100i32 as u32)), "AT_FDCWD");
        assert_eq!(shown("read", "count", "size_t", u64::MAX), "18446744073709551615");
        assert_eq!(shown("readv", "vlen", "unsigned long", u64::MAX), "18446744073709551615");
        assert_eq!(shown("poll", "nfds", "unsigned int", u64::MAX), "4294967295");
        assert_eq!(shown("fchownat", "user", "uid_t", 0xffff_ffff), "-1");
        assert_eq!(shown("fchownat", "group", "gid_t", 0xffff_fffe), "4294967294");
        assert_eq!(shown("preadv2", "pos_l", "unsigned long", u64::MAX), "-1");
        assert_eq!(shown("lseek", "offset", "off_t", u64::MAX), "-1");
        assert_eq!(shown("keyctl", "arg2", "unsigned long", u64::MAX), "-1");
        assert_eq!(shown("ptrace", "addr", "unsigned long", u64::MAX), "0xffffffffffffffff");
    }

    #[test]
    fn types_depend_on_other_arguments() {
        let fcntl = |command: i32, argument: i32| {
            shown_among("fcntl", "arg", "unsigned long", argument as u64, &[3, command as u64])
        };
        let flags = libc::O_APPEND | libc::O_NONBLOCK;
        assert_eq!(fcntl(libc::F_SETFL, flags), "O_RDONLY|O_APPEND|O_NONBLOCK");
        assert_eq!(fcntl(libc::F_SETFD, libc::FD_CLOEXEC), "FD_CLOEXEC");
        assert_eq!(fcntl(libc::F_SETFD, 0), "0");
        assert_eq!(fcntl(libc::F_DUPFD, 10), "10");
        assert_eq!(fcntl(libc::F_SETLK, 16), "0x10");
        assert_eq!(fcntl(10, libc::SIGIO), "SIGIO");
        assert_eq!(fcntl(12345, -1), "-1");
        let ptrace = |request: u32, data: u64| {
            shown_among("ptrace", "data", "unsigned long", data, &[u64::from(request), 7, 0, data])
        };
        assert_eq!(ptrace(libc::PTRACE_CONT, libc::SIGTRAP as u64), "SIGTRAP");
        let options = (libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_EXITKILL) as u64;
        assert_eq!(ptrace(libc::PTRACE_SEIZE, options), "PTRACE_O_TRACEFORK|PTRACE_O_EXITKILL");
        assert_eq!(ptrace(libc::PTRACE_GETREGSET, 16), "0x10");
        let option = |level: i32, option: i32| {
            shown_among("setsockopt", "optname", "int", option as u64, &[3, level as u64])
        };
        assert_eq!(option(libc::SOL_SOCKET, libc::SO_REUSEADDR), "SO_REUSEADDR");
        assert_eq!(option(libc::IPPROTO_TCP, libc::TCP_NODELAY), "TCP_NODELAY");
        assert_eq!(option(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY), "IPV6_V6ONLY");
        assert_eq!(option(libc::SOL_SOCKET, 0x7777), "0x7777");
        assert_eq!(option(12345, 7), "7");
        let protocol = |family: i32, protocol: i32| {
            let all = [family as u64, libc::SOCK_STREAM as u64];
            shown_among("socket", "protocol", "int", protocol as u64, &all)
        };
        assert_eq!(protocol(libc::AF_INET, libc::IPPROTO_TCP), "IPPROTO_TCP");
        assert_eq!(protocol(libc::AF_INET6, libc::IPPROTO_IP), "IPPROTO_IP");
        assert_eq!(protocol(libc::AF_NETLINK, libc::NETLINK_ROUTE), "NETLINK_ROUTE");
        assert_eq!(protocol(libc::AF_UNIX, 0), "0");
    }

    #[test]
    fn ignored_arguments_are_omitted() {
        let argument = argument_type("fcntl", "arg", "unsigned long");
        assert_eq!(argument.value(0x7f00, &[3, libc::F_GETFD as u64, 0x7f00]), Value::Unused);
    }
}
