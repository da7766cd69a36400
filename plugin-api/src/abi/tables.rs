//! The tables by which host and plugin call each other.

use abi_stable::{
    StableAbi,
    library::{LibHeader, RootModule},
    package_version_strings, sabi_trait,
    sabi_types::VersionStrings,
    std_types::{RBox, RResult, RStr, RString},
};

use super::chunk::Chunk;

/// The exported symbol's type.
pub type Header = LibHeader;

/// The table that a plugin exports. Frozen.
///
/// A text that is called JSON is that of [`PluginInfo`](crate::PluginInfo), [`Environment`](crate::Environment),
/// [`Request`](crate::Request), [`Stats`](crate::Stats) and, on the error side of every result, [`HookError`](crate::HookError).
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginTableRef)))]
#[sabi(missing_field(panic))]
pub struct PluginTable {
    /// Called first, once: takes over the host's logger.
    pub attach: extern "C" fn(host: HostTable),
    /// Describes the plugin: JSON of `PluginInfo`.
    pub describe: extern "C" fn() -> RResult<RString, RString>,
    /// Checks whether the hook of this name can run in this environment (JSON).
    pub probe: extern "C" fn(hook: RStr<'_>, environment: RStr<'_>) -> RResult<(), RString>,
    /// Starts a session for a `Request` (JSON).
    pub start: extern "C" fn(request: RStr<'_>) -> RResult<SessionBox, RString>,
    /// Removes what dead sessions left in this environment (JSON).
    pub sweep: extern "C" fn(environment: RStr<'_>) -> RResult<(), RString>,
    /// Resets the trace sub-system of this environment (JSON).
    pub reset: extern "C" fn(environment: RStr<'_>) -> RResult<(), RString>,
    /// Returns an extension by its id, or null if the id is not known.
    #[sabi(last_prefix_field)]
    pub extension: extern "C" fn(id: RStr<'_>) -> *const (),
}

/// The id of the plugin's extension that is a [`DescribeHook`].
pub(crate) const DESCRIBE_HOOK: &str = "describe_hook";

/// Describes the hook at a position: JSON of a `PluginInfo` with this hook only, or with none past the last.
///
/// So the host can describe the other hooks of a plugin if the description of one kills the process. A hook that was described
/// this way is later found by its name without a call to any other hook.
pub(crate) type DescribeHook = extern "C" fn(position: usize) -> RResult<RString, RString>;

/// The functions of the host that a plugin can call. Frozen.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct HostTable {
    /// Logs a message at a [`log::Level`], given as its number.
    pub log: extern "C" fn(level: usize, message: RStr<'_>),
    /// The most detailed level that the host logs, as the number of its [`log::LevelFilter`].
    pub max_level: usize,
    /// Returns an extension by its id, or null if the id is not known.
    pub extension: extern "C" fn(id: RStr<'_>) -> *const (),
}

/// A session that is recording, as the host holds it. Frozen.
// The attribute puts its impls into an anonymous constant, and newer compilers warn about that.
#[allow(non_local_definitions, missing_docs)]
pub(super) mod object {
    use super::*;

    #[sabi_trait]
    pub trait SessionObject: Send {
        /// Returns about `room` bytes of lines.
        fn read(&mut self, room: usize) -> RResult<Chunk<'_>, RString>;
        /// Returns a descriptor that polls as readable when there are lines, or -1.
        fn wakes(&self) -> RResult<i32, RString>;
        /// Stops recording.
        fn stop(&mut self) -> RResult<(), RString>;
        /// Returns how many events were recorded and lost so far: JSON of `Stats`.
        fn stats(&self) -> RResult<RString, RString>;
        /// Removes what the session made.
        fn close(&mut self) -> RResult<(), RString>;
        /// Returns an extension by its id, or null if the id is not known.
        #[sabi(last_prefix_field)]
        fn extension(&self, id: RStr<'_>) -> *const ();
    }
}

/// A session that is recording, as the host holds it. Frozen.
pub type SessionBox = object::SessionObject_TO<'static, RBox<()>>;

impl RootModule for PluginTableRef {
    abi_stable::declare_root_module_statics! {PluginTableRef}
    const BASE_NAME: &'static str = "trace_hook";
    const NAME: &'static str = "trace_hook";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
