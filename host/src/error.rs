//! All errors that can end a call, with their messages and exit statuses.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use thiserror::Error as ThisError;
use trace_hook_api::{ErrorKind, HookError};

/// The result of a fallible function of the host.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call could not be carried out.
#[derive(Debug, ThisError)]
pub enum Error {
    /// A usage error.
    #[error("{0}")]
    Usage(String),

    /// A mistake in an expression, with its place in bytes.
    #[error("{hook}: --{option}: {problem}")]
    Expression { hook: String, option: &'static str, expression: String, problem: String, at: usize },

    /// No plugin has such a hook. `is_similar`: the hint names one of a similar name.
    #[error("unknown hook '{hook}'{hint}")]
    UnknownHook { hook: String, hint: String, is_similar: bool },

    /// An environment variable has an invalid value.
    #[error("{variable}={}: {problem}", .value.display())]
    Variable { variable: &'static str, value: PathBuf, problem: String },

    /// The procfs of this process's own pid namespace is not in its place.
    #[error(
        "/proc/self: {0}; manager needs the procfs of its own pid namespace on /proc (mount -t proc proc /proc), also if \
         TRACER_PROCFS_PATH names another"
    )]
    OwnProcfs(io::Error),

    /// No traced process is alive.
    #[error("no process to trace: {0}")]
    NoTaskLeft(String),

    /// The cgroups of a choice of tasks cannot be found.
    #[error("no cgroup to trace: {0}")]
    NoCgroup(String),

    /// A plugin cannot be used.
    #[error("plugin {plugin}: {problem}")]
    Plugin { plugin: String, problem: String },

    /// A plugin, or one of its hooks, could not be inspected: it crashed or timed out.
    #[error("plugin {plugin}: {problem}")]
    NotInspected { plugin: String, problem: String },

    /// No inspected plugin has this hook, but one that could not be inspected may have it.
    #[error(
        "cannot find hook '{hook}': plugin {plugin}, which may have it, could not be inspected: {problem}"
    )]
    OwnerNotInspected { hook: String, plugin: String, problem: String },

    /// A hook's kernel sub-system is not usable here.
    #[error("hook {plugin}/{hook} cannot run here: {reason}")]
    Unavailable { plugin: String, hook: String, reason: String },

    /// Another plugin's hook has the same name.
    #[error("plugin {plugin}: its hook {hook} is hidden by {owner}/{hook}; call it {plugin}/{hook}")]
    Hidden { plugin: String, hook: String, owner: String },

    /// A hook returned an error.
    #[error("{hook}: {error}")]
    Hook { hook: String, error: HookError },

    /// A session is in a state in which the call fails.
    #[error("session {session} {problem}")]
    Session { session: String, problem: String },

    /// A plugin failed `--check`.
    #[error("{}: {failed} of the checks failed, the first is: {first}", .file.display())]
    Unfit { file: PathBuf, first: String, failed: usize },

    /// A system call on a path failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    Path { action: &'static str, path: PathBuf, source: io::Error },

    /// A directory, or a file in it, cannot be used.
    #[error("{}: {problem}", .path.display())]
    Directory { path: PathBuf, problem: String },

    /// There is no room for another process.
    #[error("cannot {action}: {source}; it takes a process: raise ulimit -u, or pids.max of the cgroup")]
    NoProcess { action: &'static str, source: io::Error },

    /// The command that is to be traced cannot be executed.
    #[error("cannot execute {}: {source}", .program.display())]
    Command { program: PathBuf, source: io::Error, is_missing: bool },

    /// A system call failed.
    #[error("cannot {action}: {source}")]
    System { action: &'static str, source: io::Error },

    /// Standard output cannot be written to.
    #[error("cannot print to standard output: {0}")]
    Output(String),

    /// A signal was received before the work was done.
    #[error("interrupted")]
    Interrupted,

    /// Several errors.
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

    /// An error of fork(2).
    pub fn no_process(action: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| match errno {
            // A limit is reached.
            Errno::EAGAIN => Self::NoProcess { action, source: errno.into() },
            errno => Self::system(action)(errno),
        }
    }

    /// Combines any number of errors into one. Errors with the same message are reported once.
    pub fn all(mut errors: Vec<Error>) -> Result<()> {
        let mut reported = HashSet::new();
        errors.retain(|error| reported.insert(error.lines()));
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }

    /// The lines to print: one for each error, followed by the excerpt that a plugin provides.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Several(errors) => errors.iter().flat_map(Self::lines).collect(),
            Self::Hook { error, .. } => {
                let excerpt = error.excerpt_lines().iter().map(|line| format!("  {line}"));
                [self.to_string()].into_iter().chain(excerpt).collect()
            }
            Self::Expression { expression, at, .. } => {
                let (shown, caret) = with_caret(expression, *at);
                vec![self.to_string(), shown, caret]
            }
            error => vec![error.to_string()],
        }
    }

    /// The plugin that the error concerns.
    pub fn plugin(&self) -> Option<&str> {
        match self {
            Self::Plugin { plugin, .. }
            | Self::NotInspected { plugin, .. }
            | Self::Unavailable { plugin, .. }
            | Self::Hidden { plugin, .. } => Some(plugin),
            _ => None,
        }
    }

    /// 2 for usage errors; 126 and 127 for a command that cannot be executed or does not exist, as in a shell; 1 for all others.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::UnknownHook { .. } | Self::Expression { .. } => 2,
            Self::Hook { error, .. } if error.kind() == ErrorKind::Usage => 2,
            Self::Command { is_missing: true, .. } => 127,
            Self::Command { .. } => 126,
            _ => 1,
        }
    }
}

/// The text as one line, and below it a caret under its byte `at`.
fn with_caret(text: &str, at: usize) -> (String, String) {
    // What is not plain is escaped when it is printed, which would move the caret.
    let shown: String = text.chars().map(|c| if trace_hook_api::is_plain(c) { c } else { '?' }).collect();
    let before = text.get(..at).unwrap_or(text).chars().count();
    (format!("  {shown}"), format!("  {}^", " ".repeat(before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_errors_are_reported_once() {
        let error = |text: &str| Error::Usage(text.to_owned());
        let all = Error::all(vec![error("one"), error("two"), error("one")]).unwrap_err();
        assert_eq!(all.lines(), ["one", "two"]);
        assert!(Error::all(Vec::new()).is_ok());
    }
}
