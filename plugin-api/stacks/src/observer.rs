//! Reads the mappings of processes and opens the files that they map, in a thread: a traced process can block both, and a
//! collector must not wait.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use trace_hook_api::{Environment, HookError, Result, log};
use trace_tasks::{BlockingCalls, CallTarget, ListLength, Pid, Procfs, thread_refusal};

use crate::generated_code::is_jit_dump;
use crate::mapping::{Mapping, OwnedMapping, mappings};
use crate::modules::{CALL_LIMIT, Module, ModuleFiles, Modules};

/// The name of the thread.
const THREAD: &str = "observer";

/// How many files wait to be opened. Those beyond that have no symbols.
const MAX_WAITING: usize = 20_000;

/// How long lists of mappings are read that are longer than usual, and how many mappings of these are kept.
const TIME_FOR_LONG: Duration = Duration::from_millis(500);
const MAX_MAPPINGS_OF_LONG: usize = 100_000;

/// How many files without symbols are reported.
const MAX_REPORTS: usize = 3;

/// Takes what is read of processes. It is called in the observer's thread.
pub trait ObserveTasks: Send + 'static {
    /// The tasks of one process.
    type Tasks: Send;

    /// The process of these tasks.
    fn process(tasks: &Self::Tasks) -> Pid;

    /// Called before the mappings are read.
    fn begin(&mut self, _: &Self::Tasks) {}

    /// Takes the code that the process has mapped. If it is a part of it only, because the list is unusually long, all of it may
    /// follow. There is none if the process has ended, or does not answer.
    fn take(&mut self, tasks: &Self::Tasks, mappings: Vec<OwnedMapping>);
}

/// Gives work to the thread, which ends when this is dropped.
#[derive(Debug)]
pub struct Observer<T> {
    jobs: Sender<Job<T>>,
    unread: Arc<UnreadTasks>,
}

#[derive(Debug)]
enum Job<T> {
    /// Read the mappings of a process.
    Tasks(T),
    /// Open a file.
    File(Pid, Arc<Module>, OwnedMapping),
}

/// How many processes are not read yet.
#[derive(Debug, Default)]
struct UnreadTasks {
    count: Mutex<usize>,
    changed: Condvar,
}

impl<T: Send + 'static> Observer<T> {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start(
        environment: &Environment,
        taker: impl ObserveTasks<Tasks = T>,
        modules: Arc<Modules>,
    ) -> Result<Self> {
        let (jobs, work) = channel();
        let unread = Arc::<UnreadTasks>::default();
        let thread = ObserverThread {
            procfs: Procfs::at(&environment.procfs),
            taker,
            modules,
            calls: BlockingCalls::within(environment.patient(CALL_LIMIT)),
            unread: Arc::clone(&unread),
            files: VecDeque::new(),
            long: VecDeque::new(),
            mappings_of_long: 0,
            time_for_long: environment.patient(TIME_FOR_LONG),
            reports: 0,
        };
        let started = Builder::new().name(THREAD.to_owned()).spawn(move || thread.run(&work));
        match started {
            Ok(_) => Ok(Self { jobs, unread }),
            Err(error) => Err(HookError::new(thread_refusal(THREAD, &error))),
        }
    }

    /// Reads what the process of these tasks has mapped.
    pub fn read_tasks(&self, tasks: T) {
        *self.unread.count() += 1;
        self.send(Job::Tasks(tasks));
    }

    /// Opens a file.
    pub fn open(&self, process: Pid, module: Arc<Module>, mapping: &Mapping<'_>) {
        self.send(Job::File(process, module, OwnedMapping::from(mapping)));
    }

    /// Whether there are processes that are not read yet.
    pub fn is_reading_tasks(&self) -> bool {
        *self.unread.count() > 0
    }

    /// Waits until all processes are read.
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

    fn send(&self, job: Job<T>) {
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

struct ObserverThread<T: ObserveTasks> {
    procfs: Procfs,
    taker: T,
    modules: Arc<Modules>,
    calls: BlockingCalls,
    unread: Arc<UnreadTasks>,
    /// To be opened after all mappings are read.
    files: VecDeque<(Pid, Arc<Module>, OwnedMapping)>,
    /// Processes with longer lists of mappings than usual, which are read after the others.
    long: VecDeque<T::Tasks>,
    mappings_of_long: usize,
    time_for_long: Duration,
    reports: usize,
}

impl<T: ObserveTasks> ObserverThread<T> {
    fn run(mut self, jobs: &Receiver<Job<T::Tasks>>) {
        loop {
            let job = match self.files.is_empty() && self.long.is_empty() {
                true => jobs.recv().ok(),
                false => jobs.try_recv().ok(),
            };
            match job {
                Some(Job::Tasks(tasks)) => {
                    self.taker.begin(&tasks);
                    match self.read_mappings(&tasks, ListLength::Usual) {
                        true => self.unread.one_less(),
                        false => self.long.push_back(tasks),
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

    /// Reads the next list of mappings that is longer than usual, if there is time and room left for it.
    fn read_long(&mut self) {
        let Some(tasks) = self.long.pop_front() else { return };
        let began = Instant::now();
        let is_read = self.mappings_of_long < MAX_MAPPINGS_OF_LONG
            && self.time_for_long > Duration::ZERO
            && self.read_mappings(&tasks, ListLength::Most);
        if !is_read {
            let process = T::process(&tasks);
            self.report(&format!("a part of the mappings of process {process}"), "it has too many");
        }
        self.time_for_long = self.time_for_long.saturating_sub(began.elapsed());
        self.unread.one_less();
    }

    /// Reads the code that a process has mapped. Returns false if its list is longer.
    fn read_mappings(&mut self, tasks: &T::Tasks, length: ListLength) -> bool {
        let procfs = self.procfs.root().to_owned();
        let process = T::process(tasks);
        let read = move || mappings(&procfs, process, length);
        let (mappings, are_all) = match self.calls.call(&[CallTarget::Process(process)], read) {
            Ok(read) => read,
            Err(blocked) => {
                self.report(&format!("process {process}"), &blocked.to_string());
                (Vec::new(), true)
            }
        };
        if length == ListLength::Most {
            self.mappings_of_long += mappings.len();
        }
        for mapping in &mappings {
            let module = self.modules.module(process, &mapping.borrowed());
            if module.expect_file() {
                self.add_file(process, module, mapping.clone());
            }
        }
        self.taker.take(tasks, mappings);
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
        let (modules, path) = (Arc::clone(&self.modules), mapping.path.clone());
        let targets = [CallTarget::Process(process), CallTarget::FileSystem(mapping.device)];
        let opened = self.calls.call(&targets, move || modules.open(process, &mapping.borrowed()));
        let (file, reason) = match opened {
            Ok(Ok(file)) => (file, None),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(blocked) => (None, Some(blocked.to_string())),
        };
        if let Some(reason) = reason {
            self.report(&String::from_utf8_lossy(&path), &reason);
        }
        module.set_file(file.and_then(|file| self.with_debug_files(process, path, file)));
    }

    /// Opens the debug files of a file. If that blocks, there are none. `None`, if the file lists generated code.
    fn with_debug_files(&mut self, process: Pid, path: Vec<u8>, file: File) -> Option<ModuleFiles> {
        if is_jit_dump(&path) {
            self.modules.generated_by(process).set_jit_dump(file);
            return None;
        }
        let Ok(same) = file.try_clone() else { return Some(file.into()) };
        let modules = Arc::clone(&self.modules);
        let open = move || modules.open_debug_files(process, &path, same);
        let opened = self.calls.call(&[CallTarget::Process(process)], open);
        Some(opened.unwrap_or_else(|blocked| {
            log::debug!("a debug file for process {process} is not used: {blocked}");
            file.into()
        }))
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
