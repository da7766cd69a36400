use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::manager::is_for_a_later_reader;
use crate::{Answer, PATIENCE, Process, Reader};

/// A session, as container-tracer sees it.
pub struct Session {
    process: Process,
    path: PathBuf,
    reader: Option<Reader>,
}

/// A session that is over.
#[derive(Debug)]
pub struct Ended {
    /// What the manager said, and how it ended.
    pub answer: Answer,
    /// What the reader has got, line by line.
    pub lines: Vec<String>,
    /// What no reader took, and lies in the place of the trace file, line by line.
    pub leftover: Vec<String>,
}

impl Session {
    /// How long container-tracer waits for the first output.
    const FIRST_OUTPUT: Duration = Duration::from_secs(5);

    /// Waits for the path, and insists on everything that container-tracer needs of it.
    #[track_caller]
    pub(crate) fn start(mut process: Process) -> Self {
        process.first_output(Self::FIRST_OUTPUT);
        let (stdout, stderr) = process.said();
        assert_eq!(stderr, "", "a session that starts complains of nothing");
        let path = stdout.strip_suffix('\n').unwrap_or_else(|| panic!("no whole line: {stdout:?}"));
        assert!(path.starts_with('/') && !path.contains(char::is_whitespace), "no plain path: {path:?}");
        Self { path: path.into(), process, reader: None }
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

    /// Waits until the reader has this many lines.
    #[track_caller]
    pub fn wait_for_lines(&self, count: usize) {
        self.reader.as_ref().expect("there is a reader").wait_for(count);
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
        Ended { answer, lines, leftover: leftover_at(&self.path) }
    }
}

impl Ended {
    /// Checks that the session went well, and that nothing but the path was ever said; the lines, all whole, without
    /// their newlines.
    #[track_caller]
    pub fn well(&self) -> Vec<&str> {
        assert_eq!(self.answer.well().lines().count(), 1, "more than the path: {:#?}", self.answer);
        self.whole_lines()
    }

    /// The same of a session with `--format json`: the object that each line is.
    #[track_caller]
    pub fn objects(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.well().into_iter().map(parse).collect()
    }

    /// Checks that the session failed with one line with these `mentions`, after its path had been printed; the lines.
    #[track_caller]
    pub fn failed(&self, mentions: &[&str]) -> Vec<&str> {
        self.answer.complained(1, mentions);
        self.whole_lines()
    }

    /// Checks that all the leftover is whole lines; the lines, without their newlines.
    #[track_caller]
    pub fn leftover(&self) -> Vec<&str> {
        whole(&self.leftover)
    }

    #[track_caller]
    fn whole_lines(&self) -> Vec<&str> {
        whole(&self.lines)
    }
}

#[track_caller]
fn whole(lines: &[String]) -> Vec<&str> {
    let fragment = lines.iter().find(|line| !line.ends_with('\n'));
    assert_eq!(fragment, None, "a fragment");
    lines.iter().map(|line| line.trim_end_matches('\n')).collect()
}

/// The lines of an ordinary file. A FIFO would be the trace file itself, which nobody writes any more.
fn leftover_at(path: &Path) -> Vec<String> {
    match is_for_a_later_reader(path).then(|| fs::read_to_string(path)) {
        Some(Ok(text)) => text.split_inclusive('\n').map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
