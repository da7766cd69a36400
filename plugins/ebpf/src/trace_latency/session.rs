//! A session that tells how long calls take.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use trace_hook_api::{Account, Histogram, LineBuffer, Origin, Progress, Result, Session, boot_time};

use super::counts::{Call, Counts, Durations};
use crate::programs::Programs;

/// Between two looks whether any traced process is left.
const LOOK_FOR_PROCESSES: Duration = Duration::from_millis(50);

/// Counts on their way from the programs to lines.
pub struct LatencySession {
    programs: Programs,
    counts: Counts,
    interval: Option<Duration>,
    brief: bool,
    began: Instant,
    /// When the interval before the current one ended, and what was counted then.
    told: (Instant, BTreeMap<Call, Durations>),
    told_losses: BTreeMap<u32, u64>,
    waiting: VecDeque<Told>,
    lines: u64,
    looked_for_processes: Instant,
    state: State,
}

/// What is to be told of a call.
struct Told {
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
    /// The last lines are waiting.
    Told,
}

impl LatencySession {
    /// A session of these programs, which tells every so often.
    ///
    /// # Errors
    ///
    /// The programs have no counts.
    pub fn new(mut programs: Programs, interval: Option<Duration>, brief: bool) -> Result<Self> {
        let counts = Counts::new(programs.map("distributions")?);
        let now = Instant::now();
        Ok(Self {
            programs,
            counts,
            interval,
            brief,
            began: now,
            told: (now, BTreeMap::new()),
            told_losses: BTreeMap::new(),
            waiting: VecDeque::new(),
            lines: 0,
            looked_for_processes: now,
            state: State::Recording,
        })
    }

    fn stop_without_processes(&mut self) -> Result<()> {
        if self.state == State::Recording && self.looked_for_processes.elapsed() >= LOOK_FOR_PROCESSES {
            self.looked_for_processes = Instant::now();
            if !self.programs.processes.any() {
                self.stop()?;
            }
        }
        Ok(())
    }

    fn tell_interval(&mut self) -> Result<()> {
        let since_last = self.told.0.elapsed();
        let is_due = self.interval.is_some_and(|interval| since_last >= interval);
        // Where the reader is slow, the interval gets longer, and not the queue.
        if self.state == State::Recording && is_due && self.waiting.is_empty() {
            let counts = self.counts.read()?;
            let before = std::mem::replace(&mut self.told, (Instant::now(), counts)).1;
            let since = |(call, now): (&Call, &Durations)| {
                (*call, before.get(call).map_or(*now, |before| now.since(before)))
            };
            let since: Vec<(Call, Durations)> = self.told.1.iter().map(since).collect();
            self.tell("latency", since_last, since)?;
        }
        Ok(())
    }

    fn tell_total(&mut self) -> Result<()> {
        if self.state == State::Stopped {
            self.state = State::Told;
            let whole = self.began.elapsed();
            self.tell("latency_total", whole, self.counts.read()?.into_iter().collect())?;
        }
        Ok(())
    }

    fn tell(
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
                self.waiting.push_back(Told { event, time, call, interval, histogram });
            }
        }
        Ok(())
    }

    fn show_losses(&mut self, lines: &mut LineBuffer) -> Result<()> {
        let lost = self.programs.losses.lost()?;
        for (cpu, count) in &lost {
            let told = self.told_losses.get(cpu).copied().unwrap_or(0);
            if *count > told {
                lines.lost(*cpu, Some(count - told));
            }
        }
        self.told_losses = lost;
        Ok(())
    }

    fn show(&mut self, told: &Told, lines: &mut LineBuffer) {
        let origin = Origin { time: told.time, ..Origin::default() };
        let name = told.call.name();
        lines
            .event(&origin, told.event)
            .word("call", &name)
            .flag("compat", told.call.is_compat)
            .duration("interval", told.interval.as_nanos() as u64)
            .distribution(&told.histogram);
        if !self.brief {
            lines.picture(&told.histogram);
        }
        self.lines += 1;
    }
}

impl Session for LatencySession {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.stop_without_processes()?;
        self.tell_interval()?;
        self.tell_total()?;
        while let Some(told) = self.waiting.pop_front_if(|_| !lines.is_full()) {
            self.show(&told, lines);
        }
        if !self.waiting.is_empty() {
            return Ok(Progress::More);
        }
        if self.state != State::Told {
            return Ok(Progress::Idle);
        }
        self.show_losses(lines)?;
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

    /// Its lines are what it records: the calls themselves are counted in them.
    fn account(&self) -> Result<Account> {
        let lost = self.programs.losses.lost()?;
        Ok(Account::new(self.lines + lost.values().sum::<u64>(), lost))
    }
}
