use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

/// What came of a call of the manager.
#[derive(Debug)]
pub struct Answer {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said on standard output.
    pub stdout: String,
    /// What it said on standard error.
    pub stderr: String,
    /// From the spawn, or from the signal that was to end it, to the exit and the end of both streams.
    pub took: Duration,
}

impl Answer {
    /// Checks that all went well and nothing was complained of; what was said.
    #[track_caller]
    pub fn well(&self) -> &str {
        assert!(self.status.success() && self.stderr.is_empty(), "not all is well: {self:#?}");
        &self.stdout
    }

    /// Checks that all went well and nothing at all was said.
    #[track_caller]
    pub fn well_and_silent(&self) {
        assert_eq!(self.well(), "");
    }

    /// Checks that all went well in the end, with `count` lines of complaint; the complaints.
    #[track_caller]
    pub fn well_with_complaints(&self, count: usize) -> Vec<&str> {
        assert!(self.status.success(), "not all is well: {self:#?}");
        let complaints: Vec<&str> = self.stderr.lines().collect();
        assert_eq!(complaints.len(), count, "complaints: {self:#?}");
        assert!(complaints.iter().all(|line| line.starts_with("manager: ")), "who complains? {self:#?}");
        complaints
    }

    /// Checks that the call was refused because its words are off, in one line with these `mentions`.
    #[track_caller]
    pub fn refused(&self, mentions: &[&str]) {
        self.ended_with(2, mentions);
    }

    /// Checks that it failed, with one line with these `mentions`.
    #[track_caller]
    pub fn failed(&self, mentions: &[&str]) {
        self.ended_with(1, mentions);
    }

    /// Whether the signal killed it before it could say anything.
    pub fn killed_silently_by(&self, signal: Signal) -> bool {
        self.status.signal() == Some(signal as i32) && self.stdout.is_empty() && self.stderr.is_empty()
    }

    #[track_caller]
    fn ended_with(&self, status: i32, mentions: &[&str]) {
        assert_eq!(self.stdout, "", "there is output: {self:#?}");
        self.complained(status, mentions);
    }

    /// Checks the exit status, and that the only complaint is one line with these `mentions`.
    #[track_caller]
    pub fn complained(&self, status: i32, mentions: &[&str]) {
        assert_eq!(self.status.code(), Some(status), "the exit status of {self:#?}");
        assert!(self.stderr.starts_with("manager: "), "who complains? {self:#?}");
        assert!(self.stderr.ends_with('\n'), "the line has no end: {self:#?}");
        assert_eq!(self.stderr.lines().count(), 1, "not one line: {self:#?}");
        for mention in mentions {
            assert!(self.stderr.contains(mention), "no mention of '{mention}': {self:#?}");
        }
    }
}
