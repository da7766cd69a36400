//! The session of `trace_counters`: reads the counters at intervals.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use trace_hook_api::{Environment, HookError, LineBuffer, Origin, Request, Result, boot_time, log};
use trace_session::{Counts, End, EventSource, Rendered, SourceSession, selected_processes};
use trace_tasks::{Pid, Procfs, SelectedProcesses};

use super::counter::Amount;
use super::process_counters::ProcessCounters;
use super::quantities::{AvailableQuantities, Countable, Quantity, TASK_CLOCK};
use crate::perf_event::Ring;
use crate::{access, cpus, descriptors};

/// How long the counters are opened anew because tasks were started meanwhile.
const COVER_TIMEOUT: Duration = Duration::from_millis(50);

/// Which counts go into one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// Those of a selected process and of its descendants.
    Process,
    /// Those of all traced tasks.
    Total,
}

/// The counters of each selected process, or those of all tasks together, under `None`.
type CountersByProcess = BTreeMap<Option<Pid>, ProcessCounters>;

/// Counts what the traced tasks use.
pub struct CountersSession {
    counters_by_process: CountersByProcess,
    _ring: Ring,
    counted: Vec<Countable>,
    /// What cannot be counted here, and why: reported first.
    uncounted: Vec<(Quantity, String)>,
    procfs: PathBuf,
    timer: TimerFd,
    /// The interval is over. Nothing is lost by waiting for room: the next line counts from the last one on.
    is_due: bool,
    counted_until: u64,
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
        let cpu = cpus::online(&request.environment.sysfs)?.first().copied().unwrap_or_default();
        let ring = Ring::new(cpu, 0).map_err(|error| access::refused(&error, &request.environment))?;
        let mut counters_by_process =
            open_counters(&procfs, &selection, &counted, grouping, &ring, &request.environment)?;
        if !counters_by_process.values().any(ProcessCounters::had_tasks) {
            return Err(selection.none_left().into());
        }
        for (pid, process_counters) in &mut counters_by_process {
            // Read now: a process can end before its first line.
            if let Some(pid) = *pid {
                process_counters.comm(procfs.root(), pid);
            }
        }
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        timer.set(Expiration::Interval(TimeSpec::from_duration(every)), TimerSetTimeFlags::empty())?;
        Ok(SourceSession::new(Self {
            counters_by_process,
            _ring: ring,
            counted,
            uncounted,
            procfs: procfs.root().to_owned(),
            timer,
            is_due: false,
            counted_until: boot_time(),
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
        for (pid, process_counters) in &mut self.counters_by_process {
            let had_tasks = process_counters.had_tasks();
            let amounts = process_counters
                .advance(self.counted.len())
                .map_err(|error| HookError::new(format!("cannot read a counter: {error}")))?;
            if had_tasks {
                let comm = pid.map_or(&[][..], |pid| process_counters.comm(&self.procfs, pid));
                let origin = Origin::at(time).pid(*pid).tid(*pid).comm(comm);
                write_line(lines, &origin, interval, &self.counted, &amounts);
            }
        }
        Ok(())
    }
}

impl EventSource for CountersSession {
    fn any_task_alive(&mut self) -> Result<bool> {
        Ok(self.counters_by_process.values().any(ProcessCounters::is_alive))
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
        let stopped: Vec<_> = self.counters_by_process.values().map(ProcessCounters::stop).collect();
        let stopped = stopped.into_iter().collect::<std::io::Result<()>>();
        stopped.map_err(|error| HookError::new(format!("cannot stop a counter: {error}")))
    }

    /// Its events are its lines.
    fn counts(&self) -> Result<Counts> {
        Ok(Counts::default())
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.timer.as_fd())
    }

    fn close(&mut self) -> Result<()> {
        self.counters_by_process.clear();
        Ok(())
    }
}

/// Opens the counters of all traced tasks.
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
) -> Result<CountersByProcess> {
    let began = Instant::now();
    loop {
        let members = selection.members(procfs);
        let needed = members.len() * (counted.len() * 2 + 1);
        descriptors::raise_limit_for(needed);
        let mut counters_by_process = CountersByProcess::new();
        for (thread, member) in &members {
            let group = (grouping == Grouping::Process).then_some(member.root);
            let added = counters_by_process.entry(group).or_default().add(*thread, *member, counted, ring);
            added.map_err(|error| descriptors::explain(&error, needed, environment))?;
        }
        if selection.members(procfs).keys().all(|thread| members.contains_key(thread)) {
            return Ok(counters_by_process);
        }
        if began.elapsed() > COVER_TIMEOUT {
            log::warn!("tasks keep starting: a task that has just started may not be counted");
            return Ok(counters_by_process);
        }
    }
}

fn write_line(
    lines: &mut LineBuffer,
    origin: &Origin<'_>,
    interval: u64,
    counted: &[Countable],
    amounts: &[Amount],
) {
    let mut line = lines.event(origin, "counters").duration("interval", interval);
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
    if smallest_share < 1.0 {
        line.fraction("counted", smallest_share);
    }
}
