//! A session on a tracing instance of its own.

use std::time::{Duration, Instant};

use trace_hook_api::{Account, LineBuffer, Progress, Request, Result, Session, Tasks};
use tracefs::{Follow, Instance, Pid, Targets, TaskFilter, TaskSet, TracePipe};

use crate::cleanup;

/// Between two looks whether any traced task is left.
const LOOK_FOR_TASKS: Duration = Duration::from_millis(50);

/// A tracing instance that records the events of a request's tasks.
pub struct FtraceSession {
    // The order matters: the kernel does not remove an instance of which a file is open.
    pipe: Option<TracePipe>,
    instance: Option<Instance>,
    tasks: TaskSet,
    looked_for_tasks: Instant,
    recording: bool,
    lost: u64,
}

impl FtraceSession {
    /// Starts to record the events that `enable` enables.
    ///
    /// # Errors
    ///
    /// What the kernel refused. Nothing is left then.
    pub fn start(request: &Request, enable: impl FnOnce(&Instance) -> Result<()>) -> Result<Self> {
        let tracefs = cleanup::find(&request.environment)?;
        let instance = Instance::create(&tracefs, &request.session)?;
        if let Some(kib) = request.buffer_size {
            instance.set_buffer_size(kib)?;
        }
        // Tasks before events: an instance without tasks records everybody.
        let (tasks, mut filter) =
            instance.choose_tasks(&request.environment.procfs, &targets(&request.tasks))?;
        enable(&instance)?;
        instance.start()?;
        filter.iter_mut().for_each(TaskFilter::rescan);
        let pipe = TracePipe::open(&instance, filter)?;
        Ok(Self {
            pipe: Some(pipe),
            instance: Some(instance),
            tasks,
            looked_for_tasks: Instant::now(),
            recording: true,
            lost: 0,
        })
    }

    fn stop_without_tasks(&mut self) -> Result<()> {
        if self.recording && self.looked_for_tasks.elapsed() >= LOOK_FOR_TASKS {
            self.looked_for_tasks = Instant::now();
            let filter = self.pipe.as_ref().and_then(TracePipe::filter);
            if !self.tasks.any_alive(filter)? {
                self.stop()?;
            }
        }
        Ok(())
    }
}

impl Session for FtraceSession {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.stop_without_tasks()?;
        let Some(pipe) = &mut self.pipe else {
            return Ok(Progress::Finished);
        };
        let room = lines.room();
        match pipe.read_lines(lines.text_mut(), room)? {
            true => Ok(Progress::More),
            false if self.recording => Ok(Progress::Idle),
            false => Ok(Progress::Finished),
        }
    }

    fn stop(&mut self) -> Result<()> {
        self.recording = false;
        if let Some(instance) = &self.instance {
            instance.stop()?;
            self.lost = instance.lost_events()?;
        }
        Ok(())
    }

    fn account(&self) -> Result<Account> {
        Ok(Account::default())
    }

    fn close(&mut self) -> Result<()> {
        self.pipe = None;
        match self.instance.take() {
            Some(instance) => Ok(instance.remove()?),
            None => Ok(()),
        }
    }
}

fn targets(tasks: &Tasks) -> Targets {
    let mut targets = Targets::new();
    let own = if tasks.exact { Follow::ALONE } else { Follow::FAMILY };
    tasks.pids.iter().for_each(|pid| targets.add(*pid as Pid, own));
    tasks.parents.iter().for_each(|pid| targets.add(*pid as Pid, Follow::CHILDREN));
    targets
}
