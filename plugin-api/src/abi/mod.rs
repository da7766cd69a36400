//! The frozen interface between host and plugin. Authors use the traits at the root of this crate instead.
//!
//! This module is the only one that names `abi_stable`. Three of that crate's properties shape it:
//!
//! - It takes the *name and version* of the crate that declares a type for part of that type's identity. So this crate
//!   stays `trace-hook-api` 1.x.
//! - It refuses a plugin whose tables have fewer fields than the host's. So no table here ever gets another field: a new
//!   ability is asked for by name, through the `extension` function that every table carries from the first day.
//! - It has no place for new fields in what is passed by value. So what is passed is JSON text of the types at the root
//!   of this crate, in which an unknown field is skipped and a missing one has its default.
//!
//! A panic must not cross an `extern "C"` function: it would end the process. Each entry catches it and hands its
//! message over as the error of that call.

mod chunk;
mod export;
mod load;
mod panics;

use abi_stable::{
    StableAbi,
    library::{LibHeader, RootModule},
    package_version_strings, sabi_trait,
    sabi_types::VersionStrings,
    std_types::{RBox, RResult, RStr, RString},
};

pub use chunk::{Chunk, LineEntry, LineKind, Loss};
pub use export::export;
pub use load::{LoadError, LoadedPlugin, LoadedSession, SYMBOL};

/// The exported symbol's type.
pub type Header = LibHeader;

/// The table that a plugin exports. Frozen.
///
/// Texts called JSON are those of [`PluginInfo`](crate::PluginInfo), [`Environment`](crate::Environment),
/// [`Request`](crate::Request), [`Stats`](crate::Stats) and, on the error side of every result, [`HookError`](crate::HookError).
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginTableRef)))]
#[sabi(missing_field(panic))]
pub struct PluginTable {
    /// Called first, once: takes over the host's logger.
    pub attach: extern "C" fn(host: HostTable),
    /// What the plugin is: JSON of `PluginInfo`.
    pub describe: extern "C" fn() -> RResult<RString, RString>,
    /// Can the hook of this name run in this environment (JSON)?
    pub probe: extern "C" fn(hook: RStr<'_>, environment: RStr<'_>) -> RResult<(), RString>,
    /// Starts a session, by its `Request` (JSON).
    pub start: extern "C" fn(request: RStr<'_>) -> RResult<SessionBox, RString>,
    /// Removes what dead sessions left in this environment (JSON).
    pub sweep: extern "C" fn(environment: RStr<'_>) -> RResult<(), RString>,
    /// Resets the trace sub-system of this environment (JSON).
    pub reset: extern "C" fn(environment: RStr<'_>) -> RResult<(), RString>,
    /// A later ability, by its name. Null where it is not known.
    #[sabi(last_prefix_field)]
    pub extension: extern "C" fn(id: RStr<'_>) -> *const (),
}

/// The id of the plugin's extension that is a [`DescribeHook`].
pub(crate) const DESCRIBE_HOOK: &str = "describe_hook";

/// Describes one hook, by its position: JSON of a `PluginInfo` that has this hook only, or none past the last.
///
/// A hook whose own description kills the process costs itself only, where the host can ask for the others without it.
/// What is described so is found by its name later without asking any other hook.
pub(crate) type DescribeHook = extern "C" fn(position: usize) -> RResult<RString, RString>;

/// What the host lends to a plugin. Frozen.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct HostTable {
    /// Logs a message at a [`log::Level`], given as its number.
    pub log: extern "C" fn(level: usize, message: RStr<'_>),
    /// The most detailed level that the host wants, as the number of its [`log::LevelFilter`].
    pub max_level: usize,
    /// A later ability, by its name. Null where it is not known.
    pub extension: extern "C" fn(id: RStr<'_>) -> *const (),
}

/// A session that is recording, as the host holds it. Frozen.
// The attribute puts its impls into a constant of its own, which newer compilers warn of.
#[allow(non_local_definitions, missing_docs)]
mod object {
    use super::*;

    #[sabi_trait]
    pub trait SessionObject: Send {
        /// Gives about `room` bytes of lines.
        fn read(&mut self, room: usize) -> RResult<Chunk<'_>, RString>;
        /// A descriptor that polls as readable when there are lines; -1: there is none.
        fn wakes(&self) -> RResult<i32, RString>;
        /// Stops recording.
        fn stop(&mut self) -> RResult<(), RString>;
        /// How many events were recorded and lost so far: JSON of `Stats`.
        fn stats(&self) -> RResult<RString, RString>;
        /// Removes what the session made.
        fn close(&mut self) -> RResult<(), RString>;
        /// A later ability, by its name. Null where it is not known.
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
