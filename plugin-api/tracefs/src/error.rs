//! What can go wrong, said so that a person knows what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no tracefs in any of the places looked at, and none could be mounted because the
    /// kernel offers no mount point for one.
    #[error("no tracefs: looked at {}; is the kernel built with CONFIG_TRACING, and is the sysfs path right?", list(.looked_at))]
    NotThere {
        /// The places looked at, in this order.
        looked_at: Vec<PathBuf>,
    },

    /// tracefs is there, or could be mounted, but not by us.
    #[error("no permission for {}: {source}{}", .path.display(), advice(.source))]
    NoPermission {
        /// Where tracefs is, or would be.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },

    /// tracefs is mounted where process 1 sees it, and we may not look there.
    #[error("tracefs is mounted for process 1, but {} is out of reach: {source}; it takes root and CAP_SYS_PTRACE", .path.display())]
    OutOfReach {
        /// Where tracefs is.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },

    /// tracefs is not mounted, and mounting it failed for another reason than permission.
    #[error("cannot mount tracefs on {}: {source}", .path.display())]
    Mount {
        /// The mount point.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },

    /// A name that cannot be the name of an instance, or a prefix that would match every instance.
    #[error("'{name}' cannot name a tracing instance: it must be a plain, non-empty file name")]
    InvalidName {
        /// The name that was given.
        name: String,
    },

    /// An instance of that name is there already, whoever made it.
    #[error("the tracing instance {} exists already; choose another name, or sweep it if its session is dead", .path.display())]
    InstanceExists {
        /// The directory that exists already.
        path: PathBuf,
    },

    /// An instance could not be removed because one of its files stayed open all the time we waited.
    #[error("cannot remove the tracing instance {}: somebody keeps one of its files open", .path.display())]
    InstanceBusy {
        /// The directory that is still there.
        path: PathBuf,
    },

    /// The kernel has no such trace system.
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
        /// The kernel's own words, over several lines, with a caret under the place it stumbled at.
        reason: String,
    },

    /// A filter expression is longer than the kernel takes.
    #[error("a filter of {length} bytes for {target} is too long: the kernel takes less than {limit}")]
    FilterTooLong {
        /// What was to be filtered: `system` or `system:event`.
        target: String,
        /// The bytes of the expression.
        length: usize,
        /// The size of a page of memory: an expression must be smaller.
        limit: usize,
    },

    /// The kernel refused the definition of a probe.
    #[error("the kernel refuses a probe:\n{reason}")]
    BadProbe {
        /// The kernel's own words, over several lines: what is wrong, the definition, and a caret under the place.
        reason: String,
    },

    /// `task:task_newtask` was to be filtered in a session that needs all its records to follow tasks.
    #[error(
        "'{target}' cannot have a filter in this session: following tasks needs every record of task:task_newtask"
    )]
    FilterHidesNewTasks {
        /// What was to be filtered: `system` or `system:event`.
        target: String,
    },

    /// Tasks must be chosen before events are enabled, else bystanders would be recorded.
    #[error("tasks must be chosen before events are enabled")]
    EventsBeforeTasks,

    /// Choosing the tasks of this instance failed, so it can have no events: the kernel takes an
    /// empty set of tasks for everyone.
    #[error("no events without tasks: choosing the tasks of this tracing instance has failed")]
    TasksNotChosen,

    /// The selection of tasks cannot be traced.
    #[error(transparent)]
    Tasks(#[from] trace_tasks::Error),

    /// The kernel lacks `task:task_newtask`, without which a process cannot be told from its children.
    #[error(
        "this kernel has no trace event task:task_newtask, which is needed to tell processes from their children"
    )]
    NoNewTaskEvent,

    /// A file of the kernel could not be used.
    #[error("cannot {action} {}: {source}{}", .path.display(), advice(.source))]
    Io {
        /// What was to be done: "open", "read", "write '1' to"…
        action: String,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel answered; its errno is in `source.raw_os_error()`.
        source: io::Error,
    },

    /// The ring buffer could not be opened or read.
    #[error(transparent)]
    Ring(#[from] crate::ring::Error),

    /// The formats of the events could not be read.
    #[error(transparent)]
    Format(#[from] crate::format::Error),

    /// Several things failed; all others were done.
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

    /// Whether the permissions of a file are in the way (`EACCES`), and not a kernel in lockdown, say (`EPERM`).
    pub fn is_access_denied(&self) -> bool {
        self.errno() == Some(Errno::EACCES)
    }

    /// The errno behind this error, where there is one.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Error::NoPermission { source, .. } | Error::Mount { source, .. } | Error::Io { source, .. } => {
                source.raw_os_error().map(Errno::from_raw)
            }
            _ => None,
        }
    }

    /// All well if nothing failed, else that one error, or all of them.
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
            "; tracing needs root, and CAP_SYS_ADMIN to mount tracefs; a kernel in lockdown refuses even those"
        }
        Some(Errno::EBUSY) => "; somebody else is using it",
        _ => "",
    }
}
