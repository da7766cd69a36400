//! Memory.

use nix::libc;

use crate::decode::meaning::Meaning;
use crate::names::{Names, names};

const PROTECTION: Names = names![PROT_NONE PROT_READ PROT_WRITE PROT_EXEC PROT_GROWSDOWN PROT_GROWSUP];
const SHARING: Names = names![MAP_SHARED MAP_PRIVATE MAP_SHARED_VALIDATE];
const MAP: Names = names![
    MAP_FIXED_NOREPLACE MAP_FIXED MAP_ANONYMOUS MAP_GROWSDOWN MAP_DENYWRITE MAP_EXECUTABLE MAP_LOCKED
    MAP_NORESERVE MAP_POPULATE MAP_NONBLOCK MAP_STACK MAP_HUGETLB MAP_SYNC
];
const ADVICE: Names = names![
    MADV_NORMAL MADV_RANDOM MADV_SEQUENTIAL MADV_WILLNEED MADV_DONTNEED MADV_FREE MADV_REMOVE MADV_DONTFORK
    MADV_DOFORK MADV_MERGEABLE MADV_UNMERGEABLE MADV_HUGEPAGE MADV_NOHUGEPAGE MADV_DONTDUMP MADV_DODUMP
    MADV_WIPEONFORK MADV_KEEPONFORK MADV_COLD MADV_PAGEOUT MADV_POPULATE_READ MADV_POPULATE_WRITE;
    MADV_DONTNEED_LOCKED = 24 MADV_COLLAPSE = 25
];
const REMAP: Names = names![MREMAP_MAYMOVE MREMAP_FIXED MREMAP_DONTUNMAP];
const LOCK: Names = names![MCL_CURRENT MCL_FUTURE MCL_ONFAULT];
const SYNC: Names = names![MS_ASYNC MS_INVALIDATE MS_SYNC];
const LOCK_SOME: Names = names![MLOCK_ONFAULT];
const KEY: Names = names![; PKEY_DISABLE_ACCESS = 1 PKEY_DISABLE_WRITE = 2];
/// What stands beside a policy (set_mempolicy(2)).
const POLICY_FLAGS: Names = names![MPOL_F_STATIC_NODES MPOL_F_RELATIVE_NODES MPOL_F_NUMA_BALANCING];
const POLICIES: u64 = 0xfff;
const POLICY: Names = names![
    MPOL_DEFAULT MPOL_PREFERRED MPOL_BIND MPOL_INTERLEAVE MPOL_LOCAL;
    MPOL_PREFERRED_MANY = 5 MPOL_WEIGHTED_INTERLEAVE = 6
];
const NODE_POLICY: Meaning = Meaning::OneAndFlags { mask: POLICIES, one: POLICY, flags: POLICY_FLAGS };
// linux/mempolicy.h
const ASKED: Names = names![; MPOL_F_NODE = 1 MPOL_F_ADDR = 2 MPOL_F_MEMS_ALLOWED = 4];
const MOVE: Names = names![; MPOL_MF_STRICT = 1 MPOL_MF_MOVE = 2 MPOL_MF_MOVE_ALL = 4];
const MEMFD: Names = names![MFD_CLOEXEC MFD_ALLOW_SEALING MFD_HUGETLB MFD_NOEXEC_SEAL MFD_EXEC];

pub fn meaning(call: &str, parameter: &str) -> Option<Meaning> {
    Some(match (call, parameter) {
        ("mmap" | "mremap" | "munmap" | "brk", "addr" | "new_addr" | "brk") => Meaning::Address,
        (_, "start") => Meaning::Address,
        ("mmap" | "mprotect" | "pkey_mprotect", "prot") => Meaning::Flags(PROTECTION),
        ("mmap", "flags") => Meaning::OneAndFlags { mask: libc::MAP_TYPE as u64, one: SHARING, flags: MAP },
        ("madvise" | "process_madvise", "behavior") => Meaning::One(ADVICE),
        ("mremap", "flags") => Meaning::Flags(REMAP),
        ("mlockall", "flags") => Meaning::Flags(LOCK),
        ("msync", "flags") => Meaning::Flags(SYNC),
        ("memfd_create", "flags") => Meaning::Flags(MEMFD),
        ("memfd_secret", "flags") => Meaning::Flags(names![O_CLOEXEC]),
        ("mlock2", "flags") => Meaning::Flags(LOCK_SOME),
        ("pkey_alloc", "init_val") => Meaning::Flags(KEY),
        ("mbind" | "set_mempolicy", "mode") => NODE_POLICY,
        ("mbind" | "move_pages", "flags") => Meaning::Flags(MOVE),
        ("get_mempolicy", "flags") => Meaning::Flags(ASKED),
        ("get_mempolicy", "addr") => Meaning::Address,
        _ => return None,
    })
}
