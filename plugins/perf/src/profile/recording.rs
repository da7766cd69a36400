//! The events of all traced tasks, on all CPUs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use trace_hook_api::{Environment, HookError, Request, Result, log, monotonic_time};
use trace_session::selected_processes;
use trace_tasks::{Follow, Member, Pid, Procfs, SelectedProcesses};

use crate::cpus;
use crate::descriptors::{self, Room};
use crate::perf_event::{Attributes, Event, Inherit, Ring, Subject};
use crate::wide_events::Crowd;

/// The default size of a ring, in bytes: enough for a second of samples with deep stacks.
const DEFAULT_RING: u64 = 512 << 10;

/// How long to look for tasks that were started meanwhile.
const COVER_TIMEOUT: Duration = Duration::from_millis(50);

/// The events of the tasks. There is one for each task and CPU, because events that are inherited can only be written into
/// the ring of a CPU.
#[derive(Debug, Default)]
pub struct Recording {
    selection: SelectedProcesses,
    /// The events of cgroups or of all tasks.
    wide: Vec<CpuEvent>,
    events: Vec<CpuEvent>,
    /// How many of the events, counted from the first, have no living task.
    ended: usize,
    /// A sentence about threads that have no events because there are too many.
    left_out: Option<String>,
}

/// Where the records come from, and what is needed to interpret them.
#[derive(Debug)]
pub struct RecordSource {
    /// By CPU.
    pub rings: BTreeMap<u32, Ring>,
    pub exclusion: Exclusion,
    /// The tasks that existed when the recording started.
    pub members: HashMap<Pid, Member>,
    /// Whether tasks may join whose names and mappings are in no record.
    pub may_grow: bool,
}

/// What events count beside their records.
#[derive(Debug, Default)]
pub struct Counted {
    /// Records for which there was no room, by CPU. None, where the kernel does not count them.
    pub lost: BTreeMap<u32, u64>,
    /// How long tasks with an event ran. With events of all tasks, this includes the time in which a CPU was idle.
    pub cpu_time: Duration,
}

#[derive(Debug)]
struct CpuEvent {
    cpu: u32,
    event: Event,
}

/// Which samples to leave out.
#[derive(Debug, Default)]
pub struct Exclusion {
    /// Processes of which only the children are traced.
    pub processes: HashSet<u32>,
    /// Threads that were started while events were opened, with the ids of their events. They may have inherited other events
    /// as well, which would sample them and all tasks that they start twice: their samples with other ids are left out.
    pub own_event_ids: HashMap<u32, Arc<HashSet<u64>>>,
    /// When all of them had their events.
    pub complete_at: u64,
}

impl Recording {
    /// Starts to record the traced tasks, and all tasks that they start.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or none of the selected processes is alive.
    pub fn start(request: &Request, attributes: &Attributes) -> Result<(Self, RecordSource)> {
        let procfs = Procfs::at(&request.environment.procfs);
        let selection = selected_processes(request)?;
        let cpus = cpus::online(&request.environment.sysfs)?;
        let mut source = RecordSource {
            rings: rings(&cpus, request.buffer_size)?,
            exclusion: Exclusion::default(),
            members: HashMap::new(),
            may_grow: selection.may_grow(),
        };
        let mut recording = Self { selection: selection.clone(), ..Self::default() };
        recording.open_wide(&procfs, attributes, &mut source, &request.environment)?;
        if !selection.is_all() {
            let named = selection.without_cgroups();
            recording.open_all(&procfs, &named, attributes, &mut source, &request.environment)?;
        }
        source.exclusion.complete_at = monotonic_time();
        match recording.events.is_empty() && recording.wide.is_empty() {
            true => Err(selection.none_left().into()),
            false => Ok((recording, source)),
        }
    }

    /// Opens the events of the selected cgroups, or of all tasks.
    fn open_wide(
        &mut self,
        procfs: &Procfs,
        attributes: &Attributes,
        source: &mut RecordSource,
        environment: &Environment,
    ) -> Result<()> {
        for crowd in Crowd::all_of(&self.selection)? {
            for (&cpu, ring) in &source.rings {
                if let Some(event) = crowd.open(attributes, cpu, environment)? {
                    event.redirect_to(ring.as_fd())?;
                    self.wide.push(CpuEvent { cpu, event });
                }
            }
        }
        if !self.wide.is_empty() {
            source.exclusion.processes.extend(self.selection.excluded());
            // Those that are named have no events of their own: they would be sampled twice.
            source.members = self.selection.members_of_cgroups(procfs);
        }
        Ok(())
    }

    /// Opens the events of all tasks.
    ///
    /// Tasks inherit the events that their parent has when it starts them. A task whose parent had none yet is found when the
    /// tasks are listed again.
    fn open_all(
        &mut self,
        procfs: &Procfs,
        selection: &SelectedProcesses,
        attributes: &Attributes,
        source: &mut RecordSource,
        environment: &Environment,
    ) -> Result<()> {
        let (began, mut is_first_pass) = (Instant::now(), true);
        while is_first_pass || began.elapsed() < COVER_TIMEOUT {
            let mut new = selection.members(procfs);
            new.retain(|thread, _| !source.members.contains_key(thread));
            if new.is_empty() {
                return Ok(());
            }
            let room = Room::find(&new, source.rings.len(), self.events.len());
            if let (Some(left_out), None) = (room.left_out, &self.left_out) {
                log::warn!("{left_out}");
                self.left_out = Some(left_out);
            }
            for (thread, member) in &room.threads {
                let ids = self.open(*thread, *member, attributes, &source.rings);
                let ids = ids.map_err(|error| descriptors::explain(&error, environment))?;
                if !is_first_pass {
                    source.exclusion.own_event_ids.insert(*thread, Arc::new(ids));
                }
                if member.follow == Follow::CHILDREN {
                    source.exclusion.processes.insert(member.process);
                }
            }
            source.members.extend(new);
            is_first_pass = false;
        }
        // A task that is new now was most likely started by one that had its events already.
        log::info!("tasks keep starting: a task that has just started may not be sampled");
        Ok(())
    }

    /// Opens the events of a thread on all CPUs. Returns their ids: none, if the thread has ended.
    fn open(
        &mut self,
        thread: Pid,
        member: Member,
        attributes: &Attributes,
        rings: &BTreeMap<u32, Ring>,
    ) -> io::Result<HashSet<u64>> {
        let inherit = if member.follow == Follow::ALONE { Inherit::Threads } else { Inherit::AllTasks };
        let attributes = attributes.inherited(inherit);
        let mut ids = HashSet::new();
        for (&cpu, ring) in rings {
            match Event::open(&attributes, Subject::Thread(thread), Some(cpu)) {
                Ok(event) => {
                    event.redirect_to(ring.as_fd())?;
                    ids.insert(event.id()?);
                    self.events.push(CpuEvent { cpu, event });
                }
                // The thread has ended, or the CPU has gone offline.
                Err(error) if is(&error, Errno::ESRCH) || is(&error, Errno::ENODEV) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ids)
    }

    /// A sentence about threads that have no events because there are too many.
    pub fn left_out(&self) -> Option<&String> {
        self.left_out.as_ref()
    }

    /// Whether any task is alive that has an event.
    pub fn has_live_tasks(&mut self) -> bool {
        if self.selection.may_grow() {
            return true;
        }
        while let Some(next) = self.events.get(self.ended) {
            if !next.event.has_ended() {
                return true;
            }
            self.ended += 1;
        }
        false
    }

    /// Stops recording. What is in the rings remains.
    ///
    /// # Errors
    ///
    /// An event cannot be disabled.
    pub fn stop(&self) -> Result<()> {
        let disabled: Vec<io::Result<()>> = self.all().map(|event| event.event.disable()).collect();
        let stopped = disabled.into_iter().collect::<io::Result<()>>();
        stopped.map_err(|error| HookError::new(format!("cannot stop a perf event: {error}")))
    }

    /// Closes all events.
    pub fn close(&mut self) {
        self.events.clear();
        self.wide.clear();
    }

    fn all(&self) -> impl Iterator<Item = &CpuEvent> {
        self.wide.iter().chain(&self.events)
    }

    /// What the events have counted so far.
    pub fn counted(&self) -> Counted {
        let mut counted = Counted::default();
        for CpuEvent { cpu, event } in self.all() {
            let reading = event.read().unwrap_or_default();
            *counted.lost.entry(*cpu).or_default() += reading.lost;
            counted.cpu_time += Duration::from_nanos(reading.running);
        }
        counted
    }
}

fn rings(cpus: &[u32], kib: Option<u64>) -> Result<BTreeMap<u32, Ring>> {
    let bytes = kib.map_or(DEFAULT_RING, |kib| kib.saturating_mul(1 << 10));
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut rings = BTreeMap::new();
    for &cpu in cpus {
        match Ring::new(cpu, bytes) {
            Ok(ring) => _ = rings.insert(cpu, ring),
            // The CPU has gone offline.
            Err(error) if is(&error, Errno::ENODEV) => {}
            Err(error) => return Err(no_ring(bytes, cpu, &error)),
        }
    }
    Ok(rings)
}

fn no_ring(bytes: usize, cpu: u32, error: &io::Error) -> HookError {
    // "perf_event related configuration files" in perf_event_open(2).
    let help = match is(error, Errno::EPERM) {
        true => {
            "this user's perf buffers may lock no more memory; raise kernel.perf_event_mlock_kb or ulimit -l, \
             grant CAP_IPC_LOCK, or give a smaller --buffer-size"
        }
        false => "give a smaller --buffer-size",
    };
    HookError::new(format!(
        "cannot allocate a ring buffer of {} KiB for CPU {cpu}: {error}; {help}",
        bytes >> 10
    ))
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}
