//! Which stack traces are printed.

use std::collections::HashMap;

use tracefs::Instance;
use tracefs::format::Formatter;

/// The entries with stack traces.
const STACKS: [(&str, &str); 2] = [("ftrace", "kernel_stack"), ("ftrace", "user_stack")];

/// Assigns stack traces to their events.
///
/// The kernel writes the stack traces of an event as separate records right after it. Only an interrupt can come in between,
/// with its own events and stack traces (`trace_buffer_unlock_commit_regs` in `kernel/trace/trace.c`).
#[derive(Debug)]
pub struct Stacks {
    ids: Vec<u16>,
    /// Whether the last event was printed, by the buffer and the interrupts in which it was written.
    printed: HashMap<(u32, u8), bool>,
}

impl Stacks {
    /// `None` if the instance records no stack traces.
    pub fn load(instance: &Instance, formatter: &mut Formatter) -> Option<Self> {
        let any = ["stacktrace", "userstacktrace"].into_iter().any(|option| instance.has_option(option));
        let load = |(system, entry)| formatter.load(system, entry).ok();
        any.then(|| Self { ids: STACKS.into_iter().filter_map(load).collect(), printed: HashMap::new() })
    }

    /// Whether a record is printed. An event is printed if `by_itself` returns true, a stack if its event was printed.
    pub fn decide(&mut self, buffer: u32, interrupts: u8, id: u16, by_itself: impl FnOnce() -> bool) -> bool {
        let place = (buffer, interrupts);
        match self.printed.get(&place) {
            Some(printed) if self.ids.contains(&id) => *printed,
            _ => {
                let printed = by_itself();
                self.printed.insert(place, printed);
                printed
            }
        }
    }

    /// Call it when records of this buffer are missing: the next stack trace may belong to any event.
    pub fn forget(&mut self, buffer: u32) {
        self.printed.retain(|(known, _), _| *known != buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: u16 = 400;
    const STACK: u16 = 4;

    #[test]
    fn stacks_are_printed_with_their_event() {
        let mut stacks = Stacks { ids: vec![STACK], printed: HashMap::new() };
        let mut decide = |buffer, interrupts, id, itself| stacks.decide(buffer, interrupts, id, || itself);
        assert!(!decide(0, 0, EVENT, false));
        assert!(decide(0, 8, EVENT, true), "an interrupt");
        assert!(decide(0, 8, STACK, false));
        assert!(decide(1, 0, EVENT, true), "another CPU");
        assert!(!decide(0, 0, STACK, true));
        assert!(decide(1, 0, STACK, false));
    }

    #[test]
    fn stacks_after_a_gap_are_decided_by_themselves() {
        let mut stacks = Stacks { ids: vec![STACK], printed: HashMap::new() };
        assert!(!stacks.decide(0, 0, EVENT, || false));
        stacks.forget(0);
        assert!(stacks.decide(0, 0, STACK, || true));
    }
}
