//! What a person at a terminal sees of a session beside its trace: that it is recording, and where the trace goes to a file, a
//! line with its counts that is updated in place.

use std::io::{self, IsTerminal};
use std::time::Instant;

use crate::output;

/// The line, if standard error is a terminal.
pub struct StatusLine {
    /// What is recorded: `trace_open of 3 processes`.
    subject: String,
    /// Whether the counts are shown. Beside a trace on the same terminal they would be in its way.
    shows_counts: bool,
    last: Counts,
    has_reported_end: bool,
}

/// The counts of a moment.
struct Counts {
    at: Instant,
    events: u64,
    lost: u64,
}

impl StatusLine {
    /// For a session of this subject. `None` if standard error is no terminal.
    pub fn new(subject: String, shows_counts: bool) -> Option<Self> {
        let last = Counts { at: Instant::now(), events: 0, lost: 0 };
        io::stderr().is_terminal().then_some(Self { subject, shows_counts, last, has_reported_end: false })
    }

    /// Reports that the session is recording.
    pub fn begin(&mut self) {
        self.last.at = Instant::now();
        output::report(&format!("recording {} (Ctrl-C ends it)", self.subject));
    }

    /// Reports once that recording has ended, and the rest of the trace takes long.
    pub fn report_end(&mut self) {
        if !self.has_reported_end {
            self.has_reported_end = true;
            output::report("recording has ended; the rest of the trace is printed (Ctrl-C drops it)");
        }
    }

    /// Shows new counts: all events so far, those lost since the last time, whether more may be missing, and the bytes that were
    /// written.
    pub fn update(&mut self, events: u64, lost: u64, more_may_be_missing: bool, bytes: u64) {
        let before = std::mem::replace(&mut self.last, Counts { at: Instant::now(), events, lost: 0 });
        self.last.lost = before.lost + lost;
        if self.shows_counts {
            let seconds = self.last.at.duration_since(before.at).as_secs_f64().max(0.001);
            let rate = (events.saturating_sub(before.events)) as f64 / seconds;
            let size = bytes as f64 / f64::from(1 << 20);
            let is_counted = if more_may_be_missing { " counted as" } else { "" };
            let lost = self.last.lost;
            output::show_status(&format!(
                "{events} events, {rate:.0}/s, {lost}{is_counted} lost, {size:.1} MiB"
            ));
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        output::clear_status();
    }
}
