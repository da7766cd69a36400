//! The counters of a process and its descendants, of a cgroup, or of all tasks.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use trace_hook_api::{Environment, Result};
use trace_tasks::{Follow, Member, Pid, Procfs};

use super::counter::{Amount, Counter};
use super::process_name::ProcessName;
use super::quantities::Countable;
use crate::perf_event::{Attributes, Event, Inherit, Ring, Subject};
use crate::wide_events::Crowd;

/// Counters that go into one line: of the threads of a process and of all its descendants, or of a whole crowd.
#[derive(Debug, Default)]
pub struct ProcessCounters {
    tasks: Vec<Task>,
    /// The counters of crowds: for each CPU, one for each quantity.
    crowds: Vec<Vec<Counter>>,
    /// Set if they are of a process and its descendants.
    name: Option<ProcessName>,
}

/// The counters of a task and of the tasks that inherit them.
#[derive(Debug)]
struct Task {
    liveness: Event,
    /// That of the thread and its later threads alone, if it is of the process that names the line.
    own_liveness: Option<Event>,
    /// One for each quantity.
    counters: Vec<Counter>,
    /// The same of the task and its later threads alone, where only its children are to be counted.
    own: Vec<Counter>,
}

impl ProcessCounters {
    /// Counts a thread as well. Nothing is ever written into the ring, but without one the kernel does not report the end of
    /// tasks.
    ///
    /// # Errors
    ///
    /// The kernel refuses. A thread that has ended is not an error.
    pub fn add(
        &mut self,
        thread: Pid,
        member: Member,
        quantities: &[Countable],
        ring: &Ring,
    ) -> io::Result<()> {
        match Task::of(thread, member, quantities, ring) {
            Ok(task) => self.tasks.push(task),
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Counts a crowd on these CPUs as well.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn add_crowd(
        &mut self,
        crowd: &Crowd,
        quantities: &[Countable],
        cpus: &[u32],
        environment: &Environment,
    ) -> Result<()> {
        for cpu in cpus {
            let open = |countable: &Countable| crowd.open(&countable.attributes, *cpu, environment);
            let counters = quantities.iter().map(open).collect::<Result<Option<Vec<Event>>>>()?;
            self.crowds.extend(counters.map(|events| events.into_iter().map(Counter::of).collect()));
        }
        Ok(())
    }

    /// What was counted of each quantity since the last call.
    ///
    /// # Errors
    ///
    /// A counter cannot be read.
    pub fn advance(&mut self, quantities: usize) -> io::Result<Vec<Amount>> {
        let mut amounts = vec![Amount::default(); quantities];
        let mut alive = Vec::with_capacity(self.tasks.len());
        for mut task in self.tasks.drain(..) {
            // Checked before the counters are read, so that nothing is counted after the last reading.
            let has_ended = task.has_ended();
            task.advance(&mut amounts)?;
            if !has_ended {
                alive.push(task);
            }
        }
        self.tasks = alive;
        for counters in &mut self.crowds {
            for (amount, counter) in amounts.iter_mut().zip(counters) {
                amount.add(counter.advance()?);
            }
        }
        Ok(amounts)
    }

    /// Whether any of the tasks is alive.
    pub fn is_alive(&self) -> bool {
        self.tasks.iter().any(|task| !task.has_ended())
    }

    /// Whether any of the tasks was alive when the counters were last read, or a crowd is counted.
    pub fn had_tasks(&self) -> bool {
        !self.tasks.is_empty() || !self.crowds.is_empty()
    }

    /// Stops counting.
    ///
    /// # Errors
    ///
    /// A counter cannot be stopped.
    pub fn stop(&self) -> io::Result<()> {
        let of_tasks = self.tasks.iter().flat_map(|task| task.counters.iter().chain(&task.own));
        let counters = of_tasks.chain(self.crowds.iter().flatten());
        // One that fails must not keep the others from being stopped.
        let stopped: Vec<io::Result<()>> = counters.map(Counter::stop).collect();
        stopped.into_iter().collect()
    }

    /// Names the line by this process.
    pub fn name_by(&mut self, procfs: &Procfs, process: Pid) {
        self.name = Some(ProcessName::of(procfs, process));
    }

    /// The name of the process. Once it has ended, or is not counted any more, the last one that it is known to have had before.
    pub fn comm(&mut self) -> &[u8] {
        let counts_it = || self.tasks.iter().any(Task::counts_itself);
        self.name.as_mut().map_or(&[], |name| name.update(counts_it))
    }
}

impl Task {
    fn of(thread: Pid, member: Member, quantities: &[Countable], ring: &Ring) -> io::Result<Self> {
        let all = if member.follow == Follow::ALONE { Inherit::Threads } else { Inherit::AllTasks };
        let names_line = member.process == member.root;
        let own_liveness = names_line.then(|| own_liveness(thread, all, ring)).transpose()?;
        let own = match member.follow {
            Follow::CHILDREN => open(thread, Inherit::Threads, quantities)?,
            _ => Vec::new(),
        };
        let liveness = liveness(thread, all, ring)?;
        Ok(Self { liveness, own_liveness, counters: open(thread, all, quantities)?, own })
    }

    /// Whether it is of the process that names the line, and this process is counted: the kernel ends the counters of a task that
    /// executes a set-user-ID program, but not those of the tasks that it has started.
    fn counts_itself(&self) -> bool {
        self.own_liveness.as_ref().is_some_and(|liveness| !liveness.has_ended())
    }

    fn has_ended(&self) -> bool {
        self.liveness.has_ended()
    }

    fn advance(&mut self, amounts: &mut [Amount]) -> io::Result<()> {
        for (amount, counter) in amounts.iter_mut().zip(&mut self.counters) {
            amount.add(counter.advance()?);
        }
        for (amount, counter) in amounts.iter_mut().zip(&mut self.own) {
            amount.subtract(counter.advance()?);
        }
        Ok(())
    }
}

/// That of the threads of a process. Linux before 5.13 cannot distinguish these from child processes, which then count as well.
fn own_liveness(thread: Pid, all: Inherit, ring: &Ring) -> io::Result<Event> {
    match liveness(thread, Inherit::Threads, ring) {
        Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => liveness(thread, all, ring),
        liveness => liveness,
    }
}

fn liveness(thread: Pid, inherit: Inherit, ring: &Ring) -> io::Result<Event> {
    let attributes = Attributes::liveness().inherited(inherit);
    let event = Event::open(&attributes, Subject::Thread(thread), Some(ring.cpu))?;
    event.redirect_to(ring.as_fd())?;
    Ok(event)
}

fn open(thread: Pid, inherit: Inherit, quantities: &[Countable]) -> io::Result<Vec<Counter>> {
    let open = |countable: &Countable| {
        Event::open(&countable.attributes.inherited(inherit), Subject::Thread(thread), None)
    };
    quantities.iter().map(|countable| open(countable).map(Counter::of)).collect()
}
