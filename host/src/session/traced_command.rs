//! A command that is started in order to trace it.
//!
//! Its process is forked before the session begins, so that its id can be traced, and waits. Once the session is recording, it
//! executes the command: that is the first thing it does. It keeps the caller's terminal, standard streams, process group,
//! environment and directory.

use std::ffi::{CString, OsStr, OsString};
use std::fs::Metadata;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs, ptr};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{AccessFlags, ForkResult, Pid, User, access, fork, initgroups, setgid, setuid};

use super::pidfd::PidFd;
use crate::error::{Error, Result};
use crate::signals_at_spawn;
use crate::worker::descendants;

/// What is executed.
#[derive(Debug)]
pub struct CommandLine {
    program: PathBuf,
    /// As given, with the name of the program.
    words: Vec<CString>,
    /// Its user, if that is another one than the caller.
    user: Option<User>,
}

impl CommandLine {
    /// Finds the program, as a shell does, and the user.
    ///
    /// # Errors
    ///
    /// There is no such program or user, or the program cannot be executed.
    pub fn new(words: &[OsString], user: Option<&str>) -> Result<Self> {
        let name = words.first().map(OsString::as_os_str).unwrap_or_default();
        let program = find_program(name)?;
        Ok(Self {
            program: std::path::absolute(&program).unwrap_or(program),
            words: words.iter().map(|word| c_string(word)).collect::<Result<_>>()?,
            user: user.map(find_user).transpose()?,
        })
    }
}

/// The process of the command. If the command was not executed, it is killed when this value is dropped.
pub struct TracedCommand {
    pid: Pid,
    /// The id of the process in the procfs of the traced kernel.
    pub traced_pid: u32,
    program: PathBuf,
    process: PidFd,
    /// The process waits for a byte from here.
    gate: Option<PipeWriter>,
    /// Why the command could not be executed. Closed when it is.
    failure: PipeReader,
    status: Option<WaitStatus>,
}

impl TracedCommand {
    /// Forks the process, which waits. From now on, orphans are not adopted any more: those of the command are the caller's.
    ///
    /// # Errors
    ///
    /// There is no room for a process, or it has no id in this procfs.
    pub fn prepare(command: &CommandLine, procfs: &Path) -> Result<Self> {
        let pipe = || io::pipe().map_err(|source| Error::System { action: "create a pipe", source });
        let ((opened, gate), (mut failure, report)) = (pipe()?, pipe()?);
        descendants::stop_adopting();
        let was_blocked = block_signals();
        // SAFETY: this process has one thread (it starts none), so no thread that the child lacks holds a lock.
        let forked = unsafe { fork() };
        if let Ok(ForkResult::Child) = forked {
            signals_at_spawn::restore(was_blocked);
            drop((gate, failure));
            wait_and_execute(command, procfs, opened, report);
        }
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&was_blocked), None);
        let ForkResult::Parent { child: pid } = forked.map_err(Error::no_process("start the command"))?
        else {
            unreachable!("the child executes the command, or ends");
        };
        descendants::child_started(pid);
        drop((opened, report));
        let process = PidFd::open(pid).map_err(Error::system("watch the command"))?;
        let program = command.program.clone();
        let traced_pid = read_number(&mut failure).unwrap_or_default();
        let command = Self { pid, traced_pid, program, process, gate: Some(gate), failure, status: None };
        if traced_pid == 0 {
            let problem =
                "does not show the process of the command; it must be the procfs of an outer pid namespace";
            return Err(Error::Directory { path: procfs.to_owned(), problem: problem.to_owned() });
        }
        Ok(command)
    }

    /// Lets the process execute the command.
    ///
    /// # Errors
    ///
    /// The command cannot be executed.
    pub fn execute(&mut self) -> Result<()> {
        if let Some(mut gate) = self.gate.take() {
            // A process that was killed meanwhile is noticed as the end of the command.
            let _ = gate.write_all(b"\n");
        }
        match read_number(&mut self.failure) {
            None => Ok(()),
            Some(errno) => Err(cannot_execute(&self.program, Errno::from_raw(errno.cast_signed()).into())),
        }
    }

    /// The program, by its absolute path.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What to poll: readable when the process has ended.
    pub fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(self.process.as_fd(), PollFlags::POLLIN)
    }

    /// Returns whether the process was let to execute the command.
    pub fn is_executed(&self) -> bool {
        self.gate.is_none()
    }

    /// Returns whether the end of the process has not been noticed yet.
    pub fn is_alive(&self) -> bool {
        self.status.is_none()
    }

    /// How the process has ended, if it has.
    pub fn status(&mut self) -> Option<WaitStatus> {
        if self.status.is_none() {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(_) => {}
                Ok(status) => self.status = Some(status),
            }
        }
        self.status
    }

    /// Sends the process a signal, if it is alive.
    pub fn signal(&mut self, signal: Signal) {
        if self.status().is_none() {
            // A child that has not been waited for keeps its id. The signal fails if the process belongs to another user by now.
            let _ = kill(self.pid, signal);
        }
    }
}

impl Drop for TracedCommand {
    fn drop(&mut self) {
        if self.gate.is_some() && self.status().is_none() {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
        descendants::child_ended(self.pid);
    }
}

/// In the child: reports its id, waits, and executes the command. Does not return.
///
/// All else is done before it waits, so that the call to execute the command is the first that is traced.
fn wait_and_execute(
    command: &CommandLine,
    procfs: &Path,
    mut opened: PipeReader,
    mut report: PipeWriter,
) -> ! {
    let id = fs::read_link(procfs.join("self")).ok();
    let id: Option<u32> = id.and_then(|id| id.to_str()?.parse().ok());
    let is_user = command.user.as_ref().map_or(Ok(()), become_user);
    let name = command.program.file_name().unwrap_or_default();
    let [program, name] =
        [command.program.as_os_str(), name].map(|text| CString::new(text.as_bytes()).unwrap_or_default());
    let _ = prctl::set_name(&name);
    let words: Vec<*const libc::c_char> =
        command.words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect();
    let is_opened = report.write_all(&id.unwrap_or_default().to_ne_bytes()).is_ok()
        // The end of the gate is that of the supervisor.
        && opened.read(&mut [0]).is_ok_and(|length| length == 1);
    if is_opened {
        let errno = match is_user {
            // SAFETY: the program and the words are strings that end in NUL and live until the call returns, which it does only
            // if it fails; a null pointer follows the last word.
            Ok(()) => unsafe {
                libc::execv(program.as_ptr(), words.as_ptr());
                Errno::last()
            },
            Err(errno) => errno,
        };
        let _ = report.write_all(&(errno as i32).to_ne_bytes());
    }
    // SAFETY: `_exit` ends the process immediately. The exit handlers are the supervisor's.
    unsafe { libc::_exit(libc::EXIT_FAILURE) }
}

fn become_user(user: &User) -> nix::Result<()> {
    let name = CString::new(user.name.as_str()).map_err(|_| Errno::EINVAL)?;
    initgroups(&name, user.gid)?;
    setgid(user.gid)?;
    setuid(user.uid)
}

/// The number that the child sends, unless it is 0 or the pipe has ended.
fn read_number(pipe: &mut PipeReader) -> Option<u32> {
    let mut bytes = [0; 4];
    pipe.read_exact(&mut bytes).ok().map(|()| u32::from_ne_bytes(bytes)).filter(|id| *id > 0)
}

/// So that the child does not run the handlers of this process.
fn block_signals() -> SigSet {
    let mut was_blocked = SigSet::empty();
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut was_blocked));
    was_blocked
}

fn c_string(word: &OsStr) -> Result<CString> {
    CString::new(word.to_owned().into_vec())
        .map_err(|_| Error::Usage("a word of the command contains a NUL byte".to_owned()))
}

fn find_user(name: &str) -> Result<User> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(Error::Usage(format!("--user: there is no user '{name}'"))),
        Err(errno) => Err(Error::system("look up the user")(errno)),
    }
}

/// A name with a slash is a path. Any other is searched in `PATH`.
fn find_program(name: &OsStr) -> Result<PathBuf> {
    if name.is_empty() {
        return Err(cannot_execute(Path::new("''"), Errno::ENOENT.into()));
    }
    if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        return match fs::metadata(&path).and_then(|metadata| check_executable(&path, &metadata)) {
            Ok(()) => Ok(path),
            Err(error) => Err(cannot_execute(&path, error)),
        };
    }
    let mut refused = None;
    for directory in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        let path = directory.join(name);
        let Ok(metadata) = fs::metadata(&path) else { continue };
        match check_executable(&path, &metadata) {
            Ok(()) => return Ok(path),
            Err(error) => _ = refused.get_or_insert((path, error)),
        }
    }
    match refused {
        Some((path, error)) => Err(cannot_execute(&path, error)),
        None => Err(Error::Command {
            program: PathBuf::from(name),
            source: io::Error::other("no such command in PATH"),
            is_missing: true,
        }),
    }
}

fn check_executable(path: &Path, metadata: &Metadata) -> io::Result<()> {
    // The superuser may execute a file if anyone may.
    let is_executable = metadata.permissions().mode() & 0o111 != 0 && access(path, AccessFlags::X_OK).is_ok();
    match () {
        () if metadata.is_dir() => Err(Errno::EISDIR.into()),
        () if !is_executable => Err(Errno::EACCES.into()),
        () => Ok(()),
    }
}

fn cannot_execute(program: &Path, source: io::Error) -> Error {
    let is_missing = source.kind() == io::ErrorKind::NotFound;
    Error::Command { program: program.to_owned(), source, is_missing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        assert!(find_program(OsStr::new("sh")).unwrap().ends_with("sh"));
        assert_eq!(find_program(OsStr::new("/bin/sh")).unwrap(), Path::new("/bin/sh"));
        for (name, is_missing) in
            [("no-such-command", true), ("/no/such", true), ("/etc/passwd", false), ("/", false), ("", true)]
        {
            match find_program(OsStr::new(name)) {
                Err(Error::Command { is_missing: missing, .. }) => assert_eq!(missing, is_missing, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn unknown_users_are_usage_errors() {
        assert!(find_user("root").is_ok());
        assert!(matches!(find_user("no-such-user"), Err(Error::Usage(_))));
    }
}
