//! Where to look for functions: the files of the traced processes.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use trace_hook_api::{Capability, Environment, HookError, Result, did_you_mean, log};

use super::binary::Binary;
use super::choice::BinaryPattern;
use super::maps::{MappedFile, mapped_files};
use super::quoted::quoted;

/// The files that the traced processes run code of, and those that they could.
pub struct Files {
    procfs: PathBuf,
    processes: Vec<i32>,
    /// Each file once.
    mapped: Vec<MappedFile>,
    /// Opened already.
    open: RefCell<Vec<Rc<Binary>>>,
}

impl Files {
    /// The files of these processes.
    ///
    /// # Errors
    ///
    /// We may not look into one of them.
    pub fn of(processes: Vec<i32>, procfs: &Path) -> Result<Self> {
        let mut mapped = Vec::new();
        let mut known = HashSet::new();
        for process in &processes {
            let files = mapped_files(procfs, *process)
                .map_err(|error| forbidden(&format!("look into process {process}"), &error))?;
            // A program may be another one's library.
            mapped.extend(files.into_iter().filter(|file| known.insert((file.identity, file.is_program))));
        }
        Ok(Self { procfs: procfs.to_owned(), processes, mapped, open: RefCell::default() })
    }

    /// The programs themselves.
    ///
    /// # Errors
    ///
    /// There are more files than this process may have open, or it may not open them.
    pub fn programs(&self) -> Result<Vec<Rc<Binary>>> {
        self.open_mapped(|file| file.is_program)
    }

    /// All that is not the program itself.
    ///
    /// # Errors
    ///
    /// As [`programs`](Self::programs).
    pub fn libraries(&self) -> Result<Vec<Rc<Binary>>> {
        self.open_mapped(|file| !file.is_program)
    }

    /// The files that a user means: those that are in use, and those that may be later.
    ///
    /// # Errors
    ///
    /// There is none; or as [`programs`](Self::programs).
    pub fn meant_by(&self, pattern: &BinaryPattern) -> Result<Vec<Rc<Binary>>> {
        let mut found = self.open_mapped(|file| pattern.matches(&file.path))?;
        if let Some(path) = pattern.path() {
            let seen = self.processes.iter().map(|process| Binary::in_root_of(*process, path, &self.procfs));
            seen.filter_map(Result::ok).for_each(|binary| add(&mut found, self.known(binary)));
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
        let place = match pattern.path() {
            Some(_) => "there is no such program or library for the traced processes",
            None => {
                "the traced processes use no such program or library; one that is loaded later needs its whole path"
            }
        };
        HookError::usage(format!("unknown binary {}: {place}{hint}", quoted(text)))
    }

    fn open_mapped(&self, is_meant: impl Fn(&MappedFile) -> bool) -> Result<Vec<Rc<Binary>>> {
        let mut found = Vec::new();
        for file in self.mapped.iter().filter(|file| is_meant(file)) {
            match Binary::at_link(&file.link, &file.path, &self.procfs) {
                Ok(binary) => add(&mut found, self.known(binary)),
                Err(error) if is_out_of_files(&error) => {
                    let advice = "name the BINARY, or allow more open files (ulimit -n)";
                    return Err(HookError::new(format!(
                        "cannot open {}: {error}; {advice}",
                        file.path.display()
                    )));
                }
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    return Err(forbidden(&format!("open {}", file.path.display()), &error));
                }
                // Its process is gone, or has replaced it.
                Err(error) => log::debug!("{}: {error}", file.path.display()),
            }
        }
        Ok(found)
    }

    /// The file as it was opened before, with what was read of it.
    fn known(&self, binary: Binary) -> Rc<Binary> {
        let mut open = self.open.borrow_mut();
        if let Some(known) = open.iter().find(|known| known.identity == binary.identity) {
            return Rc::clone(known);
        }
        let binary = Rc::new(binary);
        open.push(Rc::clone(&binary));
        binary
    }
}

/// Checks that a session may open the files that processes have mapped: it takes a privilege even for one's own
/// (proc_pid_map_files(5)).
///
/// # Errors
///
/// What it lacks.
pub fn check(environment: &Environment) -> Result<()> {
    let lacking = |lacking| HookError::new(format!("to open the files that processes run {lacking}"));
    environment.check_any(&[Capability::CheckpointRestore, Capability::SysAdmin]).map_err(lacking)
}

/// What others' processes and their files take (proc_pid_map_files(5)).
fn forbidden(action: &str, error: &io::Error) -> HookError {
    HookError::new(format!(
        "cannot {action}: {error}; it takes CAP_SYS_PTRACE, and CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN"
    ))
}

fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}

fn add(found: &mut Vec<Rc<Binary>>, binary: Rc<Binary>) {
    if !found.iter().any(|known| known.identity == binary.identity) {
        found.push(binary);
    }
}
