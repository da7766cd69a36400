//! The session: reads the counts of the programs, and emits them as lines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use trace_ebpf::Programs;
use trace_hook_api::{Histogram, LineBuffer, Origin, Result, boot_time};
use trace_session::{Counts as EventCounts, End, EventSource, Rendered, SourceSession};

use super::counts::{Call, Counts, Durations};

/// A session of `trace_latency`.
pub struct LatencySession {
    programs: Programs,
    counts: Counts,
    interval: Option<Duration>,
    brief: bool,
    began: Instant,
    /// The end of the previous interval, and the counts at that time.
    previous: (Instant, BTreeMap<Call, Durations>),
    waiting: VecDeque<Report>,
    /// The final lines are in `waiting`.
    is_total_reported: bool,
}

/// A line that is waiting for the reader.
struct Report {
    event: &'static str,
    time: u64,
    call: Call,
    interval: Duration,
    durations: Durations,
    histogram: Histogram,
}

impl LatencySession {
    /// A session that reports at the end and, if given, after each interval.
    ///
    /// # Errors
    ///
    /// The object has no map of counts.
    pub fn start(
        mut programs: Programs,
        interval: Option<Duration>,
        brief: bool,
    ) -> Result<SourceSession<Self>> {
        let counts = Counts::new(programs.map("distributions")?, programs.map("late_calls")?);
        let now = Instant::now();
        Ok(SourceSession::new(Self {
            programs,
            counts,
            interval,
            brief,
            began: now,
            previous: (now, BTreeMap::new()),
            waiting: VecDeque::new(),
            is_total_reported: false,
        }))
    }

    fn report_interval(&mut self) -> Result<()> {
        let since_last = self.previous.0.elapsed();
        let is_due = self.interval.is_some_and(|interval| since_last >= interval);
        // With a slow reader the interval grows, not the queue.
        if is_due && self.waiting.is_empty() {
            let counts = self.counts.read()?;
            let before = std::mem::replace(&mut self.previous, (Instant::now(), counts)).1;
            let since = |(call, now): (&Call, &Durations)| {
                (*call, before.get(call).map_or(*now, |before| now.since(before)))
            };
            let since: Vec<(Call, Durations)> = self.previous.1.iter().map(since).collect();
            self.report("latency", since_last, since)?;
        }
        Ok(())
    }

    fn report_total(&mut self) -> Result<()> {
        if !self.is_total_reported {
            self.is_total_reported = true;
            let whole = self.began.elapsed();
            let counts = self.counts.read()?.into_iter().collect();
            self.report("latency_total", whole, counts)?;
        }
        Ok(())
    }

    fn report(
        &mut self,
        event: &'static str,
        interval: Duration,
        mut counts: Vec<(Call, Durations)>,
    ) -> Result<()> {
        let time = boot_time();
        counts.sort_by_key(|(_, durations)| Reverse(durations.total()));
        for (call, durations) in counts {
            let histogram = durations.histogram();
            if histogram.count() > 0 {
                self.waiting.push_back(Report { event, time, call, interval, durations, histogram });
            }
        }
        Ok(())
    }

    fn show(&self, report: &Report, lines: &mut LineBuffer) {
        let origin = Origin::at(report.time);
        let name = report.call.name();
        lines
            .event(&origin, report.event)
            .word("call", &name)
            .flag("compat", report.call.is_compat)
            .duration("interval", report.interval.as_nanos() as u64)
            .duration("total", report.durations.total())
            .number("errors", report.durations.errors())
            .distribution(&report.histogram);
        if !self.brief {
            lines.picture(&report.histogram);
        }
    }
}

impl EventSource for LatencySession {
    fn any_task_alive(&mut self) -> Result<bool> {
        Ok(self.programs.processes.any_left())
    }

    fn render_next(&mut self, lines: &mut LineBuffer) -> Result<Rendered> {
        let Some(report) = self.waiting.pop_front() else { return Ok(Rendered::Nothing) };
        self.show(&report, lines);
        Ok(Rendered::Other)
    }

    fn pause(&mut self, _: &mut LineBuffer) -> Result<()> {
        self.report_interval()
    }

    fn end(&mut self, lines: &mut LineBuffer) -> Result<End> {
        self.report_total()?;
        if !self.waiting.is_empty() {
            return Ok(End::MoreLines);
        }
        for (cpu, count) in self.programs.losses.lost()? {
            lines.lost(cpu, count);
        }
        Ok(End::Complete)
    }

    fn stop(&mut self) -> Result<()> {
        self.programs.stop();
        Ok(())
    }

    /// Its events are its lines, which count the calls themselves.
    fn counts(&self) -> Result<EventCounts> {
        let lost = self.programs.losses.lost()?;
        let warnings = self.programs.losses.missed_children()?;
        Ok(EventCounts::new(lost.values().sum(), lost).with_warnings(warnings))
    }
}
