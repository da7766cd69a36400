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
    MADV_WIPEONFORK MADV_KEEPONFORK MADV_COLD MADV_PAGEOUT MADV_POPULATE_READ MADV_POPULATE_WRITE
];
const REMAP: Names = names![MREMAP_MAYMOVE MREMAP_FIXED MREMAP_DONTUNMAP];
const LOCK: Names = names![MCL_CURRENT MCL_FUTURE MCL_ONFAULT];
const SYNC: Names = names![MS_ASYNC MS_INVALIDATE MS_SYNC];
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
        _ => return None,
    })
}
