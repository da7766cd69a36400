//! Removing tracing instances of dead sessions, and resetting the top-level one.

use trace_hook_api::{Cleanup, Environment, Result, SESSION_PREFIX, log};
use trace_tasks::Procfs;
use tracefs::Tracefs;

/// Removes the tracing instances of dead sessions, and resets the top-level one.
pub struct TracefsCleanup;

impl Cleanup for TracefsCleanup {
    fn sweep(&self, environment: &Environment) -> Result<()> {
        let removed = find(environment)?.sweep(SESSION_PREFIX)?;
        if removed > 0 {
            log::info!("{removed} tracing instances of dead sessions removed");
        }
        Ok(())
    }

    fn reset(&self, environment: &Environment) -> Result<()> {
        let tracefs = find(environment)?;
        // The supervisor of all workers that one call has started.
        match Procfs::at(&environment.procfs).ourselves()[..] {
            [_, supervisor] => Ok(tracefs.reset_once(supervisor)?),
            _ => Ok(tracefs.reset()?),
        }
    }
}

/// The tracefs of this environment.
pub fn find(environment: &Environment) -> tracefs::Result<Tracefs> {
    let tracefs = Tracefs::find(&environment.sysfs, &environment.procfs)?;
    Ok(tracefs.with_patience(environment.patience))
}
