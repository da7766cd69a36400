//! The session of `trace_counters`: reads the counters at intervals.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use trace_hook_api::{Environment, HookError, LineBuffer, Origin, Request, Result, boot_time, log};
use trace_session::{Counts, End, EventSource, Rendered, SourceSession, selected_processes};
use trace_tasks::{Follow, Member, Pid, Procfs, SelectedProcesses};

use super::counter::Amount;
use super::process_counters::ProcessCounters;
use super::quantities::{AvailableQuantities, Countable, Quantity, TASK_CLOCK};
use crate::descriptors::{self, Room};
use crate::perf_event::Ring;
use crate::wide_events::Crowd;
use crate::{access, cpus};

/// How long the counters are opened anew because tasks were started meanwhile.
const COVER_TIMEOUT: Duration = Duration::from_millis(50);

/// What is reported after that.
const TOO_LATE: &str = "tasks keep starting: a task that has just started may not be counted";

/// Which counts go into one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// Those of a selected process and of its descendants.
    Process,
    /// Those of all traced tasks.
    Total,
}

/// Whose counters go into one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum LineGroup {
    /// All traced tasks.
    Total,
    /// A selected process and its descendants.
    Process(Pid),
    /// A selected cgroup, by its directory.
    Cgroup(PathBuf),
}

type CountersByGroup = BTreeMap<LineGroup, ProcessCounters>;

/// Counts what the traced tasks use.
pub struct CountersSession {
    counters: CountersByGroup,
    selection: SelectedProcesses,
    _ring: Ring,
    counted: Vec<Countable>,
    /// What cannot be counted here, and why: reported first.
    uncounted: Vec<(Quantity, String)>,
    timer: TimerFd,
    /// The interval is over. Nothing is lost by waiting for room: the next line counts from the last one on.
    is_due: bool,
    counted_until: u64,
    /// Sentences about threads that are not counted: there are too many, or they start all the time.
    left_out: Vec<String>,
}

impl CountersSession {
    /// Starts to count.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or none of the selected processes is alive.
    pub fn start(request: &Request, every: Duration, grouping: Grouping) -> Result<SourceSession<Self>> {
        let procfs = Procfs::at(&request.environment.procfs);
        let selection = selected_processes(request)?;
        let AvailableQuantities { counted, uncounted } = AvailableQuantities::probe();
        let cpus = cpus::online(&request.environment.sysfs)?;
        let cpu = cpus.first().copied().unwrap_or_default();
        let ring = Ring::new(cpu, 0).map_err(|error| access::refused(&error, &request.environment))?;
        let environment = &request.environment;
        let mut counters = open_crowds(&selection, &counted, grouping, &cpus, environment)?;
        let mut left_out = Vec::new();
        if !selection.is_all() {
            let (mut opened, some_left_out) =
                open_counters(&procfs, &selection, &counted, grouping, &ring, environment)?;
            counters.append(&mut opened);
            left_out = some_left_out;
        }
        if !counters.values().any(ProcessCounters::had_tasks) {
            return Err(selection.none_left().into());
        }
        for (group, counters) in &mut counters {
            // Read now: a process can end before its first line.
            if let LineGroup::Process(pid) = *group {
                counters.name_by(&procfs, pid);
            }
        }
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        timer.set(Expiration::Interval(TimeSpec::from_duration(every)), TimerSetTimeFlags::empty())?;
        Ok(SourceSession::new(Self {
            counters,
            selection,
            _ring: ring,
            counted,
            uncounted,
            timer,
            is_due: false,
            counted_until: boot_time(),
            left_out,
        }))
    }

    fn report_uncounted(&mut self, lines: &mut LineBuffer) {
        let mut by_reason: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (quantity, reason) in self.uncounted.drain(..) {
            by_reason.entry(reason).or_default().push(quantity.name);
        }
        let origin = Origin::at(self.counted_until);
        for (reason, names) in by_reason {
            lines.event(&origin, "uncounted").list("counters", names).text("reason", reason.as_bytes());
        }
    }

    fn write_counts(&mut self, lines: &mut LineBuffer) -> Result<()> {
        let time = boot_time();
        let interval = time.saturating_sub(std::mem::replace(&mut self.counted_until, time));
        for (group, counters) in &mut self.counters {
            let had_tasks = counters.had_tasks();
            let amounts = counters
                .advance(self.counted.len())
                .map_err(|error| HookError::new(format!("cannot read a counter: {error}")))?;
            if had_tasks {
                let origin = Origin::at(time);
                let origin = match *group {
                    LineGroup::Process(pid) => origin.pid(pid).tid(pid).comm(counters.comm()),
                    LineGroup::Cgroup(_) | LineGroup::Total => origin,
                };
                let cgroup = match group {
                    LineGroup::Cgroup(directory) => Some(directory.as_path()),
                    LineGroup::Process(_) | LineGroup::Total => None,
                };
                write_line(lines, &origin, interval, cgroup, &self.counted, &amounts);
            }
        }
        Ok(())
    }
}

impl EventSource for CountersSession {
    fn any_task_alive(&mut self) -> Result<bool> {
        Ok(self.selection.may_grow() || self.counters.values().any(ProcessCounters::is_alive))
    }

    fn begin_read(&mut self) -> Result<()> {
        // An error means that the timer has not expired.
        self.is_due |= self.timer.wait().is_ok();
        Ok(())
    }

    fn render_next(&mut self, lines: &mut LineBuffer) -> Result<Rendered> {
        if !self.uncounted.is_empty() {
            self.report_uncounted(lines);
            return Ok(Rendered::Other);
        }
        if std::mem::take(&mut self.is_due) {
            self.write_counts(lines)?;
        }
        Ok(Rendered::Nothing)
    }

    fn end(&mut self, lines: &mut LineBuffer) -> Result<End> {
        self.write_counts(lines)?;
        Ok(End::Complete)
    }

    fn stop(&mut self) -> Result<()> {
        let stopped: Vec<_> = self.counters.values().map(ProcessCounters::stop).collect();
        let stopped = stopped.into_iter().collect::<std::io::Result<()>>();
        stopped.map_err(|error| HookError::new(format!("cannot stop a counter: {error}")))
    }

    /// Its events are its lines.
    fn counts(&self) -> Result<Counts> {
        Ok(Counts::default().with_warnings(self.left_out.clone()))
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.timer.as_fd())
    }

    fn close(&mut self) -> Result<()> {
        self.counters.clear();
        Ok(())
    }
}

/// Opens the counters of the selected cgroups, or of all tasks.
fn open_crowds(
    selection: &SelectedProcesses,
    counted: &[Countable],
    grouping: Grouping,
    cpus: &[u32],
    environment: &Environment,
) -> Result<CountersByGroup> {
    let mut counters = CountersByGroup::new();
    for crowd in Crowd::all_of(selection)? {
        let group = match (&crowd, grouping) {
            (Crowd::Cgroup { cgroup, .. }, Grouping::Process) => {
                LineGroup::Cgroup(cgroup.directory().to_owned())
            }
            _ => LineGroup::Total,
        };
        counters.entry(group).or_default().add_crowd(&crowd, counted, cpus, environment)?;
    }
    Ok(counters)
}

/// Opens the counters of all selected processes that are in no selected cgroup. Returns sentences about threads that may have none.
///
/// Tasks inherit the counters that their parent has when it starts them. Whether a task that was started meanwhile has
/// inherited them cannot be known: then all counters are opened anew.
fn open_counters(
    procfs: &Procfs,
    selection: &SelectedProcesses,
    counted: &[Countable],
    grouping: Grouping,
    ring: &Ring,
    environment: &Environment,
) -> Result<(CountersByGroup, Vec<String>)> {
    let named = selection.without_cgroups();
    let began = Instant::now();
    loop {
        let in_cgroups = selection.members_of_cgroups(procfs);
        let mut members = named.members(procfs);
        members.retain(|thread, _| !in_cgroups.contains_key(thread));
        let room = Room::find(&members, events_of_a_thread(counted, &members), 0);
        let mut counters = CountersByGroup::new();
        for (thread, member) in &room.threads {
            let group = match grouping {
                Grouping::Process => LineGroup::Process(member.root),
                Grouping::Total => LineGroup::Total,
            };
            let added = counters.entry(group).or_default().add(*thread, *member, counted, ring);
            added.map_err(|error| descriptors::explain(&error, environment))?;
        }
        let is_covered = |thread: &Pid| members.contains_key(thread) || in_cgroups.contains_key(thread);
        let is_complete = named.members(procfs).keys().all(is_covered);
        if !is_complete && began.elapsed() <= COVER_TIMEOUT {
            continue;
        }
        let too_late = (!is_complete).then(|| TOO_LATE.to_owned());
        let left_out: Vec<String> = too_late.into_iter().chain(room.left_out).collect();
        left_out.iter().for_each(|left_out| log::warn!("{left_out}"));
        return Ok((counters, left_out));
    }
}

/// The counters of a thread, those of the thread itself where only its children are to be counted, and the two events that show whether
/// it and its descendants have ended.
fn events_of_a_thread(counted: &[Countable], members: &HashMap<Pid, Member>) -> usize {
    let is_parent = |member: &Member| member.follow == Follow::CHILDREN;
    counted.len() * if members.values().any(is_parent) { 2 } else { 1 } + 2
}

fn write_line(
    lines: &mut LineBuffer,
    origin: &Origin<'_>,
    interval: u64,
    cgroup: Option<&Path>,
    counted: &[Countable],
    amounts: &[Amount],
) {
    lines.add_event(origin, "counters", |line| {
        let mut line = line.duration("interval", interval).optional(cgroup, |line, directory| {
            line.text("cgroup", directory.as_os_str().as_encoded_bytes())
        });
        let mut smallest_share: f64 = 1.0;
        for (Countable { quantity, .. }, amount) in counted.iter().zip(amounts) {
            // Counters are read one after the other, so a part can exceed the whole.
            let value = amount.value.max(0.0).round() as u64;
            line = match quantity.name {
                TASK_CLOCK => line.duration(quantity.name, value),
                name => line.number(name, value),
            };
            if quantity.is_hardware() {
                smallest_share = smallest_share.min(amount.share());
            }
        }
        line.optional(Some(smallest_share).filter(|share| *share < 1.0), |line, share| {
            line.fraction("counted", share)
        })
    });
}
