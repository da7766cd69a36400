//! Choices of tasks that a hook may honour or not.

use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;
use trace_hook_api::{HookInfo, Selection};

use super::every_hook::{ALL, CGROUP, CONTAINER, EXACT, PARENT, PID, WHOLE_CGROUP};
use crate::error::{Error, Result};

/// The option of a choice, and what a hook that does not declare the choice cannot do.
struct Choice {
    selection: Selection,
    option: &'static str,
    cannot: &'static str,
}

const CHOICES: [Choice; 6] = [
    Choice { selection: Selection::Exact, option: EXACT, cannot: "select exact processes" },
    Choice { selection: Selection::Parents, option: PARENT, cannot: "select by parent" },
    Choice { selection: Selection::Cgroups, option: CGROUP, cannot: "select by cgroup" },
    Choice { selection: Selection::Cgroups, option: CONTAINER, cannot: "select by container" },
    Choice { selection: Selection::Cgroups, option: WHOLE_CGROUP, cannot: "select by cgroup" },
    Choice { selection: Selection::All, option: ALL, cannot: "trace all tasks" },
];

/// The tasks as given. Whether they exist is not checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GivenTasks {
    pub pids: Vec<u32>,
    pub parents: Vec<u32>,
    /// Directories of cgroups, or paths as `/proc/PID/cgroup` shows them.
    pub cgroups: Vec<PathBuf>,
    /// Ids of containers, or the beginnings of such ids.
    pub containers: Vec<String>,
    /// The cgroups of `pids` are meant, and not only these processes.
    pub whole_cgroups: bool,
    pub exact: bool,
    pub all: bool,
}

impl GivenTasks {
    pub fn of(matches: &ArgMatches) -> Self {
        Self {
            pids: each_once(matches, PID),
            parents: each_once(matches, PARENT),
            cgroups: each_once(matches, CGROUP).into_iter().map(|path: String| path.into()).collect(),
            containers: each_once(matches, CONTAINER),
            whole_cgroups: matches.get_flag(WHOLE_CGROUP),
            exact: matches.get_flag(EXACT),
            all: matches.get_flag(ALL),
        }
    }

    /// Whether nothing was given that could be traced.
    pub fn is_empty(&self) -> bool {
        self.pids.is_empty()
            && self.parents.is_empty()
            && self.cgroups.is_empty()
            && self.containers.is_empty()
            && !self.all
    }
}

/// Each value once, in the order given.
fn each_once<T: Clone + PartialEq + Send + Sync + 'static>(matches: &ArgMatches, option: &str) -> Vec<T> {
    let mut values = Vec::new();
    for value in matches.get_many::<T>(option).into_iter().flatten() {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    values
}

/// Returns whether the option stands for a choice that the hook does not honour.
pub fn is_unsupported(hook: &HookInfo, option: &str) -> bool {
    CHOICES.iter().any(|choice| choice.option == option && !hook.selects.contains(&choice.selection))
}

/// Rejects choices that the hook does not declare: it would ignore them.
///
/// # Errors
///
/// The first such choice.
pub fn check(hook: &HookInfo, matches: &ArgMatches) -> Result<()> {
    let is_given = |choice: &&Choice| {
        matches.value_source(choice.option) == Some(ValueSource::CommandLine)
            && is_unsupported(hook, choice.option)
    };
    if let Some(Choice { option, cannot, .. }) = CHOICES.iter().find(is_given) {
        return Err(Error::Usage(format!("{} cannot {cannot}; omit --{option}", hook.name)));
    }
    check_is_one(hook, matches)
}

/// Rejects several choices: one would hide what the other traces.
fn check_is_one(hook: &HookInfo, matches: &ArgMatches) -> Result<()> {
    let is_given = |option: &&&str| matches.value_source(option) == Some(ValueSource::CommandLine);
    let processes = [PID, PARENT].iter().find(is_given);
    let given: Vec<_> =
        processes.into_iter().chain([CGROUP, CONTAINER, ALL].iter().filter(is_given)).collect();
    match given.as_slice() {
        [first, second, ..] => Err(Error::Usage(format!(
            "{}: --{first} and --{second} are two choices of what to trace; omit one of them",
            hook.name
        ))),
        _ => Ok(()),
    }
}
