use crate::{Environment, HookInfo, Request, Result, Session};

/// A trace hook: it records events of the traced tasks.
///
/// The host calls the methods in a separate process for each plugin. It discards what a plugin prints, except for the end, which
/// it logs under `-v`. Processes that a plugin starts are killed when its own process has finished. A panic is caught and becomes
/// the error of that call.
pub trait Hook: Sync {
    /// Describes the hook. This must be cheap, and return the same each time.
    fn info(&self) -> HookInfo;

    /// Checks whether the hook can run on this machine. Users see the error in the list of hooks.
    ///
    /// Kernels differ, so try what a session does, within a few milliseconds. A probe can change nothing and has no privileges: the
    /// host drops them before it loads the plugin. What needs one fails with `EPERM`; [`Environment::judge`] decides whether it
    /// would fail in a session, too. Do not return the kernel's `EPERM` as it is: a session may have the privilege.
    ///
    /// # Errors
    ///
    /// What is missing, and what to do about it.
    fn probe(&self, environment: &Environment) -> Result<()> {
        let _ = environment;
        Ok(())
    }

    /// Starts a session. Every event of a traced task after the return is recorded.
    ///
    /// Use [`Request::session`] as the name of everything that the session makes in the kernel.
    ///
    /// # Errors
    ///
    /// [`HookError::usage`](crate::HookError::usage) if other arguments would work. After an error, nothing must be left in the
    /// kernel.
    fn start(&self, request: &Request) -> Result<Box<dyn Session>>;
}
