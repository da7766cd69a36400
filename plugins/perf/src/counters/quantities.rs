//! The quantities, and which of them can be counted here.

use std::io;

use nix::errno::Errno;
use perf_event_open_sys::bindings as sys;
use trace_hook_api::FieldInfo;

use crate::perf_event::{Attributes, Event, Inherit, Kind, Subject};

/// A quantity, named as its field.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    pub name: &'static str,
    meaning: &'static str,
    kind: Kind,
    /// Whether it happens in the kernel only.
    happens_in_kernel: bool,
}

/// All quantities, in the order of their fields.
const QUANTITIES: [Quantity; 7] = [
    Quantity::software(
        TASK_CLOCK,
        "CPU time; in a virtual machine with the time that the host has taken",
        sys::PERF_COUNT_SW_TASK_CLOCK,
        false,
    ),
    Quantity::software("context_switches", "context switches", sys::PERF_COUNT_SW_CONTEXT_SWITCHES, true),
    Quantity::software(
        "migrations",
        "migrations from one CPU to another",
        sys::PERF_COUNT_SW_CPU_MIGRATIONS,
        true,
    ),
    Quantity::software("page_faults", "page faults", sys::PERF_COUNT_SW_PAGE_FAULTS, false),
    Quantity::hardware("cycles", "CPU cycles", sys::PERF_COUNT_HW_CPU_CYCLES),
    Quantity::hardware("instructions", "retired instructions", sys::PERF_COUNT_HW_INSTRUCTIONS),
    Quantity::hardware("cache_misses", "cache misses", sys::PERF_COUNT_HW_CACHE_MISSES),
];

/// The quantity that is a time.
pub const TASK_CLOCK: &str = "task_clock";

/// The descriptions of the fields of all quantities. Each of them is missing where it cannot be counted.
pub fn fields() -> impl Iterator<Item = FieldInfo> {
    QUANTITIES.into_iter().map(Quantity::field)
}

/// A quantity that can be counted here, and the attributes of its event.
#[derive(Clone, Copy)]
pub struct Countable {
    pub quantity: Quantity,
    pub attributes: Attributes,
}

/// What can be counted here, and what cannot, with reasons.
pub struct AvailableQuantities {
    pub counted: Vec<Countable>,
    pub uncounted: Vec<(Quantity, String)>,
}

impl Quantity {
    const fn software(
        name: &'static str,
        meaning: &'static str,
        config: u32,
        happens_in_kernel: bool,
    ) -> Self {
        Self { name, meaning, kind: Kind::Software(config), happens_in_kernel }
    }

    const fn hardware(name: &'static str, meaning: &'static str, config: u32) -> Self {
        Self { name, meaning, kind: Kind::Hardware(config), happens_in_kernel: false }
    }

    /// The description of its field.
    fn field(self) -> FieldInfo {
        let field = match self.name {
            TASK_CLOCK => FieldInfo::duration(self.name, self.meaning),
            name => FieldInfo::number(name, self.meaning),
        };
        field.optional()
    }

    /// Whether the processor counts it. Its counters can be shared by several events.
    pub fn is_hardware(self) -> bool {
        matches!(self.kind, Kind::Hardware(_))
    }

    /// Finds attributes that work here, with an event of our own.
    fn attributes(self) -> io::Result<Attributes> {
        let all = Attributes::counting(self.kind);
        match try_out(all) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !self.happens_in_kernel => {
                try_out(all.without_kernel())
            }
            all => all,
        }
    }
}

impl AvailableQuantities {
    /// Tries each quantity.
    pub fn probe() -> Self {
        let mut available = Self { counted: Vec::new(), uncounted: Vec::new() };
        for quantity in QUANTITIES {
            match quantity.attributes() {
                Ok(attributes) => available.counted.push(Countable { quantity, attributes }),
                Err(error) => available.uncounted.push((quantity, reason(&error))),
            }
        }
        available
    }
}

fn try_out(attributes: Attributes) -> io::Result<Attributes> {
    Event::open(&attributes.inherited(Inherit::AllTasks), Subject::Thread(0), None).map(|_| attributes)
}

fn reason(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM) => "it needs root or CAP_PERFMON".to_owned(),
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
    fn reasons_distinguish_privileges_from_hardware() {
        let reason = |errno: Errno| reason(&errno.into());
        assert!(reason(Errno::EACCES).contains("CAP_PERFMON"));
        assert!(reason(Errno::ENOENT).contains("no such counter"));
        assert!(reason(Errno::EMFILE).contains("Too many open files"));
    }
}
