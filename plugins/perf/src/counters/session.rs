//! A session that counts.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use trace_hook_api::{
    Environment, HookError, LineBuffer, Origin, Progress, Request, Result, Session, boot_time, log,
};
use tracefs::{Pid, Procfs, Targets};
use tracefs_session::targets;

use super::counter::Amount;
use super::family::Family;
use super::kinds::{Choice, Countable, Quantity, TASK_CLOCK};
use crate::perf_event::Ring;
use crate::{access, cpus, descriptors};

/// Between two looks whether any traced task is left.
const LOOK_FOR_TASKS: Duration = Duration::from_millis(50);

/// For so long it is tried to begin while no task is being started.
const UNTIL_STILL: Duration = Duration::from_millis(50);

/// Which counts go into one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// Those of a process that was given, and of all that descends from it.
    Process,
    /// All.
    Total,
}

/// The families, by the process that was given; all in one, under none, if one line is wanted for all.
type Families = BTreeMap<Option<Pid>, Family>;

/// Counters of the traced tasks, read every so often.
pub struct CountersSession {
    families: Families,
    _ring: Ring,
    counted: Vec<Countable>,
    /// What there is to be told first.
    uncounted: Vec<(Quantity, String)>,
    procfs: PathBuf,
    timer: TimerFd,
    /// It is time for lines, but there was no room for them yet.
    is_due: bool,
    told_until: u64,
    looked_for_tasks: Instant,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Counting,
    /// The last lines are to come.
    Stopped,
    Over,
}

impl CountersSession {
    /// Begins to count.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or nobody is left.
    pub fn start(request: &Request, every: Duration, grouping: Grouping) -> Result<Self> {
        let procfs = Procfs::at(&request.environment.procfs);
        let targets = targets(request);
        let Choice { counted, uncounted } = Choice::here();
        let cpu = cpus::online(&request.environment.sysfs)?.first().copied().unwrap_or_default();
        let ring = Ring::new(cpu, 0).map_err(|error| access::refused(&error, &request.environment))?;
        let mut families = cover(&procfs, &targets, &counted, grouping, &ring, &request.environment)?;
        if !families.values().any(Family::was_alive) {
            return Err(targets.nobody_left().into());
        }
        for (pid, family) in &mut families {
            // While it is there.
            pid.map(|pid| family.name(procfs.root(), pid as u32).len());
        }
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        timer.set(Expiration::Interval(TimeSpec::from_duration(every)), TimerSetTimeFlags::empty())?;
        Ok(Self {
            families,
            _ring: ring,
            counted,
            uncounted,
            procfs: procfs.root().to_owned(),
            timer,
            is_due: false,
            told_until: boot_time(),
            looked_for_tasks: Instant::now(),
            phase: Phase::Counting,
        })
    }

    fn stop_without_tasks(&mut self) -> Result<()> {
        if self.phase == Phase::Counting && self.looked_for_tasks.elapsed() >= LOOK_FOR_TASKS {
            self.looked_for_tasks = Instant::now();
            if !self.families.values().any(Family::is_alive) {
                self.stop()?;
            }
        }
        Ok(())
    }

    fn tell_uncounted(&mut self, lines: &mut LineBuffer) {
        let mut by_reason: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (quantity, reason) in self.uncounted.drain(..) {
            by_reason.entry(reason).or_default().push(quantity.name);
        }
        let origin = Origin::at(self.told_until);
        for (reason, names) in by_reason {
            lines.event(&origin, "uncounted").list("counters", names).text("reason", reason.as_bytes());
        }
    }

    fn tell(&mut self, lines: &mut LineBuffer) -> Result<()> {
        let time = boot_time();
        let interval = time.saturating_sub(std::mem::replace(&mut self.told_until, time));
        for (pid, family) in &mut self.families {
            let was_alive = family.was_alive();
            let amounts = family
                .advance(self.counted.len())
                .map_err(|error| HookError::new(format!("cannot read a counter: {error}")))?;
            if was_alive {
                let pid = pid.map(|pid| pid as u32);
                let comm = pid.map_or(&[][..], |pid| family.name(&self.procfs, pid));
                let origin = Origin::at(time).pid(pid).tid(pid).comm(comm);
                line(lines, &origin, interval, &self.counted, &amounts);
            }
        }
        Ok(())
    }
}

impl Session for CountersSession {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.stop_without_tasks()?;
        // Refused where it is not time.
        self.is_due |= self.timer.wait().is_ok();
        // Nothing is lost by waiting for room: the next line tells of all that happened since the last.
        if lines.is_full() {
            return Ok(if self.phase == Phase::Counting { Progress::Idle } else { Progress::More });
        }
        self.tell_uncounted(lines);
        if self.is_due || self.phase == Phase::Stopped {
            self.is_due = false;
            self.tell(lines)?;
        }
        if self.phase == Phase::Counting {
            return Ok(Progress::Idle);
        }
        self.phase = Phase::Over;
        Ok(Progress::Finished)
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.timer.as_fd())
    }

    fn stop(&mut self) -> Result<()> {
        if self.phase == Phase::Counting {
            self.phase = Phase::Stopped;
            let stopped = self.families.values().try_for_each(Family::stop);
            stopped.map_err(|error| HookError::new(format!("cannot stop a counter: {error}")))?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.families.clear();
        Ok(())
    }
}

/// Counts all tasks that are wanted.
///
/// A task hands its counters on from when it has them. If somebody was started meanwhile, it cannot be told whether he has
/// inherited them: then all begin anew, until none was.
fn cover(
    procfs: &Procfs,
    targets: &Targets,
    counted: &[Countable],
    grouping: Grouping,
    ring: &Ring,
    environment: &Environment,
) -> Result<Families> {
    let began = Instant::now();
    loop {
        let members = targets.members(procfs);
        let needed = members.len() * (counted.len() * 2 + 1);
        descriptors::make_room_for(needed);
        let mut families = Families::new();
        for (thread, member) in &members {
            let family = (grouping == Grouping::Process).then_some(member.root);
            let added = families.entry(family).or_default().add(*thread, *member, counted, ring);
            added.map_err(|error| descriptors::explain(&error, needed, environment))?;
        }
        if targets.members(procfs).keys().all(|thread| members.contains_key(thread)) {
            return Ok(families);
        }
        if began.elapsed() > UNTIL_STILL {
            log::warn!("tasks are started all the time; one that was started just now may be missing");
            return Ok(families);
        }
    }
}

fn line(
    lines: &mut LineBuffer,
    origin: &Origin<'_>,
    interval: u64,
    counted: &[Countable],
    amounts: &[Amount],
) {
    let mut line = lines.event(origin, "counters").duration("interval", interval);
    let mut least: f64 = 1.0;
    for (Countable { quantity, .. }, amount) in counted.iter().zip(amounts) {
        // Of two counters read one after the other, the part may be ahead of the whole.
        let value = amount.value.max(0.0).round() as u64;
        line = match quantity.name {
            TASK_CLOCK => line.duration(quantity.name, value),
            name => line.number(name, value),
        };
        if quantity.is_hardware() {
            least = least.min(amount.share());
        }
    }
    if least < 1.0 {
        line.fraction("counted", least);
    }
}
