//! At intervals, how much memory was allocated by which code.

use std::collections::HashMap;
use std::time::Duration;

use trace_hook_api::{Environment, LineBuffer, Origin, Result};
use trace_tasks::Pid;
use tracefs::ring::Gap;
use tracefs_session::{EventStream, Record, Renderer, with_origin};

use super::call_sites::{CallSite, CallSites, Place, Totals};
use super::events::{Allocation, AllocationKind, Events, Site};
use super::mappings::{Mappings, bare};
use super::stack::Stack;
use crate::clock::{Clock, Interval};

/// The renderer of a session with `--summary`.
pub struct MemorySummary {
    interval: Interval,
    clock: Clock,
    events: Vec<Box<dyn Events>>,
    stack: Stack,
    /// By CPU, an allocation whose stack comes with the next record.
    without_stack: HashMap<u32, (Pid, Allocation)>,
    mappings: Mappings,
    sites: CallSites,
    /// The time of the last record.
    latest: u64,
}

impl MemorySummary {
    pub fn new(
        every: Duration,
        events: Vec<Box<dyn Events>>,
        environment: &Environment,
        stream: &mut EventStream,
    ) -> Result<Self> {
        Ok(Self {
            interval: Interval::new(every),
            clock: Clock::default(),
            events,
            stack: Stack::new(stream)?,
            without_stack: HashMap::new(),
            mappings: Mappings::new(environment),
            sites: CallSites::default(),
            latest: 0,
        })
    }

    fn read(&mut self, record: &mut Record<'_>) {
        if self.stack.is(record) {
            let waiting = self.without_stack.remove(&record.cpu());
            if let Some((_, allocation)) = waiting.filter(|(task, _)| *task == record.task()) {
                let site = self.stack.call_site(record).map_or(Site::Unknown, Site::Kernel);
                self.count(Allocation { site, ..allocation }, record);
            }
        } else if let Some(allocation) =
            self.events.iter_mut().find_map(|events| events.read_allocation(record))
        {
            match allocation.site {
                Site::Unknown => {
                    self.without_stack.insert(record.cpu(), (record.task(), allocation));
                }
                _ => self.count(allocation, record),
            }
        }
    }

    fn count(&mut self, allocation: Allocation, record: &mut Record<'_>) {
        let Allocation { kind, bytes, site } = allocation;
        let place = match site {
            Site::Kernel(address) => Place::Kernel(address),
            Site::Program { thread, address } => {
                Place::Program { process: record.process_of(thread).unwrap_or(thread), address }
            }
            Site::Unknown => Place::Unknown,
        };
        if self.sites.lacks_room_for(kind, place) {
            self.sites.merge_smaller_half();
            self.mappings.keep_only(&self.sites.processes());
        }
        let site = self.sites.count(kind, place, bytes, || describe(place, record));
        if let (None, Place::Program { process, address }) = (&site.caller, place) {
            site.caller = self.mappings.place(process, address);
        }
    }

    /// Adds the lines of the interval, and begins the next one.
    fn summarize(&mut self, time: u64, lines: &mut LineBuffer) {
        let counted = self.sites.take();
        for (kind, place, site) in &counted.sites {
            let caller = site.caller.clone().unwrap_or_else(|| self.late_name(*place));
            show_site(*kind, place, site, &caller, time, lines);
        }
        self.mappings.end_interval();
        let totals = |event, by_kind: &[(AllocationKind, Totals)], lines: &mut LineBuffer| {
            for (kind, Totals { count, bytes }) in by_kind {
                lines
                    .event(&Origin::at(time), event)
                    .word("kind", kind.name())
                    .number("count", *count)
                    .number("size", *bytes);
            }
        };
        let (others, all) = (Vec::from_iter(counted.others), Vec::from_iter(counted.all));
        totals("other_call_sites", &others, lines);
        totals("all_call_sites", &all, lines);
    }

    /// The name of a call site that had none so far. The mappings of its process may be known by now.
    fn late_name(&mut self, place: Place) -> Vec<u8> {
        match place {
            Place::Program { process, address } => {
                self.mappings.place(process, address).unwrap_or_else(|| bare(address))
            }
            Place::Kernel(address) => bare(address),
            Place::Unknown => b"unknown".to_vec(),
        }
    }
}

/// A call site that is seen for the first time in the interval.
fn describe(place: Place, record: &mut Record<'_>) -> CallSite {
    match place {
        Place::Kernel(address) => {
            CallSite { caller: Some(record.symbol(address).into_bytes()), ..CallSite::default() }
        }
        Place::Program { .. } => with_origin(record, record.task(), |_, origin| CallSite {
            comm: origin.comm.to_vec(),
            ..CallSite::default()
        }),
        Place::Unknown => CallSite::default(),
    }
}

fn show_site(
    kind: AllocationKind,
    place: &Place,
    site: &CallSite,
    caller: &[u8],
    time: u64,
    lines: &mut LineBuffer,
) {
    let origin = match place {
        Place::Program { process, .. } => Origin::at(time).pid(*process).tid(*process).comm(&site.comm),
        _ => Origin::at(time),
    };
    let line = lines.event(&origin, "call_site").word("kind", kind.name());
    let line = match place {
        // The name of a file, which a program chooses.
        Place::Program { .. } => line.text("caller", caller),
        _ => line.word("caller", &String::from_utf8_lossy(caller)),
    };
    line.number("count", site.totals.count).number("size", site.totals.bytes);
}

impl Renderer for MemorySummary {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        self.latest = record.time();
        self.clock.record(self.latest);
        if let Some(due) = self.interval.passes(self.latest) {
            self.summarize(due, lines);
        }
        // Allocations in an interrupt are not the task's.
        if !record.in_interrupt() {
            self.read(record);
        }
    }

    fn lost(&mut self, gap: Gap) {
        self.without_stack.remove(&gap.cpu);
    }

    fn pause(&mut self, lines: &mut LineBuffer) {
        self.mappings.allow_reading();
        if let Some(due) = self.clock.now().and_then(|now| self.interval.passes(now)) {
            self.summarize(due, lines);
        }
    }

    fn end(&mut self, lines: &mut LineBuffer) {
        self.summarize(self.latest, lines);
    }
}
