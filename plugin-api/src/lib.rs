//! Write kernel trace hooks as plugins, in plain Rust.
//!
//! A *hook* records events of the traced tasks as lines of text. A *plugin* is a shared library with one or more hooks. The
//! *host*, `manager`, loads plugins, lists and describes their hooks, parses arguments, runs sessions, and delivers their lines
//! to the reader. A plugin contains no argument parser, no signal handling and no file format.
//!
//! ```
//! use trace_hook_api::{
//!     EventInfo, FieldInfo, Format, Hook, HookInfo, LineBuffer, Origin, Param, Progress, Request, Result, Session, boot_time,
//!     export_plugin,
//! };
//!
//! struct Greeting;
//!
//! impl Hook for Greeting {
//!     fn info(&self) -> HookInfo {
//!         HookInfo::new("trace_greeting", "Greets every traced process, once")
//!             .param(Param::text("word", "WORD", "the word to greet with").default("hello"))
//!             .formats([Format::Text, Format::Json])
//!             .event(EventInfo::new("greeting", "a process is greeted").field(FieldInfo::text("word", "the word")))
//!     }
//!
//!     fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
//!         let word = request.arguments.text("word")?.unwrap_or_default().to_owned();
//!         Ok(Box::new(Greetings { word, pids: request.tasks.pids.clone() }))
//!     }
//! }
//!
//! struct Greetings {
//!     word: String,
//!     pids: Vec<u32>,
//! }
//!
//! impl Session for Greetings {
//!     fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
//!         for pid in self.pids.drain(..) {
//!             lines.event(&Origin::at(boot_time()).pid(pid), "greeting").text("word", self.word.as_bytes());
//!         }
//!         Ok(Progress::Finished)
//!     }
//!
//!     fn stop(&mut self) -> Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! export_plugin!(Greeting);
//! # fn main() {}
//! ```
//!
//! In `Cargo.toml` a plugin has `crate-type = ["cdylib"]` and depends on this crate only.
//!
//! # Describing a hook
//!
//! [`HookInfo`] is what the host knows of a hook before it runs. It declares
//!
//! - [parameters](Param): the host parses and checks them, and passes them on as [`Arguments`];
//! - the [choices of tasks](Selection) that the hook honours, and the [formats](Format) that it can write: the host rejects all
//!   others before anything starts;
//! - the [events](EventInfo) of its lines, with the type and the meaning of each field.
//!
//! # Writing lines
//!
//! [`LineBuffer`] takes the lines of a session, and keeps for each its time and whether it is an event, a continuation of one, or
//! a report of lost events. The host counts events and losses by this data, and compares it with the session's [`Stats`].
//!
//! # Compatibility
//!
//! A plugin that was built against version 1.0 of this crate loads in every later 1.x host. A plugin that was built against 1.x
//! loads in an older 1.y host unless it depends on something newer: see [`HostInfo`]. Types that may grow are
//! `#[non_exhaustive]`, and have constructors. A later common option of the host never takes the name of a hook's own parameter.
//! The module [`abi`] explains what the interface is built on; authors of plugins do not need it.

pub mod abi;
mod arguments;
mod capabilities;
mod clock;
mod composite;
mod duration;
mod environment;
mod error;
mod escape;
mod event;
mod event_info;
mod format;
mod hint;
mod histogram;
mod hook;
mod host_info;
mod info;
mod known;
mod lines;
mod param;
mod plugin;
mod request;
mod selection;
mod session;
mod view;

pub use abi::{LineEntry, LineKind, Loss};
pub use arguments::Arguments;
pub use capabilities::{Capabilities, Capability};
pub use clock::{boot_time, monotonic_time};
pub use composite::Composite;
pub use duration::{DurationError, Unit, format_duration, parse_duration};
pub use environment::Environment;
pub use error::{ErrorKind, HookError, Result};
pub use escape::is_plain;
pub use event::{EventLine, Origin};
pub use event_info::{EventInfo, FieldInfo, FieldKind, check_json_line};
pub use format::Format;
pub use hint::did_you_mean;
pub use histogram::Histogram;
pub use hook::Hook;
pub use host_info::HostInfo;
pub use info::{Example, HookInfo, PluginInfo};
pub use lines::LineBuffer;
pub use param::{Kind, Param};
pub use plugin::{Cleanup, Plugin, PluginDefinition};
pub use request::{Request, SESSION_PREFIX, TaskSelection};
pub use selection::Selection;
pub use session::{Progress, Session, Stats};
pub use view::{
    Comparison, Condition, ExpressionError, Literal, Operator, TimeFormat, View, find_field, parse_condition,
    similar_fields,
};

/// The logger of a plugin. The host logs the messages under the plugin's name.
pub use log;

/// The version of this interface.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
