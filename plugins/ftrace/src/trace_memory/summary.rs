//! Every so often, how much memory was taken from where.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use trace_hook_api::{LineBuffer, Origin, Result};
use trace_tasks::Pid;
use tracefs::ring::Gap;
use tracefs_session::{EventStream, Record, Renderer, with_origin};

use super::mappings::{Mappings, bare};
use super::stack::Stack;
use super::view::{Events, Site, Use, UseOf};
use crate::clock::{Clock, Interval};

/// More than so many places are not kept until it is time: a program that makes its own code has no end of them.
const MOST_SITES: usize = 50_000;

pub struct MemorySummary {
    interval: Interval,
    clock: Clock,
    events: Vec<Box<dyn Events>>,
    stack: Stack,
    /// By CPU, a use whose stack is still to come.
    unsettled: HashMap<u32, (Pid, Use)>,
    mappings: Mappings,
    sites: HashMap<(UseOf, Place), Taken>,
    /// The time of the last record.
    latest: u64,
}

/// A site, of which a thread's is its process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Place {
    Kernel(u64),
    Program { process: Pid, address: u64 },
    Unknown,
}

/// What was taken from one place.
#[derive(Debug, Default)]
struct Taken {
    count: u64,
    bytes: u64,
    /// What the place is called, once it is known, and in a program whose it is.
    caller: Option<Vec<u8>>,
    comm: Vec<u8>,
}

impl MemorySummary {
    pub fn new(
        every: Duration,
        events: Vec<Box<dyn Events>>,
        procfs: PathBuf,
        stream: &mut EventStream,
    ) -> Result<Self> {
        Ok(Self {
            interval: Interval::new(every),
            clock: Clock::default(),
            events,
            stack: Stack::new(stream)?,
            unsettled: HashMap::new(),
            mappings: Mappings::new(procfs),
            sites: HashMap::new(),
            latest: 0,
        })
    }

    fn read(&mut self, record: &mut Record<'_>) {
        if self.stack.is(record) {
            let unsettled = self.unsettled.remove(&record.cpu());
            if let Some((_, taken)) = unsettled.filter(|(task, _)| *task == record.task()) {
                let site = self.stack.call_site(record).map_or(Site::Unknown, Site::Kernel);
                self.add(Use { site, ..taken }, record);
            }
        } else if let Some(taken) = self.events.iter_mut().find_map(|events| events.read_use(record)) {
            match taken.site {
                Site::Unknown => _ = self.unsettled.insert(record.cpu(), (record.task(), taken)),
                _ => self.add(taken, record),
            }
        }
    }

    fn add(&mut self, taken: Use, record: &mut Record<'_>) {
        let place = match taken.site {
            Site::Kernel(address) => Place::Kernel(address),
            Site::Program { thread, address } => {
                Place::Program { process: record.process_of(thread).unwrap_or(thread), address }
            }
            Site::Unknown => Place::Unknown,
        };
        let site = self.sites.entry((taken.of, place)).or_insert_with(|| match place {
            Place::Kernel(address) => {
                Taken { caller: Some(record.symbol(address).into_bytes()), ..Taken::default() }
            }
            Place::Program { .. } => with_origin(record, record.task(), |_, origin| Taken {
                comm: origin.comm.to_vec(),
                ..Taken::default()
            }),
            Place::Unknown => Taken::default(),
        });
        if let (None, Place::Program { process, address }) = (&site.caller, place) {
            site.caller = self.mappings.place(process, address);
        }
        site.count += 1;
        site.bytes += taken.bytes;
    }

    /// Tells all there is to tell, and begins anew.
    fn tell(&mut self, time: u64, lines: &mut LineBuffer) -> u64 {
        let mut sites: Vec<((UseOf, Place), Taken)> = self.sites.drain().collect();
        sites.sort_by_key(|(site, taken)| (Reverse(taken.bytes), *site));
        let mut all: BTreeMap<UseOf, (u64, u64)> = BTreeMap::new();
        for ((of, place), taken) in &sites {
            let (count, bytes) = all.entry(*of).or_default();
            *count += taken.count;
            *bytes += taken.bytes;
            let caller = taken.caller.clone().unwrap_or_else(|| self.at_last(*place));
            tell_site(*of, place, taken, &caller, time, lines);
        }
        self.mappings.told();
        for (of, (count, bytes)) in &all {
            lines
                .event(&Origin::at(time), "all_call_sites")
                .word("kind", of.name())
                .number("count", *count)
                .number("size", *bytes);
        }
        (sites.len() + all.len()) as u64
    }

    /// What a place is called that had no name when it was met. The process may have been looked at since.
    fn at_last(&mut self, place: Place) -> Vec<u8> {
        match place {
            Place::Program { process, address } => {
                self.mappings.place(process, address).unwrap_or_else(|| bare(address))
            }
            Place::Kernel(address) => bare(address),
            Place::Unknown => b"unknown".to_vec(),
        }
    }
}

fn tell_site(of: UseOf, place: &Place, taken: &Taken, caller: &[u8], time: u64, lines: &mut LineBuffer) {
    let number = |pid: Pid| u32::try_from(pid).ok();
    let origin = match place {
        Place::Program { process, .. } => {
            let process = number(*process);
            Origin::at(time).pid(process).tid(process).comm(&taken.comm)
        }
        _ => Origin::at(time),
    };
    let line = lines.event(&origin, "call_site").word("kind", of.name());
    let line = match place {
        // The name of a file is the program's own choice.
        Place::Program { .. } => line.text("caller", caller),
        _ => line.word("caller", &String::from_utf8_lossy(caller)),
    };
    line.number("count", taken.count).number("size", taken.bytes);
}

impl Renderer for MemorySummary {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> u64 {
        self.latest = record.stamp();
        self.clock.record(self.latest);
        let mut told = self.interval.passes(self.latest).map_or(0, |due| self.tell(due, lines));
        // What an interrupt does with memory is not the task's.
        if !record.in_interrupt() {
            self.read(record);
        }
        if self.sites.len() >= MOST_SITES {
            told += self.tell(self.latest, lines);
        }
        told
    }

    fn lost(&mut self, gap: Gap) {
        self.unsettled.remove(&gap.cpu);
    }

    fn pause(&mut self, lines: &mut LineBuffer) -> u64 {
        self.mappings.next_look();
        let due = self.clock.now().and_then(|now| self.interval.passes(now));
        due.map_or(0, |due| self.tell(due, lines))
    }

    fn end(&mut self, lines: &mut LineBuffer) -> u64 {
        self.tell(self.latest, lines)
    }
}
