//! Describes and probes plugins in parallel, and continues without the hooks that crash or hang their worker.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use trace_hook_api::{Environment, HookError, HookInfo, PluginInfo};

use super::hook_name::HookName;
use super::{PluginFile, event_rules, rules};
use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::patience::patient;
use crate::worker::protocol::{Answer, InspectedHook, Inspection};
use crate::worker::{
    CHECK_INTERVAL, Confinement, HostedPlugin, Orphan, PluginCall, Worker, timeout_until, within,
};

/// The time limit for a plugin. Time in which its worker gets no CPU, or after which it makes progress, does not count.
const DISCOVERY_LIMIT: Duration = Duration::from_secs(2);
/// The limit for all time together.
const WHOLE_DISCOVERY_LIMIT: Duration = Duration::from_secs(30);
/// The time in which a plugin usually answers. One that takes longer waits for something, and does not keep a CPU busy.
const USUAL_TIME: Duration = Duration::from_millis(5);
/// How long a second attempt takes without the hook that hangs.
const ASKING_AGAIN: Duration = Duration::from_millis(200);
/// A limit for plugins that describe hooks without end, which would exhaust the memory.
const MOST_HOOKS: u32 = 1 << 14;

/// What is inspected, beside the descriptions of all hooks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Aspects<'a> {
    /// The environment in which the hooks are probed.
    pub probe_in: Option<&'a Environment>,
    /// The hook whose events are needed. They are the greater part of a description, and only checked for other hooks.
    pub events_of: Option<HookName<'a>>,
}

/// The result of inspecting a plugin.
pub struct Inspected {
    pub file: PluginFile,
    pub result: Result<Inspection>,
    /// It has finished its job. Its exit is not waited for.
    pub worker: Option<Worker>,
}

/// A plugin that is being inspected.
struct Inquiry<'a> {
    file: PluginFile,
    aspects: Aspects<'a>,
    /// The calls that are skipped, and why: each has ended a worker.
    faults: Faults,
    worker: Option<Worker>,
    began: Option<Instant>,
    first_began: Option<Instant>,
    /// When to give the plugin up, and when to continue without the current call. Counted from the beginning.
    deadline: Instant,
    patience: Instant,
    /// The worker's last progress, and when it was noticed.
    progress: (u64, Instant),
    result: Option<Result<Inspection>>,
}

type Faults = Vec<(PluginCall, String)>;

/// Inspects all plugins. Once an inspection `is_enough`, and all
/// plugins before it have answered, the others are skipped.
///
/// # Errors
///
/// A signal was received, or no worker can be started: a list without the plugins that were not asked would look complete.
pub fn inspect(
    files: Vec<PluginFile>,
    aspects: Aspects<'_>,
    is_enough: impl Fn(&Inspection) -> bool,
    interrupts: &Interrupts,
) -> Result<Vec<Inspected>> {
    let mut inquiries: Vec<_> = files.into_iter().map(|file| Inquiry::new(file, aspects)).collect();
    let cpus = usable_cpus();
    loop {
        inquiries.iter_mut().try_for_each(Inquiry::advance)?;
        let answered = || inquiries.iter().map_while(|inquiry| inquiry.result.as_ref());
        if let Some(last) = answered().position(|result| result.as_ref().is_ok_and(&is_enough)) {
            inquiries.truncate(last + 1);
        }
        if inquiries.iter().all(|inquiry| inquiry.result.is_some()) {
            return Ok(inquiries.into_iter().filter_map(Inquiry::finish).collect());
        }
        begin_some(&mut inquiries, cpus)?;
        wait(&inquiries, interrupts)?;
    }
}

/// Starts as many inspections as there are CPUs. More at a time would not answer sooner, and those after the one that
/// `is_enough` are not needed.
fn begin_some(inquiries: &mut [Inquiry<'_>], cpus: usize) -> Result<()> {
    let mut busy = inquiries.iter().filter(|inquiry| inquiry.busy_until().is_some()).count();
    while busy < cpus
        && let Some(next) = inquiries.iter().position(Inquiry::is_to_begin)
    {
        if let Err(error) = inquiries[next].begin() {
            return wait_for_room(inquiries).ok_or(error);
        }
        busy += 1;
    }
    Ok(())
}

/// Makes room under a limit of processes or descriptors, by ending the workers that have answered. `None` if there is no
/// worker at all, so that waiting would not help.
fn wait_for_room(inquiries: &mut [Inquiry<'_>]) -> Option<()> {
    let has_workers = inquiries.iter().any(|inquiry| inquiry.worker.is_some());
    let answered = inquiries.iter_mut().filter(|inquiry| inquiry.result.is_some());
    answered.for_each(|inquiry| inquiry.worker = None);
    has_workers.then_some(())
}

fn usable_cpus() -> usize {
    let usable = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count()).filter(|cpu| usable.is_set(*cpu).unwrap_or(false)).count().max(1)
}

fn wait(inquiries: &[Inquiry<'_>], interrupts: &Interrupts) -> Result<()> {
    let open = || inquiries.iter().filter(|inquiry| inquiry.result.is_none());
    let to_begin = inquiries.iter().filter(|inquiry| inquiry.is_to_begin()).take(1);
    // Immediately, if none is busy.
    let next_begin =
        to_begin.map(|_| open().filter_map(Inquiry::busy_until).min().unwrap_or_else(Instant::now));
    let next_check = open().filter(|inquiry| !inquiry.is_to_begin()).map(Inquiry::next_check);
    // None is open if all that were just started have failed to start.
    let next = next_check.chain(next_begin).min().unwrap_or_else(Instant::now);
    let mut fds = vec![PollFd::new(interrupts.as_fd(), PollFlags::POLLIN)];
    fds.extend(open().filter_map(|inquiry| inquiry.worker.as_ref()).flat_map(Worker::poll_fds));
    match poll(&mut fds, timeout_until(next)) {
        Ok(_) | Err(Errno::EINTR) if interrupts.pending() => Err(Error::Interrupted),
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(Error::system("wait for plugins")(errno)),
    }
}

impl<'a> Inquiry<'a> {
    fn new(file: PluginFile, aspects: Aspects<'a>) -> Self {
        let deadline = within(patient(DISCOVERY_LIMIT));
        Self {
            file,
            aspects,
            faults: Faults::new(),
            worker: None,
            began: None,
            first_began: None,
            deadline,
            patience: deadline,
            progress: (0, Instant::now()),
            result: None,
        }
    }

    fn is_to_begin(&self) -> bool {
        self.began.is_none()
    }

    /// `None`: it does not keep a CPU busy.
    fn busy_until(&self) -> Option<Instant> {
        let until = self.began.filter(|_| self.result.is_none())? + USUAL_TIME;
        (Instant::now() < until).then_some(until)
    }

    /// When to look at its worker again, even if that does not answer.
    fn next_check(&self) -> Instant {
        self.patience.min(within(CHECK_INTERVAL))
    }

    /// # Errors
    ///
    /// No worker can be started. It can be begun again.
    fn begin(&mut self) -> Result<()> {
        self.deadline = within(patient(DISCOVERY_LIMIT));
        self.ask()?;
        self.first_began = self.began;
        Ok(())
    }

    /// Leaves half of the time for another attempt without a hook that does not answer.
    fn ask(&mut self) -> Result<()> {
        // The previous worker ends first.
        self.worker = None;
        self.worker = Some(start_worker(&self.file, self.aspects, &self.faults)?);
        let now = Instant::now();
        self.began = Some(now);
        self.patience = within(left(self.deadline) / 2);
        self.progress = (0, now);
        Ok(())
    }

    /// Takes the answer, or starts another attempt without the hook that prevents it.
    fn advance(&mut self) -> Result<()> {
        let (Some(worker), None) = (&mut self.worker, &self.result) else { return Ok(()) };
        let uncounted = worker.starved() + time_of_progress(&mut self.progress, worker.progress());
        let latest = self.first_began.unwrap_or_else(Instant::now) + patient(WHOLE_DISCOVERY_LIMIT);
        self.deadline = (self.deadline + uncounted).min(latest);
        self.patience = (self.patience + uncounted).min(latest);
        let trouble = match worker.next_answer() {
            Ok(Some(Answer::Inspected(inspection))) => {
                self.result = Some(Ok(inspection));
                return Ok(());
            }
            Ok(Some(answer)) => worker.unexpected(&answer),
            Ok(None) if Instant::now() < self.patience => return Ok(()),
            Ok(None) => match more_time(worker, &self.faults, self.deadline) {
                Some(patience) => {
                    self.patience = patience;
                    return Ok(());
                }
                None => worker.too_slow(),
            },
            Err(error) => error,
        };
        match (worker.current_call(), trouble) {
            (step @ (PluginCall::Info(_) | PluginCall::Probe(_)), Error::Plugin { problem, .. })
                if Instant::now() < self.deadline && self.faults.iter().all(|(known, _)| *known != step) =>
            {
                self.faults.push((step, problem));
                return self.ask();
            }
            (_, Error::Hook { hook, error }) => {
                self.result = Some(Err(Error::Plugin { plugin: hook, problem: error.to_string() }));
            }
            (_, trouble) => self.result = Some(Err(not_inspected(&self.file, trouble))),
        }
        Ok(())
    }

    fn finish(self) -> Option<Inspected> {
        Some(Inspected { file: self.file, result: self.result?, worker: self.worker })
    }
}

/// The error of a plugin that crashed or did not answer.
fn not_inspected(file: &PluginFile, error: Error) -> Error {
    let problem = match error {
        Error::Plugin { problem, .. } => problem,
        other => other.to_string(),
    };
    Error::NotInspected { plugin: file.name.clone(), problem }
}

/// If no other hook could use the time that is left, the current call gets it, except for the time of another attempt.
fn more_time(worker: &Worker, faults: &Faults, deadline: Instant) -> Option<Instant> {
    let is_all = match worker.current_call() {
        PluginCall::Info(_) => false,
        PluginCall::Probe(_) => worker.hook_count() as usize <= faults.len() + 1,
        _ => true,
    };
    let more = left(deadline).saturating_sub(patient(ASKING_AGAIN));
    (is_all && !more.is_zero()).then(|| within(more))
}

/// How long it took to make the progress since the last time. Zero without progress.
fn time_of_progress(last: &mut (u64, Instant), progress: u64) -> Duration {
    if progress == last.0 {
        return Duration::ZERO;
    }
    let now = Instant::now();
    now - std::mem::replace(last, (progress, now)).1
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn start_worker(file: &PluginFile, aspects: Aspects<'_>, faults: &Faults) -> Result<Worker> {
    Worker::start(file.code(), Orphan::Dies, Confinement::Discovery, &[], |plugin, _| {
        Ok(Answer::Inspected(inspect_here(plugin, aspects, faults)?))
    })
}

/// In the worker.
fn inspect_here(
    plugin: &HostedPlugin<'_>,
    aspects: Aspects<'_>,
    faults: &Faults,
) -> Result<Inspection, HookError> {
    let fault =
        |step: PluginCall| faults.iter().find(|(known, _)| *known == step).map(|(_, why)| why.clone());
    let (info, hooks) = describe(plugin, fault)?;
    plugin.set_hook_count(hooks.len());
    // A plugin that will be rejected is not probed, and its hooks are not sent.
    rules::check_plugin(&info, hooks.len()).map_err(HookError::new)?;
    let probed = (0..).zip(hooks).map(|(position, hook)| {
        let mut info: HookInfo = hook?;
        // If they break a rule, the supervisor reports that.
        if !aspects.events_of.is_some_and(|name| name.may_mean(&info.name))
            && event_rules::check_events(&info.events).is_ok()
        {
            info.events.clear();
        }
        let unavailable = aspects.probe_in.and_then(|environment| {
            fault(PluginCall::Probe(position)).or_else(|| {
                plugin.probe(position, &info.name, environment).err().map(|error| error.to_string())
            })
        });
        Ok(InspectedHook { info, unavailable })
    });
    Ok(Inspection { plugin: info, hooks: probed.collect() })
}

type Hooks = Vec<Result<HookInfo, String>>;

/// Describes the plugin and its hooks, one by one if the plugin supports that.
fn describe(
    plugin: &HostedPlugin<'_>,
    fault: impl Fn(PluginCall) -> Option<String>,
) -> Result<(PluginInfo, Hooks), HookError> {
    let mut hooks = Hooks::new();
    for position in 0..MOST_HOOKS {
        if let Some(why) = fault(PluginCall::Info(position)) {
            hooks.push(Err(why));
            continue;
        }
        match plugin.describe_hook(position) {
            None => {
                let mut info = plugin.describe()?;
                let hooks = info.hooks.drain(..).map(Ok).collect();
                return Ok((info, hooks));
            }
            Some(Ok(mut info)) => match info.hooks.pop() {
                Some(hook) => hooks.push(Ok(hook)),
                None => return Ok((info, hooks)),
            },
            Some(Err(error)) => hooks.push(Err(error.to_string())),
        }
    }
    Err(HookError::new(format!("it has more than {MOST_HOOKS} hooks")))
}
