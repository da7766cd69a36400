//! The session: counts on their way from the programs to lines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use trace_ebpf::Programs;
use trace_hook_api::{Histogram, LineBuffer, Origin, Progress, Result, Session, Stats, boot_time};

use super::counts::{Call, Counts, Durations};

/// How often the session checks whether a traced process is left.
const PROCESS_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// A session of `trace_latency`.
pub struct LatencySession {
    programs: Programs,
    counts: Counts,
    interval: Option<Duration>,
    brief: bool,
    began: Instant,
    /// The end of the previous interval, and the counts at that time.
    previous: (Instant, BTreeMap<Call, Durations>),
    reported_losses: BTreeMap<u32, u64>,
    waiting: VecDeque<Report>,
    lines: u64,
    processes_checked: Instant,
    state: State,
}

/// A line that is waiting for the reader.
struct Report {
    event: &'static str,
    time: u64,
    call: Call,
    interval: Duration,
    histogram: Histogram,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Recording,
    Stopped,
    /// The final lines are in `waiting`.
    Reported,
}

impl LatencySession {
    /// A session that reports at the end and, if given, after each interval.
    ///
    /// # Errors
    ///
    /// The object has no map of counts.
    pub fn new(mut programs: Programs, interval: Option<Duration>, brief: bool) -> Result<Self> {
        let counts = Counts::new(programs.map("distributions")?);
        let now = Instant::now();
        Ok(Self {
            programs,
            counts,
            interval,
            brief,
            began: now,
            previous: (now, BTreeMap::new()),
            reported_losses: BTreeMap::new(),
            waiting: VecDeque::new(),
            lines: 0,
            processes_checked: now,
            state: State::Recording,
        })
    }

    fn stop_without_processes(&mut self) -> Result<()> {
        if self.state == State::Recording && self.processes_checked.elapsed() >= PROCESS_CHECK_INTERVAL {
            self.processes_checked = Instant::now();
            if !self.programs.processes.any_left() {
                self.stop()?;
            }
        }
        Ok(())
    }

    fn report_interval(&mut self) -> Result<()> {
        let since_last = self.previous.0.elapsed();
        let is_due = self.interval.is_some_and(|interval| since_last >= interval);
        // With a slow reader the interval grows, not the queue.
        if self.state == State::Recording && is_due && self.waiting.is_empty() {
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
        if self.state == State::Stopped {
            self.state = State::Reported;
            let whole = self.began.elapsed();
            self.report("latency_total", whole, self.counts.read()?.into_iter().collect())?;
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
                self.waiting.push_back(Report { event, time, call, interval, histogram });
            }
        }
        Ok(())
    }

    fn report_losses(&mut self, lines: &mut LineBuffer) -> Result<()> {
        let lost = self.programs.losses.lost()?;
        for (cpu, count) in &lost {
            let reported = self.reported_losses.get(cpu).copied().unwrap_or(0);
            if *count > reported {
                lines.lost(*cpu, Some(count - reported));
            }
        }
        self.reported_losses = lost;
        Ok(())
    }

    fn show(&mut self, report: &Report, lines: &mut LineBuffer) {
        let origin = Origin::at(report.time);
        let name = report.call.name();
        lines
            .event(&origin, report.event)
            .word("call", &name)
            .flag("compat", report.call.is_compat)
            .duration("interval", report.interval.as_nanos() as u64)
            .distribution(&report.histogram);
        if !self.brief {
            lines.picture(&report.histogram);
        }
        self.lines += 1;
    }
}

impl Session for LatencySession {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.stop_without_processes()?;
        self.report_interval()?;
        self.report_total()?;
        while let Some(report) = self.waiting.pop_front_if(|_| !lines.is_full()) {
            self.show(&report, lines);
        }
        if !self.waiting.is_empty() {
            return Ok(Progress::More);
        }
        if self.state != State::Reported {
            return Ok(Progress::Idle);
        }
        self.report_losses(lines)?;
        self.programs.losses.warn_of_missed_children()?;
        Ok(Progress::Finished)
    }

    fn stop(&mut self) -> Result<()> {
        if self.state == State::Recording {
            self.programs.stop();
            self.state = State::Stopped;
        }
        Ok(())
    }

    /// Its events are its lines, which count the calls themselves.
    fn stats(&self) -> Result<Stats> {
        let lost = self.programs.losses.lost()?;
        Ok(Stats::new(self.lines + lost.values().sum::<u64>(), lost))
    }
}
