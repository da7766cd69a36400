//! The enabled events of an instance with their filters and triggers, to notice when another process changes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::open_filters::OpenFilters;
use crate::own_events::OwnEvents;

/// The file that lists the enabled events, one `system:event` in a line.
const ENABLED: &str = "set_event";
/// How much of a file is read, in bytes: the list of all events of a kernel is shorter.
const LONGEST: u64 = 1 << 20;
pub(crate) const FILTER: &str = "filter";
/// What the file of an event without a filter has.
const NO_FILTER: &str = "none";
const TRIGGER: &str = "trigger";
const ENABLE: &str = "enable";
/// The file of an event without triggers has comments only.
const COMMENT: char = '#';

/// The enabled events at the first look, and their filters and triggers. Events that the session enables later are added.
/// From the first look on, it prevents the removal of the instance.
#[derive(Debug)]
pub struct EventSettings {
    instance: Arc<Dir>,
    own: OwnEvents,
    /// The text of [`ENABLED`] when it was as it should be, which spares comparing the events. `None` before the first look.
    text: Option<String>,
    events: BTreeMap<String, Conditions>,
    filters: OpenFilters,
    /// The files that are looked at now: those of filters or those of triggers.
    looks_at: &'static str,
    /// The last event at whose file this was.
    looked_at: Option<String>,
}

/// Under which conditions an event is recorded, and what happens then: its filter and its triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Conditions {
    /// The session has set none.
    None,
    /// The session has set some: the text of each file that has been read.
    Set(BTreeMap<&'static str, String>),
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangedEvents {
    /// These events are no longer enabled.
    Disabled(Vec<String>),
    /// These events are enabled, but not by the session.
    Enabled(Vec<String>),
    /// The filter of an event was set.
    Filter {
        /// The event.
        event: String,
        /// The filter that the session has set, or "none".
        set: String,
        /// The filter now.
        found: String,
    },
    /// The triggers of an event were set.
    Triggers {
        /// The event.
        event: String,
        /// The triggers that the session has set, one in a line.
        set: String,
        /// The triggers now.
        found: String,
    },
}

impl Instance {
    /// Its enabled events, which the first look remembers.
    pub fn event_settings(&self) -> EventSettings {
        EventSettings {
            instance: Arc::clone(&self.dir),
            own: self.own_events.clone(),
            text: None,
            events: BTreeMap::new(),
            filters: OpenFilters::new(),
            looks_at: FILTER,
            looked_at: None,
        }
    }
}

impl EventSettings {
    /// The events that another process has enabled or disabled since the first look, and the filters that it has changed, as far
    /// as there can be open files for them.
    ///
    /// # Errors
    /// The kernel's file cannot be read.
    pub fn changed(&mut self) -> Result<Vec<ChangedEvents>> {
        let mut changes = self.changed_events()?;
        let changed = self.filters.changed().into_iter();
        changes.extend(changed.map(|(event, set, found)| ChangedEvents::Filter { event, set, found }));
        Ok(changes)
    }

    fn changed_events(&mut self) -> Result<Vec<ChangedEvents>> {
        let text = self.instance.read_at_most(ENABLED, LONGEST)?;
        match &self.text {
            Some(known) if *known == text => return Ok(Vec::new()),
            Some(_) => {}
            None => {
                // Another process may have been faster than the first look.
                let exists = |event: &String| self.instance.has(path(event, ENABLE));
                let requested: Vec<String> = self.own.requested().into_iter().filter(exists).collect();
                self.add(listed(&text).map(str::to_owned).chain(requested));
                self.text = Some(String::new());
            }
        }
        let found: BTreeSet<&str> = listed(&text).collect();
        let unexpected = found.iter().filter(|event| !self.events.contains_key(**event));
        let (own, foreign): (Vec<String>, Vec<String>) =
            unexpected.map(|event| (*event).to_owned()).partition(|event| {
                let (system, name) = event.split_once(':').unwrap_or((event, ""));
                self.own.is_requested(system, name)
            });
        self.add(own);
        let missing = self.events.keys().filter(|event| !found.contains(event.as_str()));
        let missing: Vec<String> = missing.cloned().collect();
        if missing.is_empty() && foreign.is_empty() {
            self.text = Some(text);
        }
        let changes = [ChangedEvents::Disabled(missing), ChangedEvents::Enabled(foreign)];
        Ok(changes.into_iter().filter(|change| !change.events().is_empty()).collect())
    }

    /// Looks at the filters for which there is no open file yet, and then at the triggers, for this time. Returns those that differ,
    /// and whether those of all events have been looked at since this was last returned.
    pub fn changed_conditions(&mut self, time: Duration) -> (Vec<ChangedEvents>, bool) {
        let began = Instant::now();
        let mut changes = Vec::new();
        while began.elapsed() < time {
            let after = self.looked_at.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.events.range_mut::<str, _>((after, Bound::Unbounded)).next();
            let Some((event, known)) = next else {
                self.looked_at = None;
                self.looks_at = if self.looks_at == FILTER { TRIGGER } else { FILTER };
                match self.looks_at {
                    FILTER => return (changes, true),
                    _ => continue,
                }
            };
            let file = self.looks_at;
            let found = match file {
                FILTER if self.filters.have(event) => None,
                FILTER => self
                    .filters
                    .add(&self.instance, event, |found| known.difference(event, file, found).is_none()),
                _ => self.instance.read_at_most(path(event, file), LONGEST).ok().map(|text| meaning(&text)),
            };
            // Without those that cannot be read, because the event is being removed.
            if let Some(found) = found {
                changes.extend(known.difference(event, file, &found));
                known.note(file, found);
            }
            self.looked_at = Some(event.clone());
        }
        (changes, false)
    }

    /// Undoes a change.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn restore(&self, change: &ChangedEvents) -> Result<()> {
        match change {
            ChangedEvents::Disabled(events) => self.enable(events, "1"),
            ChangedEvents::Enabled(events) => self.enable(events, "0"),
            ChangedEvents::Filter { event, set, .. } => {
                self.instance.write(path(event, FILTER), if set == NO_FILTER { "0" } else { set })
            }
            ChangedEvents::Triggers { event, set, found } => self.restore_triggers(event, set, found),
        }
    }

    fn add(&mut self, events: impl IntoIterator<Item = String>) {
        for event in events {
            let conditions = match self.own.is_conditioned(&event) {
                true => Conditions::Set(BTreeMap::new()),
                false => Conditions::None,
            };
            self.events.insert(event, conditions);
        }
    }

    fn enable(&self, events: &[String], value: &str) -> Result<()> {
        // Each, also if one of them does not exist any more.
        let written = events.iter().map(|event| self.instance.write(path(event, ENABLE), value));
        Error::all_of(written.filter_map(Result::err).collect())
    }

    fn restore_triggers(&self, event: &str, set: &str, found: &str) -> Result<()> {
        let write = |trigger: &str| self.instance.write(path(event, TRIGGER), trigger);
        let others = |of: &str, than: &str| -> Vec<String> {
            let is_other = |trigger: &&str| !than.lines().any(|other| other == *trigger);
            of.lines().filter(is_other).map(|trigger| command(trigger).to_owned()).collect()
        };
        others(found, set).iter().try_for_each(|foreign| write(&format!("!{foreign}")))?;
        others(set, found).iter().try_for_each(|own| write(own))
    }
}

impl ChangedEvents {
    /// The events that it is about.
    pub fn events(&self) -> &[String] {
        match self {
            Self::Disabled(events) | Self::Enabled(events) => events,
            Self::Filter { event, .. } | Self::Triggers { event, .. } => std::slice::from_ref(event),
        }
    }
}

/// What the other process did.
impl fmt::Display for ChangedEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled(events) => write!(f, "disabled {}", some_of(events)),
            Self::Enabled(events) => write!(f, "enabled {}", some_of(events)),
            Self::Filter { event, set, found } => {
                write!(f, "changed the filter of {event} from '{}' to '{}'", short(set), short(found))
            }
            Self::Triggers { event, set, found } => {
                write!(f, "changed the triggers of {event} from '{}' to '{}'", short(set), short(found))
            }
        }
    }
}

impl Conditions {
    /// The difference if a file of this event has this text.
    fn difference(&self, event: &str, file: &str, found: &str) -> Option<ChangedEvents> {
        let set = match self {
            Self::None if file == FILTER => NO_FILTER,
            Self::None => "",
            Self::Set(set) => set.get(file)?,
        };
        if set == found {
            return None;
        }
        let (event, set, found) = (event.to_owned(), set.to_owned(), found.to_owned());
        Some(match file {
            FILTER => ChangedEvents::Filter { event, set, found },
            _ => ChangedEvents::Triggers { event, set, found },
        })
    }

    /// Remembers what the session has set, at the first look at the file.
    fn note(&mut self, file: &'static str, found: String) {
        if let Self::Set(set) = self {
            set.entry(file).or_insert(found);
        }
    }
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|event| !event.is_empty())
}

pub(crate) fn path(event: &str, file: &str) -> PathBuf {
    let (system, name) = event.split_once(':').unwrap_or((event, ""));
    ["events", system, name, file].iter().collect()
}

/// The text without comments.
pub(crate) fn meaning(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with(COMMENT));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// The part of a trigger that removes it after an exclamation mark: the kernel shows `stacktrace:unlimited`.
fn command(trigger: &str) -> &str {
    trigger.strip_suffix(":unlimited").unwrap_or_else(|| trigger.split(" if ").next().unwrap_or(trigger))
}

/// "a:b", or "a:b and 3 more events".
fn some_of(events: &[String]) -> String {
    match events {
        [] => "no event".to_owned(),
        [event] => event.clone(),
        [first, others @ ..] => format!("{first} and {} more events", others.len()),
    }
}

/// The beginning, in one line.
fn short(text: &str) -> String {
    const LONGEST: usize = 80;
    let line = text.replace('\n', " ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_triggers() {
        assert_eq!(meaning("# Available triggers:\n# traceon traceoff\n"), "");
        assert_eq!(meaning("stacktrace:unlimited\n"), "stacktrace:unlimited");
    }

    #[test]
    fn the_change_of_many_events_names_one() {
        let disabled = ChangedEvents::Disabled(["a:b", "c:d", "c:e"].map(str::to_owned).into());
        assert_eq!(disabled.to_string(), "disabled a:b and 2 more events");
    }

    #[test]
    fn filters_and_triggers_differ_by_event() {
        let text =
            |of: &Conditions, file, found| of.difference("a:b", file, found).map(|one| one.to_string());
        let none = Conditions::None;
        let filter = "changed the filter of a:b from 'none' to 'pid == 1'";
        assert_eq!(text(&none, FILTER, "pid == 1").unwrap(), filter);
        let triggers = "changed the triggers of a:b from '' to 'traceoff:unlimited'";
        assert_eq!(text(&none, TRIGGER, "traceoff:unlimited").unwrap(), triggers);
        assert_eq!((text(&none, FILTER, "none"), text(&none, TRIGGER, "")), (None, None));

        let mut own = Conditions::Set(BTreeMap::new());
        assert_eq!(text(&own, FILTER, "pid > 0"), None, "it has not been read yet");
        own.note(FILTER, "pid > 0".to_owned());
        own.note(FILTER, "none".to_owned());
        assert_eq!(text(&own, FILTER, "pid > 0"), None);
        assert!(text(&own, FILTER, "none").is_some());
    }
}
