//! In the worker: the loaded plugin. Each call into it is noted in the [`WorkerStatus`] that the supervisor reads.

use std::os::fd::RawFd;
use std::process;
use std::rc::Rc;

use nix::libc;
use trace_hook_api::abi::{LoadedPlugin, LoadedSession};
use trace_hook_api::{Environment, LineBuffer, PluginInfo, Progress, Request, Result, Stats};

use super::PluginCode;
use super::isolation::fill_standard_streams;
use super::load_library::load_library;
use super::worker_status::{PluginCall, WorkerStatus};

/// A plugin that is loaded in this process.
pub struct HostedPlugin<'a> {
    plugin: LoadedPlugin,
    calls: Rc<Calls<'a>>,
}

/// A session of that plugin.
pub struct PluginSession<'a> {
    session: LoadedSession,
    calls: Rc<Calls<'a>>,
}

/// Makes the calls into the plugin.
struct Calls<'a> {
    status: &'a WorkerStatus,
    worker_pid: u32,
}

impl<'a> HostedPlugin<'a> {
    /// Loads the plugin.
    ///
    /// # Errors
    ///
    /// A library or symbol that it needs is missing, or it was built against another interface.
    pub fn load(code: &PluginCode<'_>, status: &'a WorkerStatus) -> Result<Self> {
        let calls = Rc::new(Calls { status, worker_pid: process::id() });
        let plugin = calls.call(PluginCall::Load, || load_library(code))?;
        Ok(Self { plugin, calls })
    }

    /// Describes the plugin with only the hook at this position. See [`LoadedPlugin::describe_hook`].
    pub fn describe_hook(&self, position: u32) -> Option<Result<PluginInfo>> {
        self.calls.call(PluginCall::Info(position), || self.plugin.describe_hook(position as usize))
    }

    /// Describes the plugin with all its hooks.
    pub fn describe(&self) -> Result<PluginInfo> {
        self.calls.call(PluginCall::Info(0), || self.plugin.describe())
    }

    /// Reports to the supervisor how many hooks the plugin has.
    pub fn set_hook_count(&self, count: usize) {
        self.calls.status.set_hook_count(count);
    }

    /// Probes whether the hook at this position, of this name, can run in this environment.
    pub fn probe(&self, position: u32, hook: &str, environment: &Environment) -> Result<()> {
        self.calls.call(PluginCall::Probe(position), || self.plugin.probe(hook, environment))
    }

    /// Starts a session of the hook at this position.
    pub fn start(&self, position: u32, request: &Request) -> Result<PluginSession<'a>> {
        // The plugin then finds the hook without describing its other hooks, which may be broken.
        self.describe_hook(position).transpose()?;
        let session = self.calls.call(PluginCall::Start, || self.plugin.start(request))?;
        Ok(PluginSession { session, calls: Rc::clone(&self.calls) })
    }

    /// Removes what dead sessions left.
    pub fn sweep(&self, environment: &Environment) -> Result<()> {
        self.calls.call(PluginCall::Sweep, || self.plugin.sweep(environment))
    }

    /// Resets the trace sub-system.
    pub fn reset(&self, environment: &Environment) -> Result<()> {
        self.calls.call(PluginCall::Reset, || self.plugin.reset(environment))
    }
}

impl PluginSession<'_> {
    /// Fills `lines` up to its room.
    pub fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.calls.call(PluginCall::Read, || self.session.read(lines))
    }

    /// Stops recording.
    pub fn stop(&mut self) -> Result<()> {
        self.calls.call(PluginCall::Stop, || self.session.stop())
    }

    /// The descriptor that polls as readable when the session has lines. See [`LoadedSession::wakes`].
    pub fn wakes(&self) -> Result<Option<RawFd>> {
        self.calls.call(PluginCall::Wakes, || self.session.wakes())
    }

    /// The counts of events so far.
    pub fn stats(&self) -> Result<Stats> {
        self.calls.call(PluginCall::Stats, || self.session.stats())
    }

    /// Removes what the session created.
    pub fn close(&mut self) -> Result<()> {
        self.calls.call(PluginCall::Close, || self.session.close())
    }

    /// Reports to the supervisor that the session is making progress towards its end.
    pub fn report_progress(&self) {
        self.calls.status.report_progress();
    }
}

impl Calls<'_> {
    fn call<T>(&self, call: PluginCall, function: impl FnOnce() -> T) -> T {
        self.status.enter(call);
        let result = function();
        if process::id() != self.worker_pid {
            // The plugin has forked, and this is the child, which must not continue as a second worker.
            // SAFETY: `_exit` ends the process immediately, without touching what it has inherited from the worker.
            unsafe { libc::_exit(0) }
        }
        fill_standard_streams();
        self.status.enter(PluginCall::None);
        result
    }
}
