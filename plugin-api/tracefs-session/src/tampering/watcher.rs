//! The thread that looks once a second whether another process has changed what the session has set.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime};

use trace_hook_api::{Result, log};
use trace_session::{Collect, Occasion, Swept};
use tracefs::Instance;

use super::instance_watch::{InstanceWatch, Look};
use super::pid_watch::{PidChange, PidLook};
use super::{Corrections, FilterTrust, Notices, PidWatch, Switch};
use crate::stream::EventStream;

/// The time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// The time until a doubtful look is repeated. The session itself corrects the filter within this time.
const DOUBT: Duration = Duration::from_millis(50);
/// After so many looks without a record, a session is idle.
const IDLE_AFTER: u32 = 5;
/// How long triggers, and filters without an open file, are looked at after a look, in so many slices, with a rest after each: until
/// all are, or for a hundredth of a CPU. The kernel has a file for each event, which takes some 9 us to open and read.
const SLICES: u32 = 20;
const SLICE: Duration = Duration::from_micros(500);
const BETWEEN_SLICES: Duration = Duration::from_millis(20);
/// The same in an idle session, of which there can be many. There, only one of so many looks takes place, until there is a record.
const IDLE_LOOKS: u32 = 5;
const IDLE_SLICES: u32 = 4;
const IDLE_SLICE: Duration = Duration::from_micros(250);

/// Looks, undoes changes, and notes them.
#[derive(Debug)]
pub struct TamperWatcher {
    instances: Vec<InstanceWatch>,
    pids: PidWatch,
    notices: Notices,
    trust: FilterTrust,
    corrections: Corrections,
    switch: Switch,
    next_look: Instant,
    /// The time of the last look at the pids that found no difference.
    pids_good: SystemTime,
    /// The instance whose filters and triggers are looked at next.
    conditions_of: usize,
    /// The remaining slices before the next look.
    slices: u32,
    collected: u64,
    idle_looks: u32,
}

impl TamperWatcher {
    /// Watches these instances, of which the first one has the pid filter. What is set at the first look, right after the
    /// thread has started, is how it should be: a look here would delay the start of the session.
    pub fn new<'a>(
        instances: impl IntoIterator<Item = &'a Instance>,
        pids: PidWatch,
        stream: &EventStream,
        switch: Switch,
    ) -> Self {
        Self {
            instances: instances.into_iter().map(InstanceWatch::new).collect(),
            pids,
            notices: stream.notices().clone(),
            trust: stream.trust(),
            corrections: stream.corrections().clone(),
            switch,
            next_look: Instant::now(),
            pids_good: SystemTime::now(),
            conditions_of: 0,
            slices: 0,
            collected: 0,
            idle_looks: 0,
        }
    }

    /// Returns whether more filters and triggers should be looked at soon.
    fn look_at_all(&mut self, may_undo: bool) -> bool {
        self.next_look = Instant::now() + LOOK;
        self.observe_activity();
        if may_undo && self.may_be_skipped() {
            return false;
        }
        if let Err(error) = self.look(may_undo) {
            log::debug!("{error}");
        }
        self.look_at_conditions(may_undo)
    }

    fn look(&mut self, may_undo: bool) -> tracefs::Result<()> {
        let look = Look { notices: &self.notices, switch: &self.switch, may_undo };
        // Events are enabled again only when the filter is right.
        let mut misses_any = look_at_pids(&mut self.pids, &mut self.pids_good, &mut self.next_look, &look)?;
        // The kernel can make each of them wait.
        for instance in self.instances.iter_mut().take_while(|_| self.switch.is_on()) {
            misses_any |= instance.look(&look)?;
        }
        if misses_any {
            self.trust.miss_starts();
        }
        if misses_any && may_undo {
            // What was started without event-fork, for example.
            self.switch.while_on(|| self.pids.complete()).transpose()?;
        }
        Ok(())
    }

    fn observe_activity(&mut self) {
        let collected = self.corrections.collected();
        let is_active = std::mem::replace(&mut self.collected, collected) != collected;
        self.idle_looks = if is_active { 0 } else { self.idle_looks.saturating_add(1) };
        self.slices = if self.is_idle() { IDLE_SLICES } else { SLICES };
    }

    /// Whether this look may be skipped. A change by which tasks are recorded that are not traced makes records.
    fn may_be_skipped(&self) -> bool {
        self.is_idle() && !self.idle_looks.is_multiple_of(IDLE_LOOKS) && !self.pids.is_in_doubt()
    }

    fn is_idle(&self) -> bool {
        self.idle_looks >= IDLE_AFTER
    }

    /// Looks at the next filters and triggers. Returns whether more should be looked at before the next look.
    fn look_at_conditions(&mut self, may_undo: bool) -> bool {
        if self.slices == 0 || !self.switch.is_on() {
            return false;
        }
        self.slices -= 1;
        let time = if self.is_idle() { IDLE_SLICE } else { SLICE };
        let look = Look { notices: &self.notices, switch: &self.switch, may_undo };
        let instance = self.instances.get_mut(self.conditions_of);
        if instance.is_none_or(|instance| instance.look_at_conditions(time, &look)) {
            self.conditions_of += 1;
        }
        if self.conditions_of >= self.instances.len() {
            // All have been looked at.
            self.conditions_of = 0;
            self.slices = 0;
        }
        self.slices > 0
    }
}

impl Collect for TamperWatcher {
    const NAME: &str = "tampering";
    const SHORTEST_REST: Duration = Duration::ZERO;
    const IS_URGENT: bool = false;

    fn sweep(&mut self, occasion: Occasion) -> Result<Swept> {
        let may_undo = occasion != Occasion::Stopped;
        let is_due = !may_undo || Instant::now() >= self.next_look;
        let goes_on = if is_due { self.look_at_all(may_undo) } else { self.look_at_conditions(may_undo) };
        let rest = match goes_on {
            true => BETWEEN_SLICES,
            false => self.next_look.saturating_duration_since(Instant::now()),
        };
        Ok(Swept::rest(false, rest))
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
}

/// Returns whether something has changed by which records may be missing.
fn look_at_pids(
    pids: &mut PidWatch,
    good: &mut SystemTime,
    next: &mut Instant,
    look: &Look<'_>,
) -> tracefs::Result<bool> {
    let now = SystemTime::now();
    let since = *good;
    let change = match pids.look()? {
        PidLook::Changed(change) => change,
        PidLook::Doubtful => {
            *next = Instant::now() + DOUBT;
            return Ok(false);
        }
        PidLook::Good => {
            *good = now;
            return Ok(false);
        }
    };
    *good = now;
    look.report(kind(change), since, &change.to_string(), || pids.restore(change));
    Ok(true)
}

fn kind(change: PidChange) -> &'static str {
    match change {
        PidChange::Replaced => "pids replaced",
        PidChange::Added => "pids added",
        PidChange::Filled => "pids filled",
        PidChange::Excluded => "pids excluded",
        PidChange::Included => "pids included",
    }
}

/// What the other process did.
impl fmt::Display for PidChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replaced => "removed the traced tasks from set_event_pid",
            Self::Added => "added other tasks to set_event_pid",
            Self::Filled => "wrote tasks into set_event_pid",
            Self::Excluded => "wrote tasks into set_event_notrace_pid",
            Self::Included => "removed the excluded tasks from set_event_notrace_pid",
        })
    }
}
