//! Memory.

use nix::libc;

use crate::argument_type::ArgumentType;
use crate::constants::{Constants, constants};

const PROTECTION: Constants =
    constants![PROT_NONE PROT_READ PROT_WRITE PROT_EXEC PROT_GROWSDOWN PROT_GROWSUP];
const MAP_TYPE: Constants = constants![MAP_SHARED MAP_PRIVATE MAP_SHARED_VALIDATE];
const MAP: Constants = constants![
    MAP_FIXED_NOREPLACE MAP_FIXED MAP_ANONYMOUS MAP_GROWSDOWN MAP_DENYWRITE MAP_EXECUTABLE MAP_LOCKED
    MAP_NORESERVE MAP_POPULATE MAP_NONBLOCK MAP_STACK MAP_HUGETLB MAP_SYNC
];
const ADVICE: Constants = constants![
    MADV_NORMAL MADV_RANDOM MADV_SEQUENTIAL MADV_WILLNEED MADV_DONTNEED MADV_FREE MADV_REMOVE MADV_DONTFORK
    MADV_DOFORK MADV_MERGEABLE MADV_UNMERGEABLE MADV_HUGEPAGE MADV_NOHUGEPAGE MADV_DONTDUMP MADV_DODUMP
    MADV_WIPEONFORK MADV_KEEPONFORK MADV_COLD MADV_PAGEOUT MADV_POPULATE_READ MADV_POPULATE_WRITE;
    MADV_DONTNEED_LOCKED = 24 MADV_COLLAPSE = 25
];
const REMAP: Constants = constants![MREMAP_MAYMOVE MREMAP_FIXED MREMAP_DONTUNMAP];
const MLOCKALL: Constants = constants![MCL_CURRENT MCL_FUTURE MCL_ONFAULT];
const MSYNC: Constants = constants![MS_ASYNC MS_INVALIDATE MS_SYNC];
const MLOCK2: Constants = constants![MLOCK_ONFAULT];
const PKEY_ACCESS_RIGHTS: Constants = constants![; PKEY_DISABLE_ACCESS = 1 PKEY_DISABLE_WRITE = 2];
/// The flags that are combined with a policy (set_mempolicy(2)).
const POLICY_FLAGS: Constants = constants![MPOL_F_STATIC_NODES MPOL_F_RELATIVE_NODES MPOL_F_NUMA_BALANCING];
const POLICY_MASK: u64 = 0xfff;
const POLICY: Constants = constants![
    MPOL_DEFAULT MPOL_PREFERRED MPOL_BIND MPOL_INTERLEAVE MPOL_LOCAL;
    MPOL_PREFERRED_MANY = 5 MPOL_WEIGHTED_INTERLEAVE = 6
];
const NODE_POLICY: ArgumentType =
    ArgumentType::ConstantAndFlags { mask: POLICY_MASK, constants: POLICY, flags: POLICY_FLAGS };
// linux/mempolicy.h
const GET_MEMPOLICY: Constants = constants![; MPOL_F_NODE = 1 MPOL_F_ADDR = 2 MPOL_F_MEMS_ALLOWED = 4];
const MBIND: Constants = constants![; MPOL_MF_STRICT = 1 MPOL_MF_MOVE = 2 MPOL_MF_MOVE_ALL = 4];
const MEMFD: Constants = constants![MFD_CLOEXEC MFD_ALLOW_SEALING MFD_HUGETLB MFD_NOEXEC_SEAL MFD_EXEC];

pub fn argument_type(call: &str, parameter: &str) -> Option<ArgumentType> {
    Some(match (call, parameter) {
        ("mmap" | "mremap" | "munmap" | "brk", "addr" | "new_addr" | "brk") => ArgumentType::Address,
        (_, "start") => ArgumentType::Address,
        ("mmap" | "mprotect" | "pkey_mprotect", "prot") => ArgumentType::Flags(PROTECTION),
        ("mmap", "flags") => {
            ArgumentType::ConstantAndFlags { mask: libc::MAP_TYPE as u64, constants: MAP_TYPE, flags: MAP }
        }
        ("madvise" | "process_madvise", "behavior") => ArgumentType::Constant(ADVICE),
        ("mremap", "flags") => ArgumentType::Flags(REMAP),
        ("mlockall", "flags") => ArgumentType::Flags(MLOCKALL),
        ("msync", "flags") => ArgumentType::Flags(MSYNC),
        ("memfd_create", "flags") => ArgumentType::Flags(MEMFD),
        ("memfd_secret", "flags") => ArgumentType::Flags(constants![O_CLOEXEC]),
        ("mlock2", "flags") => ArgumentType::Flags(MLOCK2),
        ("pkey_alloc", "init_val") => ArgumentType::Flags(PKEY_ACCESS_RIGHTS),
        ("mbind" | "set_mempolicy", "mode") => NODE_POLICY,
        ("mbind" | "move_pages", "flags") => ArgumentType::Flags(MBIND),
        ("get_mempolicy", "flags") => ArgumentType::Flags(GET_MEMPOLICY),
        ("get_mempolicy", "addr") => ArgumentType::Address,
        _ => return None,
    })
}
