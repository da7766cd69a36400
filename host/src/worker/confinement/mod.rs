//! The confinement of a worker. It is applied before the plugin is loaded, because loading runs a library's
//! constructors.
//!
//! A worker that only describes and probes a plugin can read and nothing else. Three layers enforce that: no
//! capabilities, read-only access to files (Landlock), and harmless system calls only (seccomp). Each covers gaps of
//! the others. A layer that the kernel does not support is skipped.

mod capabilities;
mod files;
mod filter;
mod system_calls;

use std::fmt::Display;

use nix::sys::prctl;

pub use capabilities::for_tracing as capabilities_for_tracing;

/// What a plugin may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// It may read, but change nothing.
    Discovery,
    /// It may trace: it keeps those capabilities of its caller that tracing needs.
    Tracing,
}

impl Confinement {
    /// Confines this process permanently. It must have a single thread.
    pub fn apply(self) {
        // First: the other layers need it, and it keeps the process from regaining privileges by executing a program.
        or_without("no_new_privs", prctl::set_no_new_privs());
        match self {
            Self::Discovery => {
                or_without("Landlock", files::read_only());
                or_without("dropping capabilities", capabilities::drop_all());
                // Last: it forbids the system calls that set up the other layers.
                or_without("seccomp", system_calls::allow_harmless());
            }
            Self::Tracing => or_without("dropping capabilities", capabilities::keep_those_for_tracing()),
        }
    }
}

/// Logs a failure. A plugin is loaded even if the kernel lacks a layer.
fn or_without<E: Display>(layer: &str, outcome: Result<(), E>) {
    if let Err(error) = outcome {
        log::debug!("plugins are confined without {layer}: {error}");
    }
}
