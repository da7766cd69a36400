//! Processes, threads and signals.

use super::Content::{ChildStatus, Cpus, Numbers, Path, Signals, Structure, Text, TextCount, Texts};
use super::NumberKind::{Signed, Unsigned};
use super::{Count, Pointee, all_given, all_written, given, written};
use crate::layouts::{
    CAPABILITY_HEADER, CHILD_INFORMATION, CLONE_ARGUMENTS, COMPAT_RESOURCE_LIMIT, RESOURCE_LIMIT,
    RESOURCE_USAGE, SIGNAL_ACTION, SIGNAL_STACK, SYSTEM_INFORMATION, SYSTEM_NAME, TIMES,
};

pub fn pointees(call: &str, parameter: &str, is_compat: bool) -> Option<&'static [Pointee]> {
    let sized = match (call, parameter, is_compat) {
        ("getrlimit" | "ugetrlimit", "rlim", true) => const { &[written(Structure(&COMPAT_RESOURCE_LIMIT))] },
        ("setrlimit", "rlim", true) => const { &[given(Structure(&COMPAT_RESOURCE_LIMIT))] },
        (_, _, true) => return of_any_size(call, parameter),
        ("getrlimit", "rlim", false) => const { &[written(Structure(&RESOURCE_LIMIT))] },
        ("setrlimit", "rlim", false) => const { &[given(Structure(&RESOURCE_LIMIT))] },
        ("getrusage" | "wait4" | "waitid", "ru", false) => const { &[written(Structure(&RESOURCE_USAGE))] },
        ("waitid", "infop", false) => const { &[written(Structure(&CHILD_INFORMATION))] },
        ("sysinfo", "info", false) => const { &[written(Structure(&SYSTEM_INFORMATION))] },
        ("times", "tbuf", false) => const { &[written(Structure(&TIMES))] },
        ("rt_sigaction", "act", false) => const { &[given(Structure(&SIGNAL_ACTION))] },
        ("rt_sigaction", "oact", false) => const { &[written(Structure(&SIGNAL_ACTION))] },
        ("sigaltstack", "uss", false) => const { &[given(Structure(&SIGNAL_STACK))] },
        ("sigaltstack", "uoss", false) => const { &[written(Structure(&SIGNAL_STACK))] },
        _ => return of_any_size(call, parameter),
    };
    Some(sized)
}

fn of_any_size(call: &str, parameter: &str) -> Option<&'static [Pointee]> {
    Some(match (call, parameter) {
        ("execve" | "execveat", "filename") => const { &[given(Path)] },
        ("execve" | "execveat", "argv") => const { &[given(Texts), given(TextCount)] },
        ("execve" | "execveat", "envp") => const { &[given(TextCount)] },
        ("clone3", "uargs") => const { &[all_given(Structure(&CLONE_ARGUMENTS), Count::One)] },
        ("prlimit64", "new_rlim") => const { &[given(Structure(&RESOURCE_LIMIT))] },
        ("prlimit64", "old_rlim") => const { &[written(Structure(&RESOURCE_LIMIT))] },
        ("uname", "name") => const { &[written(Structure(&SYSTEM_NAME))] },
        ("sched_setscheduler" | "sched_setparam", "param") => const { &[given(Numbers(4, Signed))] },
        ("sched_getparam", "param") => const { &[written(Numbers(4, Signed))] },
        ("sched_setaffinity", "user_mask_ptr") => const { &[all_given(Cpus, Count::Argument(1))] },
        ("sched_getaffinity", "user_mask_ptr") => const { &[all_written(Cpus, Count::Result)] },
        ("rt_sigprocmask", "nset") => const { &[all_given(Signals, Count::Argument(3))] },
        ("rt_sigprocmask", "oset") => const { &[all_written(Signals, Count::Argument(3))] },
        ("rt_sigpending", "uset") => const { &[all_written(Signals, Count::Argument(1))] },
        ("rt_sigsuspend", "unewset") => const { &[all_given(Signals, Count::Argument(1))] },
        ("rt_sigtimedwait", "uthese") => const { &[all_given(Signals, Count::Argument(3))] },
        ("signalfd", "user_mask") | ("signalfd4", "user_mask") => {
            const { &[all_given(Signals, Count::Argument(2))] }
        }
        ("ppoll", "sigmask") => const { &[all_given(Signals, Count::Argument(4))] },
        ("epoll_pwait" | "epoll_pwait2", "sigmask") => const { &[all_given(Signals, Count::Argument(5))] },
        ("wait4" | "waitpid", "stat_addr") => const { &[written(ChildStatus)] },
        ("getgroups", "grouplist") => const { &[all_written(Numbers(4, Unsigned), Count::Result)] },
        ("setgroups", "grouplist") => const { &[all_given(Numbers(4, Unsigned), Count::Argument(0))] },
        ("getresuid", "ruidp" | "euidp" | "suidp") | ("getresgid", "rgidp" | "egidp" | "sgidp") => {
            const { &[written(Numbers(4, Unsigned))] }
        }
        ("clone" | "fork" | "vfork", "parent_tidptr") => const { &[written(Numbers(4, Signed))] },
        ("getcpu", "cpup" | "nodep") => const { &[written(Numbers(4, Unsigned))] },
        ("capget" | "capset", "header") => const { &[given(Structure(&CAPABILITY_HEADER))] },
        ("prctl", "arg2") => const { &[given(Text), written(Text)] },
        ("sethostname" | "setdomainname", "name") => {
            const { &[all_given(super::Content::Bytes, Count::Argument(1))] }
        }
        _ => return None,
    })
}
