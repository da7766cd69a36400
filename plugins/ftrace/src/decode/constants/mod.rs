//! The constants that system calls take, by call and parameter.
//!
//! Their numbers are the C library's for this machine: not all architectures have the same.

mod files;
mod memory;
mod network;
mod processes;
mod time;

use super::meaning::Meaning;

/// What this parameter of this call means, if it is more than its type tells.
pub fn meaning(call: &str, parameter: &str) -> Option<Meaning> {
    files::meaning(call, parameter)
        .or_else(|| memory::meaning(call, parameter))
        .or_else(|| network::meaning(call, parameter))
        .or_else(|| processes::meaning(call, parameter))
        .or_else(|| time::meaning(call, parameter))
}
