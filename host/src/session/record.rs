//! The record of a session, which shows whether the session is alive.
//!
//! A record is a file in the run directory that contains the path of the session's plugin. The supervisor locks its
//! first byte, the worker the second. These are POSIX record locks: the kernel releases them when the process ends for
//! any reason, and reports the owner of a lock by its id in the caller's pid namespace. A record without a lock
//! therefore belongs to a dead session, and no process is killed because of a stored process id, which may have been
//! reused.
//!
//! The kernel releases these locks before it closes the files of a dying process. Open objects cannot be removed, so
//! the record also stores the identity of the worker, to wait for its end.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use trace_hook_api::SESSION_PREFIX;

use super::pidfd::PidFd;
use super::process_identity::ProcessIdentity;
use super::run_directory::{NEW, RunDirectory, SESSION, SUMMARY, TRACE, UNREAD, cannot_write};
use crate::error::{Error, Result};

/// Separates the path of the plugin, the worker, and the mark. No path can contain it.
const SEPARATOR: char = '\0';
/// The mark of a session that could not be swept.
const UNSWEPT: &str = "\0unswept";

/// The owner of a byte of the record.
#[derive(Debug, Clone, Copy)]
pub enum Holder {
    /// The process that the user started.
    Supervisor,
    /// The process that records.
    Worker,
    /// One of the two.
    Either,
}

/// A record, and the files that belong to it. Dropping it removes none of them.
#[derive(Debug)]
pub struct Record {
    /// The name of the session.
    pub session: String,
    directory: RunDirectory,
    file: File,
}

impl Record {
    /// Creates the record of a new session. It is locked before it gets its final name, so it never seems to be that of
    /// a dead session.
    ///
    /// # Errors
    ///
    /// It cannot be created in the run directory.
    pub fn create(directory: &RunDirectory, plugin: &Path) -> Result<Self> {
        loop {
            let session = new_name();
            let path = directory.file(&session, NEW);
            let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            let file = match opened {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened.map_err(cannot_write("create the session record", &path))?,
            };
            let mut record = Self { session, directory: directory.clone(), file };
            match record.complete(&path, plugin) {
                Ok(true) => return Ok(record),
                Ok(false) => {}
                Err(error) => {
                    let _ = fs::remove_file(&path);
                    return Err(error);
                }
            }
        }
    }

    /// Returns `false` if another process found the record before it was locked, and removed it.
    fn complete(&mut self, path: &Path, plugin: &Path) -> Result<bool> {
        self.lock(Holder::Supervisor, Patience::Wait).map_err(Error::path("lock", path))?;
        let plugin = plugin.as_os_str().as_encoded_bytes();
        self.file.write_all(plugin).map_err(Error::io("write", path))?;
        match fs::rename(path, self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            renamed => renamed.map(|()| true).map_err(Error::io("rename", path)),
        }
    }

    /// Removes the records of sessions that died before their record was complete.
    ///
    /// # Errors
    ///
    /// One cannot be removed.
    pub fn remove_unfinished(directory: &RunDirectory) -> Result<()> {
        for session in directory.sessions(NEW)? {
            let path = directory.file(&session, NEW);
            let Ok(file) = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(&path) else {
                continue;
            };
            let record = Self { session, directory: directory.clone(), file };
            if record.lock(Holder::Either, Patience::Try).is_ok() {
                remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Opens the record of an existing session, without locking it. `None`: it does not exist any more.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn open(directory: &RunDirectory, session: &str) -> Result<Option<Self>> {
        let path = directory.file(session, SESSION);
        match OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(&path) {
            Ok(file) => Ok(Some(Self { session: session.to_owned(), directory: directory.clone(), file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("open", &path)(error)),
        }
    }

    /// In the worker: locks its byte too, so that the session counts as alive until both processes have ended.
    ///
    /// # Errors
    ///
    /// The kernel refuses the lock.
    pub fn lock_as_worker(&self, procfs: &Path) -> io::Result<()> {
        self.lock(Holder::Worker, Patience::Try)?;
        match ProcessIdentity::own(procfs) {
            // The offset is shared with the supervisor, which has written the text before it.
            Some(own) => (&self.file).write_all(format!("{SEPARATOR}{own}").as_bytes()),
            None => Ok(()),
        }
    }

    /// Takes over the record of a dead session. Returns `false` if the session is alive, or was taken over already.
    ///
    /// # Errors
    ///
    /// The kernel refuses the lock for another reason.
    pub fn take_over(&self) -> Result<bool> {
        match self.lock(Holder::Either, Patience::Try) {
            Ok(()) => Ok(!self.is_removed().map_err(Error::io("inspect", &self.path()))?),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(errno) => Err(Error::path("lock", &self.path())(errno)),
        }
    }

    /// Returns whether the session has ended or died.
    ///
    /// # Errors
    ///
    /// The lock cannot be read.
    pub fn is_ended(&self) -> Result<bool> {
        Ok(self.locked_by(Holder::Either)?.is_none())
    }

    /// Returns whether the session has a supervisor, so that no other process must end it.
    ///
    /// # Errors
    ///
    /// The lock cannot be read.
    pub fn has_supervisor(&self) -> Result<bool> {
        Ok(self.locked_by(Holder::Supervisor)?.is_some())
    }

    /// Returns whether the supervisor of the session has died, while its worker is still alive to end it.
    ///
    /// # Errors
    ///
    /// The lock cannot be read.
    pub fn is_orphaned(&self) -> Result<bool> {
        // In this order: a session that is just starting has its supervisor first.
        Ok(self.locked_by(Holder::Worker)?.is_some() && self.locked_by(Holder::Supervisor)?.is_none())
    }

    /// Sends a signal to one of the session's processes, if it is alive.
    ///
    /// # Errors
    ///
    /// It has no id in this pid namespace, or this process may not signal it.
    pub fn signal(&self, holder: Holder, signal: Signal) -> Result<()> {
        let in_another_namespace = || Error::Session {
            session: self.session.clone(),
            problem: "runs in another pid namespace; end it from there".to_owned(),
        };
        let Some(pid) = self.locked_by(holder)? else { return Ok(()) };
        let pid = pid.ok_or_else(in_another_namespace)?;
        let process = match PidFd::open(pid) {
            Err(Errno::ESRCH) => return Ok(()),
            opened => opened.map_err(Error::system("open a process of the session"))?,
        };
        // Its id may have been reused before it was opened. Then the process with this id does not hold the lock.
        if self.locked_by(holder)? != Some(Some(pid)) {
            return Ok(());
        }
        match process.signal(signal) {
            Err(Errno::ESRCH) => Ok(()),
            sent => sent.map_err(Error::system("signal a process of the session")),
        }
    }

    /// The process that holds this lock. `Some(None)`: it has no id in this pid namespace.
    fn locked_by(&self, holder: Holder) -> Result<Option<Option<Pid>>> {
        let mut lock = holder.bytes();
        fcntl(&self.file, FcntlArg::F_GETLK(&mut lock))
            .map_err(Error::path("read the lock of", &self.path()))?;
        let is_free = lock.l_type == libc::F_UNLCK as libc::c_short;
        let pid = Some(lock.l_pid).filter(|pid| *pid > 0).map(Pid::from_raw);
        Ok((!is_free).then_some(pid))
    }

    /// The plugin of the session. `None`: the session died before it was started.
    ///
    /// # Errors
    ///
    /// The record cannot be read.
    pub fn plugin(&self) -> Result<Option<PathBuf>> {
        let text = self.text()?;
        let path = text.split(SEPARATOR).next();
        Ok(path.filter(|path| !path.is_empty()).map(PathBuf::from))
    }

    /// The worker, which may have ended. `None`: it has not started yet.
    ///
    /// # Errors
    ///
    /// The record cannot be read.
    pub fn worker(&self) -> Result<Option<ProcessIdentity>> {
        Ok(self.text()?.split(SEPARATOR).nth(1).and_then(|worker| worker.parse().ok()))
    }

    /// Records that sweeping the session has failed just now.
    ///
    /// # Errors
    ///
    /// The record cannot be written.
    pub fn mark_unswept(&self) -> Result<()> {
        let is_marked = self.text()?.ends_with(UNSWEPT);
        // Reading has left the offset at the end.
        let mark = if is_marked { Ok(()) } else { (&self.file).write_all(UNSWEPT.as_bytes()) };
        let marked = mark.and_then(|()| self.file.set_modified(SystemTime::now()));
        marked.map_err(Error::io("write", &self.path()))
    }

    /// Returns whether sweeping the session has failed within this time.
    ///
    /// # Errors
    ///
    /// The time of the record cannot be read.
    pub fn is_unswept_since(&self, time: Duration) -> Result<bool> {
        if !self.text().is_ok_and(|text| text.ends_with(UNSWEPT)) {
            return Ok(false);
        }
        let marked = self.file.metadata().and_then(|metadata| metadata.modified());
        let marked = marked.map_err(Error::io("read the time of", &self.path()))?;
        Ok(marked.elapsed().is_ok_and(|elapsed| elapsed < time))
    }

    fn text(&self) -> Result<String> {
        let mut text = String::new();
        let mut file = &self.file;
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        read.map(|_| text).map_err(Error::io("read", &self.path()))
    }

    /// The path of the session's trace file.
    pub fn trace_path(&self) -> PathBuf {
        self.directory.file(&self.session, TRACE)
    }

    /// The path at which unread output is stored until it is complete.
    pub fn unread_output_path(&self) -> PathBuf {
        self.directory.file(&self.session, UNREAD)
    }

    /// The path of the summary, if not all events were delivered.
    pub fn summary_path(&self) -> PathBuf {
        self.directory.file(&self.session, SUMMARY)
    }

    /// The run directory, which has the files of all sessions.
    pub fn directory(&self) -> &RunDirectory {
        &self.directory
    }

    /// Removes the record, as the last step of a session.
    pub fn remove(&self) -> Result<()> {
        remove_file(&self.unread_output_path())?;
        remove_file(&self.path())
    }

    fn path(&self) -> PathBuf {
        self.directory.file(&self.session, SESSION)
    }

    fn is_removed(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.nlink() == 0)
    }

    fn lock(&self, holder: Holder, kind: Patience) -> nix::Result<()> {
        let bytes = holder.bytes();
        let argument = match kind {
            Patience::Wait => FcntlArg::F_SETLKW(&bytes),
            Patience::Try => FcntlArg::F_SETLK(&bytes),
        };
        fcntl(&self.file, argument).map(drop)
    }
}

impl AsFd for Record {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[derive(Debug, Clone, Copy)]
enum Patience {
    Wait,
    Try,
}

impl Holder {
    fn bytes(self) -> libc::flock {
        let (l_start, l_len) = match self {
            Self::Supervisor => (0, 1),
            Self::Worker => (1, 1),
            Self::Either => (0, 2),
        };
        libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start,
            l_len,
            l_pid: 0,
        }
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// A name that is unique on this machine, across pid namespaces.
fn new_name() -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(SystemTime::now()) as u32;
    format!("{SESSION_PREFIX}{}_{random:08x}", std::process::id())
}
