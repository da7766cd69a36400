//! Everything that can end a call, with the words and the exit status for it.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use thiserror::Error as ThisError;
use trace_hook_api::{ErrorKind, HookError};

/// The result of what the host does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call could not be carried out.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The words of the call are off.
    #[error("{0}")]
    Usage(String),

    /// No plugin has such a hook.
    #[error("unknown hook '{hook}'{hint}")]
    UnknownHook { hook: String, hint: String },

    /// A variable of the environment is wrong.
    #[error("{variable}={}: {problem}", .value.display())]
    Variable { variable: &'static str, value: PathBuf, problem: String },

    /// No traced process is alive.
    #[error("no process to trace: {0}")]
    NoTaskLeft(String),

    /// A plugin cannot be used.
    #[error("plugin {plugin}: {problem}")]
    Plugin { plugin: String, problem: String },

    /// A plugin could not be asked for its hooks, or for one of them: it crashed or did not answer, or no worker could
    /// be started.
    #[error("plugin {plugin}: {problem}")]
    NotAsked { plugin: String, problem: String },

    /// No plugin that answered has this hook, but one that could not be asked may have it.
    #[error("cannot find hook '{hook}': plugin {plugin}, which may have it, could not be asked: {problem}")]
    OwnerNotAsked { hook: String, plugin: String, problem: String },

    /// A hook's kernel sub-system is not usable here.
    #[error("hook {plugin}/{hook} cannot run here: {reason}")]
    Unavailable { plugin: String, hook: String, reason: String },

    /// Another plugin's hook has the same name.
    #[error("plugin {plugin}: its hook {hook} is hidden by {owner}/{hook}; call it {plugin}/{hook}")]
    Hidden { plugin: String, hook: String, owner: String },

    /// A hook says that it cannot.
    #[error("{hook}: {error}")]
    Hook { hook: String, error: HookError },

    /// A session is not as it must be.
    #[error("session {session} {problem}")]
    Session { session: String, problem: String },

    /// A plugin does not keep what plugins promise.
    #[error("{}: {failed} of the checks failed, the first is: {first}", .file.display())]
    Unfit { file: PathBuf, first: String, failed: usize },

    /// A system call on a path failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    Path { action: &'static str, path: PathBuf, source: io::Error },

    /// A directory of ours is not as it must be.
    #[error("{}: {problem}", .path.display())]
    Directory { path: PathBuf, problem: String },

    /// A system call failed.
    #[error("cannot {action}: {source}")]
    System { action: &'static str, source: io::Error },

    /// The caller does not take what we print.
    #[error("cannot print to standard output: {0}")]
    Output(String),

    /// A signal came before the work was done.
    #[error("interrupted")]
    Interrupted,

    /// More than one thing went wrong.
    #[error("{} failures", .0.len())]
    Several(Vec<Error>),
}

impl Error {
    /// An error of a system call on a path.
    pub fn path(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        let path = path.to_owned();
        move |errno| Self::Path { action, path, source: errno.into() }
    }

    /// An error of the standard library on a path.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Path { action, path, source }
    }

    /// An error of a system call.
    pub fn system(action: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::System { action, source: errno.into() }
    }

    /// One error out of any number, none of which may be lost. What failed twice in the same way is told once.
    pub fn all(mut errors: Vec<Error>) -> Result<()> {
        let mut told = HashSet::new();
        errors.retain(|error| told.insert(error.lines()));
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }

    /// What to tell the user: a line for each failure, and below it what a plugin wants to show.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Several(errors) => errors.iter().flat_map(Self::lines).collect(),
            Self::Hook { error, .. } => {
                let excerpt = error.excerpt_lines().iter().map(|line| format!("  {line}"));
                [self.to_string()].into_iter().chain(excerpt).collect()
            }
            error => vec![error.to_string()],
        }
    }

    /// The plugin that this is about.
    pub fn plugin(&self) -> Option<&str> {
        match self {
            Self::Plugin { plugin, .. }
            | Self::NotAsked { plugin, .. }
            | Self::Unavailable { plugin, .. }
            | Self::Hidden { plugin, .. } => Some(plugin),
            _ => None,
        }
    }

    /// 1: it failed. 2: other words would work.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::UnknownHook { .. } => 2,
            Self::Hook { error, .. } if error.kind() == ErrorKind::Usage => 2,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_twice_in_the_same_way_is_told_once() {
        let error = |text: &str| Error::Usage(text.to_owned());
        let all = Error::all(vec![error("one"), error("two"), error("one")]).unwrap_err();
        assert_eq!(all.lines(), ["one", "two"]);
        assert!(Error::all(Vec::new()).is_ok());
    }
}
