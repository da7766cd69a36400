//! The parameters of system calls that take constants, with one table for each subsystem.

mod control;
mod files;
mod ipc;
mod memory;
mod mounts;
mod network;
mod processes;
mod security;
mod time;

use crate::argument_type::ArgumentType;

/// The type of a parameter, if it is more specific than its C type.
pub fn argument_type(call: &str, parameter: &str) -> Option<ArgumentType> {
    let tables = [
        control::argument_type,
        files::argument_type,
        ipc::argument_type,
        memory::argument_type,
        mounts::argument_type,
        network::argument_type,
        processes::argument_type,
        security::argument_type,
        time::argument_type,
    ];
    tables.into_iter().find_map(|table| table(call, parameter))
}
