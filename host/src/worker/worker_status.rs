//! The state of a worker: which function of the plugin it is in, and whether it makes progress.
//!
//! A worker that has died or hangs sends no message. So it notes each call *before* it makes it, in a page of memory
//! that it shares with the supervisor.

use std::ffi::c_void;
use std::fmt;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::error::{Error, Result};

/// A call into the plugin. A hook is given by its position in the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginCall {
    /// The worker runs code of the host.
    None,
    /// The constructors of the library.
    Load,
    Info(u32),
    Probe(u32),
    Start,
    Read,
    Stop,
    Wakes,
    Stats,
    Close,
    Sweep,
    Reset,
}

impl PluginCall {
    fn number(self) -> u64 {
        let (kind, hook) = match self {
            Self::None => (0, 0),
            Self::Load => (1, 0),
            Self::Info(hook) => (2, hook),
            Self::Probe(hook) => (3, hook),
            Self::Start => (4, 0),
            Self::Read => (5, 0),
            Self::Stop => (6, 0),
            Self::Stats => (7, 0),
            Self::Close => (8, 0),
            Self::Sweep => (9, 0),
            Self::Reset => (10, 0),
            Self::Wakes => (11, 0),
        };
        kind << 32 | u64::from(hook)
    }

    /// A plugin can write any number to the page; an unknown one counts as none.
    fn from_number(number: u64) -> Self {
        let hook = number as u32;
        match number >> 32 {
            1 => Self::Load,
            2 => Self::Info(hook),
            3 => Self::Probe(hook),
            4 => Self::Start,
            5 => Self::Read,
            6 => Self::Stop,
            7 => Self::Stats,
            8 => Self::Close,
            9 => Self::Sweep,
            10 => Self::Reset,
            11 => Self::Wakes,
            _ => Self::None,
        }
    }
}

/// Text that continues "its worker was killed by SIGSEGV".
impl fmt::Display for PluginCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "between two of its functions",
            Self::Load => "while loading",
            Self::Info(_) => "in info",
            Self::Probe(_) => "in probe",
            Self::Start => "in start",
            Self::Read => "in read",
            Self::Stop => "in stop",
            Self::Wakes => "in wakes",
            Self::Stats => "in stats",
            Self::Close => "in close",
            Self::Sweep => "in sweep",
            Self::Reset => "in reset",
        })
    }
}

/// The page that a worker shares with its supervisor.
pub struct WorkerStatus(NonNull<Page>);

struct Page {
    call: AtomicU64,
    calls: AtomicU64,
    hook_count: AtomicU32,
    progress: AtomicU64,
}

impl WorkerStatus {
    /// A page for a worker that is about to be forked.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn new() -> Result<Self> {
        const { assert!(size_of::<Page>() > 0) };
        let length = NonZeroUsize::new(size_of::<Page>()).unwrap_or(NonZeroUsize::MIN);
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses an unused address, so no existing mapping is replaced.
        let page = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED) };
        page.map(|page| Self(page.cast())).map_err(Error::system("share memory with a worker"))
    }

    /// Notes a call that is about to be made.
    pub fn enter(&self, call: PluginCall) {
        self.page().call.store(call.number(), Ordering::Relaxed);
        self.page().calls.fetch_add(1, Ordering::Relaxed);
    }

    /// How many calls were noted.
    pub fn calls(&self) -> u64 {
        self.page().calls.load(Ordering::Relaxed)
    }

    /// The call that the worker is in, or was in when it died.
    pub fn current_call(&self) -> PluginCall {
        PluginCall::from_number(self.page().call.load(Ordering::Relaxed))
    }

    /// Notes how many hooks the plugin has.
    pub fn set_hook_count(&self, count: usize) {
        self.page().hook_count.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// How many hooks the plugin has; 0 until that is known.
    pub fn hook_count(&self) -> u32 {
        self.page().hook_count.load(Ordering::Relaxed)
    }

    /// Notes that the worker has made progress.
    pub fn report_progress(&self) {
        self.page().progress.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the worker has made progress.
    pub fn progress(&self) -> u64 {
        self.page().progress.load(Ordering::Relaxed)
    }

    fn page(&self) -> &Page {
        // SAFETY: the mapping is as large and as aligned as a `Page`, of which zeroes are a value, and lasts as long as
        // `self`. All of it is atomics, so the other process may write to it at any time.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for WorkerStatus {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping, and no reference to it outlives `self`.
        let _ = unsafe { munmap(self.0.cast::<c_void>(), size_of::<Page>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_returns_the_call_that_was_entered() {
        let status = WorkerStatus::new().unwrap();
        assert_eq!(status.current_call(), PluginCall::None);
        for call in [
            PluginCall::Load,
            PluginCall::Info(3),
            PluginCall::Probe(u32::MAX),
            PluginCall::Start,
            PluginCall::Read,
            PluginCall::Stop,
            PluginCall::Wakes,
            PluginCall::Stats,
            PluginCall::Close,
            PluginCall::Sweep,
            PluginCall::Reset,
        ] {
            status.enter(call);
            assert_eq!(status.current_call(), call);
        }
        status.page().call.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(status.current_call(), PluginCall::None);
    }
}
