//! Events made at run time by `uprobe_events`, `kprobe_events` and `dynamic_events`. The kernel prints them
//! with functions of their own, which depart from the print format their `format` file shows.

use super::EventFormat;
use super::environment::Environment;
use super::expr::Expr;
use super::program::{Action, Program};
use super::text::Text;
use super::write;

/// Where a probe is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProbePoint {
    /// The probed address; for a return probe where it returned to.
    at: Expr,
    /// The function that returned.
    from: Option<Expr>,
}

impl Program {
    /// Changes the program of a probe event to print as `print_uprobe_event`, `print_kprobe_event` and their
    /// like do. Others stay as they are.
    pub(super) fn for_probe(mut self, format: &EventFormat) -> Self {
        let probe = format.field("__probe_ip").is_some();
        let returning = format.field("__probe_func").is_some() && format.field("__probe_ret_ip").is_some();
        if probe {
            self.replace_point(None);
        } else if returning && self.steps.len() > 1 {
            // The print format has the function first, the kernel's text has it last.
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

    /// `path=\"%s\"` loses its quotes when the text could not be fetched (`PRINT_TYPE_FUNC_NAME(string)`).
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

impl ProbePoint {
    pub(super) fn write(&self, record: &[u8], environment: &Environment, out: &mut Vec<u8>) {
        address(self.at.number(record), true, environment, out);
        if let Some(from) = &self.from {
            out.extend_from_slice(b" <- ");
            address(from.number(record), false, environment, out);
        }
    }
}

/// Addresses of programs are numbers, those of the kernel (the upper half) symbols.
fn address(value: u64, offset: bool, environment: &Environment, out: &mut Vec<u8>) {
    if (value as i64) < 0 {
        environment.symbols().write(value, offset, false, out);
    } else {
        out.extend_from_slice(b"0x");
        write::hex(out, value);
    }
}

/// A text that a probe fetched from memory.
pub(super) fn fetched(text: &[u8], out: &mut Vec<u8>) {
    if text.is_empty() {
        return out.extend_from_slice(b"(fault)");
    }
    out.push(b'"');
    write::foreign_text(out, write::until_nul(text));
    out.push(b'"');
}
