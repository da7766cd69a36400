//! The record of a session, which tells the living from the dead.
//!
//! A record is a file in the run directory with the path of the session's plugin in it. The supervisor locks its first
//! byte, the worker the second. These are POSIX record locks: they belong to a process and end with it, however it ends,
//! and the kernel tells who holds one, in the asker's own pid namespace. So a record without a lock is that of a dead
//! session, and nobody is ever ended because of a process id in a file, which may be somebody else's by now.
//!
//! The kernel releases these locks before it closes the files of a process that dies. What is still open cannot be
//! removed, so the record says as well which process the worker is, to wait for its end.

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
use super::run_directory::{NEW, RunDirectory, SESSION, TRACE, UNREAD};
use crate::error::{Error, Result};

/// Between the path of the plugin, the worker, and the mark: a character that no path can hold.
const SEPARATOR: char = '\0';
/// The mark of a session whose remains could not be removed.
const UNSWEPT: &str = "\0unswept";

/// Whose byte of the record it is.
#[derive(Debug, Clone, Copy)]
pub enum Holder {
    /// The process that a user has called.
    Supervisor,
    /// The process that records.
    Worker,
    /// One of the two.
    Anybody,
}

/// A record, and the files that belong to it. Dropping it leaves everything where it is.
#[derive(Debug)]
pub struct Record {
    /// The name of the session.
    pub session: String,
    directory: RunDirectory,
    file: File,
}

impl Record {
    /// Makes the record of a new session. It is locked before others can take it for a dead one's.
    ///
    /// # Errors
    ///
    /// The run directory does not take it.
    pub fn create(directory: &RunDirectory, plugin: &Path) -> Result<Self> {
        loop {
            let session = new_name();
            let path = directory.file(&session, NEW);
            let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            let file = match opened {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened.map_err(Error::io("make the session record", &path))?,
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

    /// `false`: somebody has seen it before it was locked, and taken it for a dead session's.
    fn complete(&mut self, path: &Path, plugin: &Path) -> Result<bool> {
        self.lock(Holder::Supervisor, Patience::Wait).map_err(Error::path("lock", path))?;
        let plugin = plugin.as_os_str().as_encoded_bytes();
        self.file.write_all(plugin).map_err(Error::io("write", path))?;
        match fs::rename(path, self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            renamed => renamed.map(|()| true).map_err(Error::io("rename", path)),
        }
    }

    /// Removes what a session left that died before its record was complete.
    ///
    /// # Errors
    ///
    /// It cannot be removed.
    pub fn remove_unfinished(directory: &RunDirectory) -> Result<()> {
        for session in directory.sessions(NEW)? {
            let path = directory.file(&session, NEW);
            let Ok(file) = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(&path) else {
                continue;
            };
            let record = Self { session, directory: directory.clone(), file };
            if record.lock(Holder::Anybody, Patience::Try).is_ok() {
                remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// The record of a session that is there already, without a lock on it.
    ///
    /// # Errors
    ///
    /// It cannot be opened. `None`: it is gone by now.
    pub fn open(directory: &RunDirectory, session: &str) -> Result<Option<Self>> {
        let path = directory.file(session, SESSION);
        match OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(&path) {
            Ok(file) => Ok(Some(Self { session: session.to_owned(), directory: directory.clone(), file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("open", &path)(error)),
        }
    }

    /// In the worker: holds the record too, so that the session counts as alive until both are gone.
    ///
    /// # Errors
    ///
    /// The kernel refuses the lock.
    pub fn lock_as_worker(&self, procfs: &Path) -> io::Result<()> {
        self.lock(Holder::Worker, Patience::Try)?;
        match ProcessIdentity::own(procfs) {
            // The offset is shared with the supervisor, who has written what comes before.
            Some(own) => (&self.file).write_all(format!("{SEPARATOR}{own}").as_bytes()),
            None => Ok(()),
        }
    }

    /// Takes the record of a dead session over. `false`: the session lives, or somebody else takes care of it.
    ///
    /// # Errors
    ///
    /// The kernel refuses the lock for another reason.
    pub fn take_over(&self) -> Result<bool> {
        match self.lock(Holder::Anybody, Patience::Try) {
            Ok(()) => Ok(!self.is_removed().map_err(Error::io("look at", &self.path()))?),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(errno) => Err(Error::path("lock", &self.path())(errno)),
        }
    }

    /// Whether the session has ended, or died.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn is_ended(&self) -> Result<bool> {
        Ok(self.locked_by(Holder::Anybody)?.is_none())
    }

    /// Whether the session has its supervisor, and so needs no care.
    ///
    /// # Errors
    ///
    /// The lock cannot be read.
    pub fn has_supervisor(&self) -> Result<bool> {
        Ok(self.locked_by(Holder::Supervisor)?.is_some())
    }

    /// Whether the session has lost its supervisor, and its worker is still there to end it.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn is_orphaned(&self) -> Result<bool> {
        // In this order: a session that is just starting has its supervisor first.
        Ok(self.locked_by(Holder::Worker)?.is_some() && self.locked_by(Holder::Supervisor)?.is_none())
    }

    /// Sends a signal to one of the session's processes, if it lives.
    ///
    /// # Errors
    ///
    /// It lives where we cannot see its process id, or it is not ours to end.
    pub fn signal(&self, holder: Holder, signal: Signal) -> Result<()> {
        let in_another_namespace = || Error::Session {
            session: self.session.clone(),
            problem: "runs in another pid namespace; end it from there".to_owned(),
        };
        let Some(pid) = self.locked_by(holder)? else { return Ok(()) };
        let pid = pid.ok_or_else(in_another_namespace)?;
        let process = match PidFd::open(pid) {
            Err(Errno::ESRCH) => return Ok(()),
            opened => opened.map_err(Error::system("find a process of the session"))?,
        };
        // It may have ended, and another have got its id, before it was opened. Then it does not hold the lock any more.
        if self.locked_by(holder)? != Some(Some(pid)) {
            return Ok(());
        }
        match process.signal(signal) {
            Err(Errno::ESRCH) => Ok(()),
            sent => sent.map_err(Error::system("end a session")),
        }
    }

    /// The process that holds this lock. `Some(None)`: its id is not known in our pid namespace.
    fn locked_by(&self, holder: Holder) -> Result<Option<Option<Pid>>> {
        let mut lock = holder.bytes();
        fcntl(&self.file, FcntlArg::F_GETLK(&mut lock))
            .map_err(Error::path("look at the lock on", &self.path()))?;
        let is_free = lock.l_type == libc::F_UNLCK as libc::c_short;
        let pid = Some(lock.l_pid).filter(|pid| *pid > 0).map(Pid::from_raw);
        Ok((!is_free).then_some(pid))
    }

    /// The plugin whose session it is. None: the session died before it was started.
    ///
    /// # Errors
    ///
    /// The record cannot be read.
    pub fn plugin(&self) -> Result<Option<PathBuf>> {
        let text = self.text()?;
        let path = text.split(SEPARATOR).next();
        Ok(path.filter(|path| !path.is_empty()).map(PathBuf::from))
    }

    /// The worker, which may be gone long since. None: it has not begun.
    ///
    /// # Errors
    ///
    /// The record cannot be read.
    pub fn worker(&self) -> Result<Option<ProcessIdentity>> {
        Ok(self.text()?.split(SEPARATOR).nth(1).and_then(|worker| worker.parse().ok()))
    }

    /// Marks the session as one after which a sweep has failed now.
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

    /// Whether a sweep after this session has failed within this time.
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

    /// Where the session's trace file is.
    pub fn trace_path(&self) -> PathBuf {
        self.directory.file(&self.session, TRACE)
    }

    /// Where the lines are gathered that no reader took.
    pub fn unread_output_path(&self) -> PathBuf {
        self.directory.file(&self.session, UNREAD)
    }

    /// Removes the record, as the last thing of a session.
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
            Self::Anybody => (0, 2),
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

/// Unique among all sessions of this kernel, also of those in other pid namespaces.
fn new_name() -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(SystemTime::now()) as u32;
    format!("{SESSION_PREFIX}{}_{random:08x}", std::process::id())
}
