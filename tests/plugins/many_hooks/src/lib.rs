//! Has ten thousand hooks.

use std::sync::atomic::{AtomicU32, Ordering};

use trace_hook_api::{Hook, HookError, HookInfo, Plugin, PluginDefinition, Request, Result, Session, abi};

struct Member;

static NAMED: AtomicU32 = AtomicU32::new(0);

impl Hook for Member {
    fn info(&self) -> HookInfo {
        let number = NAMED.fetch_add(1, Ordering::Relaxed);
        HookInfo::new(format!("member_{number}"), "One of very many, for tests")
    }

    fn start(&self, _: &Request) -> Result<Box<dyn Session>> {
        Err(HookError::new("there are too many of us"))
    }
}

struct ManyHooks;

impl PluginDefinition for ManyHooks {
    const PLUGIN: &'static Plugin =
        &Plugin { version: env!("CARGO_PKG_VERSION"), hooks: &[&Member as &dyn Hook; 10_000], cleanup: &() };
}

// SAFETY: the name is the one that `export_plugin!` gives, which cannot be told to make so many.
#[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
static HEADER: abi::Header = abi::export::<ManyHooks>();
