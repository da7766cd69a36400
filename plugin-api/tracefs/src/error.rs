//! The errors of this crate.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use trace_tasks::thread_refusal;

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// tracefs was not found, and cannot be mounted because the kernel has no mount point for it.
    #[error("no tracefs: looked at {}; is the kernel built with CONFIG_TRACING, and is the sysfs path right?", list(.looked_at))]
    NotThere {
        /// The searched places, in this order.
        looked_at: Vec<PathBuf>,
    },

    /// tracefs exists, or could be mounted, but this process has no permission.
    #[error("no permission for {}: {source}{}", .path.display(), advice(.source))]
    NoPermission {
        /// Where tracefs is, or would be mounted.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },

    /// tracefs is mounted in the mount namespace of process 1, which this process may not access.
    #[error("tracefs is mounted for process 1, but {} cannot be accessed: {source}; this needs root and CAP_SYS_PTRACE", .path.display())]
    OutOfReach {
        /// Where tracefs is.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },

    /// tracefs is not mounted, and cannot be mounted for a reason other than permission.
    #[error("cannot mount tracefs on {}: {source}", .path.display())]
    Mount {
        /// The mount point.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },

    /// A thread that is needed for a moment cannot be started.
    #[error("{}", thread_refusal("pid filter", .source))]
    NoThread {
        /// The kernel's error.
        source: io::Error,
    },

    /// The name is invalid for an instance, or the prefix would match every instance.
    #[error("'{name}' cannot name a tracing instance: it must be a plain, non-empty file name")]
    InvalidName {
        /// The name that was given.
        name: String,
    },

    /// An instance of that name exists already.
    #[error("the tracing instance {} exists already; choose another name, or sweep it if its session is dead", .path.display())]
    InstanceExists {
        /// The directory that exists already.
        path: PathBuf,
    },

    /// An instance could not be removed because a process kept one of its files open.
    #[error("cannot remove the tracing instance {}: another process keeps one of its files open", .path.display())]
    InstanceBusy {
        /// The directory that still exists.
        path: PathBuf,
    },

    /// The kernel has no such event system.
    #[error("this kernel has no trace system '{system}'")]
    UnknownSystem {
        /// The name that was given.
        system: String,
    },

    /// The kernel has no such trace event.
    #[error("this kernel has no trace event '{system}:{event}'")]
    UnknownEvent {
        /// The event's system.
        system: String,
        /// The event's name within its system.
        event: String,
    },

    /// The kernel refused a filter expression.
    #[error("the kernel refuses the filter '{expression}' for {target}:\n{reason}")]
    BadFilter {
        /// What was to be filtered: `system` or `system:event`.
        target: String,
        /// The expression that was refused.
        expression: String,
        /// The kernel's explanation, in several lines, with a caret under the place of the error.
        reason: String,
    },

    /// A filter expression is longer than the kernel accepts.
    #[error("a filter of {length} bytes for {target} is too long: the kernel takes less than {limit}")]
    FilterTooLong {
        /// What was to be filtered: `system` or `system:event`.
        target: String,
        /// The length of the expression in bytes.
        length: usize,
        /// The size of a page of memory; an expression must be shorter.
        limit: usize,
    },

    /// The kernel refused the definition of a probe.
    #[error("the kernel refuses a probe:\n{reason}")]
    BadProbe {
        /// The kernel's explanation, in several lines: the reason, the definition, and a caret under the place of the error.
        reason: String,
    },

    /// A filter for `task:task_newtask`, whose records this instance needs to follow tasks.
    #[error(
        "'{target}' cannot have a filter in this session: following tasks needs every record of task:task_newtask"
    )]
    FilterHidesNewTasks {
        /// What was to be filtered: `system` or `system:event`.
        target: String,
    },

    /// Tasks must be chosen before events are enabled, or other tasks would be recorded.
    #[error("tasks must be chosen before events are enabled")]
    EventsBeforeTasks,

    /// Choosing the tasks of this instance failed, so it must not enable events: with an empty set the kernel records all tasks.
    #[error("cannot enable events: choosing the tasks of this tracing instance has failed")]
    TasksNotChosen,

    /// The selection of tasks cannot be traced.
    #[error(transparent)]
    Tasks(#[from] trace_tasks::Error),

    /// The kernel lacks `task:task_newtask`, which is needed to distinguish a process from its children.
    #[error(
        "this kernel has no trace event task:task_newtask, which is needed to distinguish processes from their children"
    )]
    NoNewTaskEvent,

    /// An operation on a file of the kernel failed.
    #[error("cannot {action} {}: {source}{}", .path.display(), advice(.source))]
    Io {
        /// The operation: "open", "read", "write '1' to"…
        action: String,
        /// The file or directory.
        path: PathBuf,
        /// The kernel's error; its errno is in `source.raw_os_error()`.
        source: io::Error,
    },

    /// The ring buffer could not be opened or read.
    #[error(transparent)]
    Ring(#[from] crate::ring::Error),

    /// The formats of the events could not be read.
    #[error(transparent)]
    Format(#[from] crate::format::Error),

    /// Several parts of an operation failed; all other parts were carried out.
    #[error("{}", .0.iter().map(Error::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Error>),
}

impl Error {
    pub(crate) fn io(action: impl Into<String>, path: &Path, source: impl Into<io::Error>) -> Error {
        Error::Io { action: action.into(), path: path.to_path_buf(), source: source.into() }
    }

    /// The kernel does not have this event, or this system.
    pub(crate) fn unknown_event(system: &str, event: Option<&str>) -> Error {
        match event {
            Some(event) => Error::UnknownEvent { system: system.to_owned(), event: event.to_owned() },
            None => Error::UnknownSystem { system: system.to_owned() },
        }
    }

    /// Whether the permissions of a file are the reason (`EACCES`), and not, for example, kernel lockdown (`EPERM`).
    pub fn is_access_denied(&self) -> bool {
        self.errno() == Some(Errno::EACCES)
    }

    /// The errno of this error, if it has one.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Error::NoPermission { source, .. } | Error::Mount { source, .. } | Error::Io { source, .. } => {
                source.raw_os_error().map(Errno::from_raw)
            }
            _ => None,
        }
    }

    /// Combines errors into one result, which is `Ok` if there are none.
    pub(crate) fn all_of(mut errors: Vec<Error>) -> Result<()> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Error::Several(errors)),
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES) => "; tracing needs root or CAP_DAC_OVERRIDE",
        Some(Errno::EPERM) => {
            "; tracing needs root, and CAP_SYS_ADMIN to mount tracefs; a kernel in lockdown refuses it even then"
        }
        Some(Errno::EBUSY) => "; another process is using it",
        _ => "",
    }
}
