//! The kinds of events, and their tracepoints.

use trace_hook_api::{HookError, Result};
use tracefs::{Instance, Tracefs};
use tracefs_session::EventStream;

use super::events::Events;
use super::faults::{self, Faults};
use super::kmalloc::{self, Kmalloc};
use super::oom::{self, Oom};
use super::pages::{self, Pages};
use super::reclaim::{self, Reclaim};
use super::rss::{self, Rss};
use crate::tracepoint::Tracepoint;

/// A kind of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Pages,
    Faults,
    Kmalloc,
    Rss,
    Reclaim,
    Oom,
}

/// All kinds, by name.
pub const KINDS: [(&str, Kind); 6] = [
    ("pages", Kind::Pages),
    ("faults", Kind::Faults),
    ("kmalloc", Kind::Kmalloc),
    ("rss", Kind::Rss),
    ("reclaim", Kind::Reclaim),
    ("oom", Kind::Oom),
];

impl Kind {
    /// The kinds with these names; without names, all that the kernel has.
    ///
    /// # Errors
    ///
    /// The kernel does not have a kind that is named.
    pub fn chosen(names: &[String], tracefs: &Tracefs) -> Result<Vec<Self>> {
        if names.is_empty() {
            let all = KINDS.into_iter().map(|(_, kind)| kind);
            return Ok(all.filter(|kind| kind.is_in(tracefs)).collect());
        }
        let mut chosen = Vec::new();
        for (name, kind) in KINDS {
            if names.iter().any(|wanted| wanted == name) {
                if !kind.is_in(tracefs) {
                    return Err(HookError::new(format!("the kernel has no events of the kind '{name}'")));
                }
                chosen.push(kind);
            }
        }
        Ok(chosen)
    }

    /// Whether its events have call sites.
    pub fn has_call_sites(self) -> bool {
        matches!(self, Self::Pages | Self::Faults | Self::Kmalloc)
    }

    pub fn is_in(self, tracefs: &Tracefs) -> bool {
        self.tracepoints().iter().any(|tracepoint| tracepoint.is_in(tracefs))
    }

    /// Enables the events of this kind that the kernel has.
    pub fn enable(self, instance: &Instance) -> Result<()> {
        let has_it = |tracepoint: &&Tracepoint| tracepoint.is_in(instance.tracefs());
        self.tracepoints().iter().filter(has_it).try_for_each(|tracepoint| tracepoint.enable(instance))
    }

    /// Enables the events that have its call sites.
    pub fn enable_call_sites(self, instance: &Instance) -> Result<()> {
        match self {
            Self::Pages => {
                pages::ALLOC.enable_stack(instance)?;
                pages::ALLOC.enable(instance)
            }
            kind => kind.enable(instance),
        }
    }

    /// The reader of its records.
    pub fn events(self, stream: &mut EventStream) -> Result<Box<dyn Events>> {
        Ok(match self {
            Self::Pages => Box::new(Pages::new(stream)?),
            Self::Faults => Box::new(Faults::new(stream)?),
            Self::Kmalloc => Box::new(Kmalloc::new(stream)?),
            Self::Rss => Box::new(Rss::new(stream)?),
            Self::Reclaim => Box::new(Reclaim::new(stream)),
            Self::Oom => Box::new(Oom::new(stream)),
        })
    }

    fn tracepoints(self) -> &'static [Tracepoint] {
        match self {
            Self::Pages => &pages::TRACEPOINTS,
            Self::Faults => &faults::TRACEPOINTS,
            Self::Kmalloc => &kmalloc::TRACEPOINTS,
            Self::Rss => &rss::TRACEPOINTS,
            Self::Reclaim => &reclaim::TRACEPOINTS,
            Self::Oom => &oom::TRACEPOINTS,
        }
    }
}
