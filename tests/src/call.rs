use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::json_lines::JsonLines;
use crate::{Answer, Fate, Manager, PATIENCE, Process, Session, SystemCall, Watch};

/// A call of the manager that has not been made yet.
pub struct Call<'a> {
    manager: &'a Manager,
    executable: OsString,
    words: Vec<OsString>,
    wrapper: Vec<OsString>,
    command: Setting,
}

/// Settings of a command besides its arguments.
type Setting = Vec<Box<dyn FnOnce(&mut Command)>>;

/// The ids of the user and the group `nobody`.
pub(crate) const NOBODY: u32 = 65534;

impl<'a> Call<'a> {
    pub(crate) fn new(manager: &'a Manager, executable: impl AsRef<OsStr>) -> Self {
        let executable = executable.as_ref().to_owned();
        Self { manager, executable, words: Vec::new(), wrapper: Vec::new(), command: Vec::new() }
    }

    /// Adds an argument to the command line.
    pub fn word(mut self, word: impl AsRef<OsStr>) -> Self {
        self.words.push(word.as_ref().to_owned());
        self
    }

    /// Adds arguments to the command line.
    pub fn words<W: AsRef<OsStr>>(self, words: impl IntoIterator<Item = W>) -> Self {
        words.into_iter().fold(self, Call::word)
    }

    /// Sets an environment variable.
    pub fn variable(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let (name, value) = (name.to_owned(), value.as_ref().to_owned());
        self.setting(|command| _ = command.env(name, value))
    }

    /// Runs the manager by another command, which gets the manager's command line as its last arguments.
    pub fn under<W: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = W>) -> Self {
        let wrapper = wrapper.into_iter().map(|word| word.as_ref().to_owned());
        self.wrapper = wrapper.chain(self.wrapper).collect();
        self
    }

    /// Runs the manager by a shell script in its own mount namespace. `"$@"` is the manager's command line.
    pub fn in_mount_namespace(self, script: &str) -> Self {
        self.under(["unshare", "--mount", "sh", "-e", "-c", script, "sh"])
    }

    /// Runs it as an unprivileged user.
    pub fn as_nobody(self) -> Self {
        self.setting(|command| _ = command.uid(NOBODY).gid(NOBODY))
    }

    /// Replaces `/dev/null` on standard input.
    pub fn stdin(self, stream: impl Into<Stdio> + 'static) -> Self {
        self.setting(|command| _ = command.stdin(stream))
    }

    /// Replaces the pipe on standard output.
    pub fn stdout(self, stream: impl Into<Stdio> + 'static) -> Self {
        self.setting(|command| _ = command.stdout(stream))
    }

    /// Replaces the pipe on standard error.
    pub fn stderr(self, stream: impl Into<Stdio> + 'static) -> Self {
        self.setting(|command| _ = command.stderr(stream))
    }

    /// Runs it with SIGINT ignored, as a shell does for `manager … &`.
    pub fn ignoring_sigint(self) -> Self {
        self.with_sigint(SigHandler::SigIgn)
    }

    /// Runs it with the default disposition of SIGINT. That of the tests may be another, if they run in the background.
    pub fn with_default_sigint(self) -> Self {
        self.with_sigint(SigHandler::SigDfl)
    }

    fn with_sigint(self, disposition: SigHandler) -> Self {
        self.setting(move |command| {
            // SAFETY: `signal` is safe to call after a fork; what it replaces is not used.
            unsafe {
                command.pre_exec(move || {
                    signal(Signal::SIGINT, disposition)?;
                    Ok(())
                });
            }
        })
    }

    /// Records every system call that it makes, until its last process has ended. If `at` is given, that system call fails
    /// or processes are killed before it.
    pub fn watched(self, at: Option<(SystemCall, Fate)>) -> (Self, Watch) {
        let (watch, begin) = Watch::new(at);
        let call = self.setting(move |command| {
            // SAFETY: `begin` is safe to call after a fork.
            unsafe { command.pre_exec(begin) };
        });
        (call, watch)
    }

    /// Makes the call.
    pub fn spawn(self) -> Process {
        let mut words = self.wrapper.into_iter().chain([self.executable]).chain(self.words);
        let mut command = Command::new(words.next().expect("there is an executable"));
        command
            .args(words)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.manager.prepare(&mut command);
        // SAFETY: `signal` is safe to call after a fork; what it replaces is not used.
        unsafe {
            // The tests may have been started with SIGINT ignored (a shell's `&`).
            command.pre_exec(|| {
                signal(Signal::SIGINT, SigHandler::SigDfl)?;
                Ok(())
            });
        }
        self.command.into_iter().for_each(|setting| setting(&mut command));
        // SAFETY: `prctl` is safe to call after a fork.
        unsafe {
            // No process may remain when the tests themselves are killed.
            command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        Process::spawn(&mut command, self.manager.leak_check())
    }

    /// Makes the call, and waits for its end.
    #[track_caller]
    pub fn answer(self) -> Answer {
        self.spawn().ends(PATIENCE)
    }

    /// Starts a session as container-tracer does, and reads its trace.
    #[track_caller]
    pub fn start(self) -> Session {
        self.start_unread().read()
    }

    /// Starts a session as container-tracer does, and does not read its trace.
    #[track_caller]
    pub fn start_unread(self) -> Session {
        let json_lines = JsonLines::of_session(&self.words);
        Session::start(self.spawn(), json_lines)
    }

    fn setting(mut self, setting: impl FnOnce(&mut Command) + 'static) -> Self {
        self.command.push(Box::new(setting));
        self
    }
}
