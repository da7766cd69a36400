use crate::{Environment, Hook, Result};

/// The parts of a plugin. [`export_plugin!`](crate::export_plugin) creates it.
pub struct Plugin {
    /// The version of the plugin: that of its crate.
    pub version: &'static str,
    /// Its hooks.
    pub hooks: &'static [&'static dyn Hook],
    /// Removes what can outlive a process.
    pub cleanup: &'static dyn Cleanup,
}

/// A type that represents a plugin. [`export_plugin!`](crate::export_plugin) implements it.
pub trait PluginDefinition: 'static {
    /// The plugin.
    const PLUGIN: &'static Plugin;
}

/// Removes what can outlive a process: what a session has made in the kernel and, because it was killed, did not remove.
pub trait Cleanup: Sync {
    /// Removes what dead sessions left behind, and keeps what belongs to living ones.
    ///
    /// The name of everything that a session makes begins with [`SESSION_PREFIX`](crate::SESSION_PREFIX). To tell living sessions
    /// from dead ones, use a lock that the kernel releases when its holder dies.
    ///
    /// # Errors
    ///
    /// What could not be removed, and why.
    fn sweep(&self, environment: &Environment) -> Result<()>;

    /// Resets the kernel's trace sub-system to its defaults, and keeps what other tools have made.
    ///
    /// # Errors
    ///
    /// What could not be reset, and why.
    fn reset(&self, environment: &Environment) -> Result<()>;
}

/// The cleanup of plugins whose sessions make nothing that can outlive a process.
impl Cleanup for () {
    fn sweep(&self, _: &Environment) -> Result<()> {
        Ok(())
    }

    fn reset(&self, _: &Environment) -> Result<()> {
        Ok(())
    }
}

/// Exports one or more hooks as a plugin.
///
/// ```ignore
/// export_plugin!(TraceOpen, TraceLatency);
/// export_plugin!(TraceSyscalls; cleanup = Ftrace);
/// ```
///
/// The second form is for a plugin whose sessions make what can outlive a process: `cleanup` implements
/// [`Cleanup`](crate::Cleanup). Hooks and cleanup are constant expressions, such as unit structs.
#[macro_export]
macro_rules! export_plugin {
    ($($hook:expr),+ $(,)?) => {
        $crate::export_plugin!($($hook),+; cleanup = ());
    };
    ($($hook:expr),+ $(,)?; cleanup = $cleanup:expr) => {
        const _: () = {
            struct Definition;

            impl $crate::PluginDefinition for Definition {
                const PLUGIN: &'static $crate::Plugin = &$crate::Plugin {
                    version: ::core::env!("CARGO_PKG_VERSION"),
                    hooks: &[$(&$hook),+],
                    cleanup: &$cleanup,
                };
            }

            // SAFETY: abi_stable expects a value of this type under this name. The linker rejects a second one.
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static HEADER: $crate::abi::Header = $crate::abi::export::<Definition>();
        };
    };
}
