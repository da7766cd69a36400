use std::io::{ErrorKind, Read};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::leak_check::LeakCheck;
use crate::{Answer, PATIENCE, eventually};

/// A running manager. It has its own process group, which is killed when this is dropped.
pub struct Process {
    child: Child,
    output: Receiver<Output>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    open_streams: usize,
    since: Instant,
    status: Option<ExitStatus>,
    /// Whether a worker was still running when it had ended.
    outlived: bool,
    leak_check: LeakCheck,
}

/// Output on one of the two streams.
enum Output {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    End,
}

/// Runs a command whose executable may have been copied just now: a test that forked while the copy was open for writing
/// holds it open until its child executes another program.
pub(crate) fn spawn(command: &mut Command) -> Child {
    eventually("the executable is closed for writing", PATIENCE, || match command.spawn() {
        Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => None,
        spawned => Some(spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"))),
    })
}

impl Process {
    /// Runs the command. Its streams are read if they are pipes.
    pub(crate) fn spawn(command: &mut Command, leak_check: LeakCheck) -> Self {
        let since = Instant::now();
        let mut child = spawn(command);
        let (sender, output) = channel();
        let mut open_streams = 0;
        if let Some(stream) = child.stdout.take() {
            open_streams += 1;
            forward(stream, Output::Stdout, sender.clone());
        }
        if let Some(stream) = child.stderr.take() {
            open_streams += 1;
            forward(stream, Output::Stderr, sender);
        }
        Self {
            child,
            output,
            stdout: Vec::new(),
            stderr: Vec::new(),
            open_streams,
            since,
            status: None,
            outlived: false,
            leak_check,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal. The time that [`ends`](Self::ends) measures begins now.
    pub fn signal(&mut self, signal: Signal) {
        self.since = Instant::now();
        // Once it has been waited for, another process may have its id.
        if !self.is_over() {
            let _ = kill(self.as_pid(), signal);
        }
    }

    /// Sends a signal to its whole process group, as a terminal does.
    pub fn signal_group(&mut self, signal: Signal) {
        self.since = Instant::now();
        if !self.is_over() {
            let _ = killpg(self.as_pid(), signal);
        }
    }

    /// The children of its main thread: the workers.
    pub fn workers(&self) -> Vec<u32> {
        children_of(self.pid())
    }

    /// Whether it has installed a handler for this signal.
    pub fn catches(&self, signal: Signal) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"));
        let caught = caught.map_or(0, |mask| u64::from_str_radix(mask, 16).expect("a mask is hexadecimal"));
        caught & (1 << (signal as u32 - 1)) != 0
    }

    /// Whether it has written to standard output, if that is a pipe.
    pub fn has_output(&mut self) -> bool {
        self.take_all();
        !self.stdout.is_empty()
    }

    /// The standard error so far, if that is a pipe.
    pub fn stderr(&mut self) -> String {
        self.take_all();
        text(&self.stderr)
    }

    fn take_all(&mut self) {
        while let Ok(output) = self.output.try_recv() {
            self.take(output);
        }
    }

    /// The standard output so far, if that is a pipe.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.try_wait().is_some()
    }

    /// Waits for the first output on either stream, or for the end of both.
    #[track_caller]
    pub(crate) fn first_output(&mut self, limit: Duration) {
        while self.stdout.is_empty() && self.stderr.is_empty() && self.open_streams > 0 {
            self.receive(limit);
        }
    }

    /// The standard output and standard error so far, if they are pipes.
    pub(crate) fn output_so_far(&self) -> (String, String) {
        (text(&self.stdout), text(&self.stderr))
    }

    /// Waits for the end of both streams and for the exit.
    #[track_caller]
    pub fn ends(&mut self, limit: Duration) -> Answer {
        while self.open_streams > 0 {
            self.receive(limit);
        }
        let status = eventually("the manager exits", limit, || self.try_wait());
        let (stdout, stderr) = self.output_so_far();
        Answer { status, stdout, stderr, took: self.since.elapsed() }
    }

    #[track_caller]
    fn receive(&mut self, limit: Duration) {
        match self.output.recv_timeout(limit) {
            Ok(output) => self.take(output),
            Err(RecvTimeoutError::Disconnected) => self.open_streams = 0,
            Err(RecvTimeoutError::Timeout) => panic!(
                "the manager prints nothing for {limit:?} and keeps its streams open; so far: {:?}",
                self.output_so_far()
            ),
        }
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Stdout(bytes) => self.stdout.extend(bytes),
            Output::Stderr(bytes) => self.stderr.extend(bytes),
            Output::End => self.open_streams -= 1,
        }
    }

    fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("it is a child of the test");
            if self.status.is_some() {
                self.leak_check.note(self.pid());
                // As long as the process group has a member, its id is not reused.
                self.outlived = killpg(self.as_pid(), None).is_ok();
            }
        }
        self.status
    }

    fn as_pid(&self) -> Pid {
        Pid::from_raw(self.pid().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let is_running = self.try_wait().is_none();
        if is_running || self.outlived {
            let _ = killpg(self.as_pid(), Signal::SIGKILL);
        }
        if is_running {
            let _ = self.child.wait();
            self.leak_check.note(self.pid());
        }
    }
}

/// The children of the process's main thread.
pub fn children_of(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().map(|pid| pid.parse().expect("a pid is a number")).collect()
}

fn forward(mut stream: impl Read + Send + 'static, wrap: fn(Vec<u8>) -> Output, sender: Sender<Output>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 1 << 16];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            let _ = sender.send(wrap(buffer[..length].to_vec()));
        }
        let _ = sender.send(Output::End);
    });
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
