//! Claims the name of another plugin's hook.

use trace_hook_api::{Hook, HookError, HookInfo, Request, Result, Session, export_plugin};

struct DuplicateName;

impl Hook for DuplicateName {
    fn info(&self) -> HookInfo {
        HookInfo::new("synthetic_lines", "Has the name of another plugin's hook, for tests")
    }

    fn start(&self, _: &Request) -> Result<Box<dyn Session>> {
        Err(HookError::new("this hook has a duplicate name"))
    }
}

export_plugin!(DuplicateName);
