//! `uprobe_events`, the kernel's list of all probes in programs.

use nix::errno::Errno;

use crate::busy::while_busy;
use crate::error::{Error, Result};
use crate::mount::Tracefs;

/// The file with one definition per line; probes are defined by writing to it. Opening it with O_TRUNC removes all of them.
pub(crate) const PROBE_LIST: &str = "uprobe_events";

impl Tracefs {
    /// Whether the kernel supports probes in programs (CONFIG_UPROBE_EVENTS).
    pub fn has_user_probes(&self) -> bool {
        self.dir.has(PROBE_LIST)
    }

    /// Removes the probes of a system. Returns the number of events removed.
    ///
    /// They are found in the directory of the system, not in the list: the kernel prints the list one record at a time, by
    /// position, and skips a record when another process removes an earlier one.
    ///
    /// # Errors
    /// An event is enabled in another instance, and stays enabled. All others are removed.
    pub(crate) fn remove_user_probes(&self, system: &str) -> Result<usize> {
        let events = match self.events(system) {
            Err(Error::UnknownSystem { .. }) => return Ok(0),
            events => events?,
        };
        let deadline = self.busy_deadline();
        let mut removed = 0;
        let mut errors = Vec::new();
        for event in events {
            match while_busy(deadline, || self.dir.write(PROBE_LIST, &format!("-:{system}/{event}"))) {
                Ok(()) => removed += 1,
                // Removed by another process in the meantime.
                Err(error) if error.errno() == Some(Errno::ENOENT) => {}
                Err(error) => errors.push(error),
            }
        }
        Error::all_of(errors).map(|()| removed)
    }
}
