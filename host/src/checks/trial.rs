//! A session on trial: started, read, stopped and closed as the recorder does it, with a look at each step.

use std::fs;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use trace_hook_api::{Format, HookError, HookInfo, Kind, LineBuffer, Progress, Request, Result};

use super::Finding;
use crate::session::verdict::count_events;
use crate::worker::{Answer, Channel, Guest, GuestSession};

/// How long the session records.
const RECORDING: Duration = Duration::from_millis(200);
/// How long a stopped session may take to give its last line, and what it made to be gone.
const ENDING: Duration = Duration::from_secs(5);
const GOING: Duration = Duration::from_secs(1);
/// Between two looks at the session.
const LOOK: Duration = Duration::from_millis(5);
/// As many bytes are asked for at once.
const ROOM: usize = 64 << 10;

/// A step of a trial, and what checks it.
pub struct Step {
    pub check: &'static str,
    /// How long it may take, from the step before.
    pub limit: Duration,
    take: fn(&mut Trial<'_, '_>) -> Result<String>,
}

/// In the order in which they are taken.
pub const STEPS: [Step; 6] = [
    // As long as container-tracer waits for the first output.
    Step::new("start", 5, |trial| trial.start()),
    Step::new("read", 5, |trial| trial.read()),
    Step::new("stop", 7, |trial| trial.stop()),
    Step::new("account", 2, |trial| trial.account()),
    Step::new("close", 5, |trial| trial.close()),
    Step::new("remains", 5, |trial| trial.remains()),
];

/// All of a session at once, of a hook that can give JSON.
pub const JSON_STEPS: [Step; 1] = [Step::new("json", 15, |trial| trial.json())];

/// The names of the checks of a hook's sessions.
pub fn names(hook: &HookInfo) -> Vec<&'static str> {
    let json = if hook.has_json { &JSON_STEPS[..] } else { &[] };
    STEPS.iter().chain(json).map(|step| step.check).collect()
}

/// Arguments that the hook cannot do without.
///
/// # Errors
///
/// The parameter for which there is nothing to make up.
pub fn made_up_arguments(hook: &HookInfo) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for param in hook.params.iter().filter(|param| param.required && param.default.is_none()) {
        let value = match (&param.kind, param.choices.first()) {
            (Kind::Integer { min, max }, _) => 1.clamp(*min, *max).to_string(),
            (_, Some(choice)) => choice.clone(),
            (_, None) => return Err(param.name.clone()),
        };
        words.push(format!("--{}={value}", param.name));
    }
    Ok(words)
}

/// In a worker: takes one step after the other, and tells what was found, until a step fails.
pub fn run(
    plugin: &Guest<'_>,
    position: u32,
    request: &Request,
    steps: &[Step],
    channel: &mut Channel,
) -> Answer {
    let owned = Owned::now();
    let mut trial =
        Trial { plugin, position, request, session: None, owned, lines: 0, events: 0, finished: false };
    for step in steps {
        let (finding, failed) = match (step.take)(&mut trial) {
            Ok(text) => (Finding::Ok(text), false),
            Err(error) => (Finding::Failed(error.to_string()), true),
        };
        if channel.sender().send(&Answer::Found(finding)).is_err() || failed {
            break;
        }
    }
    Answer::Done
}

impl Step {
    const fn new(check: &'static str, seconds: u64, take: fn(&mut Trial<'_, '_>) -> Result<String>) -> Self {
        Self { check, limit: Duration::from_secs(seconds), take }
    }
}

struct Trial<'a, 'w> {
    plugin: &'a Guest<'w>,
    position: u32,
    request: &'a Request,
    session: Option<GuestSession<'w>>,
    /// What the process owned before.
    owned: Owned,
    lines: usize,
    events: u64,
    /// The session has given its last line.
    finished: bool,
}

impl<'w> Trial<'_, 'w> {
    fn start(&mut self) -> Result<String> {
        let began = Instant::now();
        self.session = Some(self.plugin.start(self.position, self.request)?);
        Ok(format!("it records after {} ms", began.elapsed().as_millis()))
    }

    fn read(&mut self) -> Result<String> {
        self.read_until(Instant::now() + RECORDING)?;
        Ok(format!("whole lines so far: {}", self.lines))
    }

    fn stop(&mut self) -> Result<String> {
        if self.finished {
            return Ok("it ended by itself".to_owned());
        }
        let began = Instant::now();
        self.session()?.stop()?;
        self.read_until(began + ENDING)?;
        match self.finished {
            true => {
                Ok(format!("it ended after {} ms, lines in all: {}", began.elapsed().as_millis(), self.lines))
            }
            false => Err(HookError::new(format!(
                "{} s after it was stopped it has not told its end (Progress::Finished)",
                ENDING.as_secs()
            ))),
        }
    }

    fn account(&mut self) -> Result<String> {
        let account = self.session()?.account()?;
        let (given, lost) = (self.events, account.lost.values().sum::<u64>());
        match account.recorded {
            Some(recorded) if recorded != given + lost => Err(HookError::new(format!(
                "it has recorded {recorded} events by its own account, but it gave {given} and lost {lost}"
            ))),
            Some(recorded) => Ok(format!("{recorded} events recorded, {given} given, {lost} lost")),
            None => Ok(format!("{given} events given, {lost} lost; it does not count those it records")),
        }
    }

    fn close(&mut self) -> Result<String> {
        self.session()?.close()?;
        self.session = None;
        Ok("it says that what it made is gone".to_owned())
    }

    /// A thread that was told to end needs a moment for it.
    fn remains(&mut self) -> Result<String> {
        let deadline = Instant::now() + GOING;
        loop {
            match Owned::now().beyond(&self.owned) {
                None => return Ok("no thread, child process or descriptor is left".to_owned()),
                Some(_) if Instant::now() < deadline => std::thread::sleep(LOOK),
                Some(what) => return Err(HookError::new(format!("it leaves behind {what}"))),
            }
        }
    }

    fn json(&mut self) -> Result<String> {
        self.start()?;
        self.read()?;
        self.stop()?;
        self.close()?;
        Ok(format!("lines that are JSON objects: {}", self.lines))
    }

    fn session(&mut self) -> Result<&mut GuestSession<'w>> {
        self.session.as_mut().ok_or_else(|| HookError::new("there is no session"))
    }

    /// Reads until the session has given its last line, or for so long.
    fn read_until(&mut self, deadline: Instant) -> Result<()> {
        let mut lines = LineBuffer::default();
        while !self.finished && Instant::now() < deadline {
            lines.reset(ROOM);
            let progress = self.session()?.read(&mut lines)?;
            self.take(lines.as_bytes())?;
            match progress {
                Progress::More => {}
                Progress::Idle => std::thread::sleep(LOOK),
                Progress::Finished => self.finished = true,
            }
        }
        Ok(())
    }

    fn take(&mut self, lines: &[u8]) -> Result<()> {
        if !lines.is_empty() && !lines.ends_with(b"\n") {
            let rest = lines.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            let rest = String::from_utf8_lossy(rest);
            return Err(HookError::new(format!("a line has no end: {rest:?}")));
        }
        if self.request.format == Format::Json {
            lines.split_inclusive(|byte| *byte == b'\n').try_for_each(check_json)?;
        }
        self.lines += lines.iter().filter(|byte| **byte == b'\n').count();
        self.events += count_events(lines);
        Ok(())
    }
}

fn check_json(line: &[u8]) -> Result<()> {
    match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line) {
        Ok(_) => Ok(()),
        Err(error) => {
            let line = String::from_utf8_lossy(line);
            Err(HookError::new(format!("a line is no JSON object ({error}): {}", line.trim_end())))
        }
    }
}

/// What ends with the process at the latest, but should end with a session.
struct Owned {
    threads: usize,
    descriptors: usize,
    has_children: bool,
}

impl Owned {
    fn now() -> Self {
        let entries = |directory| fs::read_dir(directory).map_or(0, Iterator::count);
        let children = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG));
        Self {
            threads: entries("/proc/self/task"),
            descriptors: entries("/proc/self/fd"),
            has_children: children != Err(Errno::ECHILD),
        }
    }

    /// What there is more than before, in words.
    fn beyond(&self, before: &Self) -> Option<String> {
        let more = |now: usize, before: usize, what: &str| {
            (now > before).then(|| format!("{} more {what} than there were before", now - before))
        };
        more(self.threads, before.threads, "threads")
            .or_else(|| more(self.descriptors, before.descriptors, "open descriptors"))
            .or_else(|| self.has_children.then(|| "a child process".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use trace_hook_api::Param;

    use super::*;

    #[test]
    fn what_is_required_is_made_up_where_that_is_possible() {
        let hook = HookInfo::new("h", "")
            .param(Param::integer("n", "N", "").range(5, 9).required())
            .param(Param::text("c", "C", "").choices(["a", "b"]).required())
            .param(Param::text("with-default", "D", "").default("d").required())
            .param(Param::text("optional", "O", ""));
        assert_eq!(made_up_arguments(&hook), Ok(vec!["--n=5".to_owned(), "--c=a".to_owned()]));
        assert_eq!(made_up_arguments(&hook.param(Param::text("t", "T", "").required())), Err("t".to_owned()));
    }
}
