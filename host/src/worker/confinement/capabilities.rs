//! The capabilities of a worker (capabilities(7)).

use std::fs::read_link;
use std::path::Path;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use trace_hook_api::Capabilities;

/// The capabilities that tracing plugins may need. Those that change the machine (its clock, modules, users, devices)
/// are not among them.
const FOR_TRACING: [Capability; 12] = [
    // tracefs, mounting it, and perf and eBPF on kernels without CAP_PERFMON and CAP_BPF.
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    // perf events, eBPF, and eBPF on the network.
    Capability::CAP_PERFMON,
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    // Memory maps of other processes, to resolve symbols; kernel symbols.
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_CHECKPOINT_RESTORE,
    Capability::CAP_SYSLOG,
    // Large buffers, many descriptors, and a higher priority.
    Capability::CAP_IPC_LOCK,
    Capability::CAP_SYS_RESOURCE,
    Capability::CAP_SYS_NICE,
];

/// The number of the initial user namespace is fixed in the kernel (`PROC_USER_INIT_INO` in include/linux/proc_ns.h).
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// The capabilities for tracing that this process has, and that a worker which traces will have. None in a user
/// namespace other than the initial one, where capabilities are of no use for tracing.
pub fn for_tracing() -> Capabilities {
    let is_initial =
        read_link("/proc/self/ns/user").is_ok_and(|link| link == Path::new(INITIAL_USER_NAMESPACE));
    let has = caps::read(None, CapSet::Effective).unwrap_or_default();
    let bits = FOR_TRACING.iter().filter(|capability| is_initial && has.contains(capability));
    Capabilities::from_bits(bits.map(Capability::bitmask).sum())
}

/// Drops all capabilities. With PR_SET_NO_NEW_PRIVS(2const), the process cannot regain them by executing a program.
pub fn drop_all() -> Result<(), CapsError> {
    // Clearing these also clears the ambient and the effective set.
    caps::clear(None, CapSet::Inheritable)?;
    caps::clear(None, CapSet::Permitted)
}

/// Drops all capabilities except those for tracing.
pub fn keep_those_for_tracing() -> Result<(), CapsError> {
    let for_tracing = CapsHashSet::from(FOR_TRACING);
    // Permitted comes last: the other sets cannot exceed it.
    for set in [CapSet::Effective, CapSet::Inheritable, CapSet::Permitted] {
        let kept = caps::read(None, set)?.intersection(&for_tracing).copied().collect();
        caps::set(None, set, &kept)?;
    }
    Ok(())
}
