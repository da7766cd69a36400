use std::sync::atomic::{AtomicU32, Ordering};

use trace_hook_api::{Environment, Format, Hook, HookError, Kind, Request, Result, SESSION_PREFIX, Tasks};

use crate::Recording;

static TRIALS: AtomicU32 = AtomicU32::new(0);

/// A hook about to be tried. Without [`Trial::on`] it meets the kernel of this machine.
pub struct Trial<'a> {
    hook: &'a dyn Hook,
    request: Request,
}

impl<'a> Trial<'a> {
    /// A trial of this hook.
    pub fn of(hook: &'a dyn Hook) -> Self {
        let number = TRIALS.fetch_add(1, Ordering::Relaxed);
        let session = format!("{SESSION_PREFIX}trial_{}_{number}", std::process::id());
        Self { hook, request: Request::new(hook.info().name, session, Tasks::default()) }
    }

    /// In this environment.
    pub fn on(mut self, environment: Environment) -> Self {
        self.request.environment = environment;
        self
    }

    /// With these processes to trace.
    pub fn tracing(self, pids: impl Into<Vec<u32>>) -> Self {
        self.with_tasks(Tasks::of(pids))
    }

    /// With these tasks to trace.
    pub fn with_tasks(mut self, tasks: Tasks) -> Self {
        self.request.tasks = tasks;
        self
    }

    /// With this argument. A flag takes no values.
    pub fn argument<T: Into<String>>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        self.request.arguments.set(name, values);
        self
    }

    /// With lines of this format.
    pub fn in_format(mut self, format: Format) -> Self {
        self.request.format = format;
        self
    }

    /// Asks the hook whether it can run.
    ///
    /// # Errors
    ///
    /// The hook's reason why not.
    pub fn probe(&self) -> Result<()> {
        self.hook.probe(&self.request.environment)
    }

    /// Starts a session, with the defaults of the arguments that were not given, as the host does.
    ///
    /// # Errors
    ///
    /// An argument that the hook has not declared, or the hook's own reason.
    pub fn start(mut self) -> Result<Recording> {
        self.fill_in_defaults()?;
        Ok(Recording::new(self.hook.start(&self.request)?, self.request.format))
    }

    fn fill_in_defaults(&mut self) -> Result<()> {
        let mut given = std::mem::take(&mut self.request.arguments);
        for param in self.hook.info().params {
            if given.flag(&param.name) {
                let values = given.texts(&param.name).to_vec();
                check(&param, &values)?;
                self.request.arguments.set(param.name.clone(), values);
            } else if param.required {
                return Err(HookError::usage(format!("--{} is required", param.name)));
            } else if let Some(default) = &param.default {
                self.request.arguments.set(param.name.clone(), [default]);
            }
            given.remove(&param.name);
        }
        match given.names().next() {
            Some(name) => Err(HookError::usage(format!("the hook declares no parameter '{name}'"))),
            None => Ok(()),
        }
    }
}

fn check(param: &trace_hook_api::Param, values: &[String]) -> Result<()> {
    let wrong = |value: &&String| match param.kind {
        _ if !param.choices.is_empty() => !param.choices.contains(value),
        Kind::Integer { min, max } => !value.parse().is_ok_and(|number| (min..=max).contains(&number)),
        _ => false,
    };
    match values.iter().find(wrong) {
        Some(value) => Err(HookError::usage(format!("'{value}' is no value for --{}", param.name))),
        None => Ok(()),
    }
}
