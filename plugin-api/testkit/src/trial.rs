use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use trace_hook_api::{
    Arguments, Environment, Format, Hook, HookError, HookInfo, Kind, Param, Request, Result, SESSION_PREFIX,
    TaskSelection, parse_duration,
};

use crate::Recording;

static TRIALS: AtomicU32 = AtomicU32::new(0);

/// A hook under test. Without [`Trial::on`] it uses the kernel of this machine.
pub struct Trial<'a> {
    hook: &'a dyn Hook,
    info: HookInfo,
    request: Request,
    given: Vec<(String, Vec<String>)>,
}

impl<'a> Trial<'a> {
    /// Creates a trial of this hook.
    pub fn of(hook: &'a dyn Hook) -> Self {
        let number = TRIALS.fetch_add(1, Ordering::Relaxed);
        let session = format!("{SESSION_PREFIX}trial_{}_{number}", std::process::id());
        let info = hook.info();
        let request = Request::new(&info.name, session, TaskSelection::default());
        Self { hook, info, request, given: Vec::new() }
    }

    /// Sets the environment.
    pub fn on(mut self, environment: Environment) -> Self {
        self.request.environment = environment;
        self
    }

    /// Sets the processes to trace.
    pub fn tracing(self, pids: impl Into<Vec<u32>>) -> Self {
        self.with_tasks(TaskSelection::of(pids))
    }

    /// Sets the tasks to trace.
    pub fn with_tasks(mut self, tasks: TaskSelection) -> Self {
        self.request.tasks = tasks;
        self
    }

    /// Sets an argument. A flag takes no values.
    pub fn argument<T: Into<String>>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        self.given.push((name.to_owned(), values.into_iter().map(Into::into).collect()));
        self
    }

    /// Sets the format of the lines.
    pub fn in_format(mut self, format: Format) -> Self {
        self.request.format = format;
        self
    }

    /// Probes the hook.
    ///
    /// # Errors
    ///
    /// The reason why the hook cannot run.
    pub fn probe(&self) -> Result<()> {
        self.hook.probe(&self.request.environment)
    }

    /// Starts a session, as the host does. Arguments that were not given have their defaults.
    ///
    /// # Errors
    ///
    /// The hook does not declare an argument, the format or the choice of tasks, or it failed to start.
    pub fn start(mut self) -> Result<Recording> {
        self.check_selection()?;
        self.check_format()?;
        self.request.arguments = self.arguments()?;
        Ok(Recording::new(self.hook.start(&self.request)?, self.request.format, self.info.events))
    }

    /// The host rejects what the hook does not declare before anything starts.
    fn check_selection(&self) -> Result<()> {
        match self.request.tasks.used().find(|selection| !self.info.selects.contains(selection)) {
            Some(selection) => {
                Err(HookError::usage(format!("the hook does not declare Selection::{selection:?}")))
            }
            None => Ok(()),
        }
    }

    fn check_format(&self) -> Result<()> {
        let format = self.request.format;
        match self.info.formats.contains(&format) {
            true => Ok(()),
            false => Err(HookError::usage(format!("the hook does not declare Format::{format:?}"))),
        }
    }

    fn arguments(&self) -> Result<Arguments> {
        let mut arguments = Arguments::of(&self.info.params);
        for (name, values) in &self.given {
            let Some(param) = self.info.params.iter().find(|param| param.name == *name) else {
                return Err(HookError::usage(format!("the hook declares no parameter '{name}'")));
            };
            check(param, values)?;
            arguments.set(name, values);
        }
        for param in self.info.params.iter().filter(|param| param.required) {
            if !arguments.has(&param.name)? {
                return Err(HookError::usage(format!("--{} is required", param.name)));
            }
        }
        Ok(arguments)
    }
}

fn check(param: &Param, values: &[String]) -> Result<()> {
    let wrong = |value: &&String| match param.kind {
        _ if !param.choices.is_empty() => !param.choices.contains(value),
        Kind::Integer { min, max } => !value.parse().is_ok_and(|number| (min..=max).contains(&number)),
        Kind::Duration { unit, min_ns, max_ns } => {
            let range = Duration::from_nanos(min_ns)..=Duration::from_nanos(max_ns);
            !parse_duration(value, unit).is_ok_and(|duration| range.contains(&duration))
        }
        _ => false,
    };
    match values.iter().find(wrong) {
        Some(value) => Err(HookError::usage(format!("'{value}' is no value for --{}", param.name))),
        None => Ok(()),
    }
}
