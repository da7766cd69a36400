//! What `manager` does: one file for each action.

mod check;
mod clear;
mod complete;
mod describe;
mod get_all;
mod install;
mod list;
mod run;

use trace_hook_api::{Environment, HostInfo};

use crate::command_line::{Action, Call};
use crate::environment;
use crate::error::Result;
use crate::interrupts::Interrupts;
use crate::output;
use crate::patience;
use crate::plugins::{self, Catalog, Trust};
use crate::session::CommandEnd;
use crate::session::orphans::{Orphans, Retry};
use crate::worker::{capabilities_for_tracing, forbidden_calls};

/// The ids of the extensions of the plugin interface that this host offers. There are none so far.
const EXTENSIONS: [&str; 0] = [];

/// What a call ends with, if not with an error.
#[derive(Default)]
pub struct Outcome {
    /// To print on standard error.
    pub remarks: Vec<String>,
    /// How the command that was traced has ended, which is how this process ends.
    pub command: Option<CommandEnd>,
}

impl From<Vec<String>> for Outcome {
    fn from(remarks: Vec<String>) -> Self {
        Self { remarks, command: None }
    }
}

/// Performs the call's action.
///
/// # Errors
///
/// The action failed.
pub fn perform(call: Call, interrupts: &Interrupts) -> Result<Outcome> {
    let nothing = |()| Outcome::default();
    if let Action::Print(text) = call.action {
        return output::print(&text).map(nothing);
    }
    environment::check_own_procfs()?;
    let context = Context {
        environment: environment::from_variables()
            .with_session_capabilities(capabilities_for_tracing())
            .with_forbidden_calls(forbidden_calls())
            .with_host(HostInfo::new(trace_hook_api::VERSION, EXTENSIONS))
            .with_patience(patience::factor()),
        directories: plugins::directories(&call.plugins),
        trust: call.trust,
        interrupts,
    };
    match call.action {
        Action::Clear => return clear::clear(&context).map(nothing),
        Action::Complete { shell, words } => return complete::complete(&context, &shell, words).map(nothing),
        Action::Install { directory } => return install::install(&context, &directory).map(Outcome::from),
        _ => {}
    }
    // Every call removes what dead sessions left, without being delayed by that.
    let mut orphans = Orphans::new(&context.environment, context.trust, Retry::Later);
    orphans.begin_quietly();
    let outcome = match call.action {
        Action::Run { hook, arguments, follow } => {
            run::run(&context, &hook, &arguments, follow, &mut orphans).map(Outcome::from)
        }
        Action::RunForPerson { hook, words } => run::run_for_person(&context, &hook, &words, &mut orphans),
        Action::GetAll => get_all::get_all(&context).map(Outcome::from),
        Action::List(listing) => list::list(&context, listing).map(Outcome::from),
        Action::Check { files, json } => check::check(&context, &files, json).map(nothing),
        Action::Describe { hook, json } => describe::describe(&context, &hook, json).map(nothing),
        Action::Clear | Action::Install { .. } | Action::Print(_) | Action::Complete { .. } => {
            Ok(Outcome::default())
        }
    };
    orphans.finish_quietly(interrupts);
    outcome
}

/// The settings that every action needs.
struct Context<'a> {
    environment: Environment,
    directories: Vec<std::path::PathBuf>,
    trust: Trust,
    interrupts: &'a Interrupts,
}

impl Context<'_> {
    fn catalog(&self) -> Result<Catalog> {
        Catalog::load(&self.directories, self.trust, None, self.interrupts)
    }

    /// Describes only as many plugins as it takes to find the owner of this hook.
    fn catalog_for(&self, hook: &str) -> Result<Catalog> {
        Catalog::load_for(hook, &self.directories, self.trust, None, self.interrupts)
    }

    /// The same, with the reason where a hook cannot run here.
    fn probed_catalog_for(&self, hook: &str) -> Result<Catalog> {
        match environment::check(&self.environment) {
            Ok(()) => {
                let probe_in = Some(&self.environment);
                Catalog::load_for(hook, &self.directories, self.trust, probe_in, self.interrupts)
            }
            Err(error) => Ok(self.catalog_for(hook)?.without_any_available(&error.to_string())),
        }
    }

    fn probed_catalog(&self) -> Result<Catalog> {
        match environment::check(&self.environment) {
            Ok(()) => Catalog::load(&self.directories, self.trust, Some(&self.environment), self.interrupts),
            // The hooks are still listed, but none of them is available in this environment.
            Err(error) => Ok(self.catalog()?.without_any_available(&error.to_string())),
        }
    }
}
