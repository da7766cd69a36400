//! Checking, possibly with fewer privileges than a session, whether a session could use tracefs.

use std::os::unix::fs::MetadataExt;

use trace_hook_api::{Capability, Environment, HookError, Result};
use trace_tasks::Procfs;
use tracefs::{Error, Tracefs};

/// Returns the tracefs if it is usable, for [`Hook::probe`](trace_hook_api::Hook::probe). `None` if a session can use it, but
/// this process cannot access it.
///
/// # Errors
///
/// The reason why a session could not use tracefs.
pub fn usable_tracefs(environment: &Environment) -> Result<Option<Tracefs>> {
    if environment.is_confidential() {
        return Err(HookError::new(
            "the kernel is locked down (confidentiality) and hides tracefs; boot with lockdown=integrity",
        ));
    }
    check_namespace(environment)?;
    let looked = Tracefs::look(&environment.sysfs, &environment.procfs);
    let checked = looked.and_then(|found| match found {
        Some(tracefs) => tracefs.check_usable().map(|()| Some(tracefs)),
        None => Ok(None),
    });
    match checked {
        Ok(Some(tracefs)) => Ok(Some(tracefs)),
        Ok(None) => can_be_mounted(environment).map(|()| None),
        Err(error) => match remedy(&error) {
            Some(capability) => environment.check_any(&[capability]).map(|()| None).map_err(|_| error.into()),
            None => Err(error.into()),
        },
    }
}

/// A session would find out too late: tracefs has the ids of the initial pid namespace.
fn check_namespace(environment: &Environment) -> Result<()> {
    Ok(Procfs::of_initial_namespace(&environment.procfs).map(drop)?)
}

fn can_be_mounted(environment: &Environment) -> Result<()> {
    let lacking = |lacking| HookError::new(format!("tracefs is not mounted; to mount and use it, {lacking}"));
    environment.check_any(&[Capability::SysAdmin]).map_err(lacking)?;
    // A newly mounted tracefs belongs to root.
    let is_root = std::fs::metadata(environment.procfs.join("self")).is_ok_and(|process| process.uid() == 0);
    if is_root { Ok(()) } else { environment.check_any(&[Capability::DacOverride]).map_err(lacking) }
}

/// The capability that would avoid an error.
fn remedy(error: &Error) -> Option<Capability> {
    match error {
        Error::NoPermission { .. } if error.is_access_denied() => Some(Capability::DacOverride),
        Error::OutOfReach { .. } => Some(Capability::SysPtrace),
        _ => None,
    }
}
