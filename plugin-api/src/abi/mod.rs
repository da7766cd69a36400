//! The frozen interface between host and plugin. Authors use the traits at the root of this crate instead.
//!
//! This module is the only one that names `abi_stable`. Three properties of that crate shape it:
//!
//! - The *name and version* of the crate that declares a type are part of the type's identity. So this crate stays
//!   `trace-hook-api` 1.x.
//! - It rejects a plugin whose tables have fewer fields than the host's. So no table ever gets another field: the host and the
//!   plugin query extensions by id, through the `extension` function that every table has from the start.
//! - What is passed by value cannot get new fields. So requests and descriptions are passed as JSON of the types at the root
//!   of this crate: an unknown field is skipped, and a missing one has its default.
//!
//! A panic must not cross an `extern "C"` function: it would end the process. Each entry catches it, and returns its message
//! as the error of that call.
//!
//! # Documentation
//!
//! `abi_stable` implements its traits for all types, and rustdoc lists the methods of such traits on the page of every type of
//! a crate that uses it: 33 of 61 methods on the page of [`LineBuffer`](crate::LineBuffer) came from it. So the files that name
//! it are left out where rustdoc documents this crate (`cfg(doc)`), and only [`LineEntry`] and similar types are shown here.
//! Authors of hosts find the rest, `LoadedPlugin` first of all, in the source.

mod entry;

#[cfg(not(doc))]
mod chunk;
#[cfg(not(doc))]
mod export;
#[cfg(not(doc))]
mod load;
#[cfg(not(doc))]
mod panics;
#[cfg(not(doc))]
mod tables;

pub use entry::{LineEntry, LineKind, Loss};

#[cfg(not(doc))]
pub use {
    chunk::Chunk,
    export::export,
    load::{LoadError, LoadedPlugin, LoadedSession, SYMBOL},
    tables::{Header, HostTable, PluginTable, PluginTableRef, SessionBox},
};
