//! Reads the mappings of tasks and opens the files that they map, in a thread: a traced process can block both, and the collector
//! must not wait.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use trace_hook_api::{Environment, HookError, Result, log};
use trace_session::spool::Spool;
use trace_tasks::{BlockingCalls, CallTarget, ListLength, Pid, Procfs};

use super::existing_tasks;
use super::modules::{CALL_LIMIT, Module, Modules};
use crate::perf_event::{Body, Mapping};

/// How many files wait to be opened. Those beyond that have no symbols.
const MAX_WAITING: usize = 20_000;

/// How long lists of mappings are read that are longer than usual, and how many mappings of these are kept.
const TIME_FOR_LONG: Duration = Duration::from_millis(500);
const MAX_MAPPINGS_OF_LONG: usize = 100_000;

/// How many files without symbols are reported.
const MAX_REPORTS: usize = 3;

/// The largest page of records, in bytes.
const MAX_PAGE: usize = 64 << 10;

/// Gives work to the thread, which ends when this is dropped.
#[derive(Debug)]
pub struct Observer {
    jobs: Sender<Job>,
    unread: Arc<UnreadTasks>,
}

/// The mapping of a file, as of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedMapping {
    pub address: u64,
    pub length: u64,
    pub offset: u64,
    pub device: (u32, u32),
    pub inode: u64,
    pub generation: u64,
    pub path: Vec<u8>,
}

#[derive(Debug)]
enum Job {
    /// Push records of what a process and some of its threads are.
    Tasks(Pid, Vec<Pid>),
    /// Open a file.
    File(Pid, Arc<Module>, OwnedMapping),
}

/// How many processes are not read yet.
#[derive(Debug, Default)]
struct UnreadTasks {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Observer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start(environment: &Environment, spool: Arc<Spool>, modules: Arc<Modules>) -> Result<Self> {
        let (jobs, work) = channel();
        let unread = Arc::<UnreadTasks>::default();
        let thread = ObserverThread {
            procfs: Procfs::at(&environment.procfs),
            spool,
            modules,
            calls: BlockingCalls::within(environment.patient(CALL_LIMIT)),
            unread: Arc::clone(&unread),
            files: VecDeque::new(),
            long: VecDeque::new(),
            mappings_of_long: 0,
            time_for_long: environment.patient(TIME_FOR_LONG),
            reports: 0,
        };
        let started = Builder::new().name("observer".to_owned()).spawn(move || thread.run(&work));
        match started {
            Ok(_) => Ok(Self { jobs, unread }),
            Err(error) => {
                Err(HookError::new(format!("cannot start the thread that reads mappings: {error}")))
            }
        }
    }

    /// Pushes records of a process and of these threads of it, with times before all others.
    pub fn read_tasks(&self, process: Pid, threads: Vec<Pid>) {
        *self.unread.count() += 1;
        self.send(Job::Tasks(process, threads));
    }

    /// Opens a file.
    pub fn open(&self, process: Pid, module: Arc<Module>, mapping: &Mapping<'_>) {
        self.send(Job::File(process, module, OwnedMapping::from(mapping)));
    }

    /// Whether there are tasks of which no records are pushed yet.
    pub fn is_reading_tasks(&self) -> bool {
        *self.unread.count() > 0
    }

    /// Waits until the records of all tasks are pushed.
    pub fn wait_for_tasks(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut count = self.unread.count();
        while *count > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.unread.changed.wait_timeout(count, left);
            count = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn send(&self, job: Job) {
        // The thread lives as long as this.
        let _ = self.jobs.send(job);
    }
}

impl UnreadTasks {
    fn one_less(&self) {
        *self.count() -= 1;
        self.changed.notify_all();
    }

    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ObserverThread {
    procfs: Procfs,
    spool: Arc<Spool>,
    modules: Arc<Modules>,
    calls: BlockingCalls,
    unread: Arc<UnreadTasks>,
    /// To be opened after all mappings are read.
    files: VecDeque<(Pid, Arc<Module>, OwnedMapping)>,
    /// Processes with longer lists of mappings than usual, which are read after the others.
    long: VecDeque<Pid>,
    mappings_of_long: usize,
    time_for_long: Duration,
    reports: usize,
}

impl ObserverThread {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let job = match self.files.is_empty() && self.long.is_empty() {
                true => jobs.recv().ok(),
                false => jobs.try_recv().ok(),
            };
            match job {
                Some(Job::Tasks(process, threads)) => {
                    self.read_names(process, &threads);
                    match self.read_mappings(process, ListLength::Usual) {
                        true => self.unread.one_less(),
                        false => self.long.push_back(process),
                    }
                }
                Some(Job::File(process, module, mapping)) => self.add_file(process, module, mapping),
                None if !self.long.is_empty() => self.read_long(),
                None => match self.files.pop_front() {
                    Some((process, module, mapping)) => self.open(process, &module, mapping),
                    None => return,
                },
            }
        }
    }

    fn read_names(&self, process: Pid, threads: &[Pid]) {
        for thread in threads {
            let name = existing_tasks::comm(self.procfs.root(), process, *thread);
            self.spool.push_page(0, &name, 0, 0);
        }
    }

    /// Reads the next list of mappings that is longer than usual, if there is time and room left for it.
    fn read_long(&mut self) {
        let Some(process) = self.long.pop_front() else { return };
        let began = Instant::now();
        let is_read = self.mappings_of_long < MAX_MAPPINGS_OF_LONG
            && self.time_for_long > Duration::ZERO
            && self.read_mappings(process, ListLength::Most);
        if !is_read {
            self.report(&format!("a part of the mappings of process {process}"), "it has too many");
        }
        self.time_for_long = self.time_for_long.saturating_sub(began.elapsed());
        self.unread.one_less();
    }

    /// Pushes records of the code that a process has mapped. Returns false if its list is longer.
    fn read_mappings(&mut self, process: Pid, length: ListLength) -> bool {
        let procfs = self.procfs.root().to_owned();
        let read = move || existing_tasks::mappings(&procfs, process, length);
        let (mappings, are_all) = match self.calls.call(&[CallTarget::Process(process)], read) {
            Ok(read) => read,
            Err(blocked) => {
                self.report(&format!("process {process}"), &blocked.to_string());
                return true;
            }
        };
        if length == ListLength::Most {
            self.mappings_of_long += mappings.len();
        }
        let mut page = Vec::new();
        for mapping in mappings {
            let record = existing_tasks::record(process, process, Body::Mmap(mapping.borrowed()));
            let module = self.modules.module(process, &mapping.borrowed());
            if module.expect_file() {
                self.add_file(process, module, mapping);
            }
            if page.len() + record.len() > MAX_PAGE {
                self.spool.push_page(0, &std::mem::take(&mut page), 0, 0);
            }
            page.extend(record);
        }
        self.spool.push_page(0, &page, 0, 0);
        are_all
    }

    fn add_file(&mut self, process: Pid, module: Arc<Module>, mapping: OwnedMapping) {
        if self.files.len() < MAX_WAITING {
            self.files.push_back((process, module, mapping));
        } else {
            module.set_file(None);
            self.report(&module.name, "too many files are mapped at once");
        }
    }

    fn open(&mut self, process: Pid, module: &Module, mapping: OwnedMapping) {
        let (modules, path) =
            (Arc::clone(&self.modules), String::from_utf8_lossy(&mapping.path).into_owned());
        let targets = [CallTarget::Process(process), CallTarget::FileSystem(mapping.device)];
        let opened = self.calls.call(&targets, move || modules.open(process, &mapping.borrowed()));
        let (file, reason) = match opened {
            Ok(Ok(file)) => (file, None),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(blocked) => (None, Some(blocked.to_string())),
        };
        module.set_file(file);
        if let Some(reason) = reason {
            self.report(&path, &reason);
        }
    }

    /// Reports what has no symbols. A hostile process can have any number of such files.
    fn report(&mut self, what: &str, reason: &str) {
        match self.reports {
            MAX_REPORTS => log::warn!("more is shown without symbols, which is not reported"),
            reported if reported < MAX_REPORTS => log::warn!("{what} is shown without symbols: {reason}"),
            _ => log::debug!("{what} is shown without symbols: {reason}"),
        }
        self.reports += 1;
    }
}

impl OwnedMapping {
    pub fn borrowed(&self) -> Mapping<'_> {
        let Self { address, length, offset, device, inode, generation, ref path } = *self;
        Mapping { address, length, offset, device, inode, generation, path }
    }
}

impl From<&Mapping<'_>> for OwnedMapping {
    fn from(mapping: &Mapping<'_>) -> Self {
        let Mapping { address, length, offset, device, inode, generation, path } = *mapping;
        Self { address, length, offset, device, inode, generation, path: path.to_owned() }
    }
}
