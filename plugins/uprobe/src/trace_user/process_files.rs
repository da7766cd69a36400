//! The programs and libraries of the traced processes.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use trace_hook_api::{Capability, Environment, HookError, Result, did_you_mean};
use trace_tasks::{Blocked, BlockingCalls, CallTarget, FuseFileSystems, ListLength, Pid, ProcessRoots};
use tracefs_session::StopFlag;

use super::binary::{self, Binary};
use super::candidate::Candidate;
use super::debug_file::{DebugFileSearch, MAX_PROCESSES};
use super::function_selector::BinaryPattern;
use super::left_out::LeftOut;
use super::mapped_files::{AllFiles, FileIdentity, MappedFile, mapped_files};
use super::pace::{Pace, SearchTimes};
use super::quoted::quoted;

/// The programs and libraries of the traced processes: those that are mapped, and those that can be opened by path.
pub struct ProcessFiles {
    environment: Environment,
    pace: Pace,
    stop: StopFlag,
    roots: Arc<ProcessRoots>,
    processes: Vec<Pid>,
    mapped: AllFiles,
    calls: Arc<Mutex<BlockingCalls>>,
    /// Files that are still open.
    open: RefCell<HashMap<(u64, u64), Weak<Binary>>>,
    left_out: RefCell<LeftOut>,
    postponed: RefCell<Postponed>,
    times: RefCell<SearchTimes>,
}

/// What was not searched, because it takes long.
#[derive(Debug, Default, Clone)]
pub struct Postponed {
    pub processes: BTreeSet<Pid>,
    files: HashSet<FileIdentity>,
    /// The same with the reasons.
    pub reasons: LeftOut,
}

const TOO_MANY_MAPPINGS: &str = "it has too many mappings";

/// Why a file is not searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOpened {
    /// It does not exist (any more).
    Gone,
    LeftOut,
}

/// Reads the mappings of processes.
struct Reading<'a> {
    environment: &'a Environment,
    pace: Pace,
    calls: &'a Mutex<BlockingCalls>,
    fuse: FuseFileSystems,
    found: AllFiles,
    /// For each process that cannot be read, the error, unless it does not answer.
    failures: Vec<Option<HookError>>,
    postponed: Postponed,
}

impl Reading<'_> {
    /// Adds the files of all processes, as far as there is time.
    fn read_all(&mut self, processes: &[Pid], left_out: &mut LeftOut) {
        // Stepwise: one process with many children that have long lists must not delay the others.
        let longer = self.longer_than(ListLength::Short, processes, Duration::MAX, left_out);
        let long = self.longer_than(ListLength::Usual, &longer, self.pace.usual_lists_time(), left_out);
        self.read_long(&long, left_out);
    }

    /// Adds the files of processes with lists up to this length. Returns the others. Those for which there is no time are postponed.
    fn longer_than(
        &mut self,
        length: ListLength,
        processes: &[Pid],
        time: Duration,
        left_out: &mut LeftOut,
    ) -> Vec<Pid> {
        let (began, time, mut longer) = (Instant::now(), self.environment.patient(time), Vec::new());
        for process in processes.iter().copied() {
            if began.elapsed() > time {
                self.postponed.add_process(process, TOO_MANY_MAPPINGS);
            } else if !self.read(process, length, None, left_out) {
                longer.push(process);
            }
        }
        longer
    }

    /// Adds the files of processes with lists that are longer than usual.
    fn read_long(&mut self, processes: &[Pid], left_out: &mut LeftOut) {
        let (began, time) = (Instant::now(), self.environment.patient(self.pace.long_lists_time()));
        for process in processes.iter().copied() {
            let left = time.saturating_sub(began.elapsed());
            let length = match self.pace {
                _ if !left.is_zero() => Some((ListLength::Most, left)),
                Pace::Prompt => None,
                Pace::Thorough => Some((ListLength::Usual, Duration::MAX)),
            };
            if length.is_some_and(|(length, time)| self.read(process, length, Some(time), left_out)) {
                continue;
            }
            match self.pace {
                Pace::Prompt => self.postponed.add_process(process, TOO_MANY_MAPPINGS),
                Pace::Thorough => {
                    left_out
                        .add(format_args!("a part of the files of process {process}: {TOO_MANY_MAPPINGS}"));
                }
            }
        }
    }

    /// Adds the files of a process. A list that is longer than usual is read for some time. Returns false if these are not all.
    fn read(
        &mut self,
        process: Pid,
        length: ListLength,
        time_for_long: Option<Duration>,
        left_out: &mut LeftOut,
    ) -> bool {
        let is_long = time_for_long.is_some();
        let (root, fuse) = (self.environment.procfs.clone(), self.fuse.clone());
        let time = time_for_long.unwrap_or(Duration::MAX);
        let read = move || mapped_files(&root, &fuse, process, length, time);
        match call(self.calls, CallTarget::Process(process), read) {
            Ok(Ok(found)) => {
                if !found.are_all && !is_long {
                    return false;
                }
                for path in &found.on_fuse {
                    left_out.add(format_args!("{}: it is on a FUSE file system", path.display()));
                }
                // The program of one process can be a library of another.
                let files =
                    found.files.into_iter().map(|file| MappedFile { is_of_long_list: is_long, ..file });
                let refused = files.filter(|file| !self.found.add(file.clone())).count();
                if refused > 0 && !is_long {
                    left_out
                        .add(format_args!("{refused} files of process {process}: there are too many in all"));
                }
                return found.are_all && (refused == 0 || !is_long);
            }
            Ok(Err(error)) => {
                let error = explained(&error, self.environment);
                let error = HookError::new(format!("cannot read the mappings of process {process}: {error}"));
                left_out.add(format_args!("the files of process {process}: {error}"));
                self.failures.push(Some(error));
            }
            Err(blocked) if self.pace == Pace::Prompt => self.postponed.add_process(process, blocked),
            Err(blocked) => {
                left_out.add(format_args!("the files of process {process}: {blocked}"));
                self.failures.push(None);
            }
        }
        true
    }
}

impl ProcessFiles {
    /// The files of these processes, which are read by these calls. A process whose mappings cannot be read is left out.
    ///
    /// # Errors
    ///
    /// There are processes, and the mappings of none can be read.
    pub fn of(
        processes: Vec<Pid>,
        environment: &Environment,
        calls: Arc<Mutex<BlockingCalls>>,
        pace: Pace,
        stop: StopFlag,
    ) -> Result<Self> {
        let fuse = FuseFileSystems::new(&environment.procfs, &environment.sysfs);
        let mut reading = Reading {
            environment,
            pace,
            calls: &calls,
            fuse,
            found: AllFiles::default(),
            failures: Vec::new(),
            postponed: Postponed::default(),
        };
        let mut left_out = LeftOut::default();
        reading.read_all(&processes, &mut left_out);
        let Reading { found: mapped, failures, postponed, .. } = reading;
        if failures.len() == processes.len() && !failures.is_empty() {
            let unreadable = || HookError::new(format!("no file can be searched: {left_out}"));
            return Err(failures.into_iter().flatten().next_back().unwrap_or_else(unreadable));
        }
        Ok(Self {
            environment: environment.clone(),
            pace,
            stop,
            roots: Arc::new(ProcessRoots::new(&environment.procfs, &environment.sysfs)),
            processes,
            mapped,
            calls,
            open: RefCell::default(),
            left_out: RefCell::new(left_out),
            postponed: RefCell::new(postponed),
            times: RefCell::new(SearchTimes::new(pace)),
        })
    }

    /// Searches a file, unless the search of the files of its processes, or of all files, has taken too long.
    /// The search gets the CPU time that it may take.
    pub fn search(&self, file: Candidate<'_>, search: impl FnOnce(Duration)) {
        if self.stop.is_set() {
            return;
        }
        if let Some(reason) = self.times.borrow().reason_to_leave_out(file, &self.environment) {
            return self.give_up(file, reason);
        }
        let (before, time) = (self.spent(), self.times.borrow().time_for(file, &self.environment));
        search(time);
        self.times.borrow_mut().add(file, self.spent() - before);
    }

    /// How long opening and reading files has taken so far, without the time in which that waited for a CPU.
    pub fn spent(&self) -> Duration {
        self.calls().spent()
    }

    /// Where the debug file of a file is looked for.
    pub fn debug_file_search(&self, file: Candidate<'_>) -> DebugFileSearch {
        let processes = file.processes().into_iter().take(MAX_PROCESSES).collect();
        DebugFileSearch { path: file.path().to_owned(), processes, roots: Arc::clone(&self.roots) }
    }

    /// Set when the session stops.
    pub fn stop(&self) -> &StopFlag {
        &self.stop
    }

    /// A time limit for one of the files.
    pub fn patient(&self, limit: Duration) -> Duration {
        self.environment.patient(limit)
    }

    /// The CPU time for names of a file that are slow to demangle.
    pub fn slow_names_time(&self) -> Duration {
        self.patient(self.pace.slow_names_time())
    }

    /// The processes.
    pub fn processes(&self) -> &[Pid] {
        &self.processes
    }

    /// Whether there is no process.
    pub fn are_of_no_process(&self) -> bool {
        self.processes.is_empty()
    }

    /// The files that are mapped, and searched if need be.
    pub fn searched(&self) -> impl Iterator<Item = FileIdentity> {
        let postponed = self.postponed.borrow();
        let all = self.mapped.list.iter().map(|file| file.identity);
        all.filter(move |file| !postponed.files.contains(file))
    }

    /// What was postponed.
    pub fn postponed(&self) -> Postponed {
        self.postponed.borrow().clone()
    }

    /// The programs.
    pub fn programs(&self) -> Vec<Candidate<'_>> {
        self.mapped(|file| file.identity.is_program)
    }

    /// All mapped files that are not the program of their process.
    pub fn libraries(&self) -> Vec<Candidate<'_>> {
        self.mapped(|file| !file.identity.is_program)
    }

    /// The files that match a pattern: those that are mapped, and, if the pattern is a path, what is there.
    pub fn matching<'a>(&'a self, pattern: &'a BinaryPattern) -> Vec<Candidate<'a>> {
        let mut found = self.mapped(|file| pattern.matches(&file.path));
        if let Some(path) = pattern.path() {
            found.extend(self.processes.iter().map(|process| Candidate::InRootOf(*process, path)));
        }
        found
    }

    fn mapped(&self, is_wanted: impl Fn(&MappedFile) -> bool) -> Vec<Candidate<'_>> {
        let mut wanted: Vec<&MappedFile> = self.mapped.list.iter().filter(|file| is_wanted(file)).collect();
        // In turns: the files of one process must not use up the time for those of others.
        wanted.sort_by_key(|file| (file.is_of_long_list, file.rank));
        wanted.into_iter().map(Candidate::Mapped).collect()
    }

    /// Opens a file.
    ///
    /// # Errors
    ///
    /// It does not exist, or is left out, which is noted.
    pub fn open(&self, candidate: Candidate<'_>) -> Result<Arc<Binary>, NotOpened> {
        let (path, procfs) = (candidate.path().to_owned(), self.environment.procfs.clone());
        let opened = match candidate {
            Candidate::Mapped(file) => self.follow_a_link(file).and_then(|file| {
                let open = move || Binary::of(file, &path, &procfs);
                self.call(candidate.target(), open).map_err(io::Error::other).flatten()
            }),
            Candidate::InRootOf(process, _) => {
                let open = move || Binary::in_root_of(process, &path, &procfs);
                self.call(candidate.target(), open).map_err(io::Error::other).flatten()
            }
        };
        match opened {
            Ok(binary) => Ok(self.deduplicated(binary)),
            Err(error) if is_gone(&error) => Err(NotOpened::Gone),
            Err(error) => {
                match error.get_ref().and_then(|inner| inner.downcast_ref::<Blocked>()) {
                    Some(blocked) => self.give_up(candidate, blocked),
                    None => self.leave_out(candidate.path().display(), explained(&error, &self.environment)),
                }
                Err(NotOpened::LeftOut)
            }
        }
    }

    /// Follows the first link to a file that can be followed.
    fn follow_a_link(&self, file: &MappedFile) -> io::Result<OwnedFd> {
        let mut failure = ErrorKind::NotFound.into();
        for (process, link) in &file.links {
            let link = link.clone();
            let followed = self.call(CallTarget::Process(*process), move || binary::follow(&link));
            match followed.map_err(io::Error::other).flatten() {
                Ok(file) => return Ok(file),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Reads an open file. Returns `None` if it cannot be read in time.
    pub fn read<T: Send + 'static>(
        &self,
        candidate: Candidate<'_>,
        binary: Arc<Binary>,
        read: impl FnOnce(Arc<Binary>) -> T + Send + 'static,
    ) -> Option<T> {
        let result = self.call(candidate.target(), move || read(binary));
        result.map_err(|blocked| self.give_up(candidate, blocked)).ok()
    }

    /// Notes that a file takes long: it is postponed, or left out for this reason.
    pub fn give_up(&self, candidate: Candidate<'_>, why: impl Display) {
        match self.pace {
            Pace::Prompt => self.postponed.borrow_mut().add(candidate, why),
            Pace::Thorough => self.leave_out(candidate.path().display(), why),
        }
    }

    /// Notes that something is not searched, or has no probes.
    pub fn leave_out(&self, what: impl Display, why: impl Display) {
        self.left_out.borrow_mut().add(format_args!("{what}: {why}"));
    }

    /// What is left out so far.
    pub fn left_out(&self) -> LeftOut {
        self.left_out.borrow().clone()
    }

    /// The error if no file matches a pattern, and some cannot be read.
    pub fn unknown(&self, pattern: &BinaryPattern, unreadable: &LeftOut) -> HookError {
        let text = pattern.text();
        let paths: Vec<_> = self.mapped.list.iter().map(|file| file.path.to_string_lossy()).collect();
        let hint = match text.contains('/') {
            true => did_you_mean(text, &paths),
            false => {
                let names: Vec<&str> = paths.iter().filter_map(|path| path.rsplit('/').next()).collect();
                did_you_mean(text, &names)
            }
        };
        let problem = match pattern.path() {
            Some(_) => "the traced processes have no such file",
            None => {
                "the traced processes have not loaded such a file; for one that is loaded later, give the whole path"
            }
        };
        let unreadable = match unreadable.is_empty() {
            true => String::new(),
            false => format!("; left out: {unreadable}"),
        };
        HookError::usage(format!("unknown binary {}: {problem}{unreadable}{hint}", quoted(text)))
    }

    fn calls(&self) -> MutexGuard<'_, BlockingCalls> {
        lock(&self.calls)
    }

    fn call<T: Send + 'static>(
        &self,
        target: CallTarget,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Blocked> {
        self::call(&self.calls, target, call)
    }

    /// The same file as it was opened before, if it is still open.
    fn deduplicated(&self, binary: Binary) -> Arc<Binary> {
        let mut open = self.open.borrow_mut();
        if let Some(known) = open.get(&binary.identity).and_then(Weak::upgrade) {
            return known;
        }
        let binary = Arc::new(binary);
        open.insert(binary.identity, Arc::downgrade(&binary));
        binary
    }
}

impl Postponed {
    fn add_process(&mut self, process: Pid, why: impl Display) {
        self.processes.insert(process);
        self.reasons.add(format_args!("the files of process {process}: {why}"));
    }

    fn add(&mut self, file: Candidate<'_>, why: impl Display) {
        self.processes.extend(file.processes());
        if let Candidate::Mapped(mapped) = file {
            self.files.insert(mapped.identity);
        }
        self.reasons.add(format_args!("{}: {why}", file.path().display()));
    }
}

/// Calls for the files of all processes of a session.
pub fn blocking_calls(environment: &Environment, pace: Pace) -> Arc<Mutex<BlockingCalls>> {
    Arc::new(Mutex::new(BlockingCalls::within(environment.patient(pace.blocking_time()))))
}

fn call<T: Send + 'static>(
    calls: &Mutex<BlockingCalls>,
    target: CallTarget,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Blocked> {
    lock(calls).call(&[target], call)
}

fn lock(calls: &Mutex<BlockingCalls>) -> MutexGuard<'_, BlockingCalls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks that a session can open the files that processes have mapped. That takes a privilege even for the own process
/// (proc_pid_map_files(5)).
///
/// # Errors
///
/// The privilege that is missing.
pub fn check(environment: &Environment) -> Result<()> {
    let lacking = |lacking| HookError::new(format!("to open the files that processes run, {lacking}"));
    environment.check_any(&[Capability::CheckpointRestore, Capability::SysAdmin]).map_err(lacking)
}

/// An error with what to do about it.
fn explained(error: &io::Error, environment: &Environment) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE) => {
            format!("{error}; name the BINARY, or raise the limit of open files (ulimit -n)")
        }
        Some(Errno::EPERM | Errno::EACCES) => format!("{error}{}", lacking(environment)),
        _ => error.to_string(),
    }
}

/// The privileges for the files of other processes that a session lacks (proc_pid_map_files(5)).
fn lacking(environment: &Environment) -> String {
    let needed: [&[Capability]; 2] =
        [&[Capability::SysPtrace], &[Capability::CheckpointRestore, Capability::SysAdmin]];
    let missing = needed.iter().filter_map(|any_of| environment.check_any(any_of).err());
    missing.map(|missing| format!("; {}", missing.message())).collect()
}

/// The process has ended, or has unmapped the file.
fn is_gone(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOENT | Errno::ESRCH | Errno::ENOTDIR))
}
