use crate::{Environment, Hook, Result};

/// What a plugin consists of. [`export_plugin!`](crate::export_plugin) makes one.
pub struct Plugin {
    /// The version of the plugin: that of its crate.
    pub version: &'static str,
    /// Its hooks.
    pub hooks: &'static [&'static dyn Hook],
    /// What removes the things that outlive a process.
    pub cleanup: &'static dyn Cleanup,
}

/// The type that stands for a plugin. [`export_plugin!`](crate::export_plugin) implements it.
pub trait PluginDefinition: 'static {
    /// The plugin.
    const PLUGIN: &'static Plugin;
}

/// Removes what can outlive a process: things in the kernel that a session made and could not remove, because it died.
pub trait Cleanup: Sync {
    /// Removes what dead sessions left behind, and leaves the living ones alone.
    ///
    /// Everything that a session made bears a name with [`SESSION_PREFIX`](crate::SESSION_PREFIX). A lock that dies
    /// with its holder tells the living from the dead.
    ///
    /// # Errors
    ///
    /// What could not be removed, and why.
    fn sweep(&self, environment: &Environment) -> Result<()>;

    /// Resets the kernel's trace sub-system to its defaults, and leaves other tools' work alone.
    ///
    /// # Errors
    ///
    /// What could not be reset, and why.
    fn reset(&self, environment: &Environment) -> Result<()>;
}

/// For plugins whose sessions leave nothing that outlives the process.
impl Cleanup for () {
    fn sweep(&self, _: &Environment) -> Result<()> {
        Ok(())
    }

    fn reset(&self, _: &Environment) -> Result<()> {
        Ok(())
    }
}

/// Makes a plugin of one or more hooks.
///
/// ```ignore
/// export_plugin!(TraceOpen, TraceLatency);
/// export_plugin!(TraceSyscalls; cleanup = Ftrace);
/// ```
///
/// The second form names what implements [`Cleanup`](crate::Cleanup), for a plugin whose sessions make things that can
/// outlive a process. Hooks and cleanup are constant expressions, such as the names of unit structs.
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

            // SAFETY: the name is abi_stable's own, with the type that it expects; a library has one plugin, or the
            // linker refuses the second.
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static HEADER: $crate::abi::Header = $crate::abi::export::<Definition>();
        };
    };
}
