//! At intervals, how much memory was allocated by which code.

use std::collections::HashMap;
use std::time::Duration;
use std::vec;

use trace_hook_api::{Environment, LineBuffer, Origin, Result};
use trace_tasks::Pid;
use tracefs::ring::Gap;
use tracefs_session::{EventStream, Record, Renderer, with_origin};

use super::call_sites::{CallSite, CallSites, Counted, Place, Totals};
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
    due: Due,
    /// The time of the last record.
    latest: u64,
}

/// The lines of a summary that were not added yet, and its time.
#[derive(Default)]
struct Due {
    time: u64,
    sites: vec::IntoIter<(AllocationKind, Place, CallSite)>,
    totals: vec::IntoIter<(&'static str, AllocationKind, Totals)>,
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
            due: Due::default(),
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

    /// Makes the lines of the interval due, and begins the next one.
    fn summarize(&mut self, time: u64) {
        let Counted { mut sites, others, all } = self.sites.take();
        for (_, place, site) in &mut sites {
            site.caller = Some(site.caller.take().unwrap_or_else(|| self.late_name(*place)));
        }
        self.mappings.end_interval();
        let others = others.into_iter().map(|(kind, totals)| ("other_call_sites", kind, totals));
        let all = all.into_iter().map(|(kind, totals)| ("all_call_sites", kind, totals));
        let totals = others.chain(all).collect::<Vec<_>>().into_iter();
        self.due = Due { time, sites: sites.into_iter(), totals };
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

impl Due {
    fn next(&mut self, lines: &mut LineBuffer) -> bool {
        if let Some((kind, place, site)) = self.sites.next() {
            show_site(kind, place, &site, self.time, lines);
        } else if let Some((event, kind, Totals { count, bytes })) = self.totals.next() {
            let line = lines.event(&Origin::at(self.time), event).word("kind", kind.name());
            line.number("count", count).number("size", bytes);
        } else {
            return false;
        }
        true
    }
}

fn show_site(kind: AllocationKind, place: Place, site: &CallSite, time: u64, lines: &mut LineBuffer) {
    let origin = match place {
        Place::Program { process, .. } => Origin::at(time).pid(process).tid(process).comm(&site.comm),
        _ => Origin::at(time),
    };
    let caller = site.caller.as_deref().unwrap_or_default();
    let line = lines.event(&origin, "call_site").word("kind", kind.name());
    let line = match place {
        // The name of a file, which a program chooses.
        Place::Program { .. } => line.text("caller", caller),
        _ => line.word("caller", &String::from_utf8_lossy(caller)),
    };
    line.number("count", site.totals.count).number("size", site.totals.bytes);
}

impl Renderer for MemorySummary {
    fn record(&mut self, record: &mut Record<'_>, _: &mut LineBuffer) {
        self.latest = record.time();
        self.clock.record(self.latest);
        if let Some(due) = self.interval.passes(self.latest) {
            self.summarize(due);
        }
        // Allocations in an interrupt are not the task's.
        if !record.in_interrupt() {
            self.read(record);
        }
    }

    fn lost(&mut self, gap: Gap) {
        self.without_stack.remove(&gap.cpu);
    }

    fn pause(&mut self, _: &mut LineBuffer) {
        self.mappings.allow_reading();
        if let Some(due) = self.clock.now().and_then(|now| self.interval.passes(now)) {
            self.summarize(due);
        }
    }

    fn next_due(&mut self, lines: &mut LineBuffer) -> bool {
        self.due.next(lines)
    }

    fn end(&mut self, _: &mut LineBuffer) {
        self.summarize(self.latest);
    }
}
