//! A line each time a task gets a CPU.

use trace_hook_api::{LineBuffer, Origin};

use super::renderer::{Run, Show};
use super::waits::{MissedRun, Since};

pub struct RunLines;

impl Show for RunLines {
    fn run(&mut self, run: &Run<'_>, lines: &mut LineBuffer) {
        lines.add_event(&run.origin, "run", |line| {
            line.optional(run.wait, |line, wait| line.duration("waited", wait.length))
                .word("since", name(run.wait.map(|wait| wait.since)))
                .number("prev_tid", run.prev)
                .text("prev_comm", run.prev_comm)
        });
    }

    fn missed_run(&mut self, origin: &Origin<'_>, run: MissedRun, lines: &mut LineBuffer) {
        lines.add_event(origin, "run", |line| line.word("since", name(run.since)).flag("missed", true));
    }
}

fn name(since: Option<Since>) -> &'static str {
    since.map_or("unknown", Since::name)
}
