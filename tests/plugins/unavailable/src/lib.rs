//! Says that it cannot run here, and cannot reset what it has not got.

use trace_hook_api::{
    Cleanup, Environment, Hook, HookError, HookInfo, Request, Result, Session, export_plugin,
};

struct Unavailable;

impl Hook for Unavailable {
    fn info(&self) -> HookInfo {
        HookInfo::new("trace_unicorns", "Traces unicorns, for tests")
    }

    fn probe(&self, _: &Environment) -> Result<()> {
        Err(HookError::new("there are no unicorns on this machine"))
    }

    fn start(&self, _: &Request) -> Result<Box<dyn Session>> {
        Err(HookError::new("a unicorn would be needed"))
    }
}

struct Stable;

impl Cleanup for Stable {
    fn sweep(&self, _: &Environment) -> Result<()> {
        Ok(())
    }

    fn reset(&self, _: &Environment) -> Result<()> {
        Err(HookError::new("the stable door is stuck"))
    }
}

export_plugin!(Unavailable; cleanup = Stable);
