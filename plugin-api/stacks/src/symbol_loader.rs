//! Reads the symbols of files in threads: a file can be huge, or on a disk that is slow or does not answer.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use trace_hook_api::log;
use trace_session::SPOOL_DIRECTORY;
use trace_symbols::{MemoryBudget, SymbolTable, vdso_image};
use trace_tasks::thread_refusal;

use crate::modules::ModuleFiles;

/// The name of the threads.
const THREAD: &str = "symbols";

/// What the symbols of all files may take in memory, in bytes. Long names are on disk.
const MEMORY: u64 = 14 << 20;

/// How many files are read at a time. Each takes up to some MiB meanwhile.
const AT_ONCE: usize = 4;
/// A file that takes longer does not keep others waiting.
const TURN: Duration = Duration::from_millis(500);

/// The symbols of all files, within one budget: first come, first served.
pub struct SymbolLoader {
    budget: Arc<MemoryBudget>,
    queue: Mutex<Queue>,
    left_out: Mutex<LeftOut>,
    /// How long samples have waited for lists of generated code, in microseconds.
    waited: AtomicU64,
}

type Job = Box<dyn FnOnce(&SymbolLoader) + Send>;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// Since when each thread reads its file.
    running: HashMap<u64, Instant>,
    started: u64,
    is_refusal_reported: bool,
}

/// Files whose symbols exceed the budget.
#[derive(Debug, Default)]
struct LeftOut {
    first: String,
    count: usize,
}

impl SymbolLoader {
    /// Keeps up to this many bytes of names on disk.
    pub fn new(names_on_disk: u64) -> Arc<Self> {
        Self::within(MEMORY, names_on_disk)
    }

    fn within(memory: u64, names_on_disk: u64) -> Arc<Self> {
        Arc::new(Self {
            budget: MemoryBudget::with_disk(memory, Path::new(SPOOL_DIRECTORY), names_on_disk),
            queue: Mutex::default(),
            left_out: Mutex::default(),
            waited: AtomicU64::default(),
        })
    }

    /// What symbols may take.
    pub fn budget(&self) -> &Arc<MemoryBudget> {
        &self.budget
    }

    /// The symbols of the code that the kernel maps into each process.
    pub fn vdso(&self) -> Option<SymbolTable> {
        SymbolTable::read(&vdso_image()?[..], &self.budget).ok()
    }

    /// The symbols of an ELF file of this name.
    pub fn read(&self, name: &str, files: &ModuleFiles) -> Option<SymbolTable> {
        let ModuleFiles { itself, reference, candidates } = files;
        let is_debug_file =
            |candidate: &&File| reference.as_ref().is_some_and(|reference| reference.is(candidate));
        let debug_file = candidates.iter().find(is_debug_file);
        let symbols = SymbolTable::read_with(itself, debug_file, &self.budget).ok()?;
        if symbols.exceeds_budget() {
            self.leave_out(name);
        }
        Some(symbols)
    }

    /// Notes that not all symbols of a file of this name are used.
    pub fn leave_out(&self, name: &str) {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        left_out.count += 1;
        if left_out.count == 1 {
            left_out.first = name.to_owned();
        }
    }

    /// A sentence about the files whose symbols exceed the budget.
    pub fn left_out(&self) -> Option<String> {
        let left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        let LeftOut { first, count } = &*left_out;
        let files = match count {
            0 => return None,
            1 => first.clone(),
            2 => format!("{first} and 1 more file"),
            more => format!("{first} and {} more files", more - 1),
        };
        Some(format!("not all symbols of {files} are used: together they would take too much memory"))
    }

    /// Notes that samples have waited for generated code. Returns how long they have in all.
    pub fn add_wait(&self, wait: Duration) -> Duration {
        let wait = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.waited.fetch_add(wait, Ordering::Relaxed).saturating_add(wait))
    }

    /// Runs a job in a thread when it is its turn.
    pub fn start(self: &Arc<Self>, job: Job) {
        self.queue().waiting.push_back(job);
        self.proceed();
    }

    /// Starts threads, if jobs wait and no more than a few others have their turn.
    pub fn proceed(self: &Arc<Self>) {
        let mut queue = self.queue();
        while let Some(number) = queue.next_thread() {
            let loader = Arc::clone(self);
            let thread = Builder::new().name(THREAD.to_owned()).spawn(move || loader.run(number));
            if let Err(error) = thread {
                queue.running.remove(&number);
                if !std::mem::replace(&mut queue.is_refusal_reported, true) {
                    log::warn!("symbols are missing: {}", thread_refusal(THREAD, &error));
                }
                return;
            }
        }
    }

    fn run(&self, thread: u64) {
        let next = || self.queue().next_job(thread);
        while let Some(job) = next() {
            job(self);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// The number of a thread that is to be started.
    fn next_thread(&mut self) -> Option<u64> {
        let have_turns = self.running.values().filter(|since| since.elapsed() < TURN).count();
        // Each of those that are running takes one of the jobs that wait.
        if have_turns >= AT_ONCE.min(self.waiting.len()) {
            return None;
        }
        self.started += 1;
        self.running.insert(self.started, Instant::now());
        Some(self.started)
    }

    fn next_job(&mut self, thread: u64) -> Option<Job> {
        let job = self.waiting.pop_front();
        match &job {
            Some(_) => _ = self.running.insert(thread, Instant::now()),
            None => _ = self.running.remove(&thread),
        }
        job
    }
}

impl fmt::Debug for SymbolLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SymbolLoader").field("budget", &self.budget).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    #[test]
    fn few_files_are_read_at_a_time_and_those_that_take_long_do_not_count() {
        let loader = SymbolLoader::new(0);
        let (finish, finished) = channel::<()>();
        let (start, started) = channel();
        let finished = Arc::new(Mutex::new(finished));
        for _ in 0..2 * AT_ONCE {
            let (start, finished) = (start.clone(), Arc::clone(&finished));
            loader.start(Box::new(move |_| {
                start.send(Instant::now()).unwrap();
                let _ = finished.lock().unwrap().recv();
            }));
        }
        let times: Vec<Instant> = (0..2 * AT_ONCE).map(|_| next(&loader, &started)).collect();
        let (first, others) = times.split_at(AT_ONCE);
        assert!(others.iter().all(|time| *time - first[0] >= TURN), "{times:?}");
        drop(finish);
    }

    /// The next time at which a job starts.
    fn next(loader: &Arc<SymbolLoader>, started: &Receiver<Instant>) -> Instant {
        let attempt = || {
            loader.proceed();
            started.recv_timeout(TURN / 50).ok()
        };
        (0..1000).find_map(|_| attempt()).expect("it starts")
    }

    #[test]
    fn what_exceeds_the_budget_is_reported_in_one_sentence() {
        let program = ModuleFiles::from(File::open("/proc/self/exe").unwrap());
        let loader = SymbolLoader::within(64 << 20, 1 << 30);
        assert!(loader.read("program", &program).is_some() && loader.left_out().is_none());
        let loader = SymbolLoader::within(1000, 1 << 30);
        (0..3).for_each(|_| _ = loader.read("program", &program));
        let sentence = loader.left_out().unwrap();
        assert!(sentence.starts_with("not all symbols of program and 2 more files are used"), "{sentence}");
    }
}
