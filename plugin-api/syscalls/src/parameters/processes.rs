//! Processes, threads and signals.

use crate::argument_type::ArgumentType;
use crate::clone_flags::CLONE_FLAGS;
use crate::constants::{Constants, constants};

/// The lowest byte of the flags of clone(2) is the termination signal of the child (`CSIGNAL`).
const CSIGNAL: u64 = 0xff;
const EXIT_SIGNALS: Constants = &[(nix::libc::SIGCHLD as u64, "SIGCHLD"), (0, "0")];
const SIGPROCMASK: Constants = constants![SIG_BLOCK SIG_UNBLOCK SIG_SETMASK];
const WAIT: Constants = constants![WNOHANG WUNTRACED WEXITED WCONTINUED WNOWAIT __WNOTHREAD __WALL __WCLONE];
const IDTYPE: Constants = constants![P_ALL P_PID P_PGID P_PIDFD];
const RLIMIT: Constants = constants![
    RLIMIT_CPU RLIMIT_FSIZE RLIMIT_DATA RLIMIT_STACK RLIMIT_CORE RLIMIT_RSS RLIMIT_NPROC RLIMIT_NOFILE
    RLIMIT_MEMLOCK RLIMIT_AS RLIMIT_LOCKS RLIMIT_SIGPENDING RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_RTTIME
];
const POLICY: Constants =
    constants![SCHED_OTHER SCHED_FIFO SCHED_RR SCHED_BATCH SCHED_IDLE SCHED_DEADLINE; SCHED_EXT = 7];
const POLICY_FLAG: Constants = constants![SCHED_RESET_ON_FORK];
/// The flag that is combined with a policy (sched_setscheduler(2)).
const RESET_ON_FORK: u64 = 0x4000_0000;
/// The flags that are combined with a futex operation (futex(2)).
const FUTEX_FLAGS: u64 = 0x180;
const FUTEX: Constants = constants![
    FUTEX_WAIT FUTEX_WAKE FUTEX_REQUEUE FUTEX_CMP_REQUEUE FUTEX_WAKE_OP FUTEX_LOCK_PI FUTEX_UNLOCK_PI
    FUTEX_TRYLOCK_PI FUTEX_WAIT_BITSET FUTEX_WAKE_BITSET FUTEX_WAIT_REQUEUE_PI FUTEX_CMP_REQUEUE_PI
];
const FUTEX_FLAG: Constants = constants![FUTEX_PRIVATE_FLAG FUTEX_CLOCK_REALTIME];
const RANDOM: Constants = constants![GRND_NONBLOCK GRND_RANDOM];
const PRIORITY: Constants = constants![PRIO_PROCESS PRIO_PGRP PRIO_USER];
const RUSAGE: Constants = constants![RUSAGE_SELF RUSAGE_CHILDREN RUSAGE_THREAD];
// linux/perf_event.h
const PERF_EVENT: Constants = constants![;
    PERF_FLAG_FD_NO_GROUP = 1 PERF_FLAG_FD_OUTPUT = 2 PERF_FLAG_PID_CGROUP = 4 PERF_FLAG_FD_CLOEXEC = 8
];
// linux/userfaultfd.h
const USERFAULTFD: Constants = constants![O_CLOEXEC O_NONBLOCK; UFFD_USER_MODE_ONLY = 1];
// linux/pidfd.h
const PIDFD_OPEN: Constants = constants![PIDFD_NONBLOCK PIDFD_THREAD];
const PIDFD_SIGNAL: Constants =
    constants![; PIDFD_SIGNAL_THREAD = 1 PIDFD_SIGNAL_THREAD_GROUP = 2 PIDFD_SIGNAL_PROCESS_GROUP = 4];
// linux/futex.h
const FUTEX2_SIZE_MASK: u64 = 0x3;
const FUTEX2_SIZE: Constants =
    constants![; FUTEX2_SIZE_U8 = 0 FUTEX2_SIZE_U16 = 1 FUTEX2_SIZE_U32 = 2 FUTEX2_SIZE_U64 = 3];
const FUTEX2: Constants = constants![; FUTEX2_NUMA = 0x4 FUTEX2_MPOL = 0x8 FUTEX2_PRIVATE = 0x80];
// linux/ioprio.h
const IOPRIO_WHO: Constants = constants![; IOPRIO_WHO_PROCESS = 1 IOPRIO_WHO_PGRP = 2 IOPRIO_WHO_USER = 3];
// linux/kcmp.h
const KCMP: Constants = constants![;
    KCMP_FILE = 0 KCMP_VM = 1 KCMP_FILES = 2 KCMP_FS = 3 KCMP_SIGHAND = 4 KCMP_IO = 5 KCMP_SYSVSEM = 6 KCMP_EPOLL_TFD = 7
];
// linux/membarrier.h
const MEMBARRIER: Constants = constants![;
    MEMBARRIER_CMD_QUERY = 0 MEMBARRIER_CMD_GLOBAL = 0x1 MEMBARRIER_CMD_GLOBAL_EXPEDITED = 0x2
    MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED = 0x4 MEMBARRIER_CMD_PRIVATE_EXPEDITED = 0x8
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED = 0x10 MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE = 0x20
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 0x40 MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ = 0x80
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ = 0x100 MEMBARRIER_CMD_GET_REGISTRATIONS = 0x200
];
const MEMBARRIER_FLAGS: Constants = constants![; MEMBARRIER_CMD_FLAG_CPU = 1];
// linux/rseq.h
const RSEQ: Constants = constants![; RSEQ_FLAG_UNREGISTER = 1];
const REBOOT_MAGIC: Constants = constants![LINUX_REBOOT_MAGIC1];
const REBOOT_MAGIC_2: Constants =
    constants![LINUX_REBOOT_MAGIC2 LINUX_REBOOT_MAGIC2A LINUX_REBOOT_MAGIC2B LINUX_REBOOT_MAGIC2C];
const REBOOT: Constants = constants![
    LINUX_REBOOT_CMD_RESTART LINUX_REBOOT_CMD_HALT LINUX_REBOOT_CMD_CAD_ON LINUX_REBOOT_CMD_CAD_OFF
    LINUX_REBOOT_CMD_POWER_OFF LINUX_REBOOT_CMD_RESTART2 LINUX_REBOOT_CMD_SW_SUSPEND LINUX_REBOOT_CMD_KEXEC
];
// linux/syslog.h
const SYSLOG_ACTION: Constants = constants![;
    SYSLOG_ACTION_CLOSE = 0 SYSLOG_ACTION_OPEN = 1 SYSLOG_ACTION_READ = 2 SYSLOG_ACTION_READ_ALL = 3
    SYSLOG_ACTION_READ_CLEAR = 4 SYSLOG_ACTION_CLEAR = 5 SYSLOG_ACTION_CONSOLE_OFF = 6 SYSLOG_ACTION_CONSOLE_ON = 7
    SYSLOG_ACTION_CONSOLE_LEVEL = 8 SYSLOG_ACTION_SIZE_UNREAD = 9 SYSLOG_ACTION_SIZE_BUFFER = 10
];
pub fn argument_type(call: &str, parameter: &str) -> Option<ArgumentType> {
    Some(match (call, parameter) {
        ("kill" | "tkill" | "tgkill" | "rt_sigaction" | "rt_sigqueueinfo" | "pidfd_send_signal", "sig") => {
            ArgumentType::Signal
        }
        ("rt_sigprocmask", "how") => ArgumentType::Constant(SIGPROCMASK),
        ("clone", "clone_flags") => {
            ArgumentType::ConstantAndFlags { mask: CSIGNAL, constants: EXIT_SIGNALS, flags: CLONE_FLAGS }
        }
        ("clone", "newsp" | "tls") => ArgumentType::Address,
        ("unshare", "unshare_flags") | ("setns", "flags") => ArgumentType::Flags(CLONE_FLAGS),
        ("wait4" | "waitid", "options") => ArgumentType::Flags(WAIT),
        ("waitid", "which") => ArgumentType::Constant(IDTYPE),
        ("prlimit64" | "getrlimit" | "setrlimit", "resource") => ArgumentType::Constant(RLIMIT),
        ("sched_setscheduler", "policy") => ArgumentType::ConstantAndFlags {
            mask: !RESET_ON_FORK & 0xffff_ffff,
            constants: POLICY,
            flags: POLICY_FLAG,
        },
        ("sched_get_priority_max" | "sched_get_priority_min", "policy") => ArgumentType::Constant(POLICY),
        ("futex", "op") => ArgumentType::ConstantAndFlags {
            mask: !FUTEX_FLAGS & 0xffff_ffff,
            constants: FUTEX,
            flags: FUTEX_FLAG,
        },
        ("getrandom", "flags") => ArgumentType::Flags(RANDOM),
        ("getpriority" | "setpriority", "which") => ArgumentType::Constant(PRIORITY),
        ("getrusage", "who") => ArgumentType::Constant(RUSAGE),
        ("perf_event_open", "flags") => ArgumentType::Flags(PERF_EVENT),
        ("userfaultfd", "flags") => ArgumentType::Flags(USERFAULTFD),
        ("pidfd_open", "flags") => ArgumentType::Flags(PIDFD_OPEN),
        ("pidfd_send_signal", "flags") => ArgumentType::Flags(PIDFD_SIGNAL),
        ("futex_wait" | "futex_wake", "flags") => {
            ArgumentType::ConstantAndFlags { mask: FUTEX2_SIZE_MASK, constants: FUTEX2_SIZE, flags: FUTEX2 }
        }
        ("ioprio_get" | "ioprio_set", "which") => ArgumentType::Constant(IOPRIO_WHO),
        ("kcmp", "type") => ArgumentType::Constant(KCMP),
        ("membarrier", "cmd") => ArgumentType::Constant(MEMBARRIER),
        ("membarrier", "flags") => ArgumentType::Flags(MEMBARRIER_FLAGS),
        ("rseq", "flags") => ArgumentType::Flags(RSEQ),
        ("reboot", "magic1") => ArgumentType::Constant(REBOOT_MAGIC),
        ("reboot", "magic2") => ArgumentType::Constant(REBOOT_MAGIC_2),
        ("reboot", "cmd") => ArgumentType::Constant(REBOOT),
        ("syslog", "type") => ArgumentType::Constant(SYSLOG_ACTION),
        _ => return None,
    })
}
