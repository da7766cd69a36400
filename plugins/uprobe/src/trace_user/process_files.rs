//! The programs and libraries of the traced processes.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use trace_hook_api::{Capability, Environment, HookError, Result, did_you_mean, log};

use super::binary::Binary;
use super::function_selector::BinaryPattern;
use super::mapped_files::{MappedFile, mapped_files};
use super::quoted::quoted;

/// The programs and libraries of the traced processes: those that are mapped, and those that can be opened by path.
pub struct ProcessFiles {
    procfs: PathBuf,
    processes: Vec<u32>,
    /// Each file once.
    mapped: Vec<MappedFile>,
    /// Files that were opened before.
    open: RefCell<Vec<Arc<Binary>>>,
}

impl ProcessFiles {
    /// The files of these processes. One whose mappings cannot be read is left out with a warning.
    ///
    /// # Errors
    ///
    /// The mappings of no process can be read.
    pub fn of(processes: Vec<u32>, procfs: &Path) -> Result<Self> {
        let mut mapped = Vec::new();
        let mut known = HashSet::new();
        let mut failures = Vec::new();
        for process in &processes {
            let files = match mapped_files(procfs, *process) {
                Ok(files) => files,
                Err(error) => {
                    failures.push(forbidden(&format!("read the mappings of process {process}"), &error));
                    continue;
                }
            };
            // The program of one process can be a library of another.
            mapped.extend(files.into_iter().filter(|file| known.insert((file.identity, file.is_program))));
        }
        match failures.pop() {
            Some(failure) if failures.len() + 1 == processes.len() => return Err(failure),
            Some(failure) => {
                log::warn!("the files of some processes ({}) are left out: {failure}", failures.len() + 1);
            }
            None => {}
        }
        Ok(Self { procfs: procfs.to_owned(), processes, mapped, open: RefCell::default() })
    }

    /// Whether there is no process.
    pub fn are_of_no_process(&self) -> bool {
        self.processes.is_empty()
    }

    /// The files that are mapped.
    pub fn mapped(&self) -> &[MappedFile] {
        &self.mapped
    }

    /// The programs.
    ///
    /// # Errors
    ///
    /// A file cannot be opened, because of the limit of open files or of missing privileges.
    pub fn programs(&self) -> Result<Vec<Arc<Binary>>> {
        self.open_mapped(|file| file.is_program)
    }

    /// All mapped files that are not the program of their process.
    ///
    /// # Errors
    ///
    /// As [`programs`](Self::programs).
    pub fn libraries(&self) -> Result<Vec<Arc<Binary>>> {
        self.open_mapped(|file| !file.is_program)
    }

    /// The files that match a pattern: those that are mapped, and one at the path that the pattern is.
    ///
    /// # Errors
    ///
    /// No file matches; or as [`programs`](Self::programs).
    pub fn matching(&self, pattern: &BinaryPattern) -> Result<Vec<Arc<Binary>>> {
        let mut found = self.open_mapped(|file| pattern.matches(&file.path))?;
        if let Some(path) = pattern.path() {
            let seen = self.processes.iter().map(|process| Binary::in_root_of(*process, path, &self.procfs));
            seen.filter_map(Result::ok).for_each(|binary| add(&mut found, self.deduplicated(binary)));
        }
        match found.is_empty() {
            true => Err(self.unknown(pattern)),
            false => Ok(found),
        }
    }

    fn unknown(&self, pattern: &BinaryPattern) -> HookError {
        let text = pattern.text();
        let paths: Vec<_> = self.mapped.iter().map(|file| file.path.to_string_lossy()).collect();
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
        HookError::usage(format!("unknown binary {}: {problem}{hint}", quoted(text)))
    }

    fn open_mapped(&self, is_wanted: impl Fn(&MappedFile) -> bool) -> Result<Vec<Arc<Binary>>> {
        let mut found = Vec::new();
        for file in self.mapped.iter().filter(|file| is_wanted(file)) {
            match Binary::at_link(&file.link, &file.path, &self.procfs) {
                Ok(binary) => add(&mut found, self.deduplicated(binary)),
                Err(error) if is_out_of_files(&error) => {
                    let advice = "name the BINARY, or raise the limit of open files (ulimit -n)";
                    return Err(HookError::new(format!(
                        "cannot open {}: {error}; {advice}",
                        file.path.display()
                    )));
                }
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    return Err(forbidden(&format!("open {}", file.path.display()), &error));
                }
                // The process has ended, or has unmapped the file.
                Err(error) => log::debug!("{}: {error}", file.path.display()),
            }
        }
        Ok(found)
    }

    /// The same file as it was opened before, if it was.
    fn deduplicated(&self, binary: Binary) -> Arc<Binary> {
        let mut open = self.open.borrow_mut();
        if let Some(known) = open.iter().find(|known| known.identity == binary.identity) {
            return Arc::clone(known);
        }
        let binary = Arc::new(binary);
        open.push(Arc::clone(&binary));
        binary
    }
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

/// The error for a process or file that takes privileges (proc_pid_map_files(5)).
fn forbidden(action: &str, error: &io::Error) -> HookError {
    HookError::new(format!(
        "cannot {action}: {error}; this needs CAP_SYS_PTRACE, and CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN"
    ))
}

fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}

fn add(found: &mut Vec<Arc<Binary>>, binary: Arc<Binary>) {
    if !found.iter().any(|known| known.identity == binary.identity) {
        found.push(binary);
    }
}
