//! Attempts what a plugin may not do in discovery, and reports the results: those of its constructor and of `info` in the
//! hook's details, those of `probe` in the reason why the hook cannot run, and those of a session as its lines.
//!
//! The results are words such as `info/mkdir=1`: the call, the attempt, and the kernel's error number, 0 for success.

mod attempts;
mod system_call;

use std::sync::OnceLock;

use trace_hook_api::{
    Environment, Hook, HookError, HookInfo, LineBuffer, Progress, Request, Result, Session, export_plugin,
};

/// The results of the constructor.
static IN_CONSTRUCTOR: OnceLock<Vec<String>> = OnceLock::new();

extern "C" fn constructor() {
    let _ = IN_CONSTRUCTOR.set(attempts::all("constructor"));
}

// SAFETY: the section holds the addresses of functions without arguments.
#[unsafe(link_section = ".init_array")]
#[used]
static CONSTRUCTOR: extern "C" fn() = constructor;

struct SandboxEscape;

impl Hook for SandboxEscape {
    fn info(&self) -> HookInfo {
        let mut report = IN_CONSTRUCTOR.get().cloned().unwrap_or_default();
        report.extend(attempts::all("info"));
        HookInfo::new("sandbox_escape", "Attempts what is forbidden, for tests").details(report.join(" "))
    }

    fn probe(&self, _: &Environment) -> Result<()> {
        Err(HookError::new(attempts::all("probe").join(" ")))
    }

    fn start(&self, _: &Request) -> Result<Box<dyn Session>> {
        Ok(Box::new(Attempted { report: attempts::all("session"), stopped: false }))
    }
}

struct Attempted {
    report: Vec<String>,
    stopped: bool,
}

impl Session for Attempted {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.report.drain(..).for_each(|line| lines.push(line));
        Ok(if self.stopped { Progress::Finished } else { Progress::Idle })
    }

    fn stop(&mut self) -> Result<()> {
        self.stopped = true;
        Ok(())
    }
}

export_plugin!(SandboxEscape);
