//! Has ten thousand hooks.

use std::sync::atomic::{AtomicU32, Ordering};

use trace_hook_api::{Hook, HookError, HookInfo, Plugin, PluginDefinition, Request, Result, Session, abi};

struct Member;

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Hook for Member {
    fn info(&self) -> HookInfo {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        HookInfo::new(format!("member_{number}"), "One of many hooks, for tests")
    }

    fn start(&self, _: &Request) -> Result<Box<dyn Session>> {
        Err(HookError::new("this hook cannot run"))
    }
}

struct ManyHooks;

impl PluginDefinition for ManyHooks {
    const PLUGIN: &'static Plugin =
        &Plugin { version: env!("CARGO_PKG_VERSION"), hooks: &[&Member as &dyn Hook; 10_000], cleanup: &() };
}

// SAFETY: the name is that of `export_plugin!`, which cannot export so many hooks.
#[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
static HEADER: abi::Header = abi::export::<ManyHooks>();
