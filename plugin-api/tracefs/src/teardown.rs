//! Removing instances, in the order that is fastest for the kernel.

use std::fs::File;
use std::path::Path;
use std::thread;

use nix::errno::Errno;

use crate::busy::while_busy;
use crate::error::{Error, Result};
use crate::lock::Claim;
use crate::mount::Tracefs;
use crate::pid_filter::SET_EVENT_PID;

/// An instance to be removed, with everything that belongs to it.
pub(crate) struct Teardown<'a> {
    pub(crate) tracefs: &'a Tracefs,
    pub(crate) name: &'a str,
    pub(crate) claim: Claim,
    /// An open file of the instance; the kernel refuses the removal with EBUSY until it is closed.
    pub(crate) free_buffer: Option<File>,
    pub(crate) has_probes: bool,
}

/// Removes instances. If one part fails, all other parts are still removed.
///
/// For an instance without probes, `rmdir` alone would be enough. But it takes most of the time of a session's end, because it
/// waits for several RCU grace periods, one after the other. This order needs the fewest:
///
/// - Events are disabled before the pid filter is emptied (except for events with a trigger). Otherwise the kernel's recorder
///   of task names is still attached to `sched_switch`, and detaching the pid filter's probes from it takes one more.
/// - Probes are removed last. While an instance exists that has recorded them, the kernel empties its buffer for each.
pub(crate) fn tear_down(mut instances: Vec<Teardown<'_>>) -> Result<()> {
    let buffers = instances.iter_mut().filter_map(|instance| instance.free_buffer.take()).collect();
    let disabled: Vec<_> = instances.iter().filter(|instance| instance.disable_events()).collect();
    free_during(buffers, || disabled.into_iter().for_each(Teardown::clear_pid_filter));
    let mut results: Vec<_> = instances.iter().map(Teardown::remove_directory).collect();
    results.extend(instances.iter().map(Teardown::remove_probes));
    Error::all_of(results.into_iter().filter_map(Result::err).collect())
}

impl Teardown<'_> {
    fn disable_events(&self) -> bool {
        let disabled = self.claim.dir.write("events/enable", "0");
        disabled.inspect_err(|error| log::debug!("{error}")).is_ok()
    }

    /// Must not be done while an event is enabled: with an empty filter, all tasks are recorded.
    fn clear_pid_filter(&self) {
        if let Err(error) = self.claim.dir.empty(SET_EVENT_PID) {
            log::debug!("{error}");
        }
    }

    fn remove_directory(&self) -> Result<()> {
        let path = self.claim.dir.path();
        let name = Path::new("instances").join(self.name);
        let remove = || {
            let removed = self.tracefs.dir.remove_directory(&name);
            removed.map_err(|errno| Error::io("remove the tracing instance", path, errno))
        };
        while_busy(self.tracefs.busy_deadline(), remove).or_else(|error| match error.errno() {
            // Another process has removed it, or is removing it (ENODEV).
            Some(Errno::ENOENT | Errno::ENODEV) => Ok(()),
            Some(Errno::EBUSY) => Err(Error::InstanceBusy { path: path.to_path_buf() }),
            _ => Err(error),
        })
    }

    /// If this process dies before, the next sweep finds the probes without an instance.
    fn remove_probes(&self) -> Result<()> {
        match self.has_probes {
            true => self.tracefs.remove_user_probes(self.name).map(drop),
            false => Ok(()),
        }
    }
}

/// Frees the buffers in parallel to `work`. Both wait for the kernel, mostly for different reasons.
fn free_during(buffers: Vec<File>, work: impl FnOnce()) {
    // If no thread can be started, the buffers are freed here.
    let freeing = (!buffers.is_empty()).then(|| thread::Builder::new().spawn(|| drop(buffers)));
    work();
    if let Some(Ok(freeing)) = freeing {
        // The thread cannot panic.
        let _ = freeing.join();
    }
}
