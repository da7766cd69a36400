//! What a number that a system call takes or returns stands for.

use nix::libc;
use trace_hook_api::EventLine;

use super::constants;
use crate::names::{Names, error_name, error_of, flags, one, open_flags, signal};

/// How an argument is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// As a signed number of 32 bits.
    Int,
    /// As an unsigned number of 32 bits.
    Unsigned,
    /// A user or a group, or -1, which stands for none.
    Owner,
    /// As a signed number of the machine's size.
    Long,
    /// As an unsigned number of the machine's size.
    UnsignedLong,
    Address,
    /// Not at all: the call does not look at it.
    Nothing,
    /// Permissions and the like, in octal.
    Octal,
    /// A descriptor of a directory, or `AT_FDCWD`.
    Directory,
    Signal,
    /// What a file is opened for.
    Opening,
    /// One of several constants.
    One(Names),
    /// Constants joined by `|`. One whose bits are part of another's comes after it.
    Flags(Names),
    /// One of several constants in the bits of `mask`, and flags beside it.
    OneAndFlags {
        mask: u64,
        one: Names,
        flags: Names,
    },
    /// One of several constants in the bits of `mask`, and one of others in the rest.
    TwoOf {
        mask: u64,
        one: Names,
        other: Names,
    },
    /// Constants, and permissions in octal.
    FlagsAndMode(Names),
    /// What another parameter of the call, by its position, says with its number.
    By {
        parameter: usize,
        meanings: &'static [(i32, Meaning)],
        otherwise: &'static Meaning,
    },
}

/// Those of user, group and others.
const PERMISSIONS: u64 = 0o777;

/// Whether a parameter of this type has 32 bits.
pub fn is_int(type_name: &str) -> bool {
    matches!(Meaning::of_type(type_name), Meaning::Int | Meaning::Unsigned | Meaning::Owner)
}

impl Meaning {
    /// What this parameter of this call means.
    pub fn of(call: &str, parameter: &str, type_name: &str) -> Self {
        let by_type = Self::of_type(type_name);
        match constants::meaning(call, parameter) {
            Some(meaning) => meaning,
            None if by_type != Self::Address && is_descriptor(parameter) => Self::Int,
            None => by_type,
        }
    }

    fn of_type(name: &str) -> Self {
        match name.strip_prefix("const ").unwrap_or(name) {
            _ if name.contains('*') || name.ends_with("handler_t") => Self::Address,
            "umode_t" | "mode_t" => Self::Octal,
            "int" | "pid_t" | "qid_t" | "key_t" | "clockid_t" | "timer_t" | "mqd_t" | "key_serial_t"
            | "rwf_t" | "__s32" => Self::Int,
            "unsigned int" | "unsigned" | "u32" | "__u32" => Self::Unsigned,
            "uid_t" | "gid_t" => Self::Owner,
            "unsigned long" | "size_t" | "__u64" => Self::UnsignedLong,
            _ => Self::Long,
        }
    }

    /// Adds a number to the line, which is one of `all` that the call was given.
    pub fn show<'a>(self, line: EventLine<'a>, name: &str, number: u64, all: &[u64]) -> EventLine<'a> {
        match self {
            Self::Int => line.number(name, number as i32),
            Self::Owner if number as u32 == u32::MAX => line.number(name, -1),
            Self::Unsigned | Self::Owner => line.number(name, number as u32),
            Self::Long => line.number(name, number as i64),
            Self::UnsignedLong => line.number(name, number),
            Self::Address => line.address(name, number),
            Self::Nothing => line,
            Self::Octal => line.word(name, &octal(number)),
            Self::Directory if number as i32 == libc::AT_FDCWD => line.word(name, "AT_FDCWD"),
            Self::Directory => line.number(name, number as i32),
            Self::Signal => line.word(name, &signal(number as i32)),
            Self::Opening => line.word(name, &open_flags(number)),
            Self::One(names) => line.word(name, &one(number, names)),
            Self::Flags(names) => line.word(name, &flags(number, names)),
            Self::OneAndFlags { mask, one: values, flags: names } => {
                let rest = number & !mask;
                let one = one(number & mask, values);
                line.word(name, &if rest == 0 { one } else { format!("{one}|{}", flags(rest, names)) })
            }
            Self::TwoOf { mask, one: values, other } => {
                line.word(name, &format!("{}|{}", one(number & mask, values), one(number & !mask, other)))
            }
            Self::FlagsAndMode(names) => {
                let (rest, mode) = (number & !PERMISSIONS, octal(number & PERMISSIONS));
                line.word(name, &if rest == 0 { mode } else { format!("{}|{mode}", flags(rest, names)) })
            }
            Self::By { parameter, meanings, otherwise } => {
                let says = all.get(parameter).map(|other| *other as i32);
                let meaning = meanings.iter().find(|(number, _)| says == Some(*number));
                meaning.map_or(*otherwise, |(_, meaning)| *meaning).show(line, name, number, all)
            }
        }
    }
}

fn octal(number: u64) -> String {
    format!("{:#05o}", number as u32).replacen("0o", "0", 1)
}

/// Whether a parameter is one for descriptors, whatever its type: the kernel looks at an `int`. `close_range` takes a range of
/// numbers up to `max_fd`.
fn is_descriptor(parameter: &str) -> bool {
    (parameter.starts_with("fd") || parameter.ends_with("fd")) && parameter != "max_fd"
}

/// Adds what a call has returned: a number, and the error that it stands for.
pub fn show_result(line: EventLine<'_>, returned: i64, is_address: bool) -> EventLine<'_> {
    match error_of(returned) {
        Some(error) => line.number("result", returned).word("error", &error_name(error)),
        None if is_address => line.address("result", returned as u64),
        None => line.number("result", returned),
    }
}

#[cfg(test)]
mod tests {
    use trace_hook_api::{LineBuffer, Origin};

    use super::*;

    fn shown(call: &str, parameter: &str, type_name: &str, number: u64) -> String {
        shown_among(call, parameter, type_name, number, &[])
    }

    fn shown_among(call: &str, parameter: &str, type_name: &str, number: u64, all: &[u64]) -> String {
        let mut lines = LineBuffer::with_room(1000);
        let line = lines.event(&Origin::default(), "x");
        drop(Meaning::of(call, parameter, type_name).show(line, "a", number, all));
        let line = String::from_utf8(lines.as_bytes().to_vec()).unwrap();
        line.split_once("a=").unwrap().1.trim_end().to_owned()
    }

    fn result(returned: i64) -> String {
        let mut lines = LineBuffer::with_room(1000);
        drop(show_result(lines.event(&Origin::default(), "x"), returned, false));
        let line = String::from_utf8(lines.as_bytes().to_vec()).unwrap();
        line.split_once("x: ").unwrap().1.trim_end().to_owned()
    }

    #[test]
    fn arguments_are_named() {
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
    fn numbers_have_the_sign_that_the_kernel_sees() {
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
    fn what_another_argument_says_is_named() {
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
    fn what_a_call_does_not_look_at_is_not_shown() {
        let mut lines = LineBuffer::with_room(1000);
        let argument = Meaning::of("fcntl", "arg", "unsigned long");
        let line = lines.event(&Origin::default(), "x");
        drop(argument.show(line, "arg", 0x7f00, &[3, libc::F_GETFD as u64, 0x7f00]));
        assert!(!String::from_utf8_lossy(lines.as_bytes()).contains("arg"));
    }

    #[test]
    fn results_are_numbers_and_the_names_of_errors() {
        assert_eq!(result(3), "result=3");
        assert_eq!(result(-2), "result=-2 error=ENOENT");
        assert_eq!(result(-512), "result=-512 error=ERESTARTSYS");
        assert_eq!(result(-4096), "result=-4096");
    }
}
