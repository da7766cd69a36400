//! Which records are of events that the session has asked for.

use tracefs::format::Formatter;
use tracefs::{Instance, RequestedEvents};

use crate::buffer_number;

/// Text and data that programs write to the instance (`trace_marker`, `trace_marker_raw`), in the system `ftrace`.
pub const MARKERS: [&str; 2] = ["print", "raw_data"];

/// The kinds of records that are shown. Others are of events that are enabled for internal use, or by another process.
#[derive(Debug)]
pub struct Requested {
    first: Kinds,
    second: Option<Kinds>,
}

/// Those of one instance.
#[derive(Debug)]
struct Kinds {
    events: RequestedEvents,
    shows_markers: bool,
    /// By id, those that have been found to be shown. Others may be enabled later.
    shown: Vec<bool>,
}

impl Requested {
    /// What is enabled in an instance, and optionally in a second one, now and later.
    pub fn of(instance: &Instance, second: Option<&Instance>) -> Self {
        // The tasks are not chosen in the second, so the text of every process would be shown.
        Self { first: Kinds::of(instance, true), second: second.map(|second| Kinds::of(second, false)) }
    }

    /// Whether a record of this kind in this buffer is shown.
    pub fn has(&mut self, buffer: u32, id: u16, formatter: &mut Formatter) -> bool {
        match &mut self.second {
            Some(second) if buffer_number::is_in_second(buffer) => second.has(id, formatter),
            _ => self.first.has(id, formatter),
        }
    }
}

impl Kinds {
    fn of(instance: &Instance, shows_markers: bool) -> Self {
        Self { events: instance.requested_events(), shows_markers, shown: Vec::new() }
    }

    fn has(&mut self, id: u16, formatter: &mut Formatter) -> bool {
        if self.shown.get(usize::from(id)) == Some(&true) {
            return true;
        }
        let is_shown = match formatter.name_of(id) {
            Some(("ftrace", kind)) if MARKERS.contains(&kind) => self.shows_markers,
            Some((system, event)) => self.events.contains(system, event),
            // An event that has been removed, perhaps one of the session.
            None => true,
        };
        if is_shown {
            self.shown.resize(self.shown.len().max(usize::from(id) + 1), false);
            self.shown[usize::from(id)] = true;
        }
        is_shown
    }
}
