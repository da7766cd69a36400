//! A session on trial: started, read, stopped and closed as the recorder does it, with a look at each step.

use std::os::fd::{BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use trace_hook_api::{Format, HookError, HookInfo, Kind, LineBuffer, Progress, Request, Result};

use super::kernel_objects::KernelObjects;
use super::line_format::{check_json, check_plain};
use super::process_resources::ProcessResources;
use super::stopwatch::Stopwatch;
use crate::worker::protocol::{Answer, Channel, Finding};
use crate::worker::{HostedPlugin, PluginSession};

/// How long the session records.
const RECORDING: Duration = Duration::from_millis(200);
/// How long a stopped session may take to give its last line, and what it made to be gone.
const ENDING: Duration = Duration::from_secs(5);
const GOING: Duration = Duration::from_secs(1);
/// How long a session may take to notice that what it traces has ended.
const NOTICING: Duration = Duration::from_secs(2);
/// How long a read may take.
const READ_LIMIT: Duration = Duration::from_millis(100);
/// So many tell whether reads wait: one or two may be kept by something else than what the session does.
const FEWEST_READS: usize = 3;
/// A descriptor that is readable after so many reads in a row that found nothing more is so for another reason.
const MOST_VAIN_WAKES: usize = 10;
/// Between two looks at the session.
const LOOK: Duration = Duration::from_millis(5);
/// As many bytes are asked for at once.
const ROOM: usize = 64 << 10;

/// A step of a trial, and what checks it.
pub struct Step {
    pub check: &'static str,
    /// How long it may take, from the step before.
    pub limit: Duration,
    take: fn(&mut Trial<'_, '_>) -> Result<Finding>,
}

/// In the order in which they are taken.
pub const STEPS: [Step; 6] = [
    // As long as container-tracer waits for the first output.
    Step::new("start", 5, |trial| trial.start()),
    Step::new("read", 5, |trial| trial.read()),
    Step::new("stop", 7, |trial| trial.stop()),
    Step::new("stats", 2, |trial| trial.stats()),
    Step::new("close", 5, |trial| trial.close()),
    Step::new("remains", 5, |trial| trial.remains()),
];

/// All of a session at once whose traced process ends.
pub const END_STEPS: [Step; 1] = [Step::new("end", 15, |trial| trial.end())];

/// All of a session at once, of a hook that can give JSON.
pub const JSON_STEPS: [Step; 1] = [Step::new("json", 15, |trial| trial.json())];

/// The names of the checks of a hook's sessions.
pub fn names(hook: &HookInfo) -> Vec<&'static str> {
    let json = if hook.formats.contains(&Format::Json) { &JSON_STEPS[..] } else { &[] };
    STEPS.iter().chain(&END_STEPS).chain(json).map(|step| step.check).collect()
}

/// Arguments that the hook cannot do without.
///
/// # Errors
///
/// The parameter for which there is nothing to make up.
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

/// In a worker: takes one step after the other, and tells what was found, until a step fails.
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
        owned: ProcessResources::now(),
        lines: 0,
        events: 0,
        slow_reads: 0,
        vain_wakes: 0,
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
    /// While it records: what polls as readable when there are lines.
    wakes: Option<RawFd>,
    /// What the process owned before.
    owned: ProcessResources,
    lines: usize,
    events: u64,
    slow_reads: usize,
    /// Since a read that did not find it readable.
    vain_wakes: usize,
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
        self.read_until(began + ENDING)?;
        self.check_finished(ENDING, "it was stopped")?;
        let took = began.elapsed().as_millis();
        Ok(Finding::Ok(format!("it ended after {took} ms, lines in all: {}", self.lines)))
    }

    fn stats(&mut self) -> Result<Finding> {
        let stats = self.session()?.stats()?;
        let (given, lost) = (self.events, stats.lost.values().sum::<u64>());
        Ok(Finding::Ok(match stats.recorded {
            Some(recorded) if recorded != given + lost => {
                return Err(HookError::new(format!(
                    "its stats say {recorded} events recorded, but it gave {given} and lost {lost}"
                )));
            }
            Some(recorded) => format!("{recorded} events recorded, {given} given, {lost} lost"),
            None => format!("{given} events given, {lost} lost; it does not count those it records"),
        }))
    }

    fn close(&mut self) -> Result<Finding> {
        self.session()?.close()?;
        self.session = None;
        Ok(Finding::Ok("it says that what it made is gone".to_owned()))
    }

    /// A thread that was told to end needs a moment for it, and the kernel for what was removed.
    fn remains(&mut self) -> Result<Finding> {
        let in_kernel = KernelObjects::of(&self.request.session, &self.request.environment);
        let deadline = Instant::now() + GOING;
        loop {
            match ProcessResources::now().beyond(&self.owned).or_else(|| in_kernel.any()) {
                None => {
                    let nothing = "no thread, child process, descriptor, tracing instance or probe is left";
                    return Ok(Finding::Ok(nothing.to_owned()));
                }
                Some(_) if Instant::now() < deadline => std::thread::sleep(LOOK),
                Some(what) => {
                    return Err(HookError::new(format!("it leaves {what}, which close() must remove")));
                }
            }
        }
    }

    fn end(&mut self) -> Result<Finding> {
        self.start()?;
        self.read_until(Instant::now() + RECORDING)?;
        let text = match self.finished {
            true => "it ended by itself".to_owned(),
            false => format!("it ended {} ms after what it traced", self.outlive()?.as_millis()),
        };
        self.close()?;
        self.remains()?;
        Ok(Finding::Ok(text))
    }

    /// For how long it goes on when what it traces has ended.
    fn outlive(&mut self) -> Result<Duration> {
        // It has to look for its tasks now, whatever there is to read.
        self.wakes = None;
        // Who ends the process that is traced then.
        self.channel.sender().send(&Answer::Recording)?;
        let began = Instant::now();
        self.read_until(began + NOTICING)?;
        self.check_finished(NOTICING, "the last process that it traces ended, which it has to see itself,")?;
        Ok(began.elapsed())
    }

    fn json(&mut self) -> Result<Finding> {
        self.start()?;
        self.read()?;
        self.stop()?;
        self.close()?;
        self.remains()?;
        Ok(self.given("lines that are JSON objects"))
    }

    fn session(&mut self) -> Result<&mut PluginSession<'w>> {
        self.session.as_mut().ok_or_else(|| HookError::new("there is no session"))
    }

    /// How many lines it gave, if any.
    fn given(&self, what: &str) -> Finding {
        match self.lines {
            0 => Finding::Skipped("it gave no line of the process made for this".to_owned()),
            lines => Finding::Ok(format!("{what}: {lines}")),
        }
    }

    fn check_finished(&self, limit: Duration, since: &str) -> Result<()> {
        match self.finished {
            true => Ok(()),
            false => Err(HookError::new(format!(
                "{} s after {since} it has not told its end (Progress::Finished)",
                limit.as_secs()
            ))),
        }
    }

    /// Reads until the session has given its last line, or for so long.
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
                    std::thread::sleep(LOOK);
                }
            }
        }
        Ok(())
    }

    fn check_time(&mut self, took: Duration) -> Result<()> {
        self.slow_reads += usize::from(took > READ_LIMIT);
        match self.slow_reads {
            ..FEWEST_READS => Ok(()),
            _ => Err(HookError::new(format!(
                "a read took {} ms; it must give the lines there are and not wait: {} ms are the most",
                took.as_millis(),
                READ_LIMIT.as_millis()
            ))),
        }
    }

    /// An event may come at any time, but not always right after a read.
    fn check_wakes(&mut self) -> Result<()> {
        let Some(wakes) = self.wakes else { return Ok(()) };
        // SAFETY: the session keeps it open until it is closed, and nothing is done with it here but to poll.
        let wakes = unsafe { BorrowedFd::borrow_raw(wakes) };
        let is_readable = poll(&mut [PollFd::new(wakes, PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1);
        self.vain_wakes = if is_readable { self.vain_wakes + 1 } else { 0 };
        match self.vain_wakes {
            ..MOST_VAIN_WAKES => Ok(()),
            _ => Err(HookError::new(
                "what wakes() gives stays readable though read just said Progress::Idle: it would keep the host \
                 busy all the time; read must take what makes it readable",
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
    fn what_is_required_is_made_up_where_that_is_possible() {
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
