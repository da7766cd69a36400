//! A hook that cannot run here, and a reset that fails.

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

struct FailingReset;

impl Cleanup for FailingReset {
    fn sweep(&self, _: &Environment) -> Result<()> {
        Ok(())
    }

    fn reset(&self, _: &Environment) -> Result<()> {
        Err(HookError::new("the stable door is stuck"))
    }
}

export_plugin!(Unavailable; cleanup = FailingReset);
