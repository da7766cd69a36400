//! The capabilities of a worker (capabilities(7)).

use std::fs::read_link;
use std::path::Path;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use trace_hook_api::Capabilities;

/// What tracing can take, and other plugins than ours may need. Not among them is what would only serve to change the
/// machine: its clock, its modules, its users, its devices.
const FOR_TRACING: [Capability; 12] = [
    // tracefs, its mount, and what older kernels have no finer capability for.
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    // perf events, eBPF, and eBPF on the network.
    Capability::CAP_PERFMON,
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    // Other processes' memory maps, for the names of their functions; the kernel's own names.
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_CHECKPOINT_RESTORE,
    Capability::CAP_SYSLOG,
    // Large buffers, descriptors for many events, and not to be late for them.
    Capability::CAP_IPC_LOCK,
    Capability::CAP_SYS_RESOURCE,
    Capability::CAP_SYS_NICE,
];

/// The number of the initial user namespace is fixed in the kernel (`PROC_USER_INIT_INO` in include/linux/proc_ns.h).
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// Those for tracing that this process has, and a worker that traces will have. In a user namespace of its own a process
/// may have all of them, and none counts for the kernel that is traced.
pub fn for_tracing() -> Capabilities {
    let counts = read_link("/proc/self/ns/user").is_ok_and(|link| link == Path::new(INITIAL_USER_NAMESPACE));
    let has = caps::read(None, CapSet::Effective).unwrap_or_default();
    let bits = FOR_TRACING.iter().filter(|capability| counts && has.contains(capability));
    Capabilities::from_bits(bits.map(Capability::bitmask).sum())
}

/// Leaves none. None comes back, for a process without new privileges (PR_SET_NO_NEW_PRIVS(2const)) gets none by executing
/// a program.
pub fn drop_all() -> Result<(), CapsError> {
    // The ambient set shrinks with these; the effective one goes with the permitted one.
    caps::clear(None, CapSet::Inheritable)?;
    caps::clear(None, CapSet::Permitted)
}

/// Leaves those for tracing, of those that there are.
pub fn keep_those_for_tracing() -> Result<(), CapsError> {
    let for_tracing = CapsHashSet::from(FOR_TRACING);
    // Permitted comes last: the others cannot have what it has not.
    for set in [CapSet::Effective, CapSet::Inheritable, CapSet::Permitted] {
        let kept = caps::read(None, set)?.intersection(&for_tracing).copied().collect();
        caps::set(None, set, &kept)?;
    }
    Ok(())
}
