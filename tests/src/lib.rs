//! The words in which the whole-system tests are written.
//!
//! ```no_run
//! use system_tests::{Manager, Plugins, Workload};
//!
//! let manager = Manager::with(Plugins::of(["ftrace"]));
//! let workload = Workload::start();
//! let session = manager.run("trace_syscalls", format!("--pid {} -s getppid", workload.id())).start();
//! workload.calls(3);
//! assert_eq!(session.stop().well().len(), 3);
//! ```
//!
//! - [`Manager`] is an installation of the manager; [`Call`] a call of it, [`Answer`] what comes of it
//! - [`Session`] is a session as container-tracer sees it, [`Reader`] the way in which it reads a trace
//! - [`Workload`] is what gets traced, [`Program`] what gets traced in its own functions, a [`Script`] where other
//!   programs are to be seen
//! - [`Kernel`] is what the kernel shows of it all, [`Event`] a line of a trace, [`Loss`] one about events that are lost
//! - [`Watch`] sees every system call of a manager, and makes one fail, or the last
//! - [`Verdict`] is what the manager says that became of the events
//!
//! Whatever is made here is gone when it is dropped, also when a test fails. A [`Manager`] that is dropped checks that
//! its sessions have left nothing.

mod answer;
mod artifacts;
mod call;
mod cpu;
mod event;
mod kernel;
mod leak_check;
mod loss;
mod manager;
mod patience;
mod plugins;
mod process;
mod program;
mod random;
mod reader;
mod script;
mod session;
mod sweeping;
mod system_calls;
mod verdict;
mod workload;

pub use answer::Answer;
use artifacts::build_directory;
pub use artifacts::built;
pub use call::Call;
pub use cpu::{OfflineCpu, cpus};
pub use event::Event;
pub use kernel::{Instance, Kernel, OwnInstance, OwnProbe, TopLevel, is_root, skip};
pub use loss::Loss;
pub use manager::Manager;
pub use patience::{OnPanic, PATIENCE, eventually, wait_until};
pub use plugins::Plugins;
pub use process::{Process, children_of};
pub use program::{Build, Program};
pub use random::Random;
pub use reader::Reader;
pub use script::Script;
pub use session::{Ended, Session};
pub use sweeping::no_other_sweeps;
pub use system_calls::{Fate, Seen, SystemCall, Watch};
pub use verdict::{Log, Verdict};
pub use workload::{Task, Workload};

/// The examples of the guide for authors of plugins.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugin-authors.md")]
struct PluginAuthorsGuide;
