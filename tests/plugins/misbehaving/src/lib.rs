//! Misbehaves as `MISBEHAVE` in the environment requests: `segfault:probe` crashes in the probe of its first hook. The second
//! hook works. `--instance` gives a session a tracing instance of its own.

mod fault;
mod trigger;

use std::time::Duration;

use trace_hook_api::{
    Cleanup, Environment, Hook, HookError, HookInfo, LineBuffer, Param, Progress, Request, Result,
    SESSION_PREFIX, Session, export_plugin,
};
use tracefs::{Instance, Tracefs};

/// The hook that misbehaves, in the requested function.
struct Misbehaves;

impl Hook for Misbehaves {
    fn info(&self) -> HookInfo {
        // `info` cannot return an error.
        let _ = trigger::misbehave_in("info");
        info("misbehaves", "Does what no hook should")
    }

    fn probe(&self, _: &Environment) -> Result<()> {
        trigger::misbehave_in("probe")
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let session = Lines::start(request, true)?;
        trigger::misbehave_in("start")?;
        Ok(Box::new(session))
    }
}

/// A hook of the same library that works.
struct Behaves;

impl Hook for Behaves {
    fn info(&self) -> HookInfo {
        info("behaves", "Emits three lines")
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        Ok(Box::new(Lines::start(request, false)?))
    }
}

fn info(name: &str, summary: &str) -> HookInfo {
    HookInfo::new(name, summary).param(Param::flag("instance", "make a tracing instance"))
}

struct Lines {
    emitted: bool,
    stopped: bool,
    misbehaves: bool,
    instance: Option<Instance>,
}

impl Lines {
    fn start(request: &Request, misbehaves: bool) -> Result<Self> {
        let instance = match request.arguments.flag("instance")? {
            true => {
                let instance = Instance::create(&tracefs(&request.environment)?, &request.session)?;
                instance.start()?;
                Some(instance)
            }
            false => None,
        };
        Ok(Self { emitted: false, stopped: false, misbehaves, instance })
    }

    fn misbehave_in(&self, function: &str) -> Result<()> {
        if self.misbehaves { trigger::misbehave_in(function) } else { Ok(()) }
    }
}

impl Session for Lines {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.misbehave_in("read")?;
        if !self.emitted {
            self.emitted = true;
            (1..=3).for_each(|n| lines.push(format!("line {n}")));
        }
        if self.misbehaves && trigger::is("chatter:read") {
            std::thread::sleep(Duration::from_millis(1));
            lines.push("one more");
            return Ok(Progress::Idle);
        }
        let is_endless = self.misbehaves && trigger::is("endless:read");
        Ok(if self.stopped && !is_endless { Progress::Finished } else { Progress::Idle })
    }

    fn stop(&mut self) -> Result<()> {
        self.stopped = true;
        self.misbehave_in("stop")
    }

    fn close(&mut self) -> Result<()> {
        self.misbehave_in("close")?;
        match self.instance.take() {
            Some(instance) => Ok(instance.remove()?),
            None => Ok(()),
        }
    }
}

struct SweepInstances;

impl Cleanup for SweepInstances {
    fn sweep(&self, environment: &Environment) -> Result<()> {
        trigger::misbehave_in("sweep")?;
        // Without a tracefs, no session has created an instance.
        if let Ok(tracefs) = tracefs(environment) {
            tracefs.sweep(SESSION_PREFIX)?;
        }
        Ok(())
    }

    /// Does not touch the kernel's state, because this is only a test.
    fn reset(&self, _: &Environment) -> Result<()> {
        trigger::misbehave_in("reset")
    }
}

fn tracefs(environment: &Environment) -> Result<Tracefs> {
    Tracefs::find(&environment.sysfs, &environment.procfs).map_err(HookError::from)
}

export_plugin!(Misbehaves, Behaves; cleanup = SweepInstances);
