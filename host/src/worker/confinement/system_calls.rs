//! The system calls that a worker may make (seccomp(2)).
//!
//! This is an allow list, so system calls that future kernels add are forbidden. A forbidden call fails with EPERM.

use nix::libc::{self, c_long};

use super::filter::{self, Check, Rule};

/// Calls that read files, use open descriptors, manage memory and threads, wait, and query the process.
const ALLOWED: &[c_long] = &[
    // Files
    libc::SYS_chdir,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fchdir,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_umask,
    libc::SYS_write,
    libc::SYS_writev,
    // Memory
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_mseal,
    libc::SYS_munmap,
    // Threads
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    // Waiting
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_wait4,
    libc::SYS_waitid,
    // Signals of the process itself
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd4,
    // Queries
    libc::SYS_capget,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_getsid,
    libc::SYS_getuid,
    libc::SYS_sysinfo,
    libc::SYS_times,
    libc::SYS_uname,
];

/// Older variants of these calls, which only x86-64 has.
#[cfg(target_arch = "x86_64")]
const ALSO_ALLOWED: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_getdents,
    libc::SYS_getpgrp,
    libc::SYS_lstat,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const ALSO_ALLOWED: &[c_long] = &[];

/// These take their flags from memory, which a filter cannot read. They fail with ENOSYS, so that callers use the older
/// calls.
const UNKNOWN: [c_long; 2] = [libc::SYS_clone3, libc::SYS_openat2];

const WRITING: i32 = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;

const NEW_NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

const FCNTL_COMMANDS: [i32; 7] = [
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_GET_SEALS,
];

/// Without `FS_IOC_SETFLAGS`, which changes a file that is open for reading, and `PERF_EVENT_IOC_SET_BPF`.
const IOCTL_COMMANDS: [u32; 10] = [
    libc::TCGETS as u32,
    libc::TIOCGWINSZ as u32,
    libc::FIONREAD as u32,
    libc::FIONBIO as u32,
    libc::FIOCLEX as u32,
    libc::FIONCLEX as u32,
    // PERF_EVENT_IOC_ENABLE, _DISABLE, _RESET, _ID (linux/perf_event.h)
    0x2400,
    0x2401,
    0x2403,
    0x8008_2407,
];

/// Memory allocators use PR_SET_VMA to name their mappings.
const PRCTL_OPTIONS: [i32; 6] = [
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_CAPBSET_READ,
    libc::PR_GET_DUMPABLE,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_SET_VMA,
];

/// BPF_MAP_CREATE, _LOOKUP_ELEM, _UPDATE_ELEM, _DELETE_ELEM, _GET_NEXT_KEY, BPF_PROG_LOAD, BPF_OBJ_GET_INFO_BY_FD and
/// BPF_BTF_LOAD (linux/bpf.h): enough to test whether a program loads, without attaching or pinning it.
const BPF_COMMANDS: [u32; 8] = [0, 1, 2, 3, 4, 5, 15, 18];

/// Forbids all other system calls to this process.
pub fn allow_harmless() -> nix::Result<()> {
    let harmless = [ALLOWED, ALSO_ALLOWED].concat().into_iter().map(|call| (call, Rule::Allow));
    let unknown = UNKNOWN.into_iter().map(|call| (call, Rule::Unknown));
    let mut program = filter::compile(harmless.chain(unknown).chain(depending_on_arguments()));
    filter::install(&mut program)
}

fn depending_on_arguments() -> impl Iterator<Item = (c_long, Rule)> {
    let own_pid = std::process::id();
    let [address_high, address_low] = Check::null(4);
    let [limits_high, limits_low] = Check::null(2);
    let rules = [
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, vec![Check::flags(1, WRITING, 0)]),
        (libc::SYS_openat, vec![Check::flags(2, WRITING, 0)]),
        (libc::SYS_fcntl, vec![Check::int(1, FCNTL_COMMANDS.map(i32::cast_unsigned))]),
        (libc::SYS_ioctl, vec![Check::int(1, IOCTL_COMMANDS)]),
        (libc::SYS_prctl, vec![Check::int(0, PRCTL_OPTIONS.map(i32::cast_unsigned))]),
        // Without an address, so only connected sockets can send.
        (libc::SYS_sendto, vec![address_high, address_low]),
        // Threads, but no processes.
        (libc::SYS_clone, vec![Check::flags(0, libc::CLONE_THREAD | NEW_NAMESPACES, libc::CLONE_THREAD)]),
        (libc::SYS_kill, vec![Check::int(0, [own_pid])]),
        (libc::SYS_tgkill, vec![Check::int(0, [own_pid])]),
        // Reading the limits of the process itself.
        (libc::SYS_prlimit64, vec![Check::int(0, [0]), limits_high, limits_low]),
        // Of the process itself.
        (libc::SYS_perf_event_open, vec![Check::int(1, [0])]),
        (libc::SYS_bpf, vec![Check::int(0, BPF_COMMANDS)]),
    ];
    rules.into_iter().map(|(call, checks)| (call, Rule::If(checks)))
}
