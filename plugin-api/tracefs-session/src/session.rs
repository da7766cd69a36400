//! A session with its own tracing instance.

use std::collections::{BTreeSet, HashSet};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use trace_hook_api::{HookError, LineBuffer, Request, Result};
use trace_session::{
    Collector, Counts, End, EventSource, Rendered, SPOOL_DIRECTORY, SourceSession, check_memory,
    selected_processes,
};
use trace_tasks::{Pid, SelectedProcesses};
use tracefs::{Instance, PidFilter, Tracefs};

use crate::cleanup::find;
use crate::ended_tasks::EndedTasks;
use crate::join_events::JoinEvents;
use crate::joined::{JoinWatcher, UnrecordedJoiners};
use crate::new_programs::{NewPrograms, ProgramObserver, ProgramWatcher};
use crate::renderer::Renderer;
use crate::reused_pids::PidRestorer;
use crate::stop_flag::StopFlag;
use crate::stream::{EventStream, StreamItem, StreamStats};
use crate::tampering::{Notices, PidWatch, Switch, TamperWatcher, WatchedTasks};
use crate::traced_tasks::{TracedTasks, any_alive, choose_tasks};
use crate::unrecorded::Unrecorded;

/// How long a stop waits for threads that use files of the instance. The kernel makes these wait while instances are removed, 75 ms for
/// each.
const LAST_LOOK: Duration = Duration::from_millis(200);

/// A tracing instance that records the events of a request's tasks.
pub struct TracefsSession {
    // Dropped in this order: the kernel does not remove an instance while one of its files is open.
    /// Looks for changes by other processes.
    tampering: Option<Collector<TamperWatcher>>,
    /// Set until the first read: the thread starts when the session has been reported to have started.
    watcher: Option<TamperWatcher>,
    switch: Switch,
    stream: Option<EventStream>,
    instance: Option<Arc<Instance>>,
    /// Records its events for all tasks.
    system_wide: Option<Instance>,
    tasks: PidFilter,
    selection: SelectedProcesses,
    /// Set if processes may join a cgroup.
    joining: Option<Collector<JoinWatcher>>,
    /// Reads the pid filter after the stop.
    reading: Option<JoinHandle<()>>,
    /// Records the events of processes that join a cgroup.
    joins: Option<Instance>,
    /// What other processes did to these.
    join_notices: Notices,
    /// Set if the hook observes the programs that processes begin to run.
    observing: Option<(Collector<ProgramWatcher>, StopFlag)>,
    unrecorded_joiners: UnrecordedJoiners,
    /// `None` after the stop.
    restorer: Option<PidRestorer>,
    /// Tasks that were restored after they had not been recorded.
    restored: Unrecorded,
    /// Some living tasks of the filter, while another process has removed them.
    watched: WatchedTasks,
    renderer: Box<dyn Renderer>,
    /// The renderer has written its last lines.
    ended: bool,
}

impl TracefsSession {
    /// Starts to record the events that `enable` enables, and to render them as `renderer` does.
    ///
    /// # Errors
    ///
    /// The kernel refused a step. Everything created before is removed.
    pub fn start(
        request: &Request,
        enable: impl FnOnce(&Instance) -> Result<()>,
        renderer: impl FnOnce(&mut EventStream) -> Result<Box<dyn Renderer>>,
    ) -> Result<SourceSession<Self>> {
        let enable = |instance: &Instance| enable(instance).map(|()| None);
        Self::start_both(request, enable, None, renderer)
    }

    /// The same, and calls the observer that `enable` returns for the programs that traced processes begin to run.
    ///
    /// # Errors
    ///
    /// The kernel refused a step. Everything created before is removed.
    pub fn start_with_observer(
        request: &Request,
        enable: impl FnOnce(&Instance) -> Result<Box<dyn ProgramObserver>>,
        renderer: impl FnOnce(&mut EventStream) -> Result<Box<dyn Renderer>>,
    ) -> Result<SourceSession<Self>> {
        let enable = |instance: &Instance| {
            instance.enable_exec_event()?;
            enable(instance).map(Some)
        };
        Self::start_both(request, enable, None, renderer)
    }

    /// The same, and records the events that `enable_system_wide` enables, whichever task is current when they happen. It is
    /// for events that are about the traced tasks but happen in interrupts: the renderer has to find out which task each is
    /// about. They should be rare, because they slow down every task of the machine.
    ///
    /// # Errors
    ///
    /// The kernel refused a step. Everything created before is removed.
    pub fn start_with_system_wide(
        request: &Request,
        enable: impl FnOnce(&Instance) -> Result<()>,
        enable_system_wide: fn(&Instance) -> Result<()>,
        renderer: impl FnOnce(&mut EventStream) -> Result<Box<dyn Renderer>>,
    ) -> Result<SourceSession<Self>> {
        let enable = |instance: &Instance| enable(instance).map(|()| None);
        Self::start_both(request, enable, Some(enable_system_wide), renderer)
    }

    fn start_both(
        request: &Request,
        enable: impl FnOnce(&Instance) -> Result<Option<Box<dyn ProgramObserver>>>,
        enable_system_wide: Option<fn(&Instance) -> Result<()>>,
        renderer: impl FnOnce(&mut EventStream) -> Result<Box<dyn Renderer>>,
    ) -> Result<SourceSession<Self>> {
        let tracefs = find(&request.environment)?;
        // Before the stream, whose files must be closed first if a later step fails.
        let instance = Arc::new(create(&tracefs, &request.session, request)?);
        let system_wide_name = format!("{}_system_wide", request.session);
        let system_wide =
            enable_system_wide.map(|_| create(&tracefs, &system_wide_name, request)).transpose()?;
        let procfs = &request.environment.procfs;
        let selection = selected_processes(request)?;
        let join_notices = Notices::default();
        let join_events = join_events(&tracefs, request, &selection, join_notices.clone());
        let (joins, join_events) = join_events.unzip();
        // Tasks before events: an instance without tasks records all tasks of the machine.
        let (tasks, mut traced) = choose_tasks(&instance, procfs, &selection)?;
        let observer = enable(&instance)?;
        let programs = observer.as_ref().map(|_| NewPrograms::new()).transpose()?;
        let (unrecorded_joiners, restored) = (UnrecordedJoiners::default(), Unrecorded::default());
        joins.as_ref().map(Instance::start).transpose()?;
        let ended = EndedTasks::default();
        let joined = traced.as_ref().map(TracedTasks::joined).unwrap_or_default();
        let additions = traced.as_ref().map(TracedTasks::additions).unwrap_or_default();
        let watcher = || {
            let (joined, additions) = (joined.clone(), additions.clone());
            let (cgroups, excluded) = (selection.cgroups(), selection.excluded().collect());
            let (programs, ended, unrecorded) = (programs.clone(), ended.clone(), unrecorded_joiners.clone());
            let tasks = tasks.another();
            JoinWatcher::new(
                cgroups,
                excluded,
                tasks,
                join_events,
                joined,
                additions,
                programs,
                ended,
                unrecorded,
            )
        };
        let joining = may_be_joined(&selection).then(watcher).map(Collector::start).transpose()?;
        system_wide.iter().zip(enable_system_wide).try_for_each(|(second, enable)| enable(second))?;
        // The second starts first, so that it also records the end of what a task begins in between.
        system_wide.as_ref().map(Instance::start).transpose()?;
        instance.start()?;
        traced.iter_mut().for_each(TracedTasks::rescan);
        let (spool, spool_size) = (Path::new(SPOOL_DIRECTORY), request.spool_size);
        let mut stream =
            EventStream::open_both(&instance, system_wide.as_ref(), procfs, traced, spool, spool_size)?;
        stream.decide_about(ended.clone(), restored.clone());
        if request.command.is_some() {
            selection.processes(procfs)?.into_keys().for_each(|process| stream.await_execution(process));
        }
        let renderer = renderer(&mut stream)?;
        let observing = match observer.zip(programs) {
            Some((observer, programs)) => {
                stream.report_programs(programs.clone())?;
                programs.report(observer.overdue());
                let watcher = ProgramWatcher::new(observer, Arc::clone(&instance), programs);
                let stop = watcher.stop();
                Some((Collector::start(watcher)?, stop))
            }
            None => None,
        };
        let pids =
            PidWatch::new(tasks.another(), selection.clone(), joined, additions.clone(), stream.trust());
        let watched = pids.watched();
        let switch = Switch::on();
        let all = [&*instance].into_iter().chain(&system_wide).chain(&joins);
        let watcher = TamperWatcher::new(all, pids, &stream, switch.clone());
        Ok(SourceSession::new(Self {
            tampering: None,
            watcher: Some(watcher),
            switch,
            watched,
            stream: Some(stream),
            instance: Some(instance),
            system_wide,
            restorer: Some(PidRestorer::new(tasks.another(), additions, restored.clone(), ended)),
            unrecorded_joiners,
            restored,
            tasks,
            selection,
            joining,
            reading: None,
            joins,
            join_notices,
            observing,
            renderer,
            ended: false,
        }))
    }

    fn watch_reused_pids(&mut self) -> Result<()> {
        match (&mut self.stream, &mut self.restorer) {
            (Some(stream), Some(restorer)) => restorer.watch(stream.take_reused_pids()),
            _ => Ok(()),
        }
    }

    /// The tasks in the kernel's filter, if they can be read in time.
    fn tasks_in_filter(&mut self) -> Option<HashSet<Pid>> {
        let (filter, (found, finding)) = (self.tasks.another(), channel());
        // Where no thread can be started, they are not read.
        self.reading = Builder::new().spawn(move || drop(found.send(filter.all_tasks()))).ok();
        finding.recv_timeout(LAST_LOOK).ok()?.ok()
    }

    /// Waits for the threads that have files of the instances open.
    fn join_threads(&mut self) -> Result<()> {
        let tampering = self.tampering.take().and_then(|mut watcher| watcher.finish().err());
        let joining = self.joining.take().and_then(|mut joining| joining.finish().err());
        let reading = self.reading.take().and_then(|reading| reading.join().err());
        let reading = reading.map(|_| HookError::new("the thread that reads the pid filter panicked"));
        combined([tampering, joining, reading].into_iter().flatten().collect())
    }

    fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instance.as_deref().into_iter().chain(&self.system_wide)
    }
}

impl EventSource for TracefsSession {
    fn any_task_alive(&mut self) -> Result<bool> {
        if let Some(joining) = self.joining.as_mut().filter(|joining| joining.has_ended()) {
            joining.finish()?;
        }
        let traced = self.stream.as_ref().and_then(EventStream::traced_tasks);
        let counts = |task| traced.is_none_or(|traced| traced.follows(task));
        Ok(self.selection.may_grow() || any_alive(&mut self.tasks, traced)? || self.watched.any_alive(counts))
    }

    fn begin_read(&mut self) -> Result<()> {
        if let Some(watcher) = self.watcher.take() {
            self.tampering = Some(Collector::start(watcher)?);
        }
        self.stream.iter_mut().for_each(EventStream::begin_read);
        self.watch_reused_pids()
    }

    fn render_next(&mut self, lines: &mut LineBuffer) -> Result<Rendered> {
        if self.renderer.next_due(lines) {
            return Ok(Rendered::Other);
        }
        let Some(stream) = &mut self.stream else { return Ok(Rendered::Nothing) };
        stream.next(|item| match item {
            StreamItem::Lost(gap) => {
                lines.lost(gap.cpu, gap.count);
                self.renderer.lost(gap);
            }
            StreamItem::Record(mut record) => self.renderer.record(&mut record, lines),
        })
    }

    fn pause(&mut self, lines: &mut LineBuffer) -> Result<()> {
        self.renderer.pause(lines);
        self.watch_reused_pids()
    }

    fn end(&mut self, lines: &mut LineBuffer) -> Result<End> {
        if !std::mem::replace(&mut self.ended, true) {
            self.renderer.end(lines);
            return Ok(End::MoreLines);
        }
        Ok(End::Complete)
    }

    fn stop(&mut self) -> Result<()> {
        self.observing.iter().for_each(|(_, stop)| stop.set());
        self.watcher = None;
        // First, because stopping is a change as well.
        let tampering = self.tampering.as_mut().and_then(|watcher| watcher.finish_within(LAST_LOOK).err());
        self.switch.turn_off();
        // It finds out which joiners have ended, and must not do so when their ends are no longer recorded.
        let joining = self.joining.as_mut().and_then(|joining| joining.finish_within(LAST_LOOK).err());
        let mut failures: Vec<HookError> = tampering.into_iter().chain(joining).collect();
        let instances = self.instances().chain(&self.joins);
        let stopped: Vec<_> =
            instances.filter_map(|instance| instance.stop().err()).map(HookError::from).collect();
        failures.extend(stopped);
        if let (Some(in_filter), Some(stream)) = (self.tasks_in_filter(), &mut self.stream) {
            stream.stopped(in_filter);
        }
        failures.extend(self.observing.take().and_then(|(mut observing, _)| observing.finish().err()));
        failures.extend(self.restorer.take().and_then(|mut restorer| restorer.finish().err()));
        failures.extend(self.stream.as_mut().and_then(|stream| stream.end().err()));
        combined(failures)
    }

    fn counts(&self) -> Result<Counts> {
        let Some(stream) = &self.stream else { return Ok(Counts::default()) };
        let StreamStats { recorded, lost } = stream.stats(self.instances())?;
        let joiners = &self.unrecorded_joiners;
        let warnings = [
            joiners.late.warning("tasks joined the cgroups while the kernel was busy with others"),
            joiners.ended.warning_of_number("processes joined the cgroups and ended before they were recorded"),
            joiners.unknown.warning_of_number(
                "processes were started in a cgroup by clone3 and ended before it was known in which: \
                 if it was a selected one, they are not recorded",
            ),
            self.restored.warning(
                "traced tasks got the pid of one that had just ended, whereupon the kernel stopped recording them",
            ),
        ];
        let notices = [stream.notices(), &self.join_notices].map(Notices::warnings);
        Ok(Counts::new(recorded, lost)
            .with_warnings(warnings.into_iter().flatten().chain(notices.into_iter().flatten())))
    }

    fn take_losing(&mut self) -> BTreeSet<u32> {
        self.stream.as_mut().map(EventStream::take_losing).unwrap_or_default()
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(EventStream::wakes)
    }

    fn close(&mut self) -> Result<()> {
        self.stream = None;
        self.watcher = None;
        let joined = self.join_threads();
        // Its thread, which has the other reference, has ended.
        let instance = self.instance.take().and_then(Arc::into_inner);
        let others = [self.system_wide.take(), self.joins.take()];
        Instance::remove_all(instance.into_iter().chain(others.into_iter().flatten()))?;
        joined
    }
}

/// Whether processes may join that descend from none of those that are selected now.
fn may_be_joined(selection: &SelectedProcesses) -> bool {
    !selection.cgroups().is_empty() && !selection.is_all()
}

/// The events of such processes, with the instance that records them.
fn join_events(
    tracefs: &Tracefs,
    request: &Request,
    selection: &SelectedProcesses,
    notices: Notices,
) -> Option<(Instance, JoinEvents)> {
    let name = format!("{}_joins", request.session);
    let open = || JoinEvents::open(tracefs, &name, selection.cgroups(), &request.environment.procfs, notices);
    may_be_joined(selection).then(open).flatten()
}

/// Combines all failures into one error.
fn combined(failures: Vec<HookError>) -> Result<()> {
    let messages: Vec<&str> = failures.iter().map(HookError::message).collect();
    match messages.is_empty() {
        true => Ok(()),
        false => Err(HookError::new(messages.join("; "))),
    }
}

/// Creates an instance with buffers of the requested size.
fn create(tracefs: &Tracefs, name: &str, request: &Request) -> Result<Instance> {
    let instance = Instance::create(tracefs, name)?;
    if let Some(kib) = request.buffer_size {
        check_memory(kib, &request.environment.procfs)?;
        instance.set_buffer_size(kib)?;
    }
    Ok(instance)
}
