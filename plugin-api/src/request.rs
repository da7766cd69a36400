use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Arguments, Environment, Format, Selection, View};

/// The prefix of the name of every session.
///
/// What has such a name in the kernel and belongs to no living process was left by a dead session.
pub const SESSION_PREFIX: &str = "tracehook_";

/// The request for a session: what to record, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Request {
    /// The name of the hook, as its [`HookInfo`](crate::HookInfo) gives it.
    pub hook: String,
    /// The name of the session, which begins with [`SESSION_PREFIX`]. It is unique and consists of letters, digits and `_`, so
    /// that it can be the name of what the session makes in the kernel.
    pub session: String,
    /// The kernel to trace.
    pub environment: Environment,
    /// The tasks to trace, as the user chose them.
    pub tasks: TaskSelection,
    /// The program that the only one of these processes is about to execute. What the process maps before that does not count.
    #[serde(default)]
    pub command: Option<PathBuf>,
    /// The values of the hook's parameters.
    #[serde(default)]
    pub arguments: Arguments,
    /// The format of the lines: one of those that the hook [declares](crate::HookInfo::formats).
    #[serde(default)]
    pub format: Format,
    /// How the lines are presented. The default one, unless the hook [honours](crate::HookInfo::honours_view) others.
    #[serde(default)]
    pub view: View,
    /// The size of the kernel's buffer in KiB per CPU; `None` for the hook's default.
    #[serde(default)]
    pub buffer_size: Option<u64>,
    /// How many bytes the session may keep, mostly on disk, while the reader is slow. Beyond that, events are lost.
    #[serde(default = "default_spool_size")]
    pub spool_size: u64,
}

/// About ten seconds of a full load on one CPU.
const fn default_spool_size() -> u64 {
    256 << 20
}

impl Request {
    /// Creates a request with the default environment and no arguments.
    pub fn new(hook: impl Into<String>, session: impl Into<String>, tasks: TaskSelection) -> Self {
        Self {
            hook: hook.into(),
            session: session.into(),
            environment: Environment::default(),
            tasks,
            command: None,
            arguments: Arguments::default(),
            format: Format::default(),
            view: View::default(),
            buffer_size: None,
            spool_size: default_spool_size(),
        }
    }
}

/// Which tasks to trace: those that any of the fields selects. At least one does; each process was alive, and each cgroup existed, a
/// moment ago.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskSelection {
    /// The processes to trace, with all their threads, and, unless `exact`, with every living descendant and every process
    /// that these fork later.
    pub pids: Vec<u32>,
    /// Processes whose descendants are traced, but whose own events are left out.
    ///
    /// Empty unless the hook [declares](crate::HookInfo::selects) [`Selection::Parents`](crate::Selection::Parents).
    #[serde(default)]
    pub parents: Vec<u32>,
    /// Whether to leave the descendants of `pids` out.
    ///
    /// False unless the hook [declares](crate::HookInfo::selects) [`Selection::Exact`](crate::Selection::Exact).
    #[serde(default)]
    pub exact: bool,
    /// Directories of the cgroup file system, of either version. All processes of these cgroups and of those below them are
    /// traced, also those that join later. A session of cgroups alone ends when all of them have been removed.
    ///
    /// Empty unless the hook [declares](crate::HookInfo::selects) [`Selection::Cgroups`](crate::Selection::Cgroups).
    #[serde(default)]
    pub cgroups: Vec<PathBuf>,
    /// Whether all tasks are traced, except those of the host and the plugin.
    ///
    /// False unless the hook [declares](crate::HookInfo::selects) [`Selection::All`](crate::Selection::All).
    #[serde(default)]
    pub all: bool,
}

impl TaskSelection {
    /// Creates the selection of these processes and their descendants.
    pub fn of(pids: impl Into<Vec<u32>>) -> Self {
        Self { pids: pids.into(), ..Self::default() }
    }

    /// Adds the descendants of these processes.
    pub fn parents(mut self, parents: impl Into<Vec<u32>>) -> Self {
        self.parents = parents.into();
        self
    }

    /// Adds the processes of these cgroups.
    pub fn cgroups(mut self, directories: impl Into<Vec<PathBuf>>) -> Self {
        self.cgroups = directories.into();
        self
    }

    /// Sets whether all tasks are traced.
    pub fn all(mut self, all: bool) -> Self {
        self.all = all;
        self
    }

    /// The ways of choosing that this selection uses, beyond [`pids`](Self::pids).
    pub fn used(&self) -> impl Iterator<Item = Selection> {
        let used = [
            (self.exact, Selection::Exact),
            (!self.parents.is_empty(), Selection::Parents),
            (!self.cgroups.is_empty(), Selection::Cgroups),
            (self.all, Selection::All),
        ];
        used.into_iter().filter_map(|(is_used, selection)| is_used.then_some(selection))
    }

    /// Sets whether the descendants of `pids` are left out.
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_unknown_fields_of_a_request_are_accepted() {
        let text = r#"{
            "hook": "h", "session": "tracehook_1", "environment": {"procfs": "/proc", "sysfs": "/sys"},
            "tasks": {"pids": [7], "threads": ["/a"]}, "colour": "red"
        }"#;
        let request: Request = serde_json::from_str(text).unwrap();
        assert_eq!(request, Request::new("h", "tracehook_1", TaskSelection::of([7])));
    }
}
