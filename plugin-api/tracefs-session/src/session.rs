//! A session on a tracing instance of its own.

use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use trace_hook_api::{LineBuffer, Progress, Request, Result, Session, Stats};
use tracefs::{EventStream, Instance, StreamItem, Tally, TaskFilter, TaskSet, Tracefs};

use crate::cleanup::find;
use crate::request::{SPOOL_DIRECTORY, check_memory, targets};
use crate::view::View;

/// Between two looks whether any traced task is left.
const LOOK_FOR_TASKS: Duration = Duration::from_millis(50);

/// A tracing instance that records the events of a request's tasks.
pub struct TracefsSession {
    // The order matters: the kernel does not remove an instance of which a file is open.
    stream: Option<EventStream>,
    instance: Option<Instance>,
    /// Records what is anybody's.
    second: Option<Instance>,
    tasks: TaskSet,
    looked_for_tasks: Instant,
    recording: bool,
    view: Box<dyn View>,
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
        view: impl FnOnce(&mut EventStream) -> Result<Box<dyn View>>,
    ) -> Result<Self> {
        Self::start_both(request, enable, None, view)
    }

    /// The same, and records the events that `enable_anybodys` enables, whoever runs when they happen. It is for events
    /// that are about the traced tasks, but happen in interrupts: the view has to tell whose they are. They should be
    /// rare, for everybody pays for them.
    ///
    /// # Errors
    ///
    /// What the kernel refused. Nothing is left then.
    pub fn start_with_anybodys(
        request: &Request,
        enable: impl FnOnce(&Instance) -> Result<()>,
        enable_anybodys: fn(&Instance) -> Result<()>,
        view: impl FnOnce(&mut EventStream) -> Result<Box<dyn View>>,
    ) -> Result<Self> {
        Self::start_both(request, enable, Some(enable_anybodys), view)
    }

    fn start_both(
        request: &Request,
        enable: impl FnOnce(&Instance) -> Result<()>,
        enable_anybodys: Option<fn(&Instance) -> Result<()>>,
        view: impl FnOnce(&mut EventStream) -> Result<Box<dyn View>>,
    ) -> Result<Self> {
        let tracefs = find(&request.environment)?;
        let instance = create(&tracefs, &request.session, request)?;
        let second = enable_anybodys.map(|enable| anybodys(&tracefs, request, enable)).transpose()?;
        let procfs = &request.environment.procfs;
        // Tasks before events: an instance without tasks records everybody.
        let targets = targets(request);
        let (tasks, mut filter) = instance.choose_tasks(procfs, &targets)?;
        enable(&instance)?;
        // The second comes first and goes last: what a task begins in between is seen to end.
        second.as_ref().map(Instance::start).transpose()?;
        instance.start()?;
        filter.iter_mut().for_each(TaskFilter::rescan);
        let (spool, spool_size) = (Path::new(SPOOL_DIRECTORY), request.spool_size);
        let mut stream =
            EventStream::open_both(&instance, second.as_ref(), procfs, filter, spool, spool_size)?;
        let view = view(&mut stream)?;
        Ok(Self {
            view,
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
            let filter = self.stream.as_ref().and_then(EventStream::filter);
            if !self.tasks.any_alive(filter)? {
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
        let (view, shown) = (&mut self.view, &mut self.shown);
        let is_full = stream.visit(|item| {
            match item {
                StreamItem::Lost(gap) => {
                    lines.lost(gap.cpu, gap.count);
                    view.lost(gap);
                }
                StreamItem::Record(mut record) => {
                    shown.records += 1;
                    shown.lines += view.record(&mut record, lines);
                }
            }
            if lines.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if is_full {
            return Ok(Progress::More);
        }
        if self.recording {
            shown.lines += view.pause(lines);
            return Ok(Progress::Idle);
        }
        if !shown.all {
            shown.lines += view.end(lines);
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
        let Tally { recorded, lost } = stream.tally(self.instance.iter().chain(&self.second))?;
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
fn anybodys(tracefs: &Tracefs, request: &Request, enable: fn(&Instance) -> Result<()>) -> Result<Instance> {
    let instance = create(tracefs, &format!("{}_anybodys", request.session), request)?;
    enable(&instance)?;
    Ok(instance)
}
