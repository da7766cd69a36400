//! Removing instances, quickly and for good.

use std::fs::{self, File};
use std::thread;
use std::time::Instant;

use nix::errno::Errno;

use crate::busy::{PATIENCE, while_busy};
use crate::error::{Error, Result};
use crate::lock::Claim;
use crate::mount::Tracefs;
use crate::pid_filter::SET_EVENT_PID;

/// An instance that is to go, with what goes with it.
pub(crate) struct Leaving<'a> {
    pub(crate) tracefs: &'a Tracefs,
    pub(crate) name: &'a str,
    pub(crate) claim: Claim,
    /// An open file of the instance, for which the kernel would refuse with EBUSY.
    pub(crate) free_buffer: Option<File>,
    pub(crate) has_probes: bool,
}

/// Removes instances. Whatever fails for one of them, all that can go is gone afterwards.
///
/// `rmdir` alone would do for those without probes. But it is what most of a session's end is spent
/// with: it waits for several grace periods of RCU, one after the other. In this order there are
/// the fewest of them:
///
/// - No event is on any more when the tasks are forgotten (but for those with a trigger). Else the kernel's recorder of
///   task names still hangs on `sched_switch`, and to take the probes of the task set from beside it costs one more.
/// - Probes go last. With an instance there that has recorded them, the kernel empties its buffer for each.
pub(crate) fn tear_down(mut leaving: Vec<Leaving<'_>>) -> Result<()> {
    let buffers = leaving.iter_mut().filter_map(|instance| instance.free_buffer.take()).collect();
    let silent: Vec<_> = leaving.iter().filter(|instance| instance.falls_silent()).collect();
    free_during(buffers, || silent.into_iter().for_each(Leaving::forget_tasks));
    let mut results: Vec<_> = leaving.iter().map(Leaving::remove_directory).collect();
    results.extend(leaving.iter().map(Leaving::remove_probes));
    Error::all_of(results.into_iter().filter_map(Result::err).collect())
}

impl Leaving<'_> {
    fn falls_silent(&self) -> bool {
        let disabled = self.claim.dir.write("events/enable", "0");
        disabled.inspect_err(|error| log::debug!("{error}")).is_ok()
    }

    /// Not to be done with an event on: without tasks, an instance records everybody.
    fn forget_tasks(&self) {
        if let Err(error) = self.claim.dir.empty(SET_EVENT_PID) {
            log::debug!("{error}");
        }
    }

    fn remove_directory(&self) -> Result<()> {
        let path = self.claim.dir.path();
        let remove =
            || fs::remove_dir(path).map_err(|error| Error::io("remove the tracing instance", path, error));
        while_busy(Instant::now() + PATIENCE, remove).or_else(|error| match error.errno() {
            // Gone, or just going (ENODEV), is what it should be, whoever does it.
            Some(Errno::ENOENT | Errno::ENODEV) => Ok(()),
            Some(Errno::EBUSY) => Err(Error::InstanceBusy { path: path.to_path_buf() }),
            _ => Err(error),
        })
    }

    /// Should this process die before, the next sweep finds probes without an instance.
    fn remove_probes(&self) -> Result<()> {
        match self.has_probes {
            true => self.tracefs.remove_user_probes(self.name).map(drop),
            false => Ok(()),
        }
    }
}

/// Frees the buffers at the same time. Both wait for the kernel, mostly for different things.
fn free_during(buffers: Vec<File>, work: impl FnOnce()) {
    // Where there can be no thread, they are freed right here.
    let freeing = (!buffers.is_empty()).then(|| thread::Builder::new().spawn(|| drop(buffers)));
    work();
    if let Some(Ok(freeing)) = freeing {
        // It does nothing that could panic.
        let _ = freeing.join();
    }
}
