//! Process control: prctl(2), arch_prctl(2), ptrace(2).

use nix::libc;

use crate::argument_type::ArgumentType;
use crate::constants::{Constants, constants};

const OPTION: Constants = constants![
    PR_SET_PDEATHSIG PR_GET_PDEATHSIG PR_GET_DUMPABLE PR_SET_DUMPABLE PR_SET_KEEPCAPS PR_GET_KEEPCAPS PR_SET_NAME
    PR_GET_NAME PR_GET_SECCOMP PR_SET_SECCOMP PR_CAPBSET_READ PR_CAPBSET_DROP PR_GET_SECUREBITS PR_SET_SECUREBITS
    PR_SET_TIMERSLACK PR_GET_TIMERSLACK PR_SET_MM PR_SET_CHILD_SUBREAPER PR_GET_CHILD_SUBREAPER
    PR_SET_NO_NEW_PRIVS PR_GET_NO_NEW_PRIVS PR_CAP_AMBIENT PR_SET_VMA PR_SET_PTRACER
    PR_GET_TIMING PR_SET_TIMING PR_GET_TSC PR_SET_TSC PR_TASK_PERF_EVENTS_DISABLE PR_TASK_PERF_EVENTS_ENABLE PR_MCE_KILL
    PR_MCE_KILL_GET PR_GET_TID_ADDRESS PR_SET_THP_DISABLE PR_GET_THP_DISABLE PR_SCHED_CORE PR_SET_MDWE PR_GET_MDWE;
    PR_SVE_SET_VL = 50 PR_SVE_GET_VL = 51 PR_GET_SPECULATION_CTRL = 52 PR_SET_SPECULATION_CTRL = 53
    PR_PAC_RESET_KEYS = 54 PR_SET_TAGGED_ADDR_CTRL = 55 PR_GET_TAGGED_ADDR_CTRL = 56 PR_SET_IO_FLUSHER = 57
    PR_GET_IO_FLUSHER = 58 PR_SET_SYSCALL_USER_DISPATCH = 59 PR_PAC_SET_ENABLED_KEYS = 60 PR_PAC_GET_ENABLED_KEYS = 61
    PR_SME_SET_VL = 63 PR_SME_GET_VL = 64 PR_SET_MEMORY_MERGE = 67 PR_GET_MEMORY_MERGE = 68 PR_GET_AUXV = 0x4155_5856
];
// linux/sched/coredump.h
const SUID_DUMP: Constants = constants![; SUID_DUMP_DISABLE = 0 SUID_DUMP_USER = 1 SUID_DUMP_ROOT = 2];
const SECCOMP_MODE: Constants = constants![SECCOMP_MODE_DISABLED SECCOMP_MODE_STRICT SECCOMP_MODE_FILTER];
const PR_CAP_AMBIENT: Constants =
    constants![PR_CAP_AMBIENT_IS_SET PR_CAP_AMBIENT_RAISE PR_CAP_AMBIENT_LOWER PR_CAP_AMBIENT_CLEAR_ALL];
/// The second argument of prctl(2) depends on its option.
const OPTION_ARGUMENT: ArgumentType = ArgumentType::DependsOn {
    parameter: 0,
    types: &[
        (libc::PR_SET_PDEATHSIG, ArgumentType::Signal),
        (libc::PR_SET_DUMPABLE, ArgumentType::Constant(SUID_DUMP)),
        (libc::PR_SET_SECCOMP, ArgumentType::Constant(SECCOMP_MODE)),
        (libc::PR_CAP_AMBIENT, ArgumentType::Constant(PR_CAP_AMBIENT)),
        (libc::PR_SET_CHILD_SUBREAPER, ArgumentType::Int),
        (libc::PR_SET_NO_NEW_PRIVS, ArgumentType::Int),
        (libc::PR_SET_KEEPCAPS, ArgumentType::Int),
        (libc::PR_SET_TIMERSLACK, ArgumentType::UnsignedLong),
        (libc::PR_CAPBSET_READ, ArgumentType::Int),
        (libc::PR_CAPBSET_DROP, ArgumentType::Int),
    ],
    otherwise: &ArgumentType::Address,
};
// asm/prctl.h
#[cfg(target_arch = "x86_64")]
const ARCH_PRCTL: Constants = constants![;
    ARCH_SET_GS = 0x1001 ARCH_SET_FS = 0x1002 ARCH_GET_FS = 0x1003 ARCH_GET_GS = 0x1004 ARCH_GET_CPUID = 0x1011
    ARCH_SET_CPUID = 0x1012 ARCH_GET_XCOMP_SUPP = 0x1021 ARCH_GET_XCOMP_PERM = 0x1022 ARCH_REQ_XCOMP_PERM = 0x1023
    ARCH_SHSTK_ENABLE = 0x5001 ARCH_SHSTK_DISABLE = 0x5002 ARCH_SHSTK_LOCK = 0x5003 ARCH_SHSTK_UNLOCK = 0x5004
    ARCH_SHSTK_STATUS = 0x5005
];
/// Other architectures have no arch_prctl(2).
#[cfg(not(target_arch = "x86_64"))]
const ARCH_PRCTL: Constants = &[];
const PTRACE: Constants = constants![
    PTRACE_TRACEME PTRACE_PEEKTEXT PTRACE_PEEKDATA PTRACE_PEEKUSER PTRACE_POKETEXT PTRACE_POKEDATA PTRACE_POKEUSER
    PTRACE_CONT PTRACE_KILL PTRACE_SINGLESTEP PTRACE_ATTACH PTRACE_DETACH PTRACE_SYSCALL PTRACE_SETOPTIONS
    PTRACE_GETEVENTMSG PTRACE_GETSIGINFO PTRACE_SETSIGINFO PTRACE_GETREGSET PTRACE_SETREGSET PTRACE_SEIZE
    PTRACE_INTERRUPT PTRACE_LISTEN PTRACE_PEEKSIGINFO PTRACE_GETSIGMASK PTRACE_SETSIGMASK PTRACE_GET_SYSCALL_INFO
    PTRACE_SET_SYSCALL_INFO;
    PTRACE_SECCOMP_GET_FILTER = 0x420c PTRACE_SECCOMP_GET_METADATA = 0x420d PTRACE_GET_RSEQ_CONFIGURATION = 0x420f
];
const PTRACE_OPTIONS: Constants = constants![
    PTRACE_O_TRACESYSGOOD PTRACE_O_TRACEFORK PTRACE_O_TRACEVFORK PTRACE_O_TRACECLONE PTRACE_O_TRACEEXEC
    PTRACE_O_TRACEVFORKDONE PTRACE_O_TRACEEXIT PTRACE_O_TRACESECCOMP PTRACE_O_EXITKILL PTRACE_O_SUSPEND_SECCOMP
];
/// The last argument of ptrace(2) depends on its request.
const PTRACE_DATA: ArgumentType = ArgumentType::DependsOn {
    parameter: 0,
    types: &[
        (libc::PTRACE_SETOPTIONS as i32, ArgumentType::Flags(PTRACE_OPTIONS)),
        (libc::PTRACE_SEIZE as i32, ArgumentType::Flags(PTRACE_OPTIONS)),
        (libc::PTRACE_CONT as i32, ArgumentType::Signal),
        (libc::PTRACE_SYSCALL as i32, ArgumentType::Signal),
        (libc::PTRACE_SINGLESTEP as i32, ArgumentType::Signal),
        (libc::PTRACE_DETACH as i32, ArgumentType::Signal),
    ],
    otherwise: &ArgumentType::Address,
};

pub fn argument_type(call: &str, parameter: &str) -> Option<ArgumentType> {
    Some(match (call, parameter) {
        ("prctl", "option") => ArgumentType::Constant(OPTION),
        ("prctl", "arg2") => OPTION_ARGUMENT,
        ("prctl" | "arch_prctl", "arg2" | "arg3" | "arg4" | "arg5") => ArgumentType::Address,
        ("arch_prctl", "option") => ArgumentType::Constant(ARCH_PRCTL),
        ("ptrace", "request") => ArgumentType::Constant(PTRACE),
        ("ptrace", "data") => PTRACE_DATA,
        ("ptrace", "addr") => ArgumentType::Address,
        _ => return None,
    })
}
