//! Processes, threads and signals.

use nix::libc;

use crate::decode::meaning::Meaning;
use crate::names::{CLONE_FLAGS, Names, names};

/// The signal that a child's end sends is in the lowest byte of clone's flags (clone(2)).
const EXIT_SIGNAL: u64 = 0xff;
const EXIT_SIGNALS: Names = &[(nix::libc::SIGCHLD as u64, "SIGCHLD"), (0, "0")];
const MASK: Names = names![SIG_BLOCK SIG_UNBLOCK SIG_SETMASK];
const WAIT: Names = names![WNOHANG WUNTRACED WEXITED WCONTINUED WNOWAIT __WNOTHREAD __WALL __WCLONE];
const WHOM: Names = names![P_ALL P_PID P_PGID P_PIDFD];
const LIMIT: Names = names![
    RLIMIT_CPU RLIMIT_FSIZE RLIMIT_DATA RLIMIT_STACK RLIMIT_CORE RLIMIT_RSS RLIMIT_NPROC RLIMIT_NOFILE
    RLIMIT_MEMLOCK RLIMIT_AS RLIMIT_LOCKS RLIMIT_SIGPENDING RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_RTTIME
];
const POLICY: Names = names![SCHED_OTHER SCHED_FIFO SCHED_RR SCHED_BATCH SCHED_IDLE SCHED_DEADLINE];
const OPTION: Names = names![
    PR_SET_PDEATHSIG PR_GET_PDEATHSIG PR_GET_DUMPABLE PR_SET_DUMPABLE PR_SET_KEEPCAPS PR_GET_KEEPCAPS PR_SET_NAME
    PR_GET_NAME PR_GET_SECCOMP PR_SET_SECCOMP PR_CAPBSET_READ PR_CAPBSET_DROP PR_GET_SECUREBITS PR_SET_SECUREBITS
    PR_SET_TIMERSLACK PR_GET_TIMERSLACK PR_SET_MM PR_SET_CHILD_SUBREAPER PR_GET_CHILD_SUBREAPER
    PR_SET_NO_NEW_PRIVS PR_GET_NO_NEW_PRIVS PR_CAP_AMBIENT PR_SET_VMA PR_SET_PTRACER
];
/// The flags beside a futex's operation (futex(2)).
const FUTEX_FLAGS: u64 = 0x180;
const FUTEX: Names = names![
    FUTEX_WAIT FUTEX_WAKE FUTEX_REQUEUE FUTEX_CMP_REQUEUE FUTEX_WAKE_OP FUTEX_LOCK_PI FUTEX_UNLOCK_PI
    FUTEX_TRYLOCK_PI FUTEX_WAIT_BITSET FUTEX_WAKE_BITSET FUTEX_WAIT_REQUEUE_PI FUTEX_CMP_REQUEUE_PI
];
const FUTEX_FLAG: Names = names![FUTEX_PRIVATE_FLAG FUTEX_CLOCK_REALTIME];
const RANDOM: Names = names![GRND_NONBLOCK GRND_RANDOM];
const PRIORITY: Names = names![PRIO_PROCESS PRIO_PGRP PRIO_USER];
const USAGE: Names = names![RUSAGE_SELF RUSAGE_CHILDREN RUSAGE_THREAD];
// linux/perf_event.h
const PERF_EVENT: Names = names![;
    PERF_FLAG_FD_NO_GROUP = 1 PERF_FLAG_FD_OUTPUT = 2 PERF_FLAG_PID_CGROUP = 4 PERF_FLAG_FD_CLOEXEC = 8
];
// linux/userfaultfd.h
const USERFAULT: Names = names![O_CLOEXEC O_NONBLOCK; UFFD_USER_MODE_ONLY = 1];
// linux/bpf.h
const BPF: Names = names![;
    BPF_MAP_CREATE = 0 BPF_MAP_LOOKUP_ELEM = 1 BPF_MAP_UPDATE_ELEM = 2 BPF_MAP_DELETE_ELEM = 3 BPF_MAP_GET_NEXT_KEY = 4
    BPF_PROG_LOAD = 5 BPF_OBJ_PIN = 6 BPF_OBJ_GET = 7 BPF_PROG_ATTACH = 8 BPF_PROG_DETACH = 9 BPF_PROG_TEST_RUN = 10
    BPF_PROG_GET_NEXT_ID = 11 BPF_MAP_GET_NEXT_ID = 12 BPF_PROG_GET_FD_BY_ID = 13 BPF_MAP_GET_FD_BY_ID = 14
    BPF_OBJ_GET_INFO_BY_FD = 15 BPF_PROG_QUERY = 16 BPF_RAW_TRACEPOINT_OPEN = 17 BPF_BTF_LOAD = 18 BPF_BTF_GET_FD_BY_ID = 19
    BPF_TASK_FD_QUERY = 20 BPF_MAP_LOOKUP_AND_DELETE_ELEM = 21 BPF_MAP_FREEZE = 22 BPF_BTF_GET_NEXT_ID = 23
    BPF_MAP_LOOKUP_BATCH = 24 BPF_MAP_LOOKUP_AND_DELETE_BATCH = 25 BPF_MAP_UPDATE_BATCH = 26 BPF_MAP_DELETE_BATCH = 27
    BPF_LINK_CREATE = 28 BPF_LINK_UPDATE = 29 BPF_LINK_GET_FD_BY_ID = 30 BPF_LINK_GET_NEXT_ID = 31 BPF_ENABLE_STATS = 32
    BPF_ITER_CREATE = 33 BPF_LINK_DETACH = 34 BPF_PROG_BIND_MAP = 35 BPF_TOKEN_CREATE = 36
];
const SECCOMP: Names = names![SECCOMP_SET_MODE_STRICT SECCOMP_SET_MODE_FILTER SECCOMP_GET_ACTION_AVAIL];
const PTRACE: Names = names![
    PTRACE_TRACEME PTRACE_PEEKTEXT PTRACE_PEEKDATA PTRACE_PEEKUSER PTRACE_POKETEXT PTRACE_POKEDATA PTRACE_POKEUSER
    PTRACE_CONT PTRACE_KILL PTRACE_SINGLESTEP PTRACE_ATTACH PTRACE_DETACH PTRACE_SYSCALL PTRACE_SETOPTIONS
    PTRACE_GETEVENTMSG PTRACE_GETSIGINFO PTRACE_SETSIGINFO PTRACE_GETREGSET PTRACE_SETREGSET PTRACE_SEIZE
    PTRACE_INTERRUPT PTRACE_LISTEN PTRACE_PEEKSIGINFO PTRACE_GETSIGMASK PTRACE_SETSIGMASK PTRACE_GET_SYSCALL_INFO
    PTRACE_SET_SYSCALL_INFO;
    PTRACE_SECCOMP_GET_FILTER = 0x420c PTRACE_SECCOMP_GET_METADATA = 0x420d PTRACE_GET_RSEQ_CONFIGURATION = 0x420f
];
const PTRACE_OPTIONS: Names = names![
    PTRACE_O_TRACESYSGOOD PTRACE_O_TRACEFORK PTRACE_O_TRACEVFORK PTRACE_O_TRACECLONE PTRACE_O_TRACEEXEC
    PTRACE_O_TRACEVFORKDONE PTRACE_O_TRACEEXIT PTRACE_O_TRACESECCOMP PTRACE_O_EXITKILL PTRACE_O_SUSPEND_SECCOMP
];
/// What ptrace(2) takes last.
const PTRACE_DATA: Meaning = Meaning::By {
    parameter: 0,
    meanings: &[
        (libc::PTRACE_SETOPTIONS as i32, Meaning::Flags(PTRACE_OPTIONS)),
        (libc::PTRACE_SEIZE as i32, Meaning::Flags(PTRACE_OPTIONS)),
        (libc::PTRACE_CONT as i32, Meaning::Signal),
        (libc::PTRACE_SYSCALL as i32, Meaning::Signal),
        (libc::PTRACE_SINGLESTEP as i32, Meaning::Signal),
        (libc::PTRACE_DETACH as i32, Meaning::Signal),
    ],
    otherwise: &Meaning::Address,
};

pub fn meaning(call: &str, parameter: &str) -> Option<Meaning> {
    Some(match (call, parameter) {
        ("kill" | "tkill" | "tgkill" | "rt_sigaction" | "rt_sigqueueinfo" | "pidfd_send_signal", "sig") => {
            Meaning::Signal
        }
        ("rt_sigprocmask", "how") => Meaning::One(MASK),
        ("clone", "clone_flags") => {
            Meaning::OneAndFlags { mask: EXIT_SIGNAL, one: EXIT_SIGNALS, flags: CLONE_FLAGS }
        }
        ("clone", "newsp" | "tls") => Meaning::Address,
        ("unshare", "unshare_flags") | ("setns", "flags") => Meaning::Flags(CLONE_FLAGS),
        ("wait4" | "waitid", "options") => Meaning::Flags(WAIT),
        ("waitid", "which") => Meaning::One(WHOM),
        ("prlimit64" | "getrlimit" | "setrlimit", "resource") => Meaning::One(LIMIT),
        ("sched_setscheduler", "policy") => Meaning::One(POLICY),
        ("prctl", "option") => Meaning::One(OPTION),
        ("prctl" | "arch_prctl", "arg2" | "arg3" | "arg4" | "arg5") => Meaning::Address,
        ("ptrace", "request") => Meaning::One(PTRACE),
        ("ptrace", "data") => PTRACE_DATA,
        ("ptrace", "addr") => Meaning::Address,
        // Serial numbers of keys, some of which are negative.
        ("keyctl", "arg2" | "arg3" | "arg4" | "arg5") => Meaning::Long,
        ("futex", "op") => {
            Meaning::OneAndFlags { mask: !FUTEX_FLAGS & 0xffff_ffff, one: FUTEX, flags: FUTEX_FLAG }
        }
        ("getrandom", "flags") => Meaning::Flags(RANDOM),
        ("getpriority" | "setpriority", "which") => Meaning::One(PRIORITY),
        ("getrusage", "who") => Meaning::One(USAGE),
        ("perf_event_open", "flags") => Meaning::Flags(PERF_EVENT),
        ("userfaultfd", "flags") => Meaning::Flags(USERFAULT),
        ("bpf", "cmd") => Meaning::One(BPF),
        ("seccomp", "op") => Meaning::One(SECCOMP),
        _ => return None,
    })
}
