//! Removing the instances of dead sessions.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::lock::{Claim, try_claim};
use crate::mount::Tracefs;
use crate::teardown::{Teardown, tear_down};

/// A directory is locked right after its creation. Without this grace period, successive sweeps could remove it again and
/// again before it is locked.
const TIME_TO_LOCK: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_millis(1);

impl Tracefs {
    /// Removes every instance whose name starts with `prefix` and that is not locked by a living process, together with its
    /// [probes](crate::UserProbe). Returns the number of instances removed. Instances of living sessions, and those with
    /// other names, stay.
    ///
    /// # Errors
    /// [`Error::InvalidName`] if `prefix` is empty, because that would include the instances of other tools. If some cannot be
    /// removed, the error names them, and all others are removed.
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

    /// Removes the probes whose instance no longer exists: they are removed after it. A living session may be removing some of
    /// them at the same time.
    fn sweep_user_probes(&self, prefix: &str) -> Result<()> {
        let mut errors = Vec::new();
        let is_orphan = |system: &String| system.starts_with(prefix) && !self.instance_path(system).exists();
        for system in self.systems()?.iter().filter(|system| is_orphan(system)) {
            match self.remove_user_probes(system) {
                Ok(0) => {}
                Ok(count) => {
                    log::info!("removed {count} probe events of {system}, whose instance no longer exists")
                }
                Err(error) => errors.push(error),
            }
        }
        Error::all_of(errors)
    }

    /// The lock is held until the directory is removed. A creator that is about to lock it waits, and then creates it again.
    fn sweep_one(&self, name: &str) -> Result<bool> {
        let path = self.instance_path(name);
        let Some(claim) = claim_orphan(&path)? else {
            return Ok(false);
        };
        // Its probes are removed with those of all missing instances.
        tear_down(vec![Teardown { tracefs: self, name, claim, free_buffer: None, has_probes: false }])?;
        log::info!("removed {} of a dead session", path.display());
        Ok(true)
    }
}

/// `None` if it is locked by another process, or removed.
fn claim_orphan(path: &Path) -> Result<Option<Claim>> {
    let mut claim = try_claim(path)?;
    while claim.is_some() && is_new(path) {
        drop(claim);
        sleep(PAUSE);
        claim = try_claim(path)?;
    }
    Ok(claim)
}

fn is_new(path: &Path) -> bool {
    let created = path.metadata().and_then(|directory| directory.modified()).ok();
    // A time in the future, after the clock was set back, counts as old.
    created.and_then(|created| created.elapsed().ok()).is_some_and(|age| age < TIME_TO_LOCK)
}
