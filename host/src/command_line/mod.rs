//! The command line: a subcommand, or options, one of which is the action.

mod installed_help;
mod option_form;
mod run;
mod subcommands;

pub use installed_help::candidates;
pub use option_form::whole_command;
pub use subcommands::similar_subcommand;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::arguments::{HookArguments, HostOptions, RunWords};
use crate::error::Result;
use crate::plugins::Trust;

/// One call of `manager`.
pub struct Call {
    pub action: Action,
    /// The directories given with `--plugins`. If there are none, the default ones are used.
    pub plugins: Vec<PathBuf>,
    pub trust: Trust,
    pub verbosity: u8,
}

/// How the hooks are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// A table with what each hook records.
    Summaries,
    /// A table with whether each hook can run.
    Availability,
    Json,
}

/// What to do. Each call does exactly one thing.
pub enum Action {
    GetAll,
    Describe {
        hook: String,
        json: bool,
    },
    List(Listing),
    Check {
        files: Vec<PathBuf>,
        json: bool,
    },
    Clear,
    /// Runs a hook for a caller that reads the trace file, or with `follow` for a person.
    Run {
        hook: String,
        arguments: HookArguments,
        follow: bool,
    },
    /// Runs a hook for a person, with the options of `run`.
    RunForPerson {
        hook: String,
        words: RunWords,
    },
    Install {
        directory: PathBuf,
    },
    /// Prints the help, the version, or what packages install of the help.
    Print(String),
    /// Prints the candidates for the last of these words, which a shell asks for.
    Complete {
        shell: String,
        words: Vec<OsString>,
    },
}

impl Call {
    /// Returns whether the trace is printed, and not the path of its file.
    pub fn prints_trace(&self) -> bool {
        matches!(self.action, Action::Run { follow: true, .. } | Action::RunForPerson { .. })
    }

    /// Reads this process's command line.
    ///
    /// # Errors
    ///
    /// A usage error.
    pub fn from_command_line() -> Result<Self> {
        Self::from_words(&std::env::args_os().collect::<Vec<_>>())
    }

    fn from_words(words: &[OsString]) -> Result<Self> {
        if let Some((shell, words)) = installed_help::asked_by_shell(words) {
            return Ok(Self::of(Action::Complete { shell, words }, HostOptions::default()));
        }
        let words = &subcommands::brought_forward(words);
        if run::is_first_of(words) {
            return run::parse(&words[2..], false);
        }
        if subcommands::begin_with_one(words) {
            return subcommands::parse(words);
        }
        if run::is_omitted_in(words) {
            return run::parse(&words[1..], true);
        }
        if let Some(what) = installed_help::asked_for(words) {
            return Ok(Self::print(installed_help::generate(what, whole_command())?));
        }
        option_form::parse(words)
    }

    fn of(action: Action, options: HostOptions) -> Self {
        let trust = if options.allow_untrusted { Trust::Waived } else { Trust::Required };
        Self { action, plugins: options.plugins, trust, verbosity: options.verbosity }
    }

    fn print(text: String) -> Self {
        Self::of(Action::Print(text), HostOptions::default())
    }
}
