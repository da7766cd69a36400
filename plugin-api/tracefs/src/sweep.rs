//! Removing what dead sessions left behind.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::lock::{Claim, try_claim};
use crate::mount::Tracefs;
use crate::teardown::{Leaving, tear_down};

/// Who makes a directory locks it right after that. Without this time, sweepers that come one after the other could take it
/// from its creator again and again.
const TIME_TO_LOCK: Duration = Duration::from_millis(50);
const NAP: Duration = Duration::from_millis(1);

impl Tracefs {
    /// Removes every instance whose name starts with `prefix` and which no living process has
    /// locked; tells how many. The [probes](crate::UserProbe) of such instances go with them. Those of living
    /// sessions and those with other names stay.
    ///
    /// # Errors
    /// [`Error::InvalidName`] if `prefix` is empty, for that would be other tools' instances as well. If
    /// some cannot be removed, all others are, and the error names those.
    pub fn sweep(&self, prefix: &str) -> Result<usize> {
        if prefix.is_empty() {
            return Err(Error::InvalidName { name: prefix.to_owned() });
        }
        let mut swept = 0;
        let mut errors = Vec::new();
        for name in self.dir.directories_in("instances")?.iter().filter(|name| name.starts_with(prefix)) {
            match self.sweep_one(name) {
                Ok(true) => swept += 1,
                Ok(false) => {}
                Err(error) => errors.push(error),
            }
        }
        if let Err(error) = self.sweep_user_probes(prefix) {
            errors.push(error);
        }
        Error::all_of(errors).map(|()| swept)
    }

    /// Removes the probes that belong to no instance any more: they go after it. Those of a session that is just removing
    /// them itself may be among them.
    fn sweep_user_probes(&self, prefix: &str) -> Result<()> {
        let mut errors = Vec::new();
        let is_orphan = |system: &String| system.starts_with(prefix) && !self.instance_path(system).exists();
        for system in self.systems()?.iter().filter(|system| is_orphan(system)) {
            match self.remove_user_probes(system) {
                Ok(0) => {}
                Ok(count) => log::info!("removed {count} events in programs, of {system}, which is gone"),
                Err(error) => errors.push(error),
            }
        }
        Error::all_of(errors)
    }

    /// The lock is held until the directory is gone, so that its creator, should it just be about to
    /// lock it, waits and then sees that it has to make it anew.
    fn sweep_one(&self, name: &str) -> Result<bool> {
        let path = self.instance_path(name);
        let Some(claim) = claim_orphan(&path)? else {
            return Ok(false);
        };
        // Its probes are swept with those of all that are gone.
        tear_down(vec![Leaving { tracefs: self, name, claim, free_buffer: None, has_probes: false }])?;
        log::info!("removed {}, which a dead session left behind", path.display());
        Ok(true)
    }
}

/// `None` if it is somebody's, or gone.
fn claim_orphan(path: &Path) -> Result<Option<Claim>> {
    let mut claim = try_claim(path)?;
    while claim.is_some() && is_just_made(path) {
        drop(claim);
        sleep(NAP);
        claim = try_claim(path)?;
    }
    Ok(claim)
}

fn is_just_made(path: &Path) -> bool {
    let made = path.metadata().and_then(|directory| directory.modified()).ok();
    // Made in the future, as the clock was set since: long ago.
    made.and_then(|made| made.elapsed().ok()).is_some_and(|age| age < TIME_TO_LOCK)
}
