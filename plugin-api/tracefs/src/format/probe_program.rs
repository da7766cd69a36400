//! The programs of events that were defined at run time in `uprobe_events`, `kprobe_events` or `dynamic_events`. The kernel
//! prints these events with separate functions (`print_uprobe_event`, `print_kprobe_event` and similar), whose output
//! differs from the print format in the event's `format` file.

use super::EventFormat;
use super::probe::ProbePoint;
use super::program::{Action, Program};
use super::text::Text;

impl Program {
    /// Adapts the program of a probe event. Programs of other events are returned unchanged.
    pub(super) fn for_probe(mut self, format: &EventFormat) -> Self {
        let probe = format.field("__probe_ip").is_some();
        let returning = format.field("__probe_func").is_some() && format.field("__probe_ret_ip").is_some();
        if probe {
            self.replace_point(None);
        } else if returning && self.steps.len() > 1 {
            // The function is first in the print format, and last in the printed line.
            let returned_to = self.steps.remove(1);
            self.replace_point(Some(returned_to.action));
        }
        if probe || returning {
            self.quote_fetched();
        }
        self
    }

    fn replace_point(&mut self, returned_to: Option<Action>) {
        let Some(first) = self.steps.first_mut() else { return };
        let Action::Number { value, .. } = &first.action else { return };
        let point = match returned_to {
            None => ProbePoint { at: value.clone(), from: None },
            Some(Action::Number { value: at, .. }) => ProbePoint { at, from: Some(value.clone()) },
            Some(_) => return,
        };
        first.action = Action::Probe(point);
    }

    /// `path=\"%s\"` is printed without the quotes if the string could not be fetched (`PRINT_TYPE_FUNC_NAME(string)`).
    fn quote_fetched(&mut self) {
        for index in 1..self.steps.len() {
            let Some([step, next]) = self.steps.get_mut(index - 1..=index) else { continue };
            let Action::Text(Text::Place(place)) = &step.action else { continue };
            if let (Some(before), Some(after)) =
                (step.before.strip_suffix(b"\""), next.before.strip_prefix(b"\""))
            {
                step.action = Action::Fetched(place.clone());
                step.before = before.into();
                next.before = after.into();
            }
        }
    }
}
