//! A session of the manager, timed from the caller's side.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::bare_instance::Recording;
use super::process;
use crate::children::Guarded;
use crate::dist;
use crate::error::{Explain, Result};

/// The time after which a manager counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Session {
    manager: Guarded,
    /// The time at which the manager was started.
    began: Instant,
    /// The path of the trace, once it is known.
    trace: Option<PathBuf>,
}

impl Session {
    /// Starts a manager without waiting for its session.
    pub fn begin(recording: &Recording) -> Result<Self> {
        Self::start(dist::call().args(["--run", "trace_syscalls", "--args", &recording.arguments()]))
    }

    /// Starts a manager with these arguments.
    pub fn start(manager: &mut Command) -> Result<Self> {
        let began = Instant::now();
        let manager = manager
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .explain(|| "cannot start the manager")?;
        Ok(Self { manager: Guarded(manager), began, trace: None })
    }

    /// Waits until the session is recording; returns the path of its trace, and the time since the start of the manager.
    pub fn path(&mut self) -> Result<(PathBuf, Duration)> {
        let stdout = self.child().stdout.as_mut().expect("it is a pipe");
        let mut wanted = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        if poll(&mut wanted, PollTimeout::try_from(PATIENCE)?)? == 0 {
            return Err("the manager says nothing".into());
        }
        let mut path = String::new();
        BufReader::new(stdout).read_line(&mut path)?;
        let took = self.began.elapsed();
        if path.is_empty() {
            return Err(self.complaint()?.into());
        }
        let path = PathBuf::from(path.trim_end());
        self.trace = Some(path.clone());
        Ok((path, took))
    }

    /// Sends SIGINT; returns the time until the manager exited.
    pub fn stop(mut self) -> Result<Duration> {
        let began = Instant::now();
        self.interrupt()?;
        self.end()?;
        Ok(began.elapsed())
    }

    pub fn interrupt(&mut self) -> Result<()> {
        Ok(kill(Pid::from_raw(self.pid().try_into()?), Signal::SIGINT)?)
    }

    /// Waits for the manager to exit.
    pub fn end(&mut self) -> Result<()> {
        let status = self.child().wait()?;
        if status.success() { Ok(()) } else { Err(format!("the manager ended with {status}").into()) }
    }

    pub fn pid(&self) -> u32 {
        self.manager.0.id()
    }

    /// Kills the worker with its unread lines, and waits until the manager has cleaned up.
    pub fn abort(mut self) -> Result<()> {
        let worker = process::worker(self.pid())?;
        kill(Pid::from_raw(worker.try_into()?), Signal::SIGKILL)?;
        self.child().wait()?;
        Ok(())
    }

    fn child(&mut self) -> &mut Child {
        &mut self.manager.0
    }

    fn complaint(&mut self) -> Result<String> {
        let mut complaint = String::new();
        self.child().stderr.take().expect("it is a pipe").read_to_string(&mut complaint)?;
        Ok(format!("the manager says: {}", complaint.trim()))
    }
}

impl Drop for Session {
    /// Removes the unread output.
    fn drop(&mut self) {
        if let Some(trace) = &self.trace {
            // It does not exist if everything was read.
            let _ = fs::remove_file(trace);
        }
    }
}
