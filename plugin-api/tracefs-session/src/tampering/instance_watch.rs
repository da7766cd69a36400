//! Whether the settings of one instance are still those of the session.

use std::time::{Duration, SystemTime};

use tracefs::{ChangedEvents, EventSettings, Instance, Result, Settings};

use super::{Notices, Switch};

/// Looks at one instance.
#[derive(Debug)]
pub struct InstanceWatch {
    settings: Settings,
    events: EventSettings,
    /// The time of the last look at the settings.
    looked: SystemTime,
    /// When the present pass over the filters and triggers of all events began.
    pass_began: SystemTime,
    /// When the pass before it began.
    last_pass: SystemTime,
}

/// What a look found, and whether it may be undone.
pub struct Look<'a> {
    pub notices: &'a Notices,
    pub switch: &'a Switch,
    pub may_undo: bool,
}

impl InstanceWatch {
    /// The settings are remembered by the first look.
    pub fn new(instance: &Instance) -> Self {
        let now = SystemTime::now();
        let (settings, events) = (instance.settings(), instance.event_settings());
        Self { settings, events, looked: now, pass_began: now, last_pass: now }
    }

    /// Looks at all but filters and triggers. Returns whether something has changed by which records may be missing.
    ///
    /// # Errors
    ///
    /// The settings cannot be read.
    pub fn look(&mut self, look: &Look<'_>) -> Result<bool> {
        let since = std::mem::replace(&mut self.looked, SystemTime::now());
        let (changed, events) = (self.settings.changed(|| look.switch.is_on())?, self.events.changed()?);
        for change in &changed {
            look.report(change.file, since, &change.to_string(), || self.settings.restore(change));
        }
        for change in &events {
            look.report(kind(change), since, &change.to_string(), || self.events.restore(change));
        }
        Ok(!changed.is_empty() || !events.is_empty())
    }

    /// Looks at the next filters and triggers for this time. Returns whether all have been looked at.
    pub fn look_at_conditions(&mut self, time: Duration, look: &Look<'_>) -> bool {
        let (changes, is_done) = self.events.changed_conditions(time);
        for change in &changes {
            look.report(kind(change), self.last_pass, &change.to_string(), || self.events.restore(change));
        }
        if is_done {
            self.last_pass = std::mem::replace(&mut self.pass_began, SystemTime::now());
        }
        is_done
    }
}

impl Look<'_> {
    /// Undoes what another process did, and notes it with what became of it.
    pub fn report(
        &self,
        kind: &'static str,
        since: SystemTime,
        what: &str,
        undo: impl FnOnce() -> Result<()>,
    ) {
        self.switch.while_on(|| self.undo(kind, since, what, undo));
    }

    fn undo(&self, kind: &'static str, since: SystemTime, what: &str, undo: impl FnOnce() -> Result<()>) {
        let outcome = match self.may_undo.then(undo) {
            Some(Ok(())) => "it was undone, and events of that time may be missing".to_owned(),
            Some(Err(error)) => format!("it could not be undone ({error}), and events may be missing"),
            None => "events of that time may be missing".to_owned(),
        };
        self.notices.note(kind, since, &format!("{what} in the tracing instance of this session; {outcome}"));
    }
}

fn kind(change: &ChangedEvents) -> &'static str {
    match change {
        ChangedEvents::Disabled(_) => "disabled",
        ChangedEvents::Enabled(_) => "enabled",
        ChangedEvents::Filter { .. } => "filter",
        ChangedEvents::Triggers { .. } => "trigger",
    }
}
