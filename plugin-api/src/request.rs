use serde::{Deserialize, Serialize};

use crate::{Arguments, Environment, Format};

/// How the name of every session begins.
///
/// What bears such a name in the kernel, and belongs to no living process, was left by a dead session.
pub const SESSION_PREFIX: &str = "tracehook_";

/// What a hook is asked to record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Request {
    /// The name of the hook, as its [`HookInfo`](crate::HookInfo) gives it.
    pub hook: String,
    /// The name of the session. Unique, and made of letters, digits and `_`, so that it can name whatever the
    /// session makes in the kernel; it begins with [`SESSION_PREFIX`].
    pub session: String,
    /// Where the kernel shows itself.
    pub environment: Environment,
    /// The tasks to trace, as the user chose them.
    pub tasks: TaskSelection,
    /// The hook's own arguments.
    #[serde(default)]
    pub arguments: Arguments,
    /// The format of the lines: one of those that the hook [declares](crate::HookInfo::formats).
    #[serde(default)]
    pub format: Format,
    /// The kernel buffer's size in KiB per CPU, where the user wants another than the hook's own choice.
    #[serde(default)]
    pub buffer_size: Option<u64>,
    /// How many bytes the session may keep while the reader is slow, before it has to lose events. On disk, for the
    /// greater part.
    #[serde(default = "default_spool_size")]
    pub spool_size: u64,
}

/// Some ten seconds of a flat-out load on one CPU.
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
            arguments: Arguments::default(),
            format: Format::default(),
            buffer_size: None,
            spool_size: default_spool_size(),
        }
    }
}

/// Which tasks to trace, by process ids. There is at least one id; each process was alive a moment ago.
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

    /// Sets whether the descendants of `pids` are left out.
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }
}
