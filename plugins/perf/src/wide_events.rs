//! Events of whole cgroups, or of all tasks: one for each CPU.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use trace_hook_api::{Environment, HookError, Result};
use trace_tasks::{Cgroup, SelectedProcesses};

use crate::descriptors;
use crate::perf_event::{Attributes, Event, Subject};

/// The hierarchy of version 2, in `/proc/PID/cgroup`.
const VERSION_2: u32 = 0;

/// Tasks that an event can be about without naming them.
#[derive(Debug)]
pub enum Crowd {
    /// Those of a cgroup.
    Cgroup { cgroup: Cgroup, directory: File },
    /// All.
    AllTasks,
}

impl Crowd {
    /// The crowds of a selection. None if it names processes only.
    ///
    /// # Errors
    ///
    /// The directory of a cgroup cannot be opened.
    pub fn all_of(selection: &SelectedProcesses) -> Result<Vec<Self>> {
        if selection.is_all() {
            return Ok(vec![Self::AllTasks]);
        }
        let open = |cgroup: &Cgroup| {
            let directory = File::open(cgroup.directory()).map_err(|error| {
                HookError::new(format!("cannot open {}: {error}", cgroup.directory().display()))
            })?;
            Ok(Self::Cgroup { cgroup: cgroup.clone(), directory })
        };
        selection.cgroups().iter().map(open).collect()
    }

    /// Opens an event of these tasks on a CPU. `None` if the CPU has gone offline.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn open(
        &self,
        attributes: &Attributes,
        cpu: u32,
        environment: &Environment,
    ) -> Result<Option<Event>> {
        let subject = match self {
            Self::Cgroup { directory, .. } => Subject::Cgroup(directory.as_fd()),
            Self::AllTasks => Subject::AllTasks,
        };
        match Event::open(attributes, subject, Some(cpu)) {
            Ok(event) => Ok(Some(event)),
            Err(error) if is(&error, Errno::ENODEV) => Ok(None),
            Err(error) => Err(self.refused(&error, environment)),
        }
    }

    fn refused(&self, error: &io::Error, environment: &Environment) -> HookError {
        match self {
            Self::Cgroup { cgroup, .. } if is(error, Errno::EBADF) || is(error, Errno::ENOENT) => {
                let directory = cgroup.directory().display();
                HookError::new(format!(
                    "perf events cannot select by {directory}: {error}; {}",
                    remedy(cgroup)
                ))
            }
            _ => descriptors::explain(error, environment),
        }
    }
}

/// What makes perf events work in a cgroup that they do not know.
fn remedy(cgroup: &Cgroup) -> &'static str {
    if cgroup.hierarchy() != VERSION_2 {
        return "give the cgroup's directory in the hierarchy of version 2 or of perf_event";
    }
    // perf_event need not be enabled, but the kernel prepares cgroups for it only when another controller is enabled.
    "if a hierarchy of perf_event is mounted, give the cgroup's directory there; otherwise enable a controller in the root cgroup, \
     as service managers do: echo +pids > /sys/fs/cgroup/cgroup.subtree_control"
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}
