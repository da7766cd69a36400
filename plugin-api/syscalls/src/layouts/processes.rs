//! Processes and signals.

use super::{FieldKind, Layout, field, number, partly, whole};
use crate::argument_type::ArgumentType::{Address, Constant, Flags, Int, Signal, Unsigned, UnsignedLong};
use crate::clone_flags::CLONE_FLAGS;
use crate::constants::{Constants, constants};
use crate::layouts::time::TIME_VALUE;
use crate::signals::SIGNAL_ACTION_FLAGS;

/// `struct clone_args`.
pub const CLONE_ARGUMENTS: Layout = whole(
    88,
    &[
        number("flags", 0, 8, Flags(CLONE_FLAGS)),
        field("pidfd", 8, 8, FieldKind::NonZero(Address)),
        field("child_tid", 16, 8, FieldKind::NonZero(Address)),
        field("parent_tid", 24, 8, FieldKind::NonZero(Address)),
        number("exit_signal", 32, 8, Signal),
        number("stack", 40, 8, Address),
        number("stack_size", 48, 8, Address),
        field("tls", 56, 8, FieldKind::NonZero(Address)),
        field("set_tid", 64, 8, FieldKind::NonZero(Address)),
        field("set_tid_size", 72, 8, FieldKind::NonZero(UnsignedLong)),
        field("cgroup", 80, 8, FieldKind::NonZero(UnsignedLong)),
    ],
);

/// `struct rlimit64`, and `struct rlimit` of 64-bit programs.
pub const RESOURCE_LIMIT: Layout =
    whole(16, &[field("rlim_cur", 0, 8, FieldKind::Limit), field("rlim_max", 8, 8, FieldKind::Limit)]);
/// `struct rlimit` of 32-bit programs.
pub const COMPAT_RESOURCE_LIMIT: Layout =
    whole(8, &[field("rlim_cur", 0, 4, FieldKind::Limit), field("rlim_max", 4, 4, FieldKind::Limit)]);

/// `struct rusage`.
pub const RESOURCE_USAGE: Layout = partly(
    144,
    &[
        field("ru_utime", 0, 16, FieldKind::Structure(&TIME_VALUE)),
        field("ru_stime", 16, 16, FieldKind::Structure(&TIME_VALUE)),
    ],
);

/// `struct new_utsname`.
pub const SYSTEM_NAME: Layout =
    partly(390, &[field("sysname", 0, 65, FieldKind::Text), field("nodename", 65, 65, FieldKind::Text)]);

/// `struct sysinfo`.
pub const SYSTEM_INFORMATION: Layout = whole(
    112,
    &[
        number("uptime", 0, 8, UnsignedLong),
        field("loads", 8, 24, FieldKind::Numbers(UnsignedLong)),
        number("totalram", 32, 8, UnsignedLong),
        number("freeram", 40, 8, UnsignedLong),
        number("sharedram", 48, 8, UnsignedLong),
        number("bufferram", 56, 8, UnsignedLong),
        number("totalswap", 64, 8, UnsignedLong),
        number("freeswap", 72, 8, UnsignedLong),
        number("procs", 80, 2, Unsigned),
        number("totalhigh", 88, 8, UnsignedLong),
        number("freehigh", 96, 8, UnsignedLong),
        number("mem_unit", 104, 4, Unsigned),
    ],
);

/// `struct tms`.
pub const TIMES: Layout = whole(
    32,
    &[
        number("tms_utime", 0, 8, UnsignedLong),
        number("tms_stime", 8, 8, UnsignedLong),
        number("tms_cutime", 16, 8, UnsignedLong),
        number("tms_cstime", 24, 8, UnsignedLong),
    ],
);

// asm-generic/siginfo.h
const CHILD_CODES: Constants =
    constants![CLD_EXITED CLD_KILLED CLD_DUMPED CLD_TRAPPED CLD_STOPPED CLD_CONTINUED];

/// `siginfo_t` about a child.
pub const CHILD_INFORMATION: Layout = whole(
    128,
    &[
        number("si_signo", 0, 4, Signal),
        number("si_code", 8, 4, Constant(CHILD_CODES)),
        number("si_pid", 16, 4, Int),
        number("si_uid", 20, 4, Unsigned),
        number("si_status", 24, 4, Int),
        number("si_utime", 32, 8, UnsignedLong),
        number("si_stime", 40, 8, UnsignedLong),
    ],
);

const HANDLERS: Constants = constants![; SIG_DFL = 0 SIG_IGN = 1];

/// `struct sigaction` of the kernel.
pub const SIGNAL_ACTION: Layout = whole(
    32,
    &[
        number("sa_handler", 0, 8, Constant(HANDLERS)),
        field("sa_mask", 24, 8, FieldKind::Signals),
        number("sa_flags", 8, 8, Flags(SIGNAL_ACTION_FLAGS)),
        field("sa_restorer", 16, 8, FieldKind::NonZero(Address)),
    ],
);

// linux/signal.h
const STACK: Constants = constants![SS_ONSTACK SS_DISABLE; SS_AUTODISARM = 0x8000_0000];

/// `stack_t`.
pub const SIGNAL_STACK: Layout = whole(
    24,
    &[
        number("ss_sp", 0, 8, Address),
        number("ss_flags", 8, 4, Flags(STACK)),
        number("ss_size", 16, 8, UnsignedLong),
    ],
);

const CAPABILITY_VERSIONS: Constants = constants![;
    _LINUX_CAPABILITY_VERSION_1 = 0x1998_0330 _LINUX_CAPABILITY_VERSION_2 = 0x2007_1026
    _LINUX_CAPABILITY_VERSION_3 = 0x2008_0522
];

/// `struct __user_cap_header_struct`.
pub const CAPABILITY_HEADER: Layout =
    whole(8, &[number("version", 0, 4, Constant(CAPABILITY_VERSIONS)), number("pid", 4, 4, Int)]);
