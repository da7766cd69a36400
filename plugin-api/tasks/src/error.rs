//! Why a selection of tasks cannot be traced.

use std::path::PathBuf;

use crate::Pid;

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// The reason why a selection of tasks cannot be traced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The pids in this procfs are not those that the kernel records.
    #[error(
        "{} numbers the processes of an inner pid namespace, but tracing needs their numbers on the host: set TRACER_PROCFS_PATH to the mount point of the host's procfs (of a container with hostPID or --pid=host, or /proc of the host mounted into it)", .procfs.display()
    )]
    InnerNamespace {
        /// The procfs that was given.
        procfs: PathBuf,
    },

    /// This is no directory of a cgroup, or it has been removed.
    #[error("{} is no cgroup: {source}; give a directory below /sys/fs/cgroup", .directory.display())]
    Cgroup {
        /// The directory that was given.
        directory: PathBuf,
        /// Why it is none.
        source: std::io::Error,
    },

    /// None of the selected tasks is alive.
    #[error("no task left to trace: {} gone", gone(.pids))]
    NoTasksLeft {
        /// The processes that were asked for.
        pids: Vec<Pid>,
    },
}

fn gone(pids: &[Pid]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = pids.iter().take(SHOWN).map(Pid::to_string).collect();
    match pids.len() {
        0 => "the selected cgroups are".to_owned(),
        1 => format!("process {} is", shown[0]),
        n if n > SHOWN => format!("processes {} and {} more are", shown.join(", "), n - SHOWN),
        _ => format!("processes {} are", shown.join(", ")),
    }
}
