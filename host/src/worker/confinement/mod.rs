//! What a worker gives up before it loads a plugin: a library's constructors run when it is loaded.
//!
//! A worker that only asks a plugin what it is and whether it can run here gets no privilege but to read. Three layers
//! see to that, each of which holds where the others do not reach: no capabilities, no access to files but reading
//! (Landlock), and none but the harmless system calls (seccomp). What a kernel has not got is left out.

mod capabilities;
mod files;
mod filter;
mod system_calls;

use std::fmt::Display;

use nix::sys::prctl;

pub use capabilities::for_tracing as capabilities_for_tracing;

/// How much a plugin may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// It may look, and change nothing.
    Discovery,
    /// It may trace: it keeps the capabilities that tracing takes, as far as its caller has them.
    Tracing,
}

impl Confinement {
    /// Confines this process, which has one thread, for the rest of its life.
    pub fn apply(self) {
        // First: without it the rest takes privilege, or could be got rid of by executing a program.
        or_without("no_new_privs", prctl::set_no_new_privs());
        match self {
            Self::Discovery => {
                or_without("Landlock", files::read_only());
                or_without("dropping capabilities", capabilities::drop_all());
                // Last: this forbids all of the above.
                or_without("seccomp", system_calls::allow_harmless());
            }
            Self::Tracing => or_without("dropping capabilities", capabilities::keep_those_for_tracing()),
        }
    }
}

/// A kernel that lacks a layer is no reason to go without the plugin.
fn or_without<E: Display>(layer: &str, outcome: Result<(), E>) {
    if let Err(error) = outcome {
        log::debug!("plugins are confined without {layer}: {error}");
    }
}
