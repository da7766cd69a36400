//! A process that is counted, with all that descends from it.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use tracefs::{Follow, Member, Pid};

use super::counter::{Amount, Counter};
use super::kinds::Countable;
use crate::perf_event::{Attributes, Event, Inherit, Ring};

/// The counters of a process, of its threads and of all that descends from it.
#[derive(Debug, Default)]
pub struct Family {
    tasks: Vec<Task>,
    name: Vec<u8>,
}

/// The counters of a task and of its heirs.
#[derive(Debug)]
struct Task {
    witness: Event,
    /// One for each quantity.
    counters: Vec<Counter>,
    /// The same, of the task and its later threads alone, where only what its children do is to be counted.
    own: Vec<Counter>,
}

impl Family {
    /// Counts a thread as well. Nothing is ever written into the ring, but it takes one to know who is gone.
    ///
    /// # Errors
    ///
    /// The kernel refuses. That the thread is gone is none.
    pub fn add(
        &mut self,
        thread: Pid,
        member: Member,
        quantities: &[Countable],
        ring: &Ring,
    ) -> io::Result<()> {
        match Task::of(thread, member.follow, quantities, ring) {
            Ok(task) => self.tasks.push(task),
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What has come of each quantity since the last call.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn advance(&mut self, quantities: usize) -> io::Result<Vec<Amount>> {
        let mut amounts = vec![Amount::default(); quantities];
        let mut still = Vec::with_capacity(self.tasks.len());
        for mut task in self.tasks.drain(..) {
            // What it has counted to its end is read after it was seen to be gone.
            let is_over = task.is_over();
            task.advance(&mut amounts)?;
            if !is_over {
                still.push(task);
            }
        }
        self.tasks = still;
        Ok(amounts)
    }

    /// Whether anybody is left.
    pub fn is_alive(&self) -> bool {
        self.tasks.iter().any(|task| !task.is_over())
    }

    /// Whether anybody was left at the last look.
    pub fn was_alive(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Counts no more.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn stop(&self) -> io::Result<()> {
        let mut counters = self.tasks.iter().flat_map(|task| task.counters.iter().chain(&task.own));
        counters.try_for_each(Counter::stop)
    }

    /// The name of the process, as long as it is there; then the last that it had.
    pub fn name(&mut self, procfs: &Path, pid: u32) -> &[u8] {
        if let Ok(name) = fs::read(procfs.join(format!("{pid}/comm"))) {
            self.name = name.strip_suffix(b"\n").unwrap_or(&name).to_owned();
        }
        &self.name
    }
}

impl Task {
    fn of(thread: Pid, follow: Follow, quantities: &[Countable], ring: &Ring) -> io::Result<Self> {
        let all = if follow == Follow::ALONE { Inherit::Threads } else { Inherit::Everybody };
        let witness = Event::open(&Attributes::witnessing().inherited(all), thread, Some(ring.cpu))?;
        witness.write_to(ring)?;
        let own = match follow {
            Follow::CHILDREN => open(thread, Inherit::Threads, quantities)?,
            _ => Vec::new(),
        };
        Ok(Self { witness, counters: open(thread, all, quantities)?, own })
    }

    fn is_over(&self) -> bool {
        self.witness.is_over()
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

fn open(thread: Pid, inherit: Inherit, quantities: &[Countable]) -> io::Result<Vec<Counter>> {
    let open = |countable: &Countable| Event::open(&countable.attributes.inherited(inherit), thread, None);
    quantities.iter().map(|countable| open(countable).map(Counter::of)).collect()
}
