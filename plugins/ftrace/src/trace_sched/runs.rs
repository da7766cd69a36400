//! A line for each time that a task gets a CPU.

use trace_hook_api::{LineBuffer, Origin};

use super::view::{Run, Show};

pub struct Runs;

impl Show for Runs {
    fn run(&mut self, run: &Run<'_>, lines: &mut LineBuffer) -> u64 {
        let line = lines.event(&run.origin, "run");
        let line = match run.wait {
            Some(wait) => line.duration("waited", wait.length).word("since", wait.since.name()),
            None => line.word("since", "unknown"),
        };
        line.number("prev_tid", run.prev).text("prev_comm", run.prev_comm);
        1
    }

    fn missed_run(&mut self, origin: &Origin<'_>, lines: &mut LineBuffer) -> u64 {
        lines.event(origin, "run").word("since", "unknown").flag("missed", true);
        1
    }
}
