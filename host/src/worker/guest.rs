//! In the worker: the plugin, each of whose functions is entered under its name.

use std::os::fd::RawFd;
use std::process;
use std::rc::Rc;

use nix::libc;
use trace_hook_api::abi::{LoadedPlugin, LoadedSession};
use trace_hook_api::{Account, Environment, LineBuffer, PluginInfo, Progress, Request, Result};

use super::load;
use super::process::fill_standard_streams;
use super::step::{Step, Whereabouts};
use crate::plugins::PluginFile;

/// A plugin in this process.
pub struct Guest<'a> {
    plugin: LoadedPlugin,
    visits: Rc<Visits<'a>>,
}

/// A session of it.
pub struct GuestSession<'a> {
    session: LoadedSession,
    visits: Rc<Visits<'a>>,
}

/// Calls into the plugin.
struct Visits<'a> {
    whereabouts: &'a Whereabouts,
    /// This process.
    us: u32,
}

impl<'a> Guest<'a> {
    /// Loads the plugin.
    ///
    /// # Errors
    ///
    /// It needs what is not there, or speaks another interface.
    pub fn load(file: &PluginFile, whereabouts: &'a Whereabouts) -> Result<Self> {
        let visits = Rc::new(Visits { whereabouts, us: process::id() });
        let plugin = visits.call(Step::Load, || load::load(file))?;
        Ok(Self { plugin, visits })
    }

    /// What the plugin is, with its hook at this position. See [`LoadedPlugin::describe_hook`].
    pub fn describe_hook(&self, position: u32) -> Option<Result<PluginInfo>> {
        self.visits.call(Step::Info(position), || self.plugin.describe_hook(position as usize))
    }

    /// What the plugin is, with all its hooks.
    pub fn describe(&self) -> Result<PluginInfo> {
        self.visits.call(Step::Info(0), || self.plugin.describe())
    }

    /// Tells the supervisor how many hooks there are, as far as they are known.
    pub fn found_hooks(&self, count: usize) {
        self.visits.whereabouts.found_hooks(count);
    }

    /// Can the hook at this position, of this name, run in this environment?
    pub fn probe(&self, position: u32, hook: &str, environment: &Environment) -> Result<()> {
        self.visits.call(Step::Probe(position), || self.plugin.probe(hook, environment))
    }

    /// Starts a session of the hook at this position.
    pub fn start(&self, position: u32, request: &Request) -> Result<GuestSession<'a>> {
        // So that the plugin finds it without asking any other of its hooks, which may be a broken one.
        self.describe_hook(position).transpose()?;
        let session = self.visits.call(Step::Start, || self.plugin.start(request))?;
        Ok(GuestSession { session, visits: Rc::clone(&self.visits) })
    }

    /// Removes what dead sessions left.
    pub fn sweep(&self, environment: &Environment) -> Result<()> {
        self.visits.call(Step::Sweep, || self.plugin.sweep(environment))
    }

    /// Resets the trace sub-system.
    pub fn reset(&self, environment: &Environment) -> Result<()> {
        self.visits.call(Step::Reset, || self.plugin.reset(environment))
    }
}

impl GuestSession<'_> {
    /// Fills `lines` up to its room.
    pub fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.visits.call(Step::Read, || self.session.read(lines))
    }

    /// Stops recording.
    pub fn stop(&mut self) -> Result<()> {
        self.visits.call(Step::Stop, || self.session.stop())
    }

    /// What polls as readable when the session has lines. See [`LoadedSession::wakes`].
    pub fn wakes(&self) -> Result<Option<RawFd>> {
        self.visits.call(Step::Wakes, || self.session.wakes())
    }

    /// What became of the events so far.
    pub fn account(&self) -> Result<Account> {
        self.visits.call(Step::Account, || self.session.account())
    }

    /// Removes what the session made.
    pub fn close(&mut self) -> Result<()> {
        self.visits.call(Step::Close, || self.session.close())
    }

    /// Tells the supervisor that the session is on its way to its end.
    pub fn give_sign(&self) {
        self.visits.whereabouts.give_sign();
    }
}

impl Visits<'_> {
    fn call<T>(&self, step: Step, function: impl FnOnce() -> T) -> T {
        self.whereabouts.enter(step);
        let result = function();
        if process::id() != self.us {
            // The plugin has forked, and this is the child: there is one worker, and it is not this one.
            // SAFETY: `_exit` ends the process at once, without touching what it has from the worker.
            unsafe { libc::_exit(0) }
        }
        fill_standard_streams();
        self.whereabouts.enter(Step::Host);
        result
    }
}
