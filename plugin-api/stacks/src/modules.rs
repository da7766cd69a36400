//! The files with code that the traced processes have mapped.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use trace_hook_api::Environment;
use trace_symbols::{DebugFileReference, SymbolTable};
use trace_tasks::{ProcessRoots, open_regular_file};

use crate::demangler::DemanglingTime;
use crate::generated_code::{GeneratedCode, is_generated, is_jit_dump};
use crate::mapping::Mapping;
use crate::symbol_loader::SymbolLoader;

/// Files are held open until their symbols are needed, and each takes a descriptor. Twice as many are cached at most.
const MAX_RECENT: usize = 400;
/// The same for those that processes have mapped after so many others.
const MAX_RECENT_EXCESS: usize = 100;
const MAX_OF_PROCESS: usize = 200;

/// For how many processes it is known what code they have generated.
const MAX_GENERATING: usize = 1000;

/// How long a call that reads mappings or opens a file may block.
pub const CALL_LIMIT: Duration = Duration::from_millis(500);

/// How long samples wait until a file is opened. Usually that is a moment. Thousands of files take longer on a busy machine, and the
/// calls that block before it take little more than the limit together ([`BlockingCalls`](trace_tasks::BlockingCalls)).
const OPEN_TIMEOUT: Duration = CALL_LIMIT.saturating_mul(10);
/// How long samples wait for the symbols of an open file, which is read in milliseconds unless its disk does not answer. After that
/// they are shown without.
const LOAD_TIMEOUT: Duration = CALL_LIMIT.saturating_mul(4);
/// How long one call waits.
pub const BRIEF_WAIT: Duration = Duration::from_millis(10);

/// What the kernel puts behind the path of a file that was unlinked.
pub const DELETED: &[u8] = b" (deleted)";

/// The files observed so far. A file is opened soon after it is first observed: later the process may have ended, and with it
/// the mount namespace in which the file has this path.
#[derive(Debug)]
pub struct Modules {
    roots: Arc<ProcessRoots>,
    /// Processes whose root directory is tried if the process that mapped a file has ended.
    fallback_processes: Vec<u32>,
    cache: Mutex<ModuleCache>,
    /// By process.
    generated: Mutex<HashMap<u32, Arc<GeneratedCode>>>,
    limits: Arc<Limits>,
}

/// Reads symbols, and how long samples wait for it.
#[derive(Debug)]
struct Limits {
    loader: Arc<SymbolLoader>,
    opening: Duration,
    loading: Duration,
}

/// The files that were used lately.
#[derive(Debug, Default)]
struct ModuleCache {
    usual: RecentModules,
    /// Those that processes have mapped after `MAX_OF_PROCESS` others: they must not displace those of other processes.
    excess: RecentModules,
    /// How many files each process was the first to map, since some files were dropped.
    of_processes: HashMap<u32, usize>,
}

/// A file is dropped only if it was not used while a number of others were: other files come between the time when a file is
/// observed and the time when its symbols are needed.
#[derive(Debug, Default)]
struct RecentModules {
    recent: HashMap<Identity, Arc<Module>>,
    older: HashMap<Identity, Arc<Module>>,
}

/// Identifies a file, also if a new file reuses the inode of a deleted one.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Identity {
    /// The process whose code this is, if it can be generated.
    generating: Option<u32>,
    device: (u32, u32),
    inode: (u64, u64),
    path: Vec<u8>,
}

/// A file with code.
#[derive(Debug)]
pub struct Module {
    /// The file name.
    pub name: String,
    file: Mutex<ModuleFile>,
    /// Notified when the file is opened, or found not to be usable.
    opened: Condvar,
    loading: OnceLock<Loading>,
    symbols: OnceLock<Option<SymbolTable>>,
    pub(crate) demangling: DemanglingTime,
    limits: Arc<Limits>,
    /// False for `[heap]`, `//anon` and generated code.
    pub is_file: bool,
    /// What a process has generated, if this can be its code.
    pub(crate) generated: Option<Arc<GeneratedCode>>,
}

/// The file of a module, from when it is observed until its symbols are read.
#[derive(Debug, Default)]
enum ModuleFile {
    #[default]
    None,
    /// It is being opened since this time.
    Expected(Instant),
    Open(ModuleFiles),
}

/// A file, and those of which one can be its debug file.
#[derive(Debug)]
pub struct ModuleFiles {
    /// The file that is mapped.
    pub itself: File,
    /// How to tell which one it is.
    pub reference: Option<DebugFileReference>,
    /// Those that it can be.
    pub candidates: Vec<File>,
}

impl From<File> for ModuleFiles {
    fn from(itself: File) -> Self {
        Self { itself, reference: None, candidates: Vec::new() }
    }
}

/// The symbols of a file that is read, or will be.
#[derive(Debug)]
struct Loading {
    began: Instant,
    /// Closed when the symbols are read.
    done: Mutex<Receiver<Infallible>>,
}

impl Modules {
    /// Keeps up to this many bytes of names on disk.
    pub fn new(environment: &Environment, fallback_processes: Vec<u32>, names_on_disk: u64) -> Self {
        Self {
            roots: Arc::new(ProcessRoots::new(&environment.procfs, &environment.sysfs)),
            generated: Mutex::default(),
            fallback_processes,
            cache: Mutex::default(),
            limits: Limits::of(environment, names_on_disk),
        }
    }

    /// A sentence about files whose symbols take too much memory.
    pub fn left_out(&self) -> Option<String> {
        self.limits.loader.left_out()
    }

    /// The file of a mapping of a process, opened or not.
    pub fn module(&self, process: u32, mapping: &Mapping<'_>) -> Arc<Module> {
        let can_be_generated = is_generated(mapping) || is_jit_dump(mapping.path);
        let generated = can_be_generated.then(|| self.generated_by(process));
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = Identity {
            generating: can_be_generated.then_some(process),
            device: mapping.device,
            inode: (mapping.inode, mapping.generation),
            path: mapping.path.to_owned(),
        };
        cache.module(process, identity, generated, &self.limits)
    }

    /// The code that a process generates.
    pub fn generated_by(&self, process: u32) -> Arc<GeneratedCode> {
        let mut generated = self.generated.lock().unwrap_or_else(PoisonError::into_inner);
        if generated.len() >= MAX_GENERATING && !generated.contains_key(&process) {
            generated.clear();
        }
        let code = || {
            let loader = Arc::clone(&self.limits.loader);
            Arc::new(GeneratedCode::of(process, Arc::clone(&self.roots), loader))
        };
        Arc::clone(generated.entry(process).or_insert_with(code))
    }

    /// Opens the file of a mapping of a process. `None`, if it does not exist any more. This can block.
    ///
    /// # Errors
    ///
    /// It exists, but is not used.
    pub fn open(&self, process: u32, mapping: &Mapping<'_>) -> io::Result<Option<File>> {
        let (procfs, fuse) = (self.roots.procfs(), self.roots.fuse());
        let end = mapping.address.wrapping_add(mapping.length);
        let itself = format!("{process}/map_files/{:x}-{end:x}", mapping.address);
        if fuse.is_listed(mapping.device) || fuse.of_process(process).contains(&mapping.device) {
            return Err(io::Error::other("it is on a FUSE file system"));
        }
        let failure = match open_regular_file(&procfs.join(itself), procfs, |_| true) {
            Ok((file, _)) => return Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::Other => return Err(error),
            // The process has ended, or has unmapped it; or this process may not open it this way.
            Err(error) => error,
        };
        let Ok(path) = Path::new(OsStr::from_bytes(mapping.path)).strip_prefix("/") else { return Ok(None) };
        let roots = [process].into_iter().chain(self.fallback_processes.iter().copied());
        let roots = roots.filter(|root| !fuse.of_process(*root).contains(&mapping.device));
        // Devices are not compared: some file systems report a different one to perf events than to stat(2).
        let open = |root| {
            let path = procfs.join(format!("{root}/root")).join(path);
            open_regular_file(&path, procfs, |metadata| metadata.ino() == mapping.inode)
        };
        match roots.map(open).find_map(Result::ok) {
            Some((file, _)) => Ok(Some(file)),
            None if failure.kind() == io::ErrorKind::PermissionDenied => Err(io::Error::other(format!(
                "{failure}; files of other users' processes take CAP_SYS_PTRACE"
            ))),
            None => Ok(None),
        }
    }

    /// Opens what can be the debug file of a file that is open. This can block.
    pub fn open_debug_files(&self, process: u32, path: &[u8], itself: File) -> ModuleFiles {
        let Some(reference) = DebugFileReference::of(&itself, self.limits.loader.budget()) else {
            return itself.into();
        };
        let processes: Vec<u32> =
            [process].into_iter().chain(self.fallback_processes.iter().copied()).collect();
        let path = Path::new(OsStr::from_bytes(path.strip_suffix(DELETED).unwrap_or(path)));
        let candidates = reference.candidates(path, &processes, &self.roots, self.limits.loader.budget());
        ModuleFiles { itself, reference: Some(reference), candidates }
    }
}

impl Limits {
    fn of(environment: &Environment, names_on_disk: u64) -> Arc<Self> {
        Arc::new(Self {
            loader: SymbolLoader::new(names_on_disk),
            opening: environment.patient(OPEN_TIMEOUT),
            loading: environment.patient(LOAD_TIMEOUT),
        })
    }
}

impl ModuleCache {
    fn module(
        &mut self,
        process: u32,
        identity: Identity,
        generated: Option<Arc<GeneratedCode>>,
        limits: &Arc<Limits>,
    ) -> Arc<Module> {
        let usual = self.usual.known(&identity, MAX_RECENT);
        if let Some(module) = usual.or_else(|| self.excess.known(&identity, MAX_RECENT_EXCESS)) {
            return module;
        }
        let module = Arc::new(Module { generated, ..Module::named(&identity.path, limits) });
        let count = self.of_processes.entry(process).or_default();
        *count += 1;
        if *count > MAX_OF_PROCESS {
            self.excess.insert(identity, &module, MAX_RECENT_EXCESS);
        } else if self.usual.insert(identity, &module, MAX_RECENT) {
            self.of_processes.clear();
        }
        module
    }
}

impl RecentModules {
    fn known(&mut self, identity: &Identity, limit: usize) -> Option<Arc<Module>> {
        if let Some(module) = self.recent.get(identity) {
            return Some(Arc::clone(module));
        }
        let (identity, module) = self.older.remove_entry(identity)?;
        self.insert(identity, &module, limit);
        Some(module)
    }

    /// Adds a module. Returns whether others have become older.
    fn insert(&mut self, identity: Identity, module: &Arc<Module>, limit: usize) -> bool {
        let is_full = self.recent.len() >= limit;
        if is_full {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(identity, Arc::clone(module));
        is_full
    }
}

impl Module {
    fn named(path: &[u8], limits: &Arc<Limits>) -> Self {
        let vdso = (path == b"[vdso]").then(|| limits.loader.vdso());
        let path = path.strip_suffix(DELETED).unwrap_or(path);
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        Self {
            name: String::from_utf8_lossy(name).into_owned(),
            file: Mutex::default(),
            opened: Condvar::new(),
            loading: OnceLock::new(),
            symbols: vdso.map(OnceLock::from).unwrap_or_default(),
            demangling: DemanglingTime::default(),
            limits: Arc::clone(limits),
            is_file: path.starts_with(b"/") && !path.starts_with(b"//"),
            generated: None,
        }
    }

    /// Notes that the file will be opened. Returns false if it need not be.
    pub fn expect_file(&self) -> bool {
        let mut file = self.file();
        let is_needed =
            matches!(*file, ModuleFile::None) && self.loading.get().is_none() && !self.is_loaded();
        if is_needed {
            *file = ModuleFile::Expected(Instant::now());
        }
        is_needed
    }

    /// Takes the open file. Without one, another process may map it later.
    pub fn set_file(&self, file: Option<ModuleFiles>) {
        *self.file() = file.map_or(ModuleFile::None, ModuleFile::Open);
        self.opened.notify_all();
    }

    /// Starts to read the symbols, if that is due. Returns whether it is worthwhile to wait for them.
    pub fn start_loading(self: &Arc<Self>) -> bool {
        if self.is_loaded() {
            return false;
        }
        let mut file = self.file();
        match std::mem::take(&mut *file) {
            ModuleFile::Open(open) => {
                drop(file);
                self.load_symbols(open);
            }
            ModuleFile::Expected(since) => {
                *file = ModuleFile::Expected(since);
                return since.elapsed() < self.limits.opening;
            }
            ModuleFile::None => self.limits.loader.proceed(),
        }
        !self.is_loaded()
            && self.loading.get().is_some_and(|loading| loading.began.elapsed() < self.limits.loading)
    }

    /// Waits for the symbols for a short time.
    pub fn wait_briefly(&self) {
        match self.loading.get() {
            Some(loading) => {
                let done = loading.done.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = done.recv_timeout(BRIEF_WAIT);
            }
            None => {
                let is_expected = |file: &mut ModuleFile| matches!(file, ModuleFile::Expected(_));
                let _ = self.opened.wait_timeout_while(self.file(), BRIEF_WAIT, is_expected);
            }
        }
    }

    /// Whether the result of [`Self::function`] is final.
    pub fn is_loaded(&self) -> bool {
        !self.is_file || self.symbols.get().is_some()
    }

    /// The symbol of the function at this place in the file, if the symbols are read.
    pub fn function(&self, offset: u64) -> Option<Cow<'_, str>> {
        self.symbols.get()?.as_ref()?.function_at_offset(offset)
    }

    fn load_symbols(self: &Arc<Self>, files: ModuleFiles) {
        let (module, (not_done, done)) = (Arc::clone(self), channel::<Infallible>());
        let _ = self.loading.set(Loading { began: Instant::now(), done: Mutex::new(done) });
        self.limits.loader.start(Box::new(move |loader| {
            let _ = module.symbols.set(loader.read(&module.name, &files));
            drop(not_done);
        }));
    }

    fn file(&self) -> MutexGuard<'_, ModuleFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(inode: u64, generation: u64) -> Mapping<'static> {
        Mapping { address: 0, length: 1, offset: 0, device: (8, 1), inode, generation, path: b"/bin/a" }
    }

    #[test]
    fn files_that_reuse_an_inode_are_distinguished() {
        let modules = Modules::new(&Environment::new("/nowhere", "/nowhere"), Vec::new(), 0);
        let first = modules.module(1, &mapping(1, 10));
        assert!(Arc::ptr_eq(&first, &modules.module(1, &mapping(1, 10))));
        assert!(!Arc::ptr_eq(&first, &modules.module(1, &mapping(1, 11))));
    }

    #[test]
    fn symbols_are_read_on_demand() {
        let module =
            Arc::new(Module::named(b"/proc/self/exe (deleted)", &Limits::of(&Environment::default(), 0)));
        assert!(!module.start_loading() && !module.is_loaded(), "the file is not open");
        assert!(module.expect_file() && !module.expect_file());
        assert!(module.start_loading(), "the file is being opened");
        module.set_file(Some(File::open("/proc/self/exe").unwrap().into()));
        assert_eq!((module.name.as_str(), module.is_loaded()), ("exe", false));
        assert!(module.start_loading() || module.is_loaded());
        (0..1000).take_while(|_| !module.is_loaded()).for_each(|_| module.wait_briefly());
        let size = std::fs::metadata("/proc/self/exe").unwrap().len();
        assert!((0..size).step_by(64).any(|offset| module.function(offset).is_some()));
        assert!(!module.start_loading());
    }

    #[test]
    fn files_in_use_stay_cached_and_the_others_are_bounded() {
        let modules = Modules::new(&Environment::new("/nowhere", "/nowhere"), Vec::new(), 0);
        let process = |inode: u64| (inode / 100) as u32;
        let used = modules.module(0, &mapping(0, 0));
        let unused = Arc::downgrade(&modules.module(0, &mapping(1, 0)));
        for inode in 2..3 * MAX_RECENT as u64 {
            modules.module(process(inode), &mapping(inode, 0));
            assert!(Arc::ptr_eq(&used, &modules.module(0, &mapping(0, 0))));
        }
        assert_eq!(unused.strong_count(), 0);
        let cache = modules.cache.lock().unwrap();
        assert!(cache.usual.recent.len() + cache.usual.older.len() <= 2 * MAX_RECENT);
    }

    #[test]
    fn a_process_with_many_files_does_not_displace_those_of_others() {
        let modules = Modules::new(&Environment::new("/nowhere", "/nowhere"), Vec::new(), 0);
        let of_other = modules.module(1, &mapping(0, 0));
        let of_many = Arc::downgrade(&modules.module(2, &mapping(1, 0)));
        (2..5000).for_each(|inode| _ = modules.module(2, &mapping(inode, 0)));
        assert!(Arc::ptr_eq(&of_other, &modules.module(1, &mapping(0, 0))) && of_many.strong_count() > 0);
        let cache = modules.cache.lock().unwrap();
        assert!(cache.excess.recent.len() + cache.excess.older.len() <= 2 * MAX_RECENT_EXCESS);
    }
}
