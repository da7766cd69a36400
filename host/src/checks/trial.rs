//! A test session: started, read, stopped and closed as the recorder does it, with checks at each step.

use std::os::fd::{BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use trace_hook_api::{Format, HookError, HookInfo, Kind, LineBuffer, Progress, Request, Result, Stats};

use super::kernel_objects::KernelObjects;
use super::line_format::{check_json, check_plain};
use super::process_resources::ProcessResources;
use super::stopwatch::Stopwatch;
use crate::patience::patient;
use crate::worker::protocol::{Answer, Channel, Finding};
use crate::worker::{HostedPlugin, PluginSession};

/// How long the session records.
const RECORDING: Duration = Duration::from_millis(200);
/// How long a stopped session may take to give its last line.
const ENDING: Duration = Duration::from_secs(5);
/// How long threads and kernel objects may take to disappear after the session is closed.
const REMOVAL: Duration = Duration::from_secs(1);
/// How long a session may take to notice that its last traced process has ended.
const NOTICING: Duration = Duration::from_secs(2);
/// The time limit for a read.
const READ_LIMIT: Duration = Duration::from_millis(100);
/// The check fails after this many slow reads. One or two may have been delayed by something else.
const FEWEST_READS: usize = 3;
/// The check fails if the descriptor is still readable after this many consecutive reads that returned `Idle`.
const MOST_SPURIOUS_WAKES: usize = 10;
/// Between two reads or checks of the session.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// The room of a read, in bytes.
const ROOM: usize = 64 << 10;

/// A step of a test session, and the name of its check.
pub struct Step {
    pub check: &'static str,
    /// The time limit, measured from the end of the previous step.
    pub limit: Duration,
    take: fn(&mut Trial<'_, '_>) -> Result<Finding>,
}

/// The steps of a session, in order.
pub const STEPS: [Step; 6] = [
    // As long as container-tracer waits for the first output.
    Step::new("start", 5, |trial| trial.start()),
    Step::new("read", 5, |trial| trial.read()),
    Step::new("stop", 7, |trial| trial.stop()),
    Step::new("stats", 2, |trial| trial.stats()),
    Step::new("close", 5, |trial| trial.close()),
    Step::new("remains", 5, |trial| trial.remains()),
];

/// A whole session in one step, whose traced process ends.
pub const END_STEPS: [Step; 1] = [Step::new("end", 15, |trial| trial.end())];

/// A whole session in one step, of a hook that supports JSON.
pub const JSON_STEPS: [Step; 1] = [Step::new("json", 15, |trial| trial.json())];

/// A condition that no event meets.
pub const NOTHING: &str = "time && !time";

/// A whole session in one step, of a hook that honours views, with this condition.
pub const VIEW_STEPS: [Step; 1] = [Step::new("view", 15, |trial| trial.view())];

/// The names of the checks of a hook's sessions.
pub fn names(hook: &HookInfo) -> Vec<&'static str> {
    let json = if hook.formats.contains(&Format::Json) { &JSON_STEPS[..] } else { &[] };
    let view = if hook.honours_view { &VIEW_STEPS[..] } else { &[] };
    STEPS.iter().chain(&END_STEPS).chain(json).chain(view).map(|step| step.check).collect()
}

/// Returns values for the required parameters of the hook.
///
/// # Errors
///
/// The name of a parameter for which no value can be chosen.
pub fn synthetic_arguments(hook: &HookInfo) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for param in hook.params.iter().filter(|param| param.required) {
        let value = match (&param.kind, param.choices.first()) {
            (_, Some(choice)) => choice.clone(),
            (Kind::Integer { min, max }, None) => 1.clamp(*min, *max).to_string(),
            (Kind::Duration { min_ns, max_ns, .. }, None) => {
                format!("{}ns", 1_000_000_000.clamp(*min_ns, *max_ns))
            }
            (_, None) => return Err(param.name.clone()),
        };
        words.push(format!("--{}={value}", param.name));
    }
    Ok(words)
}

/// In a worker: takes the steps in order and sends the finding of each, until a step fails.
pub fn run(
    plugin: &HostedPlugin<'_>,
    position: u32,
    request: &Request,
    steps: &[Step],
    channel: &Channel,
) -> Answer {
    let mut trial = Trial {
        plugin,
        position,
        request,
        channel,
        session: None,
        wakes: None,
        resources_before: ProcessResources::now(),
        lines: 0,
        events: 0,
        slow_reads: 0,
        spurious_wakes: 0,
        finished: false,
    };
    for step in steps {
        let (finding, failed) = match (step.take)(&mut trial) {
            Ok(finding) => (finding, false),
            Err(error) => (Finding::Failed(error.to_string()), true),
        };
        if channel.sender().send(&Answer::Found(finding)).is_err() || failed {
            break;
        }
    }
    Answer::Done
}

impl Step {
    const fn new(check: &'static str, seconds: u64, take: fn(&mut Trial<'_, '_>) -> Result<Finding>) -> Self {
        Self { check, limit: Duration::from_secs(seconds), take }
    }
}

struct Trial<'a, 'w> {
    plugin: &'a HostedPlugin<'w>,
    position: u32,
    request: &'a Request,
    channel: &'a Channel,
    session: Option<PluginSession<'w>>,
    /// While it records: the descriptor that polls as readable when there are lines.
    wakes: Option<RawFd>,
    /// The resources of the process before the session.
    resources_before: ProcessResources,
    lines: usize,
    events: u64,
    slow_reads: usize,
    /// Consecutive reads after which `wakes` was still readable.
    spurious_wakes: usize,
    /// The session has given its last line.
    finished: bool,
}

impl<'w> Trial<'_, 'w> {
    fn start(&mut self) -> Result<Finding> {
        let began = Instant::now();
        let session = self.plugin.start(self.position, self.request)?;
        let took = began.elapsed().as_millis();
        self.wakes = session.wakes()?;
        self.session = Some(session);
        Ok(Finding::Ok(format!("it records after {took} ms")))
    }

    fn read(&mut self) -> Result<Finding> {
        self.read_until(Instant::now() + RECORDING)?;
        Ok(self.given("whole lines so far"))
    }

    fn stop(&mut self) -> Result<Finding> {
        if self.finished {
            return Ok(Finding::Ok("it ended by itself".to_owned()));
        }
        let began = Instant::now();
        self.session()?.stop()?;
        self.wakes = None;
        self.read_until(began + patient(ENDING))?;
        self.check_finished(patient(ENDING), "it was stopped")?;
        let took = began.elapsed().as_millis();
        Ok(Finding::Ok(format!("it ended after {took} ms, lines in all: {}", self.lines)))
    }

    fn stats(&mut self) -> Result<Finding> {
        let stats = self.session()?.stats()?;
        let (given, lost) = (self.events, stats.lost.values().sum::<u64>());
        Ok(Finding::Ok(match stats.recorded {
            Some(recorded) if recorded != given + lost => {
                return Err(HookError::new(format!(
                    "its stats count {recorded} events recorded, but it emitted {given} and lost {lost}"
                )));
            }
            Some(recorded) => format!("{recorded} events recorded, {given} emitted, {lost} lost"),
            None => format!("{given} events emitted, {lost} lost; it does not count the recorded ones"),
        }))
    }

    fn close(&mut self) -> Result<Finding> {
        self.session()?.close()?;
        self.session = None;
        Ok(Finding::Ok("it reports no error".to_owned()))
    }

    /// Threads need a moment to exit, and the kernel removes objects with a delay.
    fn remains(&mut self) -> Result<Finding> {
        let in_kernel = KernelObjects::of(&self.request.session, &self.request.environment);
        let deadline = Instant::now() + patient(REMOVAL);
        loop {
            match ProcessResources::now().beyond(&self.resources_before).or_else(|| in_kernel.any()) {
                None => {
                    let nothing = "it left no thread, child process, descriptor, tracing instance or probe";
                    return Ok(Finding::Ok(nothing.to_owned()));
                }
                Some(_) if Instant::now() < deadline => std::thread::sleep(POLL_INTERVAL),
                Some(what) => {
                    return Err(HookError::new(format!("it left {what}, which close() must remove")));
                }
            }
        }
    }

    fn end(&mut self) -> Result<Finding> {
        self.start()?;
        self.read_until(Instant::now() + RECORDING)?;
        let text = match self.finished {
            true => "it ended by itself".to_owned(),
            false => format!(
                "it ended {} ms after its last traced process",
                self.time_to_notice_the_end()?.as_millis()
            ),
        };
        self.close()?;
        self.remains()?;
        Ok(Finding::Ok(text))
    }

    /// Ends the traced process. Returns how long the session takes to notice that.
    fn time_to_notice_the_end(&mut self) -> Result<Duration> {
        // From now on the descriptor may be readable without lines: the session may wake to check its tasks.
        self.wakes = None;
        // On this message the supervisor ends the traced process.
        self.channel.sender().send(&Answer::Recording)?;
        let began = Instant::now();
        self.read_until(began + patient(NOTICING))?;
        self.check_finished(patient(NOTICING), "the last traced process ended")?;
        Ok(began.elapsed())
    }

    fn json(&mut self) -> Result<Finding> {
        self.whole_session()?;
        Ok(self.given("lines that are JSON objects"))
    }

    fn view(&mut self) -> Result<Finding> {
        let left_out = self.whole_session()?.left_out;
        match (self.events, left_out) {
            (0, 0) => Ok(Finding::Skipped("it emitted no event for the test process".to_owned())),
            (0, left_out) => Ok(Finding::Ok(format!("events left out as --where asks: {left_out}"))),
            (shown, _) => Err(HookError::new(format!(
                "it declares honours_view(), but {shown} of its events do not follow --where; write them with \
                 LineBuffer::event, or ask LineBuffer::passes first"
            ))),
        }
    }

    fn whole_session(&mut self) -> Result<Stats> {
        self.start()?;
        self.read()?;
        self.stop()?;
        let stats = self.session()?.stats()?;
        self.close()?;
        self.remains()?;
        Ok(stats)
    }

    fn session(&mut self) -> Result<&mut PluginSession<'w>> {
        self.session.as_mut().ok_or_else(|| HookError::new("there is no session"))
    }

    /// The number of lines so far. Skipped if there is none.
    fn given(&self, what: &str) -> Finding {
        match self.lines {
            0 => Finding::Skipped("it emitted no line for the test process".to_owned()),
            lines => Finding::Ok(format!("{what}: {lines}")),
        }
    }

    fn check_finished(&self, limit: Duration, since: &str) -> Result<()> {
        match self.finished {
            true => Ok(()),
            false => Err(HookError::new(format!(
                "{} s after {since}, it has not returned Progress::Finished",
                limit.as_secs()
            ))),
        }
    }

    /// Reads until the session has given its last line, or until the deadline.
    fn read_until(&mut self, deadline: Instant) -> Result<()> {
        let mut lines = LineBuffer::default();
        let mut reads = 0;
        while !self.finished && (Instant::now() < deadline || reads < FEWEST_READS) {
            lines.reset(ROOM);
            let stopwatch = Stopwatch::start();
            let progress = self.session()?.read(&mut lines)?;
            self.check_time(stopwatch.elapsed())?;
            self.take(&lines)?;
            reads += 1;
            match progress {
                Progress::More => {}
                Progress::Finished => self.finished = true,
                _ => {
                    self.check_wakes()?;
                    std::thread::sleep(POLL_INTERVAL);
                }
            }
        }
        Ok(())
    }

    fn check_time(&mut self, took: Duration) -> Result<()> {
        self.slow_reads += usize::from(took > patient(READ_LIMIT));
        match self.slow_reads {
            ..FEWEST_READS => Ok(()),
            _ => Err(HookError::new(format!(
                "a read took {} ms; it must return the available lines without waiting, within {} ms",
                took.as_millis(),
                patient(READ_LIMIT).as_millis()
            ))),
        }
    }

    /// Checks that the descriptor does not stay readable. A new event can make it readable after a read, but not
    /// always.
    fn check_wakes(&mut self) -> Result<()> {
        let Some(wakes) = self.wakes else { return Ok(()) };
        // SAFETY: the session keeps it open until it is closed, and nothing is done with it here but to poll.
        let wakes = unsafe { BorrowedFd::borrow_raw(wakes) };
        let is_readable = poll(&mut [PollFd::new(wakes, PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1);
        self.spurious_wakes = if is_readable { self.spurious_wakes + 1 } else { 0 };
        match self.spurious_wakes {
            ..MOST_SPURIOUS_WAKES => Ok(()),
            _ => Err(HookError::new(
                "the descriptor of wakes() stays readable although read returned Progress::Idle, which would keep the \
                 host busy; read must consume what makes it readable",
            )),
        }
    }

    fn take(&mut self, lines: &LineBuffer) -> Result<()> {
        for (_, line) in lines.iter() {
            check_plain(line)?;
            if self.request.format == Format::Json {
                check_json(line)?;
            }
            self.lines += 1;
        }
        self.events += lines.events();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use trace_hook_api::{Param, Unit};

    use super::*;

    #[test]
    fn required_parameters_get_synthetic_values() {
        let hook = HookInfo::new("h", "")
            .param(Param::integer("n", "N", "").range(5, 9).required())
            .param(Param::text("c", "C", "").choices(["a", "b"]).required())
            .param(Param::integer("level", "L", "").choices(["7", "8"]).required())
            .param(Param::duration("d", "D", "", Unit::Microseconds).range(0, 20).required())
            .param(Param::text("optional", "O", ""));
        assert_eq!(
            synthetic_arguments(&hook),
            Ok(["--n=5", "--c=a", "--level=7", "--d=20000ns"].map(str::to_owned).to_vec())
        );
        assert_eq!(
            synthetic_arguments(&hook.param(Param::text("t", "T", "").required())),
            Err("t".to_owned())
        );
    }
}
