//! Which records of an event a user wants.

use trace_hook_api::{HookError, Result};
use tracefs::Instance;

use super::selection::{EventName, Pattern};

/// An expression, and the events that it is for.
#[derive(Debug)]
pub struct Filter {
    /// None: all that are chosen.
    of: Option<Pattern>,
    expression: String,
}

impl Filter {
    /// Parses `SYSTEM:EVENT EXPRESSION` or `EXPRESSION`. No expression begins with a word that has a colon in it.
    ///
    /// # Errors
    ///
    /// There is no expression, or no pattern.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let (of, expression) = match first.contains(':') {
            true => (Some(Pattern::parse(first)?), rest.trim()),
            false => (None, text),
        };
        if expression.is_empty() {
            return Err(HookError::usage("a filter needs an expression, such as 'common_pid != 0'"));
        }
        Ok(Self { of, expression: expression.to_owned() })
    }

    /// # Errors
    ///
    /// It is for events that are not recorded.
    pub fn check_use(&self, events: &[EventName]) -> Result<()> {
        match events.iter().any(|event| self.is_for(event)) {
            true => Ok(()),
            false => Err(HookError::usage(format!(
                "the filter '{}' is for none of the events that --event names",
                self.expression
            ))),
        }
    }

    /// # Errors
    ///
    /// The kernel's words about what is wrong, with a caret under the place.
    pub fn set(&self, instance: &Instance, events: &[EventName]) -> Result<()> {
        for event in events.iter().filter(|event| self.is_for(event)) {
            match instance.set_filter(&event.system, Some(&event.name), &self.expression) {
                // Of several, some may be gone by now.
                Err(tracefs::Error::UnknownEvent { .. }) if events.len() > 1 => {}
                set => set.map_err(refusal)?,
            }
        }
        Ok(())
    }

    fn is_for(&self, event: &EventName) -> bool {
        self.of.as_ref().is_none_or(|pattern| pattern.matches(event))
    }
}

/// The kernel's words, with its picture of the place that it stumbled at below them.
fn refusal(error: tracefs::Error) -> HookError {
    match error {
        tracefs::Error::BadFilter { target, reason, .. } => {
            let (headline, picture) = reason.split_once('\n').unwrap_or((&reason, ""));
            HookError::usage(format!("the kernel refuses the filter for {target}: {headline}"))
                .excerpt(picture)
        }
        tracefs::Error::FilterTooLong { .. } => HookError::usage(error.to_string()),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_may_name_its_events() {
        let event = |name: &str| EventName { system: "sched".to_owned(), name: name.to_owned() };
        let filter = Filter::parse(" sched:*switch  prev_prio < 100 ").unwrap();
        assert_eq!(filter.expression, "prev_prio < 100");
        assert!(filter.is_for(&event("sched_switch")) && !filter.is_for(&event("sched_waking")));
        let filter = Filter::parse("prev_comm ~ \"a:b*\"").unwrap();
        assert!(filter.is_for(&event("anything")));
        for none in ["", "  ", "sched:sched_switch"] {
            assert!(Filter::parse(none).is_err(), "{none:?}");
        }
    }
}
