//! Does what no plugin should, as `MISBEHAVE` in the environment says: `segfault:probe` crashes in the probe of its first
//! hook. The second hook is a good one. `--instance` gives a session a tracing instance of its own.

mod deed;
mod occasion;

use std::time::Duration;

use trace_hook_api::{
    Cleanup, Environment, Hook, HookError, HookInfo, LineBuffer, Param, Progress, Request, Result,
    SESSION_PREFIX, Session, export_plugin,
};
use tracefs::{Instance, Tracefs};

/// Misbehaves in whichever of its functions it is told to.
struct Misbehaves;

impl Hook for Misbehaves {
    fn info(&self) -> HookInfo {
        // There is no way to say that this failed.
        let _ = occasion::arises("info");
        info("misbehaves", "Does what no hook should")
    }

    fn probe(&self, _: &Environment) -> Result<()> {
        occasion::arises("probe")
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let session = Lines::start(request, true)?;
        occasion::arises("start")?;
        Ok(Box::new(session))
    }
}

/// Lives in the same library, and behaves.
struct Behaves;

impl Hook for Behaves {
    fn info(&self) -> HookInfo {
        info("behaves", "Gives three lines")
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        Ok(Box::new(Lines::start(request, false)?))
    }
}

fn info(name: &str, summary: &str) -> HookInfo {
    HookInfo::new(name, summary).param(Param::flag("instance", "make a tracing instance"))
}

struct Lines {
    given: bool,
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
        Ok(Self { given: false, stopped: false, misbehaves, instance })
    }

    fn occasion(&self, function: &str) -> Result<()> {
        if self.misbehaves { occasion::arises(function) } else { Ok(()) }
    }
}

impl Session for Lines {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.occasion("read")?;
        if !self.given {
            self.given = true;
            (1..=3).for_each(|n| lines.push(format!("line {n}")));
        }
        if self.misbehaves && occasion::is("chatter:read") {
            std::thread::sleep(Duration::from_millis(1));
            lines.push("one more");
            return Ok(Progress::Idle);
        }
        let goes_on = self.misbehaves && occasion::is("endless:read");
        Ok(if self.stopped && !goes_on { Progress::Finished } else { Progress::Idle })
    }

    fn stop(&mut self) -> Result<()> {
        self.stopped = true;
        self.occasion("stop")
    }

    fn close(&mut self) -> Result<()> {
        self.occasion("close")?;
        match self.instance.take() {
            Some(instance) => Ok(instance.remove()?),
            None => Ok(()),
        }
    }
}

struct Clears;

impl Cleanup for Clears {
    fn sweep(&self, environment: &Environment) -> Result<()> {
        occasion::arises("sweep")?;
        // Where there is no tracefs, no session has made anything in it.
        if let Ok(tracefs) = tracefs(environment) {
            tracefs.sweep(SESSION_PREFIX)?;
        }
        Ok(())
    }

    /// The kernel's own state stays as it is: this is only a test.
    fn reset(&self, _: &Environment) -> Result<()> {
        occasion::arises("reset")
    }
}

fn tracefs(environment: &Environment) -> Result<Tracefs> {
    Tracefs::find(&environment.sysfs, &environment.procfs).map_err(HookError::from)
}

export_plugin!(Misbehaves, Behaves; cleanup = Clears);
