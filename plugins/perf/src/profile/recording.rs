//! Events of all traced tasks, on all CPUs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use trace_hook_api::{Environment, HookError, Request, Result, log};
use tracefs::{Follow, Member, Pid, Procfs, Targets};
use tracefs_session::targets;

use crate::perf_event::{Attributes, Event, Inherit, Ring, now};
use crate::{cpus, descriptors};

/// A ring's size, if the user does not say: samples with deep stacks of a second.
const RING: u64 = 512 << 10;

/// For so long it is looked for tasks that were started meanwhile.
const UNTIL_STILL: Duration = Duration::from_millis(50);

/// The events of the tasks. Each task and CPU has one, because events that are handed on to new tasks can only be written
/// into rings of a CPU.
#[derive(Debug, Default)]
pub struct Recording {
    events: Vec<TaskEvent>,
    /// How many of the events, from the first on, nobody has any more.
    over: usize,
}

/// Where the records come from, and what it takes to understand them.
#[derive(Debug)]
pub struct Source {
    /// By CPU.
    pub rings: BTreeMap<u32, Ring>,
    pub exclusion: Exclusion,
    /// The tasks that were alive when it began.
    pub members: HashMap<Pid, Member>,
}

#[derive(Debug)]
struct TaskEvent {
    cpu: u32,
    event: Event,
}

/// Samples that were taken, but are not wanted.
#[derive(Debug, Default)]
pub struct Exclusion {
    /// Processes that are followed for their children only.
    pub processes: HashSet<u32>,
    /// Threads that were started while events were opened. They have events of their own, and may have inherited some as
    /// well, by which they, and all that they start, are sampled twice: only samples with these ids are wanted of them.
    pub own_ids: HashMap<u32, Arc<HashSet<u64>>>,
    /// When they had all got them.
    pub complete_at: u64,
}

impl Recording {
    /// Begins to record the tasks that are wanted, all that live now and all that they start.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or nobody is left.
    pub fn start(request: &Request, attributes: &Attributes) -> Result<(Self, Source)> {
        let procfs = Procfs::at(&request.environment.procfs);
        let targets = targets(request);
        let cpus = cpus::online(&request.environment.sysfs)?;
        let mut source = Source {
            rings: rings(&cpus, request.buffer_size)?,
            exclusion: Exclusion::default(),
            members: HashMap::new(),
        };
        let mut recording = Self::default();
        recording.cover(&procfs, &targets, attributes, &mut source, &request.environment)?;
        source.exclusion.complete_at = now();
        match recording.events.is_empty() {
            true => Err(targets.nobody_left().into()),
            false => Ok((recording, source)),
        }
    }

    /// A task hands its events on from when it has them. Whoever was started by one that did not have them yet is there
    /// when one looks after that.
    fn cover(
        &mut self,
        procfs: &Procfs,
        targets: &Targets,
        attributes: &Attributes,
        source: &mut Source,
        environment: &Environment,
    ) -> Result<()> {
        let (began, mut is_first_look) = (Instant::now(), true);
        while is_first_look || began.elapsed() < UNTIL_STILL {
            let mut new = targets.members(procfs);
            new.retain(|thread, _| !source.members.contains_key(thread));
            if new.is_empty() {
                return Ok(());
            }
            let needed = (source.members.len() + new.len()) * source.rings.len();
            descriptors::make_room_for(needed);
            for (thread, member) in &new {
                let ids = self.open(*thread, *member, attributes, &source.rings);
                let ids = ids.map_err(|error| descriptors::explain(&error, needed, environment))?;
                if !is_first_look {
                    source.exclusion.own_ids.insert(*thread as u32, Arc::new(ids));
                }
                if member.follow == Follow::CHILDREN {
                    source.exclusion.processes.insert(member.process as u32);
                }
            }
            source.members.extend(new);
            is_first_look = false;
        }
        // Whoever is new now was, in all likelihood, started by somebody who had events to hand on.
        log::info!("tasks are started all the time; one that was started just now may be missing");
        Ok(())
    }

    /// Opens the events of a thread, on all CPUs. Their ids; none, if it is gone.
    fn open(
        &mut self,
        thread: Pid,
        member: Member,
        attributes: &Attributes,
        rings: &BTreeMap<u32, Ring>,
    ) -> io::Result<HashSet<u64>> {
        let inherit = if member.follow == Follow::ALONE { Inherit::Threads } else { Inherit::Everybody };
        let attributes = attributes.inherited(inherit);
        let mut ids = HashSet::new();
        for (&cpu, ring) in rings {
            match Event::open(&attributes, thread, Some(cpu)) {
                Ok(event) => {
                    event.write_to(ring)?;
                    ids.insert(event.id()?);
                    self.events.push(TaskEvent { cpu, event });
                }
                // The thread is gone, or the CPU.
                Err(error) if is(&error, Errno::ESRCH) || is(&error, Errno::ENODEV) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ids)
    }

    /// Whether any task is left that has an event, or whose descendants have.
    pub fn any_alive(&mut self) -> bool {
        while let Some(next) = self.events.get(self.over) {
            if !next.event.is_over() {
                return true;
            }
            self.over += 1;
        }
        false
    }

    /// Ends it. What is in the rings remains.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn stop(&self) -> Result<()> {
        for TaskEvent { event, .. } in &self.events {
            event.disable().map_err(|error| HookError::new(format!("cannot stop a perf event: {error}")))?;
        }
        Ok(())
    }

    /// How many records found no room so far, by CPU; none, where the kernel does not tell.
    pub fn lost(&self) -> BTreeMap<u32, u64> {
        let mut lost = BTreeMap::new();
        for TaskEvent { cpu, event } in &self.events {
            *lost.entry(*cpu).or_default() += event.read().map_or(0, |reading| reading.lost);
        }
        lost
    }
}

fn rings(cpus: &[u32], kib: Option<u64>) -> Result<BTreeMap<u32, Ring>> {
    let bytes = kib.map_or(RING, |kib| kib.saturating_mul(1 << 10));
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut rings = BTreeMap::new();
    for &cpu in cpus {
        match Ring::new(cpu, bytes) {
            Ok(ring) => _ = rings.insert(cpu, ring),
            // It has gone offline.
            Err(error) if is(&error, Errno::ENODEV) => {}
            Err(error) => {
                return Err(HookError::new(format!(
                    "cannot make a ring buffer of {} KiB for CPU {cpu}: {error}; give a smaller --buffer-size",
                    bytes >> 10
                )));
            }
        }
    }
    Ok(rings)
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}
