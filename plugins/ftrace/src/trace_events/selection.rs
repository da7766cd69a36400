//! The patterns of `--event`.

use std::fmt;

use glob::Pattern as Glob;
use trace_hook_api::{HookError, Result, SESSION_PREFIX, did_you_mean};
use tracefs::{Error, Tracefs};

/// An event of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventName {
    pub system: String,
    pub name: String,
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.system, self.name)
    }
}

/// `SYSTEM:EVENT`, each of which may be a glob.
#[derive(Debug)]
pub struct Pattern {
    text: String,
    system: Glob,
    event: Glob,
}

impl Pattern {
    /// # Errors
    ///
    /// It is malformed.
    pub fn parse(text: &str) -> Result<Self> {
        let (system, event) = text.split_once(':').unwrap_or((text, "*"));
        let glob = |part: &str| {
            Glob::new(part).map_err(|error| {
                HookError::usage(format!("'{text}' is not a pattern for events: {}", error.msg))
            })
        };
        Ok(Self { text: text.to_owned(), system: glob(system)?, event: glob(event)? })
    }

    pub fn matches(&self, event: &EventName) -> bool {
        self.system.matches(&event.system) && self.event.matches(&event.name)
    }

    /// The events that it matches.
    ///
    /// # Errors
    ///
    /// There is none; the message has the most similar names.
    pub fn events(&self, tracefs: &Tracefs) -> Result<Vec<EventName>> {
        let mut systems = tracefs.systems()?;
        // The probes of sessions, ours and others: while an event is enabled, its session cannot remove it.
        systems.retain(|system| !system.starts_with(SESSION_PREFIX));
        let mut events = Vec::new();
        for system in systems.iter().filter(|system| self.system.matches(system)) {
            events.extend(events_of(tracefs, system)?.into_iter().filter(|event| self.matches(event)));
        }
        match events.is_empty() {
            true => Err(self.unknown(tracefs, &systems)?),
            false => Ok(events),
        }
    }

    fn unknown(&self, tracefs: &Tracefs, systems: &[String]) -> Result<HookError> {
        let mut all = Vec::new();
        for system in systems {
            all.extend(events_of(tracefs, system)?.iter().map(EventName::to_string));
        }
        // Without a system, the name may be that of an event in any system.
        let same_name = |event: &&String| event.split_once(':').is_some_and(|(_, name)| name == self.text);
        let hint = match all.iter().find(same_name) {
            Some(event) => format!("; did you mean '{event}'?"),
            None => did_you_mean(&self.text, &all),
        };
        Ok(HookError::usage(format!("the kernel has no event '{}'{hint}", self.text)))
    }
}

/// The events of a system that can be enabled.
fn events_of(tracefs: &Tracefs, system: &str) -> Result<Vec<EventName>> {
    let events = match tracefs.events(system) {
        // A system of probes disappears with the last of them.
        Err(Error::UnknownSystem { .. }) => Vec::new(),
        events => events?,
    };
    Ok(events
        .into_iter()
        .filter(|name| tracefs.has_event(system, name))
        .map(|name| EventName { system: system.to_owned(), name })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_matches_system_and_event() {
        let event = |system: &str, name: &str| EventName { system: system.to_owned(), name: name.to_owned() };
        let matches = |pattern: &str, system: &str, name: &str| {
            Pattern::parse(pattern).unwrap().matches(&event(system, name))
        };
        assert!(matches("sched:sched_switch", "sched", "sched_switch"));
        assert!(matches("sched", "sched", "sched_waking"));
        assert!(matches("*:*switch*", "context_tracking", "a_switch"));
        assert!(!matches("sched:sched_switch", "sched", "sched_waking"));
        assert!(!matches("sched", "scheduler", "x"));
        assert!(Pattern::parse("sched:[").is_err());
    }
}
