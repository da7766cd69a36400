//! The types of the parameters and of the result of each system call.

use crate::argument_type::ArgumentType;
use crate::parameters;

/// The type of a parameter, by the names and the C type the kernel has for it (events/syscalls/sys_enter_CALL/format).
pub fn argument_type(call: &str, parameter: &str, c_type: &str) -> ArgumentType {
    let by_c_type = ArgumentType::of_c_type(c_type);
    match parameters::argument_type(call, parameter) {
        Some(from_tables) => from_tables,
        None if by_c_type != ArgumentType::Address && is_descriptor(parameter) => ArgumentType::Int,
        None => by_c_type,
    }
}

/// Whether a parameter is a file descriptor: the kernel reads it as an `int`, whatever its declared type. `close_range`
/// takes a range of numbers up to `max_fd`.
fn is_descriptor(parameter: &str) -> bool {
    (parameter.starts_with("fd") || parameter.ends_with("fd")) && parameter != "max_fd"
}

/// Whether the kernel reports no return of a call, because it does not return to its caller.
pub fn never_returns(call: &str) -> bool {
    ["exit", "exit_group", "rt_sigreturn", "sigreturn"].contains(&call)
}

/// The calls whose result is an address.
pub const CALLS_THAT_RETURN_ADDRESSES: [&str; 4] = ["mmap", "mremap", "brk", "shmat"];

/// Whether the result of a call is an address.
pub fn returns_address(call: &str) -> bool {
    CALLS_THAT_RETURN_ADDRESSES.contains(&call)
}
