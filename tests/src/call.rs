use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::{Answer, Fate, Manager, PATIENCE, Process, Session, SystemCall, Watch};

/// A call of the manager, about to be made.
pub struct Call<'a> {
    manager: &'a Manager,
    executable: OsString,
    words: Vec<OsString>,
    wrapper: Vec<OsString>,
    command: Setting,
}

/// All about a command but its words.
type Setting = Vec<Box<dyn FnOnce(&mut Command)>>;

/// The user and the group of those who may nothing.
pub(crate) const NOBODY: u32 = 65534;

impl<'a> Call<'a> {
    pub(crate) fn new(manager: &'a Manager, executable: impl AsRef<OsStr>) -> Self {
        let executable = executable.as_ref().to_owned();
        Self { manager, executable, words: Vec::new(), wrapper: Vec::new(), command: Vec::new() }
    }

    /// Adds a word to the command line.
    pub fn word(mut self, word: impl AsRef<OsStr>) -> Self {
        self.words.push(word.as_ref().to_owned());
        self
    }

    /// Adds words to the command line.
    pub fn words<W: AsRef<OsStr>>(self, words: impl IntoIterator<Item = W>) -> Self {
        words.into_iter().fold(self, Call::word)
    }

    /// Sets a variable of the environment.
    pub fn variable(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let (name, value) = (name.to_owned(), value.as_ref().to_owned());
        self.setting(|command| _ = command.env(name, value))
    }

    /// Has the manager called by another command, which takes its words as the last of its own.
    pub fn under<W: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = W>) -> Self {
        self.wrapper = wrapper.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// Has the manager called by a shell script, in a mount namespace of its own. `"$@"` is the call.
    pub fn in_mount_namespace(self, script: &str) -> Self {
        self.under(["unshare", "--mount", "sh", "-e", "-c", script, "sh"])
    }

    /// Calls it as a user without any privilege.
    pub fn as_nobody(self) -> Self {
        self.setting(|command| _ = command.uid(NOBODY).gid(NOBODY))
    }

    /// Gives it another standard output than a pipe.
    pub fn stdout(self, stream: impl Into<Stdio> + 'static) -> Self {
        self.setting(|command| _ = command.stdout(stream))
    }

    /// Gives it another standard error than a pipe.
    pub fn stderr(self, stream: impl Into<Stdio> + 'static) -> Self {
        self.setting(|command| _ = command.stderr(stream))
    }

    /// Calls it with SIGINT ignored, as a shell does for `manager … &`.
    pub fn ignoring_sigint(self) -> Self {
        self.setting(|command| {
            // SAFETY: `signal` is safe to call after a fork; what it replaces is not used.
            unsafe {
                command.pre_exec(|| {
                    signal(Signal::SIGINT, SigHandler::SigIgn)?;
                    Ok(())
                });
            }
        })
    }

    /// Watches every system call that it makes, until its last process has ended; at one of them, something happens.
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
            // Whoever runs the tests may have it ignored (a shell's `&`).
            command.pre_exec(|| {
                signal(Signal::SIGINT, SigHandler::SigDfl)?;
                Ok(())
            });
        }
        self.command.into_iter().for_each(|setting| setting(&mut command));
        // SAFETY: `prctl` is safe to call after a fork.
        unsafe {
            // So that nothing is left when the tests themselves are killed.
            command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        Process::spawn(&mut command, self.manager.leak_check())
    }

    /// Makes the call, and waits for what comes of it.
    #[track_caller]
    pub fn answer(self) -> Answer {
        self.spawn().ends(PATIENCE)
    }

    /// Starts a session as container-tracer does, and reads its trace.
    #[track_caller]
    pub fn start(self) -> Session {
        self.start_unread().read()
    }

    /// Starts a session as container-tracer does, and does not open its trace.
    #[track_caller]
    pub fn start_unread(self) -> Session {
        Session::start(self.spawn())
    }

    fn setting(mut self, setting: impl FnOnce(&mut Command) + 'static) -> Self {
        self.command.push(Box::new(setting));
        self
    }
}
