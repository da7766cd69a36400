//! Claims the name of another plugin's hook.

use trace_hook_api::{Hook, HookError, HookInfo, Request, Result, Session, export_plugin};

struct Twin;

impl Hook for Twin {
    fn info(&self) -> HookInfo {
        HookInfo::new("made_up_lines", "The twin of another plugin's hook, for tests")
    }

    fn start(&self, _: &Request) -> Result<Box<dyn Session>> {
        Err(HookError::new("this is the twin"))
    }
}

export_plugin!(Twin);
