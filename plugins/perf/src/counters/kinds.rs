//! What is counted.

use std::io;

use nix::errno::Errno;
use perf_event_open_sys::bindings as sys;

use crate::perf_event::{Attributes, Event, Inherit, Kind};

/// A quantity, by the name of its field, and whether it is seen from within the kernel only.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    pub name: &'static str,
    kind: Kind,
    happens_in_kernel: bool,
}

/// All, in the order of their fields.
const QUANTITIES: [Quantity; 7] = [
    Quantity::software(TASK_CLOCK, sys::PERF_COUNT_SW_TASK_CLOCK, false),
    Quantity::software("context_switches", sys::PERF_COUNT_SW_CONTEXT_SWITCHES, true),
    Quantity::software("migrations", sys::PERF_COUNT_SW_CPU_MIGRATIONS, true),
    Quantity::software("page_faults", sys::PERF_COUNT_SW_PAGE_FAULTS, false),
    Quantity::hardware("cycles", sys::PERF_COUNT_HW_CPU_CYCLES),
    Quantity::hardware("instructions", sys::PERF_COUNT_HW_INSTRUCTIONS),
    Quantity::hardware("cache_misses", sys::PERF_COUNT_HW_CACHE_MISSES),
];

/// The one that is a time.
pub const TASK_CLOCK: &str = "task_clock";

/// A quantity that can be counted here, and how.
#[derive(Clone, Copy)]
pub struct Countable {
    pub quantity: Quantity,
    pub attributes: Attributes,
}

/// What can be counted here, and what cannot, with the reason.
pub struct Choice {
    pub counted: Vec<Countable>,
    pub uncounted: Vec<(Quantity, String)>,
}

impl Quantity {
    const fn software(name: &'static str, config: u32, happens_in_kernel: bool) -> Self {
        Self { name, kind: Kind::Software(config), happens_in_kernel }
    }

    const fn hardware(name: &'static str, config: u32) -> Self {
        Self { name, kind: Kind::Hardware(config), happens_in_kernel: false }
    }

    /// Whether the processor counts it, which may have to share its counters.
    pub fn is_hardware(self) -> bool {
        matches!(self.kind, Kind::Hardware(_))
    }

    /// How it can be counted here, tried on ourselves.
    fn attributes(self) -> io::Result<Attributes> {
        let all = Attributes::counting(self.kind);
        match works(all) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !self.happens_in_kernel => {
                works(all.without_kernel())
            }
            all => all,
        }
    }
}

impl Choice {
    /// What this machine has and this user may.
    pub fn here() -> Self {
        let mut choice = Self { counted: Vec::new(), uncounted: Vec::new() };
        for quantity in QUANTITIES {
            match quantity.attributes() {
                Ok(attributes) => choice.counted.push(Countable { quantity, attributes }),
                Err(error) => choice.uncounted.push((quantity, reason(&error))),
            }
        }
        choice
    }
}

fn works(attributes: Attributes) -> io::Result<Attributes> {
    Event::open(&attributes.inherited(Inherit::Everybody), 0, None).map(|_| attributes)
}

fn reason(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM) => "it takes root, or CAP_PERFMON".to_owned(),
        Some(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => {
            "this machine has no such counter".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_machine_lacks_is_said_to_be_lacking() {
        let reason = |errno: Errno| reason(&errno.into());
        assert!(reason(Errno::EACCES).contains("CAP_PERFMON"));
        assert!(reason(Errno::ENOENT).contains("no such counter"));
        assert!(reason(Errno::EMFILE).contains("Too many open files"));
    }
}
