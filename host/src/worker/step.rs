//! Where a worker is: in which of the plugin's functions, and whether anything moves.
//!
//! A worker that is dead or hangs answers nothing any more. So it writes down where it goes *before* it goes there, into
//! a page of memory that it shares with the supervisor.

use std::ffi::c_void;
use std::fmt;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::error::{Error, Result};

/// One of the plugin's functions. A hook is given by its position in the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// None: the worker is in the host's own code.
    Host,
    /// The library's constructors.
    Load,
    Info(u32),
    Probe(u32),
    Start,
    Read,
    Stop,
    Wakes,
    Account,
    Close,
    Sweep,
    Reset,
}

impl Step {
    fn number(self) -> u64 {
        let (kind, hook) = match self {
            Self::Host => (0, 0),
            Self::Load => (1, 0),
            Self::Info(hook) => (2, hook),
            Self::Probe(hook) => (3, hook),
            Self::Start => (4, 0),
            Self::Read => (5, 0),
            Self::Stop => (6, 0),
            Self::Account => (7, 0),
            Self::Close => (8, 0),
            Self::Sweep => (9, 0),
            Self::Reset => (10, 0),
            Self::Wakes => (11, 0),
        };
        kind << 32 | u64::from(hook)
    }

    /// A plugin can write what it likes to the page; what is no step is none.
    fn from_number(number: u64) -> Self {
        let hook = number as u32;
        match number >> 32 {
            1 => Self::Load,
            2 => Self::Info(hook),
            3 => Self::Probe(hook),
            4 => Self::Start,
            5 => Self::Read,
            6 => Self::Stop,
            7 => Self::Account,
            8 => Self::Close,
            9 => Self::Sweep,
            10 => Self::Reset,
            11 => Self::Wakes,
            _ => Self::Host,
        }
    }
}

/// Follows on "it was killed by SIGSEGV".
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "between two of its functions",
            Self::Load => "in loading",
            Self::Info(_) => "in info",
            Self::Probe(_) => "in probe",
            Self::Start => "in start",
            Self::Read => "in read",
            Self::Stop => "in stop",
            Self::Wakes => "in wakes",
            Self::Account => "in account",
            Self::Close => "in close",
            Self::Sweep => "in sweep",
            Self::Reset => "in reset",
        })
    }
}

/// The page that a worker shares with its supervisor.
pub struct Whereabouts(NonNull<Page>);

struct Page {
    step: AtomicU64,
    hooks: AtomicU32,
    signs: AtomicU64,
}

impl Whereabouts {
    /// A page for a worker that is about to be forked.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn new() -> Result<Self> {
        const { assert!(size_of::<Page>() > 0) };
        let length = NonZeroUsize::new(size_of::<Page>()).unwrap_or(NonZeroUsize::MIN);
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses a new place, so nobody's memory is replaced.
        let page = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED) };
        page.map(|page| Self(page.cast())).map_err(Error::system("share memory with a worker"))
    }

    /// Goes there.
    pub fn enter(&self, step: Step) {
        self.page().step.store(step.number(), Ordering::Relaxed);
    }

    /// Where the worker is, or was when it died.
    pub fn step(&self) -> Step {
        Step::from_number(self.page().step.load(Ordering::Relaxed))
    }

    /// Tells how many hooks the plugin has, as far as they are known.
    pub fn found_hooks(&self, count: usize) {
        self.page().hooks.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// How many hooks the plugin has, as far as they are known.
    pub fn hooks(&self) -> u32 {
        self.page().hooks.load(Ordering::Relaxed)
    }

    /// Tells that something has moved.
    pub fn give_sign(&self) {
        self.page().signs.fetch_add(1, Ordering::Relaxed);
    }

    /// How often something has moved.
    pub fn signs(&self) -> u64 {
        self.page().signs.load(Ordering::Relaxed)
    }

    fn page(&self) -> &Page {
        // SAFETY: the mapping is as large and as aligned as a `Page`, of which zeroes are a value, and lasts as long as
        // `self`. All of it is atomics, so the other process may write to it at any time.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Whereabouts {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing refers to it any more: references do not outlive `self`.
        let _ = unsafe { munmap(self.0.cast::<c_void>(), size_of::<Page>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_as_it_was_entered() {
        let whereabouts = Whereabouts::new().unwrap();
        assert_eq!(whereabouts.step(), Step::Host);
        let steps = [Step::Load, Step::Info(3), Step::Probe(u32::MAX), Step::Start, Step::Read, Step::Stop];
        for step in
            steps.into_iter().chain([Step::Wakes, Step::Account, Step::Close, Step::Sweep, Step::Reset])
        {
            whereabouts.enter(step);
            assert_eq!(whereabouts.step(), step);
        }
        whereabouts.page().step.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(whereabouts.step(), Step::Host);
    }
}
