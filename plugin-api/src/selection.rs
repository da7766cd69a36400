use serde::{Deserialize, Serialize};

/// A way to choose the traced tasks that a hook honours, beyond `--pid`.
///
/// A hook declares them with [`HookInfo::selects`](crate::HookInfo::selects). The host rejects the others before anything starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Selection {
    /// Only the given processes, without their descendants: [`TaskSelection::exact`](crate::TaskSelection::exact).
    Exact,
    /// The descendants of given processes: [`TaskSelection::parents`](crate::TaskSelection::parents).
    Parents,
    /// The processes of given cgroups: [`TaskSelection::cgroups`](crate::TaskSelection::cgroups).
    Cgroups,
    /// All tasks of the machine: [`TaskSelection::all`](crate::TaskSelection::all).
    All,
}
