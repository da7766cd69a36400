use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use nix::sys::prctl;
use nix::sys::signal::Signal;

/// A traced shell that runs its script after [`proceed`](Self::proceed). Dropping it kills it.
pub struct Script {
    shell: Child,
    /// The script starts when this gets a line or is closed.
    stdin: Option<ChildStdin>,
}

impl Script {
    /// Starts a shell that will run this script after [`proceed`](Self::proceed), so that a session can be started before.
    pub fn start(script: &str) -> Self {
        Self::start_under(&[], script)
    }

    /// The same, with the shell run by another command.
    pub fn start_under(wrapper: &[&str], script: &str) -> Self {
        let script = format!("read go; {script}");
        let words = [wrapper, &["sh", "-c", &script]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: `prctl` is safe to call after a fork.
        unsafe {
            // No process may remain when the tests themselves are killed.
            command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        let mut shell = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", words[0]));
        let stdin = shell.stdin.take();
        Self { shell, stdin }
    }

    /// The process id of the shell, or of the command that runs it.
    pub fn id(&self) -> u32 {
        self.shell.id()
    }

    /// Starts the script.
    pub fn proceed(&mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            stdin.write_all(b"go\n").expect("the shell reads");
        }
    }

    /// Starts the script, and waits for its end.
    pub fn run_to_end(mut self) -> ExitStatus {
        self.proceed();
        self.shell.wait().expect("it is a child of the test")
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
