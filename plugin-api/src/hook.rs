use crate::{Environment, HookInfo, Request, Result, Session};

/// A trace hook: something that can record what the kernel sees of some tasks.
///
/// The host calls each method in a process of its own for this plugin. What it prints goes nowhere, but for the end of it,
/// which the host logs under `-v`. Processes that it starts are killed when that process has done its job.
/// A panic is caught and becomes the error of that call.
pub trait Hook: Sync {
    /// The name, the summary and the parameters of the hook. Cheap, and the same each time.
    fn info(&self) -> HookInfo;

    /// Can this run here and now? The reason, if not: it is what a person reads in the list of hooks.
    ///
    /// Try the thing itself, cheaply (a few milliseconds): kernels differ. Nothing can be changed here, and no privilege
    /// be used: the host takes that away before it loads the plugin. What is forbidden fails with `EPERM`;
    /// [`Environment::judge`] tells whether that would befall a session too. Never give just the kernel's `EPERM` as the
    /// reason: where a session has the privilege, the hook would be left out for nothing.
    ///
    /// # Errors
    ///
    /// What is missing, and what would help.
    fn probe(&self, environment: &Environment) -> Result<()> {
        let _ = environment;
        Ok(())
    }

    /// Starts a session. Recording is on when this returns: an event of a traced task after that is recorded.
    ///
    /// Name everything that the session makes in the kernel with [`Request::session`].
    ///
    /// # Errors
    ///
    /// [`HookError::usage`](crate::HookError::usage) where other arguments would work. After an error nothing must be
    /// left in the kernel.
    fn start(&self, request: &Request) -> Result<Box<dyn Session>>;
}
