//! Write kernel trace hooks as plugins, in plain Rust.
//!
//! A *hook* records what the kernel sees of some processes, as lines of text. A *plugin* is a shared library
//! with one or more hooks. The host, `manager`, loads it, lists and describes its hooks, parses their
//! arguments, runs their sessions, and carries their lines to the reader: losslessly, to a clean end.
//! A plugin carries no parser, no signal handling and no file format of its own.
//!
//! ```
//! use trace_hook_api::{Hook, HookInfo, LineBuffer, Param, Progress, Request, Result, Session, export_plugin};
//!
//! struct Greeting;
//!
//! impl Hook for Greeting {
//!     fn info(&self) -> HookInfo {
//!         HookInfo::new("trace_greeting", "Greets every traced process, once")
//!             .param(Param::text("greeting", "WORD", "the word to greet with").default("hello"))
//!     }
//!
//!     fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
//!         let word = request.arguments.text("greeting")?.unwrap_or_default();
//!         let lines = request.tasks.pids.iter().map(|pid| format!("{word}, {pid}")).collect();
//!         Ok(Box::new(Greetings { lines }))
//!     }
//! }
//!
//! struct Greetings { lines: Vec<String> }
//!
//! impl Session for Greetings {
//!     fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
//!         self.lines.drain(..).for_each(|line| lines.push(line));
//!         Ok(Progress::Finished)
//!     }
//!
//!     fn stop(&mut self) -> Result<()> { Ok(()) }
//! }
//!
//! export_plugin!(Greeting);
//! # fn main() {}
//! ```
//!
//! In `Cargo.toml`: `crate-type = ["cdylib"]`, and this crate as the only dependency that is needed.
//!
//! # What the interface promises
//!
//! A plugin built against 1.0 loads in every later 1.x host. One built against 1.x loads in an older 1.y host as
//! long as it asks for nothing newer. What lies underneath is in [`abi`]; an author never needs it.

pub mod abi;
mod arguments;
mod capabilities;
mod clock;
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

pub use abi::{LineEntry, LineKind, Loss};
pub use arguments::Arguments;
pub use capabilities::{Capabilities, Capability};
pub use clock::boot_time;
pub use duration::{DurationError, Unit, format_duration, parse_duration};
pub use environment::Environment;
pub use error::{ErrorKind, HookError, Result};
pub use event::{EventLine, Origin};
pub use event_info::{EventInfo, FieldInfo, FieldKind, check_json_line};
pub use format::Format;
pub use hint::did_you_mean;
pub use histogram::Histogram;
pub use hook::Hook;
pub use host_info::HostInfo;
pub use info::{HookInfo, PluginInfo};
pub use lines::LineBuffer;
pub use param::{Kind, Param};
pub use plugin::{Cleanup, Plugin, PluginDefinition};
pub use request::{Request, SESSION_PREFIX, TaskSelection};
pub use selection::Selection;
pub use session::{Progress, Session, Stats};

/// The logger to use in a plugin: what it logs comes out of the host's logger, tagged with the plugin's name.
pub use log;

/// The version of this interface.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
