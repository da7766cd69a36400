//! Test a trace hook in its own crate, without the host: on the kernel of this machine, or on a synthetic one that is a
//! tree of files.
//!
//! ```
//! use std::time::Duration;
//! use trace_hook_api::{Hook, HookInfo, LineBuffer, Param, Progress, Request, Result, Session};
//! use trace_hook_testkit::{SyntheticKernel, Trial};
//!
//! /// Prints the first line of a file of the kernel.
//! struct Version;
//!
//! impl Hook for Version {
//!     fn info(&self) -> HookInfo {
//!         HookInfo::new("trace_version", "The kernel's version")
//!             .param(Param::text("prefix", "TEXT", "what to print before it").default("Linux"))
//!     }
//!
//!     fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
//!         let version = std::fs::read_to_string(request.environment.procfs.join("sys/kernel/osrelease"))?;
//!         let prefix = request.arguments.text("prefix")?.unwrap_or_default();
//!         Ok(Box::new(OneLine(Some(format!("{prefix} {version}")))))
//!     }
//! }
//!
//! struct OneLine(Option<String>);
//!
//! impl Session for OneLine {
//!     fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
//!         self.0.take().into_iter().for_each(|line| lines.push(line));
//!         Ok(Progress::Finished)
//!     }
//!     fn stop(&mut self) -> Result<()> { Ok(()) }
//! }
//!
//! fn main() -> Result<()> {
//!     let kernel = SyntheticKernel::new()?.with_file("proc/sys/kernel/osrelease", "9.9.9\n")?;
//!     let mut recording = Trial::of(&Version).on(kernel.environment()).tracing([1]).start()?;
//!     assert_eq!(recording.line_with("9.9.9", Duration::from_secs(1))?, "Linux 9.9.9");
//!     assert!(recording.stop()?.is_empty());
//!     Ok(())
//! }
//! ```

mod recording;
mod synthetic_kernel;
mod trial;

pub use recording::Recording;
pub use synthetic_kernel::SyntheticKernel;
pub use trial::Trial;
