use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::json_lines::JsonLines;
use crate::manager::is_unread_output;
use crate::{Answer, PATIENCE, Process, Reader};

/// A session, as container-tracer sees it.
pub struct Session {
    process: Process,
    path: PathBuf,
    reader: Option<Reader>,
    json_lines: Option<JsonLines>,
}

/// A session that has ended.
#[derive(Debug)]
pub struct Ended {
    /// The output and exit status of the manager.
    pub answer: Answer,
    /// The lines that the reader got.
    pub lines: Vec<String>,
    /// The lines of the unread output, which is in the place of the trace file.
    pub unread: Vec<String>,
}

impl Session {
    /// How long container-tracer waits for the first output.
    const FIRST_OUTPUT: Duration = Duration::from_secs(5);

    /// Waits for the path, and checks what container-tracer requires of it.
    #[track_caller]
    pub(crate) fn start(mut process: Process, json_lines: Option<JsonLines>) -> Self {
        process.first_output(Self::FIRST_OUTPUT);
        let (stdout, stderr) = process.output_so_far();
        assert_eq!(stderr, "", "a session starts without messages");
        let path = stdout.strip_suffix('\n').unwrap_or_else(|| panic!("not a whole line: {stdout:?}"));
        assert!(path.starts_with('/') && !path.contains(char::is_whitespace), "not a plain path: {path:?}");
        Self { path: path.into(), process, reader: None, json_lines }
    }

    /// Attaches a reader.
    #[track_caller]
    pub fn read(mut self) -> Self {
        self.reader = Some(Reader::of(&self.path));
        self
    }

    /// Attaches a reader that takes `pause` for each line.
    #[track_caller]
    pub fn read_slowly(mut self, pause: Duration) -> Self {
        self.reader = Some(Reader::slow(&self.path, pause));
        self
    }

    /// The trace file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The process id of the manager.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The manager.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its worker.
    #[track_caller]
    pub fn worker(&self) -> u32 {
        let [worker] = self.process.workers()[..] else { panic!("a session has one worker") };
        worker
    }

    /// The most memory that its worker has used so far, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.worker())).expect("it is running");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).expect("a number")
    }

    /// Does this while its worker is stopped, so that nothing reads the buffers that the kernel fills.
    pub fn while_worker_is_stopped<T>(&self, work: impl FnOnce() -> T) -> T {
        let worker = Pid::from_raw(self.worker().cast_signed());
        kill(worker, Signal::SIGSTOP).expect("the worker is running");
        let result = work();
        kill(worker, Signal::SIGCONT).expect("the worker is stopped");
        result
    }

    /// Waits until the reader has this many lines.
    #[track_caller]
    pub fn wait_for_lines(&self, count: usize) {
        self.reader.as_ref().expect("there is a reader").wait_for(count);
    }

    /// How many lines the reader has.
    pub fn line_count(&self) -> usize {
        self.reader.as_ref().expect("there is a reader").count()
    }

    /// Ends the session as container-tracer does.
    #[track_caller]
    pub fn stop(self) -> Ended {
        self.stop_with(Signal::SIGINT)
    }

    /// Ends the session with another signal.
    #[track_caller]
    pub fn stop_with(mut self, signal: Signal) -> Ended {
        self.process.signal(signal);
        self.ends()
    }

    /// Waits for the session to end.
    #[track_caller]
    pub fn ends(mut self) -> Ended {
        let answer = self.process.ends(PATIENCE);
        let lines = self.reader.map(Reader::finish).unwrap_or_default();
        let unread = unread_output_at(&self.path);
        if let Some(json_lines) = &self.json_lines {
            // A line without an end is reported where it is not expected.
            json_lines.check(lines.iter().chain(&unread).filter(|line| line.ends_with('\n')));
        }
        Ended { answer, lines, unread }
    }
}

impl Ended {
    /// Checks that the session succeeded and printed nothing but the path; returns the lines, without their newlines.
    #[track_caller]
    pub fn succeeded(&self) -> Vec<&str> {
        assert_eq!(self.answer.succeeded().lines().count(), 1, "more than the path: {:#?}", self.answer);
        self.whole_lines()
    }

    /// The same for a session with `--format json`; returns the JSON object of each line.
    #[track_caller]
    pub fn objects(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.succeeded().into_iter().map(parse).collect()
    }

    /// Checks that the session failed with one message with these `mentions` after it had printed its path; returns the
    /// lines.
    #[track_caller]
    pub fn failed(&self, mentions: &[&str]) -> Vec<&str> {
        self.answer.failed_with(1, mentions);
        self.whole_lines()
    }

    /// Checks that the unread output is whole lines; returns them without their newlines.
    #[track_caller]
    pub fn unread(&self) -> Vec<&str> {
        whole(&self.unread)
    }

    #[track_caller]
    fn whole_lines(&self) -> Vec<&str> {
        whole(&self.lines)
    }
}

#[track_caller]
fn whole(lines: &[String]) -> Vec<&str> {
    let fragment = lines.iter().find(|line| !line.ends_with('\n'));
    assert_eq!(fragment, None, "a line without a newline");
    lines.iter().map(|line| line.trim_end_matches('\n')).collect()
}

/// The lines of the unread output, if there is any. A FIFO would be the trace file itself, which has no writer any more.
fn unread_output_at(path: &Path) -> Vec<String> {
    match is_unread_output(path).then(|| fs::read_to_string(path)) {
        Some(Ok(text)) => text.split_inclusive('\n').map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
