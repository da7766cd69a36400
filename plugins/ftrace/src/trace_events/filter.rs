//! Filters of event records.

use trace_hook_api::{HookError, Result};
use tracefs::Instance;

use super::selection::{EventName, Pattern};

/// An expression, and the events that it applies to.
#[derive(Debug)]
pub struct Filter {
    /// `None`: all chosen events.
    events: Option<Pattern>,
    expression: String,
}

impl Filter {
    /// Parses `SYSTEM:EVENT EXPRESSION` or `EXPRESSION`. The first word of an expression never contains a colon.
    ///
    /// # Errors
    ///
    /// The expression is missing, or the pattern is malformed.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let (events, expression) = match first.contains(':') {
            true => (Some(Pattern::parse(first)?), rest.trim()),
            false => (None, text),
        };
        if expression.is_empty() {
            return Err(HookError::usage("a filter needs an expression, such as 'common_pid != 0'"));
        }
        Ok(Self { events, expression: expression.to_owned() })
    }

    /// # Errors
    ///
    /// It applies to none of the recorded events.
    pub fn check_applies(&self, events: &[EventName]) -> Result<()> {
        match events.iter().any(|event| self.applies_to(event)) {
            true => Ok(()),
            false => Err(HookError::usage(format!(
                "the filter '{}' applies to none of the events of --event",
                self.expression
            ))),
        }
    }

    /// # Errors
    ///
    /// The kernel refuses the filter; the message has its explanation, with a caret under the error.
    pub fn set(&self, instance: &Instance, events: &[EventName]) -> Result<()> {
        for event in events.iter().filter(|event| self.applies_to(event)) {
            match instance.set_filter(&event.system, Some(&event.name), &self.expression) {
                // Of several, some may have disappeared.
                Err(tracefs::Error::UnknownEvent { .. }) if events.len() > 1 => {}
                set => set.map_err(refusal)?,
            }
        }
        Ok(())
    }

    fn applies_to(&self, event: &EventName) -> bool {
        self.events.as_ref().is_none_or(|pattern| pattern.matches(event))
    }
}

/// The kernel's explanation, with the filter and a caret below it.
fn refusal(error: tracefs::Error) -> HookError {
    match error {
        tracefs::Error::BadFilter { target, reason, .. } => {
            let (headline, excerpt) = reason.split_once('\n').unwrap_or((&reason, ""));
            HookError::usage(format!("the kernel refuses the filter for {target}: {headline}"))
                .excerpt(excerpt)
        }
        tracefs::Error::FilterTooLong { .. } => HookError::usage(error.to_string()),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_may_name_its_events() {
        let event = |name: &str| EventName { system: "sched".to_owned(), name: name.to_owned() };
        let filter = Filter::parse(" sched:*switch  prev_prio < 100 ").unwrap();
        assert_eq!(filter.expression, "prev_prio < 100");
        assert!(filter.applies_to(&event("sched_switch")) && !filter.applies_to(&event("sched_waking")));
        let filter = Filter::parse("prev_comm ~ \"a:b*\"").unwrap();
        assert!(filter.applies_to(&event("anything")));
        for none in ["", "  ", "sched:sched_switch"] {
            assert!(Filter::parse(none).is_err(), "{none:?}");
        }
    }
}
