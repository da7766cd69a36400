//! The constants that system calls take, by call and parameter.
//!
//! Their numbers are the C library's for this machine: not all architectures have the same.

mod control;
mod files;
mod ipc;
mod memory;
mod mounts;
mod network;
mod processes;
mod security;
mod time;

use super::meaning::Meaning;

/// What this parameter of this call means, if it is more than its type tells.
pub fn meaning(call: &str, parameter: &str) -> Option<Meaning> {
    let all = [
        control::meaning,
        files::meaning,
        ipc::meaning,
        memory::meaning,
        mounts::meaning,
        network::meaning,
        processes::meaning,
        security::meaning,
        time::meaning,
    ];
    all.into_iter().find_map(|some| some(call, parameter))
}
