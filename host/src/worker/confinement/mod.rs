//! The confinement of a worker. It is applied before the plugin is loaded, because loading runs a library's
//! constructors.
//!
//! A worker that only describes and probes a plugin can read libraries and what the kernel reports, and nothing else. Three
//! layers enforce that: no capabilities, read-only access to some files (Landlock), and harmless system calls only
//! (seccomp). Each covers gaps of the others. A layer that the kernel does not support is skipped.

mod capabilities;
mod files;
mod filter;
mod forbidden_calls;
mod limits;
mod readable;
mod system_calls;

use std::fmt::Display;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::prctl;

pub use capabilities::for_tracing as capabilities_for_tracing;
pub use forbidden_calls::forbidden_calls;

use super::PluginCode;

/// What a plugin may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// It may read what tells whether a hook can run, but change nothing.
    Discovery,
    /// It may trace: it keeps those capabilities of its caller that tracing needs.
    Tracing,
}

impl Confinement {
    /// In the supervisor: prepares the rules about files for a worker that loads this plugin.
    pub fn prepare(self, plugin: &PluginCode<'_>) -> Option<OwnedFd> {
        match self {
            Self::Discovery => files::rules(plugin.files()).unwrap_or_else(|error| {
                or_without("Landlock", Err(error));
                None
            }),
            Self::Tracing => None,
        }
    }

    /// Confines this process permanently. It must have a single thread. The rules are closed, so that no plugin can add to them.
    pub fn apply(self, file_rules: Option<OwnedFd>) {
        // First: the other layers need it, and it keeps the process from regaining privileges by executing a program.
        or_without("no_new_privs", prctl::set_no_new_privs());
        match self {
            Self::Discovery => {
                or_without("Landlock", file_rules.map_or(Err(Errno::ENOSYS), |rules| files::apply(&rules)));
                or_without("a limit of descriptors", limits::apply());
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
