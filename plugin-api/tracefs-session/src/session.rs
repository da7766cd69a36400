//! A session on a tracing instance of its own.

use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use trace_hook_api::{LineBuffer, Progress, Request, Result, Session, Stats};
use trace_session::{SPOOL_DIRECTORY, check_memory, task_selection};
use tracefs::{Instance, PidFilter, Tracefs};

use crate::cleanup::find;
use crate::renderer::Renderer;
use crate::stream::{EventStream, StreamItem, StreamStats};
use crate::traced_tasks::{TracedTasks, any_alive, choose_tasks};

/// Between two looks whether any traced task is left.
const LOOK_FOR_TASKS: Duration = Duration::from_millis(50);

/// A tracing instance that records the events of a request's tasks.
pub struct TracefsSession {
    // The order matters: the kernel does not remove an instance of which a file is open.
    stream: Option<EventStream>,
    instance: Option<Instance>,
    /// Records what is anybody's.
    second: Option<Instance>,
    tasks: PidFilter,
    looked_for_tasks: Instant,
    recording: bool,
    renderer: Box<dyn Renderer>,
    shown: Shown,
}

/// What was made of the records.
#[derive(Debug, Default)]
struct Shown {
    records: u64,
    lines: u64,
    /// The view has given its last lines.
    all: bool,
}

impl TracefsSession {
    /// Starts to record the events that `enable` enables, and to show them as `view` does.
    ///
    /// # Errors
    ///
    /// What the kernel refused. Nothing is left then.
    pub fn start(
        request: &Request,
        enable: impl FnOnce(&Instance) -> Result<()>,
        renderer: impl FnOnce(&mut EventStream) -> Result<Box<dyn Renderer>>,
    ) -> Result<Self> {
        Self::start_both(request, enable, None, renderer)
    }

    /// The same, and records the events that `enable_system_wide` enables, whoever runs when they happen. It is for events
    /// that are about the traced tasks, but happen in interrupts: the view has to tell whose they are. They should be
    /// rare, for everybody pays for them.
    ///
    /// # Errors
    ///
    /// What the kernel refused. Nothing is left then.
    pub fn start_with_system_wide(
        request: &Request,
        enable: impl FnOnce(&Instance) -> Result<()>,
        enable_system_wide: fn(&Instance) -> Result<()>,
        renderer: impl FnOnce(&mut EventStream) -> Result<Box<dyn Renderer>>,
    ) -> Result<Self> {
        Self::start_both(request, enable, Some(enable_system_wide), renderer)
    }

    fn start_both(
        request: &Request,
        enable: impl FnOnce(&Instance) -> Result<()>,
        enable_system_wide: Option<fn(&Instance) -> Result<()>>,
        renderer: impl FnOnce(&mut EventStream) -> Result<Box<dyn Renderer>>,
    ) -> Result<Self> {
        let tracefs = find(&request.environment)?;
        let instance = create(&tracefs, &request.session, request)?;
        let second = enable_system_wide.map(|enable| system_wide(&tracefs, request, enable)).transpose()?;
        let procfs = &request.environment.procfs;
        // Tasks before events: an instance without tasks records everybody.
        let (tasks, mut traced) = choose_tasks(&instance, procfs, &task_selection(request))?;
        enable(&instance)?;
        // The second comes first and goes last: what a task begins in between is seen to end.
        second.as_ref().map(Instance::start).transpose()?;
        instance.start()?;
        traced.iter_mut().for_each(TracedTasks::rescan);
        let (spool, spool_size) = (Path::new(SPOOL_DIRECTORY), request.spool_size);
        let mut stream =
            EventStream::open_both(&instance, second.as_ref(), procfs, traced, spool, spool_size)?;
        let renderer = renderer(&mut stream)?;
        Ok(Self {
            renderer,
            shown: Shown::default(),
            stream: Some(stream),
            instance: Some(instance),
            second,
            tasks,
            looked_for_tasks: Instant::now(),
            recording: true,
        })
    }

    fn stop_without_tasks(&mut self) -> Result<()> {
        if self.recording && self.looked_for_tasks.elapsed() >= LOOK_FOR_TASKS {
            self.looked_for_tasks = Instant::now();
            let traced = self.stream.as_ref().and_then(EventStream::traced_tasks);
            if !any_alive(&self.tasks, traced)? {
                self.stop()?;
            }
        }
        Ok(())
    }
}

impl Session for TracefsSession {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.stop_without_tasks()?;
        let Some(stream) = &mut self.stream else {
            return Ok(Progress::Finished);
        };
        if lines.is_full() {
            return Ok(Progress::More);
        }
        let (renderer, shown) = (&mut self.renderer, &mut self.shown);
        let is_full = stream.visit(|item| {
            match item {
                StreamItem::Lost(gap) => {
                    lines.lost(gap.cpu, gap.count);
                    renderer.lost(gap);
                }
                StreamItem::Record(mut record) => {
                    shown.records += 1;
                    shown.lines += renderer.record(&mut record, lines);
                }
            }
            if lines.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if is_full {
            return Ok(Progress::More);
        }
        if self.recording {
            shown.lines += renderer.pause(lines);
            return Ok(Progress::Idle);
        }
        if !shown.all {
            shown.lines += renderer.end(lines);
            shown.all = true;
        }
        Ok(Progress::Finished)
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(EventStream::wakes)
    }

    fn stop(&mut self) -> Result<()> {
        self.recording = false;
        if let Some(stream) = &mut self.stream {
            self.instance.iter().chain(&self.second).try_for_each(Instance::stop)?;
            stream.end()?;
        }
        Ok(())
    }

    fn stats(&self) -> Result<Stats> {
        let Some(stream) = &self.stream else { return Ok(Stats::default()) };
        let StreamStats { recorded, lost } = stream.stats(self.instance.iter().chain(&self.second))?;
        // The host counts lines. A record may make none, or several.
        let lines = (recorded + self.shown.lines).saturating_sub(self.shown.records);
        Ok(Stats::new(lines, lost))
    }

    fn close(&mut self) -> Result<()> {
        self.stream = None;
        Ok(Instance::remove_all([self.instance.take(), self.second.take()].into_iter().flatten())?)
    }
}

/// An instance with buffers of the size that the user wants.
fn create(tracefs: &Tracefs, name: &str, request: &Request) -> Result<Instance> {
    let instance = Instance::create(tracefs, name)?;
    if let Some(kib) = request.buffer_size {
        check_memory(kib, &request.environment.procfs)?;
        instance.set_buffer_size(kib)?;
    }
    Ok(instance)
}

/// The instance for events that are anybody's.
fn system_wide(
    tracefs: &Tracefs,
    request: &Request,
    enable: fn(&Instance) -> Result<()>,
) -> Result<Instance> {
    let instance = create(tracefs, &format!("{}_anybodys", request.session), request)?;
    enable(&instance)?;
    Ok(instance)
}
